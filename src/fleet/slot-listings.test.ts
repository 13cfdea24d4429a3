import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SlotReport } from '../serve/vip/slot-report.ts';
import { LISTINGS_APART_MS, SlotListings } from './slot-listings.ts';

function report(...slots: number[]): SlotReport {
  const bits = new Uint8Array(4);
  for (const slot of slots) bits[slot >>> 3] = (bits[slot >>> 3] as number) | (1 << (slot & 7));
  return { service: 'web', slots: bits, count: slots.length, oldestMs: null, topClients: [], isComplete: true };
}

test('a slot is empty only by two listings apart, both young enough', () => {
  const reports = new SlotListings();
  reports.take('web', 1, 1_000, report(3));
  assert.equal(reports.isEmpty('web', 1, 5, 1_000), false, 'one is not enough');
  reports.take('web', 1, 1_000 + LISTINGS_APART_MS - 1, report());
  assert.equal(reports.isEmpty('web', 1, 5, 1_000), false, 'nor two at once');
  reports.take('web', 1, 1_000 + LISTINGS_APART_MS, report(9));
  assert.equal(reports.isEmpty('web', 1, 5, 1_000), true);
  assert.equal(reports.isEmpty('web', 1, 3, 1_000), false, 'in the first');
  assert.equal(reports.isEmpty('web', 1, 9, 1_000), false, 'in the second');
  assert.equal(reports.isEmpty('web', 1, 5, 1_001), false, 'the first is too old');
  assert.equal(reports.isEmpty('web', 2, 5, 0), false, 'nobody knows of another backend');
});

test('what a report does not cover is not empty, and a silent agent knows nothing', () => {
  const reports = new SlotListings();
  reports.take('web', 1, 0, report());
  reports.take('web', 1, 5_000, report());
  assert.equal(reports.isEmpty('web', 1, 31, 0), true);
  assert.equal(reports.isEmpty('web', 1, 32, 0), false);
  reports.take('web', 1, 10_000, { ...report(), isComplete: false });
  assert.equal(reports.isEmpty('web', 1, 31, 0), false, 'an incomplete one may lack what there is');
  reports.take('web', 1, 15_000, report());
  reports.take('web', 1, 20_000, report());
  assert.equal(reports.isEmpty('web', 1, 31, 0), true);
  reports.forget('web', 1);
  assert.equal(reports.isEmpty('web', 1, 31, 0), false);
});
