#!/bin/sh
# Compiles the kernel programs of bpf/ and bench/ to build/bpf/*.o; does nothing and says nothing when all are fresh.
# `build-bpf.sh FOLDER LEVEL` puts them elsewhere, optimised otherwise: other programs that do the same.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-build/bpf}
level=${2:--O2}
mkdir -p "$folder"

# <linux/types.h> wants <asm/types.h>, which Debian keeps in a folder of the machine's architecture.
machine=$(uname -m)
include="-Ibpf"
[ -d "/usr/include/$machine-linux-gnu" ] && include="$include -I/usr/include/$machine-linux-gnu"

newest_header=$(ls -t bpf/*.h "$0" | head -n 1)
for source in bpf/*.bpf.c bench/*.bpf.c; do
	[ -e "$source" ] || continue
	object="$folder/$(basename "$source" .c).o"
	if [ -e "$object" ] && [ "$object" -nt "$source" ] && [ "$object" -nt "$newest_header" ]; then
		continue
	fi
	# Two builds at the same time must not meet in one file.
	clang "$level" -g -Wall -Wextra -Wno-unused-parameter -target bpf -mcpu=v3 $include -c "$source" -o "$object.$$"
	mv "$object.$$" "$object"
done
