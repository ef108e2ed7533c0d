/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_LOGIC_WORDS_H
#define RP_LOGIC_WORDS_H
/*
 * The text for the logics that are built in: KEY=VALUE words between blanks.
 */
#include <stdbool.h>
#include <string.h>

enum { RP_WORD_BYTES = 64 };

struct rp_word {
	char key[RP_WORD_BYTES];
	char value[RP_WORD_BYTES]; /* "" if there is no '=' */
};

/* Return: whether there was one more word at *@at, which is now behind it; too long ones are cut. */
static inline bool rp_next_word(const char **at, struct rp_word *w)
{
	static const char blanks[] = " \t\r\n";
	const char *word = *at + strspn(*at, blanks);
	const size_t len = strcspn(word, blanks);
	const char *equals = memchr(word, '=', len);
	const size_t key = equals ? (size_t)(equals - word) : len;
	const size_t value = equals ? len - key - 1 : 0;

	*w = (struct rp_word){ 0 };
	memcpy(w->key, word, key < RP_WORD_BYTES ? key : RP_WORD_BYTES - 1);
	if (equals)
		memcpy(w->value, equals + 1, value < RP_WORD_BYTES ? value : RP_WORD_BYTES - 1);
	*at = word + len;
	return len > 0;
}

/* Is @wanted the name of port @name, or what stands in that behind the switch and the colon? */
static inline bool rp_is_port(const char *name, const char *wanted)
{
	const char *colon = strchr(name, ':');

	return strcmp(name, wanted) == 0 || (colon && strcmp(colon + 1, wanted) == 0);
}

#endif
