import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SiteLoad } from './site-load.ts';

test('a steady rate is found, and a burst of one second counts for a part only', () => {
  const load = new SiteLoad();
  for (let second = 0; second <= 30; second++) load.record('eu', 200 * second, 1000 * second);
  assert.ok(Math.abs(load.rateOf('eu') - 200) < 1, `${load.rateOf('eu')}`);
  const burst = load.record('eu', 200 * 30 + 10_000, 31_000);
  assert.ok(burst > 200 && burst < 5_000, `${burst}`);
});

test('a counter that was started anew counts as none', () => {
  const load = new SiteLoad();
  load.record('eu', 1_000, 0);
  assert.equal(load.record('eu', 10, 1_000), 0);
});
