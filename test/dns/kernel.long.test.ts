/** As kernel.test.ts, for a million queries. Needs root. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DNS_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { compareKernel } from './kernel-difference.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const MESSAGES = 1_000_000;

describe('answers from the kernel, for long', { skip: cannotLoad }, () => {
  test(`1,000,000 queries: the same bytes as from the process, or passed up as they came (seed ${SEED})`, (t) => {
    const { steered, settled, misunderstood, outcomes } = compareKernel(SEED, MESSAGES);
    t.diagnostic(outcomes.map((count, index) => `${DNS_OUTCOME_NAMES[index]} ${count}`).join(', '));
    assert.equal(misunderstood, 0);
    assert.ok(settled / steered > 0.5, `the kernel answered or dropped ${settled} of ${steered}`);
  });
});
