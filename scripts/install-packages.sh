#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Install the Debian packages listed in the files given (one a line, # starts a comment).
# Touches neither network nor apt when all of them are there already.
set -euo pipefail

listed=$(sed 's/#.*//' "$@" | awk 'NF { print $1 }' | sort -u)
mapfile -t wanted <<<"$listed"

if ! command -v dpkg-query >/dev/null; then
	echo "error: cannot install packages" >&2
	echo "why: this is not Debian: there is no dpkg-query" >&2
	echo "fix: use Debian 12, or install the like of: ${wanted[*]}" >&2
	exit 1
fi

mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") \
	<(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
		awk '$2 == "installed" { print $1 }' | sort -u))
if [ "${#missing[@]}" -eq 0 ]; then
	exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "error: Debian packages are missing" >&2
		echo "why: you are not root, and there is no sudo" >&2
		echo "fix: as root, run: apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

echo "installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y
	-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
"${apt[@]}" update >&2
"${apt[@]}" install --no-install-recommends "${missing[@]}" >&2
