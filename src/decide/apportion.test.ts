import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { apportionSlots } from './apportion.ts';

function apportion(slots: number, weights: readonly number[]): number[] {
  const counts = new Uint32Array(weights.length);
  apportionSlots(slots, Float64Array.from(weights), counts);
  return [...counts];
}

test('whole parts first, then the largest fractions, then order', () => {
  assert.deepEqual(apportion(7, [1, 1, 1]), [3, 2, 2]);
  assert.deepEqual(apportion(10, [5, 3, 2]), [5, 3, 2]);
  assert.deepEqual(apportion(7, [1, 1, 2]), [2, 2, 3]);
  assert.deepEqual(apportion(2, [1, 1, 1]), [1, 1, 0]);
  assert.deepEqual(apportion(3, [1e9, 1e-9]), [3, 0]);
});

test('counts add up and are less than one from what is due', () => {
  const weights = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 700_000 }), weights, (slots, list) => {
      const sum = list.reduce((total, weight) => total + weight, 0);
      const counts = apportion(slots, list);
      assert.equal(
        counts.reduce((total, count) => total + count, 0),
        slots,
      );
      for (const [i, weight] of list.entries()) assert.ok(Math.abs(counts[i]! - (slots * weight) / sum) < 1 + 1e-6);
    }),
  );
});

test('a larger weight never gets fewer slots', () => {
  const weights = fc.array(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 30 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), weights, (slots, list) => {
      const sorted = [...list].sort((a, b) => b - a);
      const counts = apportion(slots, sorted);
      for (let i = 1; i < counts.length; i++) assert.ok(counts[i]! <= counts[i - 1]!);
    }),
  );
});
