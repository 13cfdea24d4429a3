import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SLOW_START_STEPS, slowStartShare, untilNextStepMs } from './slow-start.ts';

test('the share begins small, never falls, and is whole when the time is over', () => {
  let before = 0;
  for (let ms = 0; ms <= 30_000; ms += 100) {
    const share = slowStartShare(ms, 30_000);
    assert.ok(share >= before && share <= 1);
    before = share;
  }
  assert.equal(slowStartShare(0, 30_000), 1 / SLOW_START_STEPS);
  assert.equal(slowStartShare(29_999, 30_000), 1);
  assert.equal(slowStartShare(30_000, 30_000), 1);
});

test('without slow start the share is whole at once, and no step is to come', () => {
  assert.equal(slowStartShare(0, 0), 1);
  assert.equal(untilNextStepMs(0, 0), null);
});

test('after the time to the next step the share has grown', () => {
  for (const sinceMs of [0, 1, 2_999, 3_000, 17_123]) {
    const wait = untilNextStepMs(sinceMs, 30_000) as number;
    assert.ok(wait > 0 && wait <= 3_000);
    assert.ok(slowStartShare(sinceMs + wait, 30_000) > slowStartShare(sinceMs, 30_000));
  }
});
