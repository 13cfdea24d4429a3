import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SteeringView } from './nearest.ts';
import { type Choice, choices, MAX_CYCLE, type Plan, spreadOrder } from './plan.ts';

const SERVICE = { service: 'www', sites: ['a', 'b', 'c', 'd'], nothingHealthy: 'last' } as const;
const first = (...sites: number[]): Plan => ({ kind: 'first', sites });

function view(down: string[] = [], full: string[] = [], was: string[] = []): SteeringView {
  return {
    siteUp: (_, site) => !down.includes(site),
    siteFull: (_, site) => full.includes(site),
    siteWasUp: (_, site) => was.includes(site),
  };
}

const told = (cycle: readonly Choice[]) => cycle.map(({ sites }) => sites.map((site) => SERVICE.sites[site]).join('+'));
const resolved = (plan: Plan, now: SteeringView) => {
  const { cycle, reason } = choices(SERVICE, plan, now);
  return `${told(cycle).join(' ')} ${reason}`;
};

test('the first open site of an order is told', () => {
  const plan = first(2, 0, 1);
  assert.equal(resolved(plan, view()), 'c free');
  assert.equal(resolved(plan, view(['c'])), 'a free');
  assert.equal(resolved(plan, view(['c'], ['a'])), 'b free');
  assert.equal(resolved(plan, view([], ['a', 'b', 'c'])), 'c full');
  assert.equal(resolved(plan, view(['c'], ['a', 'b'])), 'a full');
});

test('with nothing healthy, all sites count as up, or those that were when the last one went', () => {
  const plan = first(2, 0, 1);
  assert.equal(resolved(plan, view(['a', 'b', 'c'])), 'c static');
  assert.equal(resolved(plan, view(['a', 'b', 'c'], [], ['b'])), 'b static');
  assert.equal(resolved(first(2), view(['a', 'b', 'c'], [], ['b'])), 'c static', 'none of the plan was up');
  const { cycle } = choices({ ...SERVICE, nothingHealthy: 'all' }, plan, view(['a', 'b', 'c'], [], ['b']));
  assert.deepEqual(told(cycle), ['c']);
});

test('a failover leaves a part only when none of its sites is open', () => {
  const plan: Plan = { kind: 'failover', parts: [first(0, 1), { kind: 'together', parts: [first(2), first(3)] }] };
  assert.equal(resolved(plan, view()), 'a free');
  assert.equal(resolved(plan, view(['a'])), 'b free');
  assert.equal(resolved(plan, view(['a', 'b'])), 'c+d d+c free');
  assert.equal(resolved(plan, view(['a', 'b'], ['c'])), 'd free');
  assert.equal(resolved(plan, view(['a', 'b', 'c', 'd'])), 'a static');
});

test('spread answers keep the weights, and those of a dead part go to the others', () => {
  const plan: Plan = {
    kind: 'spread',
    parts: [
      { plan: first(0), weight: 2 },
      { plan: first(1), weight: 1 },
      { plan: first(2), weight: 1 },
    ],
  };
  assert.equal(resolved(plan, view()), 'a b c a free');
  assert.equal(resolved(plan, view(['a'])), 'b c free');
  assert.equal(resolved(plan, view(['b'])), 'a c a free');
  const nested: Plan = {
    kind: 'spread',
    parts: [
      { plan, weight: 1 },
      { plan: first(3), weight: 1 },
    ],
  };
  const counts = new Map<string, number>();
  for (const site of told(choices(SERVICE, nested, view()).cycle)) counts.set(site, (counts.get(site) ?? 0) + 1);
  assert.deepEqual([...counts].sort(), [
    ['a', 2],
    ['b', 1],
    ['c', 1],
    ['d', 4],
  ]);
});

test('sites that are told together take turns, each once in an answer', () => {
  const plan: Plan = { kind: 'together', parts: [first(0), first(1), first(1, 2)] };
  assert.equal(resolved(plan, view()), 'a+b b+a free');
  assert.equal(resolved(plan, view(['b'])), 'a+c c+a free');
  assert.equal(resolved(plan, view(['a', 'b', 'c'])), 'a+b b+a static');
});

test('at any time every weight had its share to within a turn, and after 10,000 answers to 0.1 point', () => {
  const list = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(list, (numbers) => {
      const sum = numbers.reduce((total, number) => total + number, 0);
      const weights = numbers.map((number) => number / sum);
      const order = spreadOrder(weights);
      assert.ok(order.length <= MAX_CYCLE);
      const shares = weights.map((_, index) => order.filter((turn) => turn === index).length / order.length);
      const had = weights.map(() => 0);
      for (let answer = 0; answer < 10_000; answer++) {
        had[order[answer % order.length]]++;
        // Begun in the middle of a cycle it may be another turn; here from its beginning.
        for (let i = 0; i < had.length; i++) assert.ok(Math.abs(had[i] - shares[i] * (answer + 1)) < 1);
      }
      for (let i = 0; i < had.length; i++) assert.ok(Math.abs(had[i] / 10_000 - weights[i]) <= 0.001, `${numbers}`);
    }),
    { numRuns: 60 },
  );
});
