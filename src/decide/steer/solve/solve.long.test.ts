import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { createRandom } from '../../../model/random.ts';
import { compareWithHighs, type LinearSolver } from './compare-highs.ts';

// Its types do not say that it is a function.
const highs: LinearSolver = await createRequire(import.meta.url)('highs')();

/**
 * Without slack, and where limits of stages leave no room but for rounding, the last stage may find none of it: then the map of the stage
 * before stays, and the solution says that it is not complete. Seeds 1557 and 1568 are such.
 */
const MOST_INCOMPLETE = 2;

test('every stage reaches the optimum that HiGHS finds, or the solution says that it does not: 1,000 random problems', (t) => {
  const incomplete: number[] = [];
  for (let seed = 1001; seed <= 2000; seed++) {
    const random = createRandom(seed);
    const { difference, text, isComplete } = compareWithHighs(highs, () => random() / 2 ** 32);
    if (isComplete) assert.ok(difference <= 1e-6, `seed ${seed}: ${text}`);
    else incomplete.push(seed);
  }
  t.diagnostic(`not complete: seeds ${incomplete.join(', ')}`);
  assert.ok(incomplete.length <= MOST_INCOMPLETE, `seeds ${incomplete.join(', ')}`);
});
