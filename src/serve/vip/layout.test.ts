import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Btf, readBtf } from './btf.ts';
import { readHeader } from './c-header.ts';
import { BACKEND, BackendView, COUNTERS, OUTCOME, OUTCOME_COUNT, OUTCOME_NAMES, ServiceKeyView } from './layout.gen.ts';
import { generateLayout } from './layout-text.ts';

const root = join(import.meta.dirname, '../../..');
let folder = '';

/** Compiles a map whose value is `struct thing`, declared by `declaration`. */
function compile(declaration: string): Btf {
  const source = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
${declaration}
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct thing); }
things SEC(".maps");
const volatile __u32 first = 1;
const volatile __u64 second = 2;
SEC("xdp") int use(struct xdp_md *ctx) { __u32 k = first; return bpf_map_lookup_elem(&things, &k) ? second : 0; }
char LICENSE[] SEC("license") = "GPL";
`;
  const object = join(folder, 'thing.o');
  const multiarch = execFileSync('clang', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  execFileSync(
    'clang',
    ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${multiarch}`, '-x', 'c', '-c', '-', '-o', object],
    { input: source },
  );
  return readBtf(readFileSync(object));
}

function problemsOf(declaration: string): readonly string[] {
  const generated = generateLayout([compile(declaration)], readHeader(declaration));
  assert.equal(generated.ok, false, 'the struct was accepted');
  return generated.ok ? [] : generated.problems;
}

// The set-up installs it, but only for root.
const withoutClang = process.getuid?.() !== 0 && spawnSync('clang', ['--version']).error && 'clang is not installed';

describe('layout generator', { skip: withoutClang }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'portico-layout-'));
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test('a hole before a field is rejected with the struct and the field', () => {
    assert.deepEqual(problemsOf('struct thing {\n  __u32 a;\n  __u64 late;\n};'), [
      'struct thing, field late: 4 bytes of padding stand before it: name them as a field',
    ]);
  });

  test('padding at the end is rejected with the struct', () => {
    assert.deepEqual(problemsOf('struct thing {\n  __u64 a;\n  __u32 b;\n};'), [
      'struct thing: 4 bytes of padding at its end: name them as a field',
    ]);
  });

  test('a union is rejected, named or not', () => {
    assert.match(problemsOf('struct thing {\n  union { __u32 a; __u32 b; } either;\n};')[0], /field either: a union/);
    assert.match(
      problemsOf('struct thing {\n  union { __u32 a; __u32 b; };\n};')[0],
      /field \(unnamed\): an unnamed member/,
    );
  });

  test('a bit-field is rejected with the struct and the field', () => {
    const problems = problemsOf('struct thing {\n  __u32 few : 3;\n  __u32 many : 29;\n};');
    assert.match(problems[0], /struct thing, field few: 3 bits wide/);
    assert.match(problems[1], /struct thing, field many: 29 bits wide/);
  });

  test('a pointer and a nested struct are rejected', () => {
    assert.match(problemsOf('struct thing {\n  void *p;\n};')[0], /field p: neither a number/);
    assert.match(
      problemsOf('struct inner {\n  __u32 a;\n};\nstruct thing {\n  struct inner i;\n};')[0],
      /field i: neither a number/,
    );
  });

  test('a field named as a member of the generated class is rejected', () => {
    assert.match(problemsOf('struct thing {\n  __u64 start;\n};')[0], /field start: the name is taken/);
  });

  test('a struct of the header that no map uses is named', () => {
    assert.deepEqual(problemsOf('struct other {\n  __u32 a;\n};\nstruct thing {\n  __u32 a;\n};'), [
      'struct other: in layout.h, but no key or value of a map',
    ]);
  });

  test('a sound struct gives its size, offsets and accessors in the byte order of its types', () => {
    const declaration = 'struct thing {\n  __be16 port;\n  __u16 zero;\n  __u32 count[3];\n  __u8 mac[8];\n};';
    const generated = generateLayout([compile(declaration)], readHeader(declaration));
    assert.ok(generated.ok);
    assert.match(generated.text, /sizeBytes: 24/);
    assert.match(generated.text, /getUint16\(this\.start, false\)/);
    assert.match(generated.text, /count\(i: number\): number/);
    assert.match(generated.text, /copyMac\(target: Uint8Array\)/);
  });

  test('variables of data sections are found with their offsets', () => {
    const variables = compile('struct thing {\n  __u32 a;\n};').sections.get('.rodata');
    assert.deepEqual(
      variables?.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
      [
        { name: 'first', sizeBytes: 4 },
        { name: 'second', sizeBytes: 8 },
      ],
    );
  });
});

test('constants and enums of a header are read with their values', () => {
  const header = readHeader(
    '#define A_B 0x10 /* why */\n#define GUARD\nenum e { E_X, E_Y = 4, /* y */ E_Z,\n E_COUNT };\n',
  );
  assert.deepEqual(header.constants, [{ name: 'A_B', value: 16 }]);
  assert.deepEqual(
    header.enums[0].entries.map((entry) => entry.value),
    [0, 4, 5, 6],
  );
  assert.throws(() => readHeader('#define BAD (1 << 3)\n'), /BAD: \(1 << 3\) is not a plain number/);
});

test('layout.gen.ts agrees with the header on outcomes', () => {
  const header = readHeader(readFileSync(join(root, 'bpf/layout.h'), 'utf8'));
  const outcomes = header.enums.find((entry) => entry.name === 'outcome');
  assert.equal(outcomes?.entries.length, OUTCOME_COUNT + 1);
  assert.equal(OUTCOME_NAMES[OUTCOME.NO_BACKEND], 'no-backend');
  assert.equal(COUNTERS.offsets.event - COUNTERS.offsets.outcome, OUTCOME_COUNT * 8);
});

test('a view moves over an array and reads what was written, in wire order where the type says so', () => {
  const backends = new BackendView(new ArrayBuffer(4 * BACKEND.sizeBytes));
  backends.at(2).ifindex = 7;
  backends.setNextHopMac(new Uint8Array([1, 2, 3, 4, 5, 6]));
  assert.equal(backends.at(1).ifindex, 0);
  assert.equal(backends.at(2).ifindex, 7);
  assert.deepEqual([...backends.copyNextHopMac(new Uint8Array(6))], [1, 2, 3, 4, 5, 6]);
  assert.throws(() => backends.at(4).ifindex, RangeError);
  const key = new ServiceKeyView();
  key.port = 443;
  assert.deepEqual([...key.memory], [0, 0, 0, 0, 1, 187, 0, 0]);
});
