/** Control under delayed feedback settles, over a grid of delays and limits; the same on what is measured alone does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkStability, runStability, stabilityGrid } from './stability-run.ts';

test('after a surge or a loss of capacity, loads come below capacity within the decay of answers and stay there', () => {
  for (const options of stabilityGrid([1], [5, 120, 600], [0, 0.3], [0.25])) checkStability(options);
});

test('control by what is measured alone swings', () => {
  for (const event of ['surge', 'loss'] as const) {
    const options = { seed: 1, ttlSeconds: 120, lateShare: 0.1, lateSeconds: 200, event, stepShare: 0.05 };
    const outcome = runStability({ ...options, reliefShare: 0.25, measuredOnly: true });
    assert.ok(outcome.crossings >= 3, `${event}: ${JSON.stringify(outcome)}`);
    assert.ok(outcome.movedShare > 8 * outcome.neededShare, `${event}: ${JSON.stringify(outcome)}`);
  }
});
