import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Assignment, assignUnits, predictShares, type Unit, type WeightedPart } from './assign.ts';

const parts = (...weights: number[]): WeightedPart[] => weights.map((weight, index) => ({ name: `s${index}`, weight }));
const NONE: ReadonlyMap<string, readonly string[]> = new Map();
const options = { seed: 'www', splitShare: 0.05, previous: NONE };

/** Demand of resolvers is very unequal: Zipf's law. */
const zipf = (count: number, exponent = 1): Unit[] =>
  Array.from({ length: count }, (_, i) => ({
    key: `10.0.${i >> 8}.${i & 255}/32`,
    demand: 1000 / (i + 1) ** exponent,
  }));

function named(assignment: Assignment, list: readonly WeightedPart[]): Map<string, readonly string[]> {
  return new Map([...assignment].map(([key, indexes]) => [key, indexes.map((index) => list[index].name)]));
}

function movedDemand(
  units: readonly Unit[],
  before: Map<string, readonly string[]>,
  after: Map<string, readonly string[]>,
): number {
  const total = units.reduce((sum, { demand }) => sum + demand, 0);
  const moved = units.filter(({ key }) => before.get(key)?.toSorted().join() !== after.get(key)?.toSorted().join());
  return moved.reduce((sum, { demand }) => sum + demand, 0) / total;
}

function errorOf(units: readonly Unit[], list: readonly WeightedPart[], assignment: Assignment): number {
  const sum = list.reduce((all, { weight }) => all + weight, 0);
  const shares = predictShares(units, list.length, assignment);
  return Math.max(...shares.map((share, index) => Math.abs(share - list[index].weight / sum)));
}

test('unequal units meet the weights to within a point', () => {
  const units = zipf(1000);
  for (const weights of [
    [60, 40],
    [1, 1, 1],
    [50, 30, 15, 5],
    [97, 3],
  ]) {
    const list = parts(...weights);
    assert.ok(errorOf(units, list, assignUnits(units, list, options)) < 0.005, weights.join());
  }
});

test('the same again moves nothing; another weight moves little more than the difference', () => {
  const units = zipf(1000);
  const before = parts(60, 30, 10);
  const first = named(assignUnits(units, before, options), before);
  assert.equal(
    movedDemand(units, first, named(assignUnits(units, before, { ...options, previous: first }), before)),
    0,
  );
  const after = parts(55, 30, 15);
  const second = named(assignUnits(units, after, { ...options, previous: first }), after);
  const moved = movedDemand(units, first, second);
  assert.ok(moved > 0.04 && moved < 0.06, String(moved));
  // Demand that changed a little moves nobody.
  const grown = units.map(({ key, demand }, index) => ({ key, demand: demand * (1 + ((index * 7) % 5) / 1000) }));
  assert.equal(
    movedDemand(grown, second, named(assignUnits(grown, after, { ...options, previous: second }), after)),
    0,
  );
});

test('a part that goes leaves its units to the others, and theirs stay', () => {
  const units = zipf(500);
  const before = parts(40, 40, 20);
  const first = named(assignUnits(units, before, options), before);
  const after = parts(40, 40, 0);
  const second = named(assignUnits(units, after, { ...options, previous: first }), after);
  for (const [key, names] of second) {
    const had = first.get(key) ?? [];
    if (had.join() !== 's2' && had.length === 1 && names.length === 1) assert.deepEqual(names, had);
  }
  assert.ok(errorOf(units, after, assignUnits(units, after, { ...options, previous: first })) < 0.01);
});

test('only a unit above the stated share is split', () => {
  const units = [{ key: 'huge', demand: 50 }, ...zipf(200).map(({ key, demand }) => ({ key, demand: demand / 100 }))];
  const list = parts(1, 1, 1);
  const assignment = assignUnits(units, list, options);
  assert.ok((assignment.get('huge')?.length ?? 0) > 1);
  for (const [key, indexes] of assignment)
    assert.ok(key === 'huge' || indexes.length === 1 || key.endsWith('.0/32'), key);
  assert.ok(errorOf(units, list, assignment) < 0.01);
});

test('any units and weights: everyone is somewhere, what was the outcome stays, no unit larger than the gap is wrong', () => {
  const unit = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.double({ min: 0.001, max: 1000, noNaN: true }));
  const weights = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 60 }), weights, (list, numbers) => {
      fc.pre(numbers.some((weight) => weight > 0));
      const units = [...new Map(list.map(([id, demand]) => [`u${id}`, demand]))].map(([key, demand]) => ({
        key,
        demand,
      }));
      const shares = parts(...numbers);
      const assignment = assignUnits(units, shares, options);
      assert.equal(assignment.size, units.length);
      for (const indexes of assignment.values()) {
        assert.equal(new Set(indexes).size, indexes.length);
        for (const index of indexes) assert.ok(numbers[index] > 0);
      }
      const kept = named(assignment, shares);
      assert.deepEqual(named(assignUnits(units, shares, { ...options, previous: kept }), shares), kept);
      // Whatever the sizes: no part is farther above its weight than the largest whole unit, where no unit is split.
      const total = units.reduce((sum, { demand }) => sum + demand, 0);
      const largest = Math.max(0, ...units.map(({ demand }) => demand / total));
      if (largest > 0 && largest <= options.splitShare)
        assert.ok(errorOf(units, shares, assignment) <= largest + 0.005);
    }),
    { numRuns: 300 },
  );
});
