import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFailure, replayHistory, runHistories } from './cluster.ts';
import { NO_FAULTS } from './cluster-state.ts';

const HISTORIES = 50_000;

test('no packet of a live connection ends on another live backend, in 50,000 random histories', () => {
  const failure = runHistories({ seed: 2026, histories: HISTORIES });
  assert.equal(failure, null, failure === null ? '' : describeFailure(failure));
});

test('the same seed gives the same histories', () => {
  const run = () => runHistories({ seed: 5, histories: 10_000, faults: { ...NO_FAULTS, switchesAtOnce: true } });
  const first = run();
  assert.ok(first !== null);
  assert.deepEqual(run(), first);
  assert.equal(replayHistory(first.history, { ...NO_FAULTS, switchesAtOnce: true }), first.violation);
  assert.equal(replayHistory(first.history), null);
});
