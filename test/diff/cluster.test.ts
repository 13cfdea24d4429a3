/** The model of several balancers at length, and the rules that it is about: each taken out once. PORTICO_SEED repeats a run. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { describeFailure, runHistories } from '../../src/model/cluster.ts';
import { type ClusterFaults, NO_FAULTS, SILENCE_TICKS } from '../../src/model/cluster-state.ts';

const HISTORIES = 1_000_000;
const FIXED_SEED = 20261121;
const FRESH_HISTORIES = 500_000;
/** With this seed each of the rules below is missed within a million histories. */
const MUTANT_SEED = 1;

function runAndReport(seed: number, histories: number): string {
  const beginMs = performance.now();
  const failure = runHistories({ seed, histories });
  assert.equal(failure, null, failure === null ? '' : describeFailure(failure));
  const perSecond = Math.round((histories / (performance.now() - beginMs)) * 1000);
  return `model of several balancers: ${histories} histories, seed ${seed}, ${perSecond} per second, 0 violations`;
}

test('no packet of a live connection ends on another live backend, in 1,000,000 random histories', (context) => {
  context.diagnostic(runAndReport(FIXED_SEED, HISTORIES));
});

test('nor in 500,000 histories that were never played before', (context) => {
  const given = process.env.PORTICO_SEED;
  const seed = given === undefined ? randomInt(2 ** 32) : Number(given) >>> 0;
  context.diagnostic(runAndReport(seed, FRESH_HISTORIES));
});

const MUTANTS: readonly (readonly [string, Partial<ClusterFaults>])[] = [
  ['untracked flows go to current', { untrackedGoesTo: 'current' }],
  ['a slot is settled as soon as current and previous are equal', { settlesByEquality: true }],
  ['a slot is switched without being marked first', { switchesAtOnce: true }],
  ['a slot is settled without being closed first', { settlesInOneGo: true }],
  ['a balancer closes a slot that is not silent any more', { neverDeclines: true }],
  ['the tick stays when current changes', { keepsTickOnSwitch: true }],
  ['agents may have listed their connections before the last change', { takesOldReports: true }],
  ['agents list their connections while SYNs are still on their way', { reportsAtOnce: true }],
  ['entries expire with the silence', { lifetimeTicks: SILENCE_TICKS }],
  ['data makes an entry young', { youngBy: 'any packet' }],
  // Second chances show the same flows, but only to the site as a whole.
  [
    'an untracked packet to current leaves no tick and nobody asks about second chances',
    { untrackedTouchesSlot: false, ignoresSecondChances: true },
  ],
];

for (const [rule, fault] of MUTANTS) {
  test(`the model finds a broken connection where ${rule}`, (context) => {
    const failure = runHistories({ seed: MUTANT_SEED, histories: HISTORIES, faults: { ...NO_FAULTS, ...fault } });
    assert.notEqual(failure, null);
    if (failure !== null) context.diagnostic(describeFailure(failure));
  });
}
