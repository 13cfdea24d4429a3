#!/usr/bin/env bash
# Writes the generated files anew: the kernel's layout for TypeScript, and the JSON Schema of the configuration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/node.sh
if ! find_node .; then
	echo 'generate: Node 24 is missing; run scripts/setup.sh first.' >&2
	exit 1
fi
scripts/build-bpf.sh
"$NODE" src/serve/vip/generate-layout.ts
"$NODE" src/config/generate-schema.ts
