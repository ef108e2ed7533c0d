/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TEST_SECONDS = 60 };

static struct rp_test *first;
static struct rp_test **last = &first;

void rp_test_add(struct rp_test *test)
{
	*last = test;
	last = &test->next;
}

void rp_test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	printf("FAILED\n%s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
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

int main(int argc, char **argv)
{
	unsigned ran = 0;

	for (const struct rp_test *t = first; t; t = t->next) {
		double start = now_ms();

		if (argc > 1 && !strstr(t->name, argv[1]))
			continue;
		printf("%-72s ", t->name);
		fflush(stdout);
		alarm(TEST_SECONDS);
		t->run();
		alarm(0);
		printf("ok %8.1f ms\n", now_ms() - start);
		ran++;
	}
	if (!ran)
		fprintf(stderr, "no test has %s in its name\n", argc > 1 ? argv[1] : "anything");
	return ran ? EXIT_SUCCESS : EXIT_FAILURE;
}
