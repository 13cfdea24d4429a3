import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DelayQueue } from './delay-queue.ts';

test('a packet leaves when its time has come and not before', () => {
  const queue = new DelayQueue(4);
  queue.push(100, 20);
  assert.equal(queue.firstDue(19.9), -1);
  assert.equal(queue.untilDueMs(15), 5);
  assert.equal(queue.firstDue(20), 0);
  assert.equal(queue.lengthOf(0), 100);
  assert.equal(queue.untilDueMs(25), 0);
});

test('packets leave in the order in which they came, around the end of the ring', () => {
  const queue = new DelayQueue(2);
  const left: number[] = [];
  for (let length = 1; length <= 5; length++) {
    queue.push(length, 0);
    const slot = queue.firstDue(0);
    left.push(queue.lengthOf(slot));
    queue.shift();
  }
  assert.deepEqual(left, [1, 2, 3, 4, 5]);
  assert.equal(queue.untilDueMs(0), Number.POSITIVE_INFINITY);
});

test('a full queue has no free slot until one is given up', () => {
  const queue = new DelayQueue(2);
  queue.push(1, 0);
  queue.push(2, 0);
  assert.equal(queue.nextFree(), -1);
  assert.throws(() => queue.push(3, 0), /full/);
  queue.shift();
  assert.equal(queue.nextFree(), 0);
});

test('a queue whose size is no power of two is refused', () => {
  assert.throws(() => new DelayQueue(3), /power of two, not 3/);
});
