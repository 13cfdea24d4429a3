import assert from 'node:assert/strict';
import { test } from 'node:test';
import { populateTable } from '../decide/maglev.ts';
import { SharedTables } from './shared-tables.ts';

const members = (...weights: number[]) => weights.map((weight, i) => ({ name: `b${i}`, index: i + 1, weight }));

test('services with the same backends share a table, in whatever order they are named', () => {
  const tables = new SharedTables();
  const table = tables.of(101, members(1, 2, 3));
  assert.deepEqual(table, populateTable(101, members(1, 2, 3)));
  assert.equal(tables.of(101, members(1, 2, 3).reverse()), table);
  assert.notEqual(tables.of(101, members(1, 2, 4)), table);
  assert.notEqual(tables.of(103, members(1, 2, 3)), table);
  assert.ok(tables.of(101, []).every((index) => index === 0));
});

test('whom a table names, and where two differ', () => {
  const tables = new SharedTables();
  const [before, after] = [tables.of(101, members(1, 2, 3)), tables.of(101, members(1, 2))];
  const both = [...tables.difference(before, after), ...tables.difference(before, after)];
  const due = [...before.keys()].filter((slot) => before[slot] !== after[slot]);
  assert.deepEqual(both, [...due, ...due]);
  assert.deepEqual([...tables.difference(after, before)], due);
  assert.deepEqual([...tables.serving(after)], [1, 2]);
  assert.deepEqual([...tables.serving(tables.of(101, []))], []);
});

test('only the tables that were used last are kept', () => {
  const tables = new SharedTables();
  const first = tables.of(7, members(1));
  for (let weight = 2; weight < 200; weight++) tables.of(7, members(1, weight));
  assert.notEqual(tables.of(7, members(1)), first);
});
