#!/usr/bin/env bash
# The one gate: format, lint, types, generated files, unit and property tests: `npm run check`.
# --no-tests leaves the tests out (scripts/test.sh runs them together with the others). Changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/node.sh
if ! find_node . || [ ! -d node_modules/typescript ]; then
	echo 'check: Node 24 or the npm packages are missing; run scripts/setup.sh first.' >&2
	exit 1
fi
PATH=$PWD/node_modules/.bin:$(dirname "$NODE"):$PATH

failed=''

# check NAME COMMAND...: all checks run, so that one run tells everything.
check() {
	local name=$1 begin=$EPOCHREALTIME
	shift
	if "$@"; then
		printf 'check: %-34s ok  %5d ms\n' "$name" $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000))
	else
		printf 'check: %-34s FAILED\n' "$name"
		failed+=" $name,"
	fi
}

# Whether a system program is there; without root its check is left out, as root it is an error.
have() {
	if command -v "$1" >/dev/null; then return 0; fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "check: left out, $1 is not installed: $2"
		return 1
	fi
	echo "check: $1 is not installed; run scripts/setup.sh." >&2
	failed+=" $2,"
	return 1
}

check 'format and lint (biome)' biome ci --colors=off --error-on-warnings .
check 'types (tsc)' tsc --noEmit
if have clang-format 'format of C files'; then
	check 'format of C files (clang-format)' clang-format --dry-run -Werror bpf/*.[ch] bench/*.[ch]
fi
if have clang 'kernel programs and their layout'; then
	check 'kernel programs (clang)' scripts/build-bpf.sh
	check 'layout.gen.ts is up to date' node src/serve/vip/generate-layout.ts --check
fi
check 'JSON Schema is up to date' node src/config/generate-schema.ts --check
if [ "${1:-}" != --no-tests ]; then
	check 'unit and property tests' node scripts/run-tests.ts unit
fi

if [ -n "$failed" ]; then
	echo "check: failed:${failed%,}" >&2
	exit 1
fi
