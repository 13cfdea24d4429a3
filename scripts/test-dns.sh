#!/usr/bin/env bash
# The tests of the DNS protocol, those that take long too: `npm run test:dns`. Sets the machine up first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
scripts/setup.sh || status=$?
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then exit "$status"; fi
scripts/setup-zonemaster.sh
. scripts/node.sh
find_node .
exec "$NODE" scripts/run-tests.ts dns --long
