#!/usr/bin/env bash
# Installs zonemaster-cli for the tests that take long, as root on Debian and Ubuntu; elsewhere they are skipped. Quiet when it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v zonemaster-cli >/dev/null || ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then exit 0; fi
echo 'setup: installs zonemaster-cli, which checks a delegation in test/dns ...'
mkdir -p build
if ! DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends \
	zonemaster-cli >build/setup-zonemaster.log 2>&1; then
	echo 'setup: zonemaster-cli cannot be installed (build/setup-zonemaster.log); its test is skipped' >&2
fi
