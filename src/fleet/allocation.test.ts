import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allocation } from './allocation.ts';

test('a name keeps its number, and two names never share one', () => {
  const numbers = new Allocation(4);
  assert.equal(numbers.allocate('a'), 1);
  assert.equal(numbers.allocate('b'), 2);
  assert.equal(numbers.allocate('a'), 1);
  assert.equal(numbers.nameOf(2), 'b');
});

test('a retired number is given out again only after its release', () => {
  const numbers = new Allocation(3);
  numbers.allocate('a');
  numbers.allocate('b');
  assert.equal(numbers.allocate('c'), null);
  const freed = numbers.retire('a');
  assert.equal(freed, 1);
  assert.equal(numbers.allocate('c'), null);
  numbers.release(1);
  assert.equal(numbers.allocate('c'), 1);
});

test('adopting refuses a number that another name has', () => {
  const numbers = new Allocation(10);
  assert.equal(numbers.adopt('a', 5), true);
  assert.equal(numbers.adopt('b', 5), false);
  assert.equal(numbers.adopt('a', 5), true);
  assert.equal(numbers.adopt('c', 10), false);
});

test('a number goes on under another name', () => {
  const numbers = new Allocation(10);
  numbers.allocate('a');
  numbers.allocate('b');
  assert.equal(numbers.rename('a', 'b'), false);
  assert.equal(numbers.rename('x', 'y'), false);
  assert.equal(numbers.rename('a', 'c'), true);
  assert.deepEqual([numbers.numberOf('c'), numbers.nameOf(1), numbers.numberOf('a')], [1, 'c', undefined]);
  assert.equal(numbers.allocate('a'), 3);
});
