import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY_IPV6, KEY_REST } from '../decide/steer/prefix-numbers.ts';
import { type AskedPrefix, QueryColumns } from './query-rows.ts';

const asked = (family: 4 | 6, length: number, ...bytes: number[]): AskedPrefix => {
  return { family, length, bytes: Uint8Array.of(...bytes, ...new Array(6 - bytes.length).fill(0)) };
};

test('queries become rows by resolver and subnet, and a wide subnet is none', () => {
  const rows = new QueryColumns(3000);
  rows.add(asked(4, 24, 198, 51, 100), null, 1, 2, 7);
  rows.add(asked(6, 48, 0x20, 1, 0xd, 0xb8, 0, 7), asked(4, 24, 203, 0, 113), 3, 4, 1);
  rows.add(asked(4, 24, 198, 51, 100), asked(4, 20, 203, 0, 112), 0, 0, 2);
  for (let n = 0; n < 2997; n++) rows.add(asked(4, 24, 10, n >> 8, n & 255), null, 0, 0, 1);
  rows.add(asked(4, 24, 1, 2, 3), null, 0, 0, 9);
  assert.equal(rows.lost, 9);
  const taken = rows.take();
  assert.equal(taken.length, 3000);
  assert.deepEqual([...taken.high.subarray(0, 3)], [0, KEY_IPV6 | 0x2001, 0]);
  assert.deepEqual([...taken.low.subarray(0, 3)], [0xc6_33_64, 0x0db8_0007, 0xc6_33_64]);
  assert.deepEqual([...taken.subnetHigh.subarray(0, 3)], [KEY_REST, 0, KEY_REST]);
  assert.equal(taken.subnetLow[1], 0xcb_00_71);
  assert.deepEqual([taken.service[1], taken.site[1], taken.queries[0], taken.queries[2999]], [3, 4, 7, 1]);
  assert.equal(taken.low[2999], (10 << 16) | 2996);
  assert.equal(rows.take().length, 0);
});
