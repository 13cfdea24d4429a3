import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragmentOwners } from './fragment-owners.ts';

const NAMES = ['b1', 'b2', 'b3'];
const named = (table: Uint16Array, self: string): string[] =>
  [...table].map((index) => (index === 0 ? self : (NAMES[index - 1] as string)));

test('all balancers of a site name the same owners, and share the work', () => {
  const live = new Set(NAMES);
  const [first, ...others] = NAMES.map((self) => named(fragmentOwners(251, NAMES, live, self), self));
  for (const other of others) assert.deepEqual(other, first);
  for (const name of NAMES) assert.ok((first as string[]).filter((one) => one === name).length >= 80);
});

test('who does not live owns nothing, and gives up nothing but its own', () => {
  const all = named(fragmentOwners(251, NAMES, new Set(NAMES), 'b1'), 'b1');
  const two = named(fragmentOwners(251, NAMES, new Set(['b1', 'b3']), 'b1'), 'b1');
  assert.ok(!two.includes('b2'));
  const moved = all.filter((owner, slot) => owner !== 'b2' && owner !== two[slot]).length;
  assert.ok(moved < 25, `${moved} slots of others moved`);
  // One that draws no packets itself may still get some.
  assert.ok(named(fragmentOwners(251, NAMES, new Set(['b1', 'b3']), 'b2'), 'b2').every((owner) => owner !== 'b2'));
});

test('alone, or when nobody lives, a balancer keeps every fragment', () => {
  assert.ok(fragmentOwners(251, NAMES, new Set(['b1']), 'b1').every((index) => index === 0));
  assert.ok(fragmentOwners(251, NAMES, new Set(), 'b1').every((index) => index === 0));
});
