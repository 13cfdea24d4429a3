import assert from 'node:assert/strict';
import test from 'node:test';
import { Lateness, USUAL_LATE } from './lateness.ts';

const MIDDLES = [30, 120, 300, 660, 1350, 2700];

function learnt(shareAt: (seconds: number) => number, connections: number) {
  const lateness = new Lateness(1);
  for (const seconds of MIDDLES) {
    for (let interval = 0; interval < 10; interval++)
      lateness.add(0, seconds, (connections / 10) * shareAt(seconds), connections / 10);
  }
  return lateness.decayOf(0, 30);
}

test('who keeps answers is found with share and time; who does not, and who is not known, is taken for usual', () => {
  const violator = learnt((seconds) => 0.4 * Math.exp(-seconds / 900), 1000);
  assert.ok(Math.abs(violator.lateShare - 0.4) < 0.12, `share ${violator.lateShare}`);
  assert.ok(Math.abs(violator.lateSeconds / 900 - 1) < 0.35, `time ${violator.lateSeconds}`);
  const obedient = learnt(() => 0, 1000);
  assert.ok(obedient.lateShare < 0.02, `share ${obedient.lateShare}`);
  assert.ok(Math.abs(new Lateness(1).decayOf(0, 30).lateShare - USUAL_LATE.lateShare) < 0.02);
  const few = learnt((seconds) => 0.4 * Math.exp(-seconds / 900), 5);
  assert.ok(few.lateShare < 0.25, `five connections say ${few.lateShare}`);
});

test('users of other resolvers at the site that was left are not taken for late ones: they stay', () => {
  const { lateShare } = learnt(() => 0.15, 1000);
  assert.ok(lateShare < 0.1, `share ${lateShare}`);
});
