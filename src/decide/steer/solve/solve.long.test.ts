import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { createRandom } from '../../../model/random.ts';
import { compareWithHighs, type LinearSolver } from './compare-highs.ts';

// Its types do not say that it is a function.
const highs: LinearSolver = await createRequire(import.meta.url)('highs')();

test('every stage reaches the optimum that HiGHS finds: 1,000 random problems', () => {
  for (let seed = 1001; seed <= 2000; seed++) {
    const random = createRandom(seed);
    const { difference, text } = compareWithHighs(highs, () => random() / 2 ** 32);
    assert.ok(difference <= 1e-6, `seed ${seed}: ${text}`);
  }
});
