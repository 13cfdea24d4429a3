#!/usr/bin/env bash
# Sets the machine up, then runs every check and test: `npm test`. With --long also the files *.long.test.ts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for argument in "$@"; do
	if [ "$argument" != --long ]; then
		echo "test: unknown argument $argument; usage: npm test [-- --long]" >&2
		exit 2
	fi
done

status=0
scripts/setup.sh || status=$?
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then exit "$status"; fi
if [ $# -gt 0 ]; then scripts/setup-zonemaster.sh; fi
scripts/check.sh --no-tests
. scripts/node.sh
find_node .
if [ "$status" -eq 2 ]; then
	echo 'test: not root: left out are test/e2e and test/diff, and what the unit tests skip for want of root.'
	exec "$NODE" scripts/run-tests.ts unit "$@"
fi
exec "$NODE" scripts/run-tests.ts unit system "$@"
