#!/usr/bin/env bash
# Sets the machine up and runs the tour of the lab: `npm start`, `npm start -- --once --json`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
scripts/setup.sh || status=$?
if [ "$status" -eq 2 ]; then
	echo 'start: the lab makes network namespaces and loads kernel programs: run it as root (sudo npm start).' >&2
	exit 1
fi
if [ "$status" -ne 0 ]; then exit "$status"; fi
exec ./portico lab tour "$@"
