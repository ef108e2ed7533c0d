#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Run every checker over the tree, say which failed. With --fix: rewrite what has one right format.
# Runs from `make`, which puts the environment's tools first in PATH.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

mapfile -t c_files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h')
mapfile -t units < <(printf '%s\n' "${c_files[@]}" | grep '^csrc/.*\.c$')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard |
	xargs -r awk '/^#!\/bin\/(ba|da)?sh/ { print FILENAME } { nextfile }')

if [ "${1-}" = --fix ]; then
	ruff check --quiet --fix .
	ruff format .
	clang-format -i "${c_files[@]}"
	exit
fi

failed=()
# check NAME COMMAND...: run it, print what it says only if it fails
check() {
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok      $name"
	else
		failed+=("$name")
		printf 'FAILED  %s\n%s\n' "$name" "$output"
	fi
}

check "ruff check" ruff check --quiet --output-format concise .
check "ruff format" ruff format --check .
check "mypy" mypy
check "shellcheck" shellcheck "${scripts[@]}"
check "clang-format" clang-format --dry-run -Werror "${c_files[@]}"
check "cppcheck" cppcheck --quiet --std=c11 --enable=warning,performance,portability \
	--inline-suppr --error-exitcode=1 -D_GNU_SOURCE -Icsrc csrc
# Two files at a time. The analyzer takes the flags of our own build; gcc's it does not know are fine.
check "clang-tidy" xargs -r -P2 -n1 clang-tidy --quiet -p build/cp311 \
	--extra-arg=-Wno-unknown-warning-option < <(printf '%s\n' "${units[@]}")
check "guest driver" python scripts/check_module.py
check "patches for QEMU" python scripts/check_series.py

if [ "${#failed[@]}" -gt 0 ]; then
	echo "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')" >&2
	exit 1
fi
