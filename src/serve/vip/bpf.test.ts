import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  createMap,
  deleteElement,
  listKeys,
  lookupElement,
  MAP_TYPE_ARRAY,
  MAP_TYPE_HASH,
  mapInfo,
  runProgram,
  runSyscallProgram,
  updateBatch,
  updateElement,
} from './bpf.ts';
import { errnoName, systemError } from './errno.ts';
import { closeFd, mapMemory, pinToCpu } from './libc.ts';
import { BpfObject } from './object.ts';
import { cannotLoad } from './test-network.ts';

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32); __type(value, __u64); } hits SEC(".maps");
const volatile __u32 step = 1;
char LICENSE[] SEC("license") = "GPL";
`;

const SOUND = `${HEAD}
SEC("xdp") int count(struct xdp_md *ctx) {
  __u32 key = ctx->ingress_ifindex & 3;
  __u64 *value = bpf_map_lookup_elem(&hits, &key);
  if (value) *value += step;
  if (bpf_xdp_adjust_head(ctx, -4)) return XDP_ABORTED;
  return XDP_TX;
}
SEC("syscall") int answer(__u32 *argument) { return *argument + 1; }
`;

const UNSOUND = `${HEAD}
SEC("xdp") int unsound(struct xdp_md *ctx) {
  __u32 key = ctx->ingress_ifindex;
  __u64 *value = bpf_map_lookup_elem(&hits, &key);
  *value += step;
  return XDP_PASS;
}
`;

describe('libbpf', { skip: cannotLoad }, () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'portico-bpf-'));
    const multiarch = execFileSync('clang', ['-print-multiarch'], { encoding: 'utf8' }).trim();
    const flags = ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${multiarch}`, '-x', 'c', '-c', '-', '-o'];
    for (const [name, input] of Object.entries({ sound: SOUND, unsound: UNSOUND })) {
      execFileSync('clang', [...flags, join(folder, `${name}.o`)], { input });
    }
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test('a program that the verifier refuses gives one error with the reason at its end', () => {
    const object = new BpfObject(join(folder, 'unsound.o'));
    assert.throws(
      () => object.load(),
      (error: Error & { code?: string }) => {
        const lines = error.message.split('\n');
        assert.match(lines[0], /^load of .*unsound\.o: EACCES$/);
        assert.ok(lines.length <= 17, `${lines.length} lines`);
        assert.match(error.message, /invalid mem access 'map_value_or_null'/);
        return error.code === 'EACCES';
      },
    );
    object.close();
  });

  test('a missing object, map or program is named', () => {
    assert.throws(() => new BpfObject(join(folder, 'none.o')), /open object .*none\.o: ENOENT/);
    const object = new BpfObject(join(folder, 'sound.o'));
    assert.throws(() => object.setMaxEntries('misses', 2), /has no map misses/);
    assert.throws(() => object.programFd('nobody'), /has no program nobody/);
    object.close();
    assert.throws(() => object.load(), /is closed/);
  });

  test('a frame goes through a program: verdict, changed frame, constants and the interface count', () => {
    const object = new BpfObject(join(folder, 'sound.o'));
    object.setMaxEntries('hits', 8);
    object.initialValue('.rodata')[0] = 5;
    object.load();
    assert.deepEqual(object.mapNames(), ['hits']);
    const memory = mapMemory(object.mapFd('hits'), 8 * 8, 'hits');
    const hits = new BigUint64Array(memory.buffer);
    const frame = Uint8Array.from({ length: 60 }, (_, i) => i);
    const result = runProgram(object.programFd('count'), frame, { ingressIfindex: 1, repeat: 1 });
    assert.equal(result.verdict, 'tx');
    assert.deepEqual([...result.frame.subarray(4)], [...frame]);
    assert.equal(hits[1], 5n);
    runProgram(object.programFd('count'), frame, { repeat: 3 });
    assert.ok(hits[0] + hits[1] >= 20n); // a signal makes the kernel begin again
    assert.throws(() => runProgram(object.programFd('count'), new Uint8Array(5)), /frame of 5 bytes: EINVAL/);
    assert.equal(runSyscallProgram(object.programFd('answer'), new Uint8Array([41, 0, 0, 0])), 42);
    memory.unmap();
    object.close();
  });

  test('elements of a hash map are written, read, listed and removed', () => {
    const fd = createMap({
      name: 'loader_test',
      type: MAP_TYPE_HASH,
      keySizeBytes: 4,
      valueSizeBytes: 8,
      maxEntries: 2,
      flags: 0,
    });
    const key = (n: number) => new Uint8Array([n, 0, 0, 0]);
    const value = new Uint8Array(8);
    assert.equal(lookupElement(fd, key(1), value), false);
    updateElement(fd, key(1), new Uint8Array(8).fill(9));
    assert.equal(lookupElement(fd, key(1), value), true);
    assert.deepEqual([...value], new Array(8).fill(9));
    updateElement(fd, key(2), value);
    assert.throws(() => updateElement(fd, key(3), value), /write an element of map \d+: E2BIG/);
    assert.equal(listKeys(fd, 4).length, 2);
    assert.equal(deleteElement(fd, key(1)), true);
    assert.equal(deleteElement(fd, key(1)), false);
    assert.deepEqual(mapInfo(fd).maxEntries, 2);
    closeFd(fd);
  });

  test('a batch writes many elements at once', () => {
    const fd = createMap({
      name: 'loader_batch',
      type: MAP_TYPE_ARRAY,
      keySizeBytes: 4,
      valueSizeBytes: 8,
      maxEntries: 100,
      flags: 0,
    });
    const keys = new Uint32Array(100).map((_, i) => i);
    const values = new BigUint64Array(100).map((_, i) => BigInt(i) * 3n);
    updateBatch(fd, new Uint8Array(keys.buffer), new Uint8Array(values.buffer), 100);
    const value = new BigUint64Array(1);
    lookupElement(fd, new Uint8Array([77, 0, 0, 0]), new Uint8Array(value.buffer));
    assert.equal(value[0], 231n);
    closeFd(fd);
  });

  test('a map that cannot be made says which', () => {
    const definition = {
      name: 'bad',
      type: MAP_TYPE_ARRAY,
      keySizeBytes: 8,
      valueSizeBytes: 8,
      maxEntries: 1,
      flags: 0,
    };
    assert.throws(() => createMap(definition), /create map bad of 1 entries of 8 bytes: EINVAL/);
  });

  test('a CPU that is not there cannot be chosen', () => {
    assert.throws(() => pinToCpu(1023), /run on CPU 1023: EINVAL/);
  });
});

test('errors carry the name of their errno', () => {
  const error = systemError('open x', 2);
  assert.equal(error.code, 'ENOENT');
  assert.equal(error.message, 'open x: ENOENT');
  assert.equal(errnoName(524), 'ENOTSUPP');
  assert.equal(errnoName(9999), 'E9999');
});
