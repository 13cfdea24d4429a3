import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionView } from './connections.ts';
import {
  ENTRY_AGE_SHIFT,
  ENTRY_FINGERPRINT_SHIFT,
  ENTRY_STATE_SHIFT,
  STATE_COUNTED,
  STATE_OPEN,
} from './layout.gen.ts';

const entry = (backend: number, fingerprint: bigint) =>
  BigInt(backend) | (77n << BigInt(ENTRY_AGE_SHIFT)) | (fingerprint << BigInt(ENTRY_FINGERPRINT_SHIFT));

function makeTable(places: number) {
  const buffer = new ArrayBuffer(places * 8);
  const active = new ArrayBuffer(4096 * 8);
  const view = new ConnectionView(buffer, active);
  return { words: new BigUint64Array(buffer), active: new BigInt64Array(active), view };
}

test('purging removes every entry of a backend and nothing else', () => {
  const { words, view } = makeTable(64);
  words[0] = entry(3, 1n);
  words[1] = entry(4, 2n);
  words[5] = entry(3, 0xfffffffffn);
  words[63] = entry(3, 0n);
  assert.equal(view.countEntries(), 4);
  assert.equal(view.purgeBackend(3), 3);
  assert.deepEqual([words[0], words[1], words[5], words[63]], [0n, entry(4, 2n), 0n, 0n]);
  assert.equal(view.countEntries(), 1);
  assert.equal(view.purgeBackend(3), 0);
});

test('an entry whose lower half is empty counts, and purging backend 0 is refused', () => {
  const { words, view } = makeTable(8);
  words[2] = 1n << 40n;
  assert.equal(view.countEntries(), 1);
  assert.throws(() => view.purgeBackend(0), RangeError);
});

test('entries are counted by backend', () => {
  const { words, view } = makeTable(16);
  words[0] = entry(1, 1n);
  words[1] = entry(1, 2n);
  words[9] = entry(4095, 3n);
  const counts = new Uint32Array(4096);
  view.countByBackend(counts);
  assert.deepEqual([counts[0], counts[1], counts[4095]], [0, 2, 1]);
});

test('a purged backend has no active connections any more, and only entries that are followed keep an index', () => {
  const { words, active, view } = makeTable(16);
  words[3] = entry(5, 9n) | (BigInt(STATE_OPEN | STATE_COUNTED) << BigInt(ENTRY_STATE_SHIFT));
  words[4] = entry(6, 9n);
  active[5] = 1n;
  assert.equal(view.activeOf(5), 1);
  assert.deepEqual([...view.followed().subarray(5, 8)], [1, 0, 0]);
  assert.equal(view.purgeBackend(5), 1);
  assert.deepEqual([view.activeOf(5), view.followed()[5]], [0, 0]);
});
