/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CHECK_H
#define RP_CHECK_H
/*
 * DOC: The smallest test harness that says what was expected.
 *
 *   TEST(a_frame_to_nobody_is_counted)
 *   {
 *           EXPECT_EQ(frames(), 1);
 *   }
 *
 * A program of tests is one or more files with TEST()s, linked with check.c,
 * whose main() runs them in their order; an argument picks those whose name
 * contains it. A test may have variants, of which each counts as a test. The first expectation that fails ends the program, and so does
 * a test that takes longer than a minute.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rp_test {
	const char *name;
	void (*run)(void);
	unsigned variants;
	const char *(*choose)(unsigned i);
	struct rp_test *next;
};

void rp_test_add(struct rp_test *test);

void rp_test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define TEST(test) TEST_EACH(test, 1, NULL)

/* TEST_EACH() - run it @n times, each time after @choose(i), which returns a name for that */
#define TEST_EACH(test, n, choose)                                              \
	static void test(void);                                                 \
	static struct rp_test test##_entry = { #test, test, (n), (choose), 0 }; \
	__attribute__((constructor)) static void test##_add(void)               \
	{                                                                       \
		rp_test_add(&test##_entry);                                     \
	}                                                                       \
	static void test(void)

/* rp_test_note() - what is tried now: named if an expectation fails before the test ends */
void rp_test_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define EXPECT(condition)                                                                 \
	do {                                                                              \
		if (!(condition))                                                         \
			rp_test_fail(__FILE__, __LINE__, "expected that %s", #condition); \
	} while (0)

#define EXPECT_EQ(got, want)                                                                    \
	do {                                                                                    \
		long long got_ = (long long)(got), want_ = (long long)(want);                   \
                                                                                                \
		if (got_ != want_)                                                              \
			rp_test_fail(__FILE__, __LINE__, "%s is %lld, expected %s, %lld", #got, \
				     got_, #want, want_);                                       \
	} while (0)

/* EXPECT_TEXT() - @part is in @got */
#define EXPECT_TEXT(got, part)                                                                  \
	do {                                                                                    \
		const char *got_ = (got), *part_ = (part);                                      \
                                                                                                \
		if (!strstr(got_, part_))                                                       \
			rp_test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #got, \
				     got_, part_);                                              \
	} while (0)

/* EXPECT_OK() - a call of the facade succeeds; its last argument is @err */
#define EXPECT_OK(call, err)                                                                \
	do {                                                                                \
		int ret_ = (call);                                                          \
                                                                                            \
		if (ret_ < 0)                                                               \
			rp_test_fail(__FILE__, __LINE__, "%s returned %d: %s", #call, ret_, \
				     (err).text);                                           \
	} while (0)

/* What other threads do at once usually has so long: a machine may have much else to do. */
enum { RP_TEST_PATIENCE_MS = 30000 };

/* EXPECT_SOON() - @condition holds soon, set by other threads */
#define EXPECT_SOON(condition)                                                            \
	do {                                                                              \
		for (unsigned tries_ = 0; !(condition); tries_++) {                       \
			if (tries_ == 10 * RP_TEST_PATIENCE_MS)                           \
				rp_test_fail(__FILE__, __LINE__, "expected that soon %s", \
					     #condition);                                 \
			rp_test_nap(100000);                                              \
		}                                                                         \
	} while (0)

/* rp_test_nap() - sleep for @ns, under a second */
void rp_test_nap(long ns);

#endif
