/** The kernel answers what the process would. Needs root. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DNS_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { compareKernel } from './kernel-difference.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

describe('answers from the kernel', { skip: cannotLoad }, () => {
  test(`15,000 queries: the same bytes as from the process, or passed up as they came (seed ${SEED})`, (t) => {
    const { steered, settled, misunderstood, answered, dropped, outcomes } = compareKernel(SEED, 15_000);
    t.diagnostic(outcomes.map((count, index) => `${DNS_OUTCOME_NAMES[index]} ${count}`).join(', '));
    assert.equal(misunderstood, 0, 'no well-formed query for a steered name is passed up for want of understanding');
    // Most of the others: nothing healthy, sources that the map is too fine for, answers too long, short answers.
    assert.ok(settled / steered > 0.4, `the kernel answered or dropped ${settled} of ${steered}`);
    assert.ok(answered > 1000 && dropped > 100);
  });

  test(`the same in signed zones, with signatures for those who set DO (seed ${SEED})`, () => {
    const { steered, settled, misunderstood } = compareKernel(SEED, 5000, true);
    assert.equal(misunderstood, 0);
    // Denials are the process's.
    assert.ok(settled / steered > 0.3, `the kernel answered or dropped ${settled} of ${steered}`);
  });
});
