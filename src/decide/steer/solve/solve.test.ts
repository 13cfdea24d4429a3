import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { createRandom } from '../../../model/random.ts';
import { NO_SITE } from '../measured.ts';
import { compareWithHighs, type LinearSolver } from './compare-highs.ts';
import { DEFAULT_OPTIONS, type SteeringProblem } from './problem.ts';
import { solveSteering } from './solve.ts';

// Its types do not say that it is a function.
const highs: LinearSolver = await createRequire(import.meta.url)('highs')();

test('every stage reaches the optimum that HiGHS finds: 100 random problems with every kind of constraint', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = createRandom(seed);
    const { difference, text } = compareWithHighs(highs, () => random() / 2 ** 32);
    assert.ok(difference <= 1e-6, `seed ${seed}: ${text}`);
  }
});

/** Two groups, two sites, one class; 10 and 20 ms to the first site, 30 and 25 to the second. */
function smallProblem(changes: Partial<SteeringProblem>): SteeringProblem {
  return {
    groups: 2,
    sites: 2,
    classes: [{ kind: 'latency', siteLoad: 1, linkLoad: 0 }],
    demand: Float64Array.of(100, 100),
    rttMs: Float32Array.of(10, 30, 20, 25),
    siteCapacity: Float64Array.of(1000, 1000),
    linkCapacity: new Float64Array(0),
    region: new Int32Array(2),
    regions: 1,
    paths: new Int32Array(4).fill(-1),
    batchCost: new Float64Array(2),
    previous: new Int32Array(2).fill(-1),
    options: { ...DEFAULT_OPTIONS, reserve: 0, slack: 0, gap: 0, nowMs: () => 0 },
    ...changes,
  };
}

test('with room everywhere each goes to the nearest; where the nearest is full, those move that lose least', () => {
  assert.deepEqual([...solveSteering(smallProblem({})).site], [0, 0]);
  const tight = solveSteering(smallProblem({ siteCapacity: Float64Array.of(150, 1000) }));
  assert.equal(tight.site[0], 0);
  assert.deepEqual(
    new Set(tight.splits.get(1)?.map(({ site, share }) => `${site}: ${share.toFixed(6)}`)),
    new Set(['0: 0.500000', '1: 0.500000']),
  );
  assert.deepEqual([...tight.siteLoad].map(Math.round), [150, 50]);
});

test('too much demand: the least overload, where it is, and what would lessen it', () => {
  const { stages, overloads, reliefs, isComplete } = solveSteering(
    smallProblem({ siteCapacity: Float64Array.of(50, 100) }),
  );
  assert.equal(isComplete, true);
  assert.ok(Math.abs(stages[0].objective - 0.25) < 1e-9, 'a quarter of all demand finds no room');
  assert.equal(Math.round(overloads.reduce((sum, { load, room }) => sum + load - room, 0)), 50);
  assert.deepEqual(
    new Set(reliefs.map(({ kind, index, relief }) => `${kind} ${index} ${relief.toFixed(3)}`)),
    new Set(['site 0 1.000', 'site 1 1.000']),
  );
});

test('a dead site is left at once, beyond the bound on moves; an item that no site serves has none', () => {
  const problem = smallProblem({
    isDead: Uint8Array.of(1, 0),
    previous: Int32Array.of(0, 0),
    rttMs: Float32Array.of(10, 30, 20, Infinity),
  });
  const { site, moved, unserved } = solveSteering({ ...problem, options: { ...problem.options, maxMoved: 0.01 } });
  assert.deepEqual([...site], [1, NO_SITE]);
  assert.equal(moved, 0);
  assert.equal(unserved, 1);
});

test('no more demand moves than is allowed', () => {
  const problem = smallProblem({ previous: Int32Array.of(1, 1) });
  const { site, splits, moved } = solveSteering({ ...problem, options: { ...problem.options, maxMoved: 0.25 } });
  assert.ok(Math.abs(moved - 0.25) < 1e-9, `moved ${moved}`);
  assert.equal(site[1], 1);
  assert.equal(splits.get(0)?.length, 2, 'half of the group that gains more');
});

test('stickiness keeps a group where it is until the other site is better by more than that', () => {
  const spec = { kind: 'latency', siteLoad: 1, linkLoad: 0 } as const;
  const previous = Int32Array.of(1, 1);
  assert.deepEqual([...solveSteering(smallProblem({ previous, classes: [{ ...spec, stickiness: 10 }] })).site], [0, 1]);
});

test('the same problem again, from the prices of the solution, gives the same loads', () => {
  const problem = smallProblem({ siteCapacity: Float64Array.of(150, 1000) });
  const first = solveSteering(problem);
  const again = solveSteering(problem, first.prices);
  assert.deepEqual(again.siteLoad.map(Math.round), first.siteLoad.map(Math.round));
});
