/* SPDX-License-Identifier: BSD-2-Clause */
/* A main() for a fuzz target without a fuzzer: runs it once on each file that it is given. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t room[INPUT_MAX];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *input;
		size_t size;

		printf("%s\n", argv[i]);
		fflush(stdout); /* the last one named is the one that crashed */
		if (!file) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		size = fread(room, 1, sizeof(room), file);
		fclose(file);
		/* Of its own size, so that a read behind its end is seen. */
		input = malloc(size ? size : 1);
		if (!input)
			return EXIT_FAILURE;
		for (size_t at = 0; at < size; at++)
			input[at] = room[at];
		LLVMFuzzerTestOneInput(input, size);
		free(input);
	}
	return EXIT_SUCCESS;
}
