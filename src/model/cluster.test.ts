import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFailure, type History, replayHistory, runHistories } from './cluster.ts';
import { type ClusterFaults, NO_FAULTS } from './cluster-state.ts';

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

/**
 * Found once in some five million histories, or made by hand. The numbers mean what they do in OPERATIONS as it is: if that changes, look for
 * new ones (`runHistories` with the fault, seeds 78 and 77).
 */
const RARE: readonly (readonly [string, Partial<ClusterFaults>, History])[] = [
  [
    'agents have just passed packets on',
    { ignoresSecondChances: true },
    {
      shape: 1698619843,
      steps: [
        847488944, 2351805159, 486389419, 308636685, 450834134, 984293021, 2510893665, 1635843152, 1043828752,
        2359328188, 4187807952, 478945112, 2727563174, 2991206761, 3454937167, 1862723434, 239565677, 1505984750,
        3773431793, 13747615, 1215768390,
      ],
    },
  ],
  [
    'an agent has listed its connections once only, and one was opening',
    { takesOneReport: true },
    { shape: 261, steps: [65708, 65718, 160, 0, 65718, 160, 65748, 610, 0, 610, 327884, 65748, 28] },
  ],
  [
    'agents have listed their connections while packets of a balancer that has left were on their way',
    { forgetsDepartures: true },
    {
      shape: 261,
      steps: [
        65708, 65718, 160, 65718, 160, 131244, 65718, 160, 65718, 50332020, 398, 354, 0, 65783, 852172, 65748, 28,
      ],
    },
  ],
  [
    'a balancer has just left',
    { forgetsDepartures: true },
    {
      shape: 2185462457,
      steps: [
        2876917172, 2218720964, 2197289385, 558219472, 2294102182, 613394353, 3805769570, 3234971778, 1286370271,
        3782674158, 1011083524, 957377194, 457430266, 2166760164, 2926731245, 112607132, 3261275482,
      ],
    },
  ],
];

for (const [reason, fault, history] of RARE) {
  test(`a slot that is settled although ${reason} breaks a connection`, () => {
    assert.match(replayHistory(history, { ...NO_FAULTS, ...fault }) ?? '', /was delivered on/);
    assert.equal(replayHistory(history), null);
  });
}
