/**
 * Writes `layout.gen.ts` from `bpf/layout.h` and the BTF of the compiled objects; with `--check` compares only.
 * Usage: node src/serve/vip/generate-layout.ts [--check] [OBJECT ...]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readBtf } from './btf.ts';
import { readHeader } from './c-header.ts';
import { generateLayout } from './layout-text.ts';

const root = join(import.meta.dirname, '../../..');
const output = join(import.meta.dirname, 'layout.gen.ts');

function fail(lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`layout: ${line}\n`);
  process.exit(1);
}

const checkOnly = process.argv.includes('--check');
const named = process.argv.slice(2).filter((argument) => argument !== '--check');
const objects =
  named.length > 0
    ? named
    : ['balancer', 'backend', 'clamp', 'rtt', 'dns'].map((name) => join(root, `build/bpf/${name}.bpf.o`));
const header = readHeader(readFileSync(join(root, 'bpf/layout.h'), 'utf8'));
const generated = generateLayout(
  objects.map((path) => readBtf(readFileSync(path))),
  header,
);
if (!generated.ok) fail(generated.problems);
if (checkOnly) {
  if (readFileSync(output, 'utf8') !== generated.text) {
    fail(['src/serve/vip/layout.gen.ts is not what bpf/ gives: run npm run generate']);
  }
} else {
  writeFileSync(output, generated.text);
}
