import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkLoads } from './link-load.ts';

test('the load of a link is that of its busier direction, over all its interfaces', () => {
  const loads = new LinkLoads();
  assert.ok(Number.isNaN(loads.load('transit', [{ received: 5000, sent: 100 }], 1000)));
  assert.equal(loads.load('transit', [{ received: 6000, sent: 4100 }], 3000), (4000 * 8) / 2);
  assert.equal(loads.load('transit', [{ received: 16_000, sent: 4100 }], 4000), 80_000);
  const two = (received: number) => [
    { received, sent: 0 },
    { received: 2 * received, sent: 7 },
  ];
  loads.load('both', two(100), 0);
  assert.equal(loads.load('both', two(200), 1000), 300 * 8);
});

test('what is not known is not a number: no interface, one made anew, no time between', () => {
  const loads = new LinkLoads();
  const read = (received: number, nowMs: number) => loads.load('transit', [{ received, sent: 0 }], nowMs);
  assert.ok(Number.isNaN(loads.load('none', [], 1)));
  read(1000, 0);
  assert.ok(Number.isNaN(read(10, 1000)), 'counters went back');
  assert.equal(read(1010, 2000), 8000);
  assert.ok(Number.isNaN(read(1011, 2000)));
  assert.ok(Number.isNaN(loads.load('transit', [null], 3000)));
  assert.ok(Number.isNaN(read(9000, 4000)), 'what was before the gap is forgotten');
  loads.keep(new Set());
  assert.ok(Number.isNaN(read(9001, 5000)));
});
