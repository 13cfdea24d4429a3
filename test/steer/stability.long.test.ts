/** The whole grid of `stability.test.ts`: 840 runs. */
import { test } from 'node:test';
import { checkStability, stabilityGrid } from './stability-run.ts';

test('control settles at every delay and every limit of the grid', (t) => {
  const grid = stabilityGrid([1, 2, 3, 4, 5], [5, 15, 30, 60, 120, 300, 600], [0, 0.1, 0.2, 0.3], [0.05, 0.25, 1]);
  for (const options of grid) checkStability(options);
  t.diagnostic(`${grid.length} runs`);
});
