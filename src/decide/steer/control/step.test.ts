import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MeasuredMap, SiteShare } from '../measured.ts';
import { secondsUntil, survival } from './decay.ts';
import { DEFAULT_CONTROL_LIMITS, ITEM_STATES, MoveBudget, type SiteDrain } from './limits.ts';
import { byValue } from './move-order.ts';
import { PredictedLoad } from './predicted-load.ts';
import { nextStep, type StepInput } from './step.ts';

const MODEL = {
  sites: 3,
  links: 0,
  classes: 1,
  siteLoad: Float64Array.of(1),
  linkLoad: Float64Array.of(0),
  paths: new Int32Array(6).fill(-1),
};

function loadOf(demand: readonly number[], ttlSeconds = 60): PredictedLoad {
  const load = new PredictedLoad(MODEL);
  load.setColumns({
    groups: Uint32Array.from(demand, (_, index) => index),
    region: new Int32Array(demand.length),
    demand: Float64Array.from(demand),
    ttlSeconds: new Float32Array(demand.length).fill(ttlSeconds),
    lateShare: new Float32Array(demand.length),
    lateSeconds: new Float32Array(demand.length),
  });
  return load;
}

function mapOf(site: readonly number[], splits: readonly [number, readonly SiteShare[]][] = []): MeasuredMap {
  const groups = Uint32Array.from(site, (_, index) => index);
  return { version: 1, groups, classes: 1, site: Uint16Array.from(site), splits: new Map(splits) };
}

/** Costs: site 0 is cheapest, then 1, then 2. */
function inputOf(load: PredictedLoad, target: MeasuredMap, more: Partial<StepInput> = {}): StepInput {
  return {
    target,
    load,
    capacity: { site: Float64Array.of(100, 100, 100), link: new Float64Array(0) },
    health: { up: Uint8Array.of(1, 1, 1), upSinceMs: new Float64Array(3).fill(-Infinity), drains: new Map() },
    limits: DEFAULT_CONTROL_LIMITS,
    budget: new MoveBudget(),
    cost: (_item, site) => 10 + 10 * site,
    nowMs: 1_000_000,
    ...more,
  };
}

const statesOf = (states: Uint8Array): string[] => [...states].map((state) => ITEM_STATES[state]);
const healthOf = (
  up: readonly number[],
  upSinceMs: readonly number[],
  drains: readonly [number, SiteDrain][] = [],
) => ({
  up: Uint8Array.from(up),
  upSinceMs: Float64Array.from(upSinceMs),
  drains: new Map(drains),
});

test('answers of before fall along a line to the late share, which fades', () => {
  const decay = { ttlSeconds: 100, lateShare: 0.2, lateSeconds: 50 };
  for (const [seconds, share] of [
    [0, 1],
    [50, 0.6],
    [100, 0.2],
  ])
    assert.ok(Math.abs(survival(decay, seconds) - share) < 1e-12);
  assert.ok(Math.abs(survival(decay, 150) - 0.2 / Math.E) < 1e-12);
  for (const share of [0.9, 0.2, 0.05]) assert.ok(Math.abs(survival(decay, secondsUntil(decay, share)) - share) < 1e-9);
});

test('users are predicted where answers of before send them, the oldest leaving first', () => {
  const load = loadOf([10]);
  load.answered(mapOf([0]), 0);
  load.answered(mapOf([1]), 1_000_000);
  load.answered(mapOf([2]), 1_030_000);
  const at = (seconds: number) =>
    [...load.profile(1_030_000, Float64Array.of(seconds)).site].map((x) => Math.round(x * 1e6) / 1e6);
  assert.deepEqual(at(0), [5, 5, 0]);
  assert.deepEqual(at(15), [2.5, 5, 2.5]);
  assert.deepEqual(at(45), [0, 2.5, 7.5]);
  assert.deepEqual(at(Infinity), [0, 0, 10]);
});

test('users add up at every time, whatever was answered', () => {
  const load = loadOf([7, 5]);
  for (let round = 0; round < 9; round++) {
    const split = [
      { site: round % 3, share: 0.25 },
      { site: (round + 1) % 3, share: 0.75 },
    ];
    load.answered(mapOf([round % 3, 0], round % 2 === 0 ? [[1, split]] : []), round * 5000);
    for (const ahead of [0, 3, 20, 59, 61]) {
      const sum = load.profile(round * 5000, Float64Array.of(ahead)).site.reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(sum - 12) < 1e-9, `round ${round}, ${ahead} s ahead: ${sum}`);
    }
  }
  assert.ok(load.mergedCount > 0);
});

test('groups that stay keep what was answered to them when others come and go', () => {
  const load = loadOf([10, 20, 30]);
  load.answered(mapOf([0, 1, 2]), 0);
  load.answered(mapOf([0, 2, 2]), 60_000);
  const columns = load.columns;
  load.setColumns({ ...columns, groups: Uint32Array.of(1, 2, 9), demand: Float64Array.of(20, 30, 5) });
  assert.deepEqual([...load.profile(90_000, Float64Array.of(0)).site], [0, 10, 40]);
});

test('demand that grew everywhere scales the prediction; users whom no answer explains stay where they are', () => {
  const load = loadOf([50, 50]);
  load.answered(mapOf([0, 1]), 0);
  for (let now = 0; now < 300_000; now += 10_000) load.correct(Float64Array.of(75, 75, Number.NaN), now);
  assert.ok(Math.abs(load.scale - 1.5) < 0.01);
  for (let now = 300_000; now < 900_000; now += 10_000) load.correct(Float64Array.of(50, 50, 20), now);
  assert.ok(load.profile(900_000, Float64Array.of(0)).site[2] > 15);
  assert.ok(load.profile(900_000, Float64Array.of(Infinity)).site[2] < 12, 'it may still fade');
});

test('a dead site is left at once, to sites with room, and to the least full one where there is none', () => {
  const load = loadOf([50, 40, 60, 30]);
  load.answered(mapOf([0, 0, 0, 2]), 0);
  const step = nextStep(inputOf(load, mapOf([0, 0, 0, 2]), { health: healthOf([0, 1, 1], [0, -Infinity, -Infinity]) }));
  assert.deepEqual([...step.map.site], [1, 1, 2, 2]);
  assert.ok(Math.abs(step.movedShare['site is down'] - 150 / 180) < 1e-9);
});

test('a site that came back is filled by its ramp', () => {
  const load = loadOf(Array.from({ length: 80 }, () => 1));
  load.answered(mapOf(Array.from({ length: 80 }, () => 1)), 0);
  const target = mapOf(Array.from({ length: 80 }, () => 0));
  const limits = { ...DEFAULT_CONTROL_LIMITS, stepShare: 1, hourShare: 10 };
  const moved: number[] = [];
  for (let minute = 0; minute < 8; minute++) {
    const nowMs = 1_000_000 + minute * 60_000;
    const health = healthOf([1, 1, 1], [1_000_000, -Infinity, -Infinity]);
    const step = nextStep(inputOf(load, target, { health, limits, nowMs }));
    load.answered(step.map, nowMs);
    moved.push([...step.map.site].filter((site) => site === 0).length);
    assert.ok(load.profile(nowMs, Float64Array.of(0)).site[0] <= 100 * (0.1 + 0.1 * minute));
    if (minute === 0) assert.ok(statesOf(step.states).includes('site recovers'));
  }
  assert.ok(moved[0] > 0 && moved[0] <= 30 && moved[7] === 80, moved.join());
});

test('a drained site is emptied evenly in the time that the operator gave, and of all at its end', () => {
  const load = loadOf(Array.from({ length: 90 }, () => 1));
  const here = mapOf(Array.from({ length: 90 }, () => 0));
  load.answered(here, 0);
  const left = [0, 150_000, 300_000, 600_000].map((afterMs) => {
    const health = healthOf(
      [1, 1, 1],
      [-Infinity, -Infinity, -Infinity],
      [[0, { sinceMs: 1_000_000, overMs: 600_000 }]],
    );
    const step = nextStep(inputOf(load, here, { health, nowMs: 1_000_000 + afterMs }));
    load.answered(step.map, 1_000_000 + afterMs);
    return [...step.map.site].filter((site) => site === 0).length;
  });
  assert.ok(left[0] >= 88 && Math.abs(left[1] - 67) < 12 && Math.abs(left[2] - 45) < 12 && left[3] === 0, left.join());
});

test('nothing moves where it would be too full at any time, with users who are still to leave', () => {
  const load = loadOf([60, 90, 40]);
  // The second group has just been moved from site 1 to site 2: site 1 is full for most of a TTL.
  load.answered(mapOf([0, 1, 2]), 0);
  load.answered(mapOf([0, 2, 2]), 1_000_000);
  const cost = (item: number, site: number) => (item === 0 ? [50, 10, 90][site] : 10);
  const capacity = { site: Float64Array.of(100, 100, 200), link: new Float64Array(0) };
  const more = { cost, capacity, limits: { ...DEFAULT_CONTROL_LIMITS, stepShare: 1 } };
  const tight = loadOf([60, 90, 40]);
  tight.setColumns({ ...tight.columns, ttlSeconds: Float32Array.of(5, 60, 60) });
  tight.answered(mapOf([0, 1, 2]), 0);
  tight.answered(mapOf([0, 2, 2]), 1_000_000);
  const held = nextStep(inputOf(tight, mapOf([1, 2, 2]), more));
  assert.deepEqual(statesOf(held.states)[0], 'no room at the site');
  // Both are equally slow: what comes and what goes fit at every time.
  assert.deepEqual(statesOf(nextStep(inputOf(load, mapOf([1, 2, 2]), more)).states)[0], 'better');
});

test('the largest gains move first, within the step and the hour; small ones and what was moved lately do not', () => {
  const load = loadOf([10, 10, 10, 10, 10]);
  load.answered(mapOf([1, 1, 1, 1, 1]), 0);
  const gains = [5, 30, 20, 1, 40];
  const cost = (item: number, site: number) => (site === 1 ? 20 + gains[item] : site === 0 ? 20 : 99);
  const budget = new MoveBudget();
  const limits = { ...DEFAULT_CONTROL_LIMITS, stepShare: 0.4, hourShare: 0.6 };
  const target = mapOf([0, 0, 0, 0, 0]);
  const first = nextStep(inputOf(load, target, { cost, budget, limits }));
  assert.deepEqual(statesOf(first.states), ['step is full', 'better', 'step is full', 'too little gain', 'better']);
  load.answered(first.map, 1_000_000);
  const second = nextStep(inputOf(load, target, { cost, budget, limits, nowMs: 1_010_000 }));
  assert.deepEqual(statesOf(second.states).slice(0, 3), ['hour is full', 'at its target', 'better']);
  load.answered(second.map, 1_010_000);
  const back = nextStep(inputOf(load, mapOf([1, 1, 1, 1, 1]), { cost: (_, site) => 50 - site * 20, nowMs: 1_020_000 }));
  assert.deepEqual(statesOf(back.states).slice(1, 3), ['moved lately', 'moved lately']);
});

test('order by value is right to within a bucket', () => {
  const values = Float64Array.from({ length: 1000 }, (_, n) => ((n * 7919) % 1000) + 0.5);
  const ordered = byValue(Uint32Array.from(values.keys()), values, 1000);
  for (let n = 1; n < 1000; n++) assert.ok(values[ordered[n]] <= values[ordered[n - 1]] * 1.05);
});
