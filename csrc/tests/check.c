/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TEST_SECONDS = 240 };

static struct rp_test *first;
static struct rp_test **last = &first;
static char note[160];

void rp_test_add(struct rp_test *test)
{
	*last = test;
	last = &test->next;
}

void rp_test_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(note, sizeof(note), fmt, args);
	va_end(args);
}

void rp_test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	printf("FAILED\n%s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("%s%s\n", note[0] ? "\nwith " : "", note);
	fflush(stdout);
	_Exit(1); /* other threads still run: no destructors, no leak check */
}

void rp_test_nap(long ns)
{
	const struct timespec pause = { .tv_nsec = ns };

	nanosleep(&pause, NULL);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Return: was it one of those that were asked for? */
static bool run(const struct rp_test *t, unsigned i, const char *part)
{
	const double start = now_ms();
	const char *variant = t->choose ? t->choose(i) : NULL;
	char name[160];

	snprintf(name, sizeof(name), "%s%s%s%s", t->name, variant ? " [" : "",
		 variant ? variant : "", variant ? "]" : "");
	if (part && !strstr(name, part))
		return false;
	printf("%-90s ", name);
	fflush(stdout);
	note[0] = '\0';
	alarm(TEST_SECONDS);
	t->run();
	alarm(0);
	printf("ok %8.1f ms\n", now_ms() - start);
	return true;
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : NULL;
	unsigned ran = 0;

	for (const struct rp_test *t = first; t; t = t->next) {
		for (unsigned i = 0; i < t->variants; i++)
			ran += run(t, i, part);
		if (t->choose)
			t->choose(0); /* which is what others expect */
	}
	if (!ran)
		fprintf(stderr, "no test has %s in its name\n", part ? part : "anything");
	return ran ? EXIT_SUCCESS : EXIT_FAILURE;
}
