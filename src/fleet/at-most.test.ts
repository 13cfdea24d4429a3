import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { forEachAtMost } from './at-most.ts';

test('all are worked on, never more than the limit at a time, also when one fails', async () => {
  let running = 0;
  let most = 0;
  const done: number[] = [];
  const work = async (item: number): Promise<void> => {
    most = Math.max(most, ++running);
    await turn();
    running--;
    done.push(item);
    if (item === 3) throw new Error('three');
  };
  await assert.rejects(forEachAtMost(4, [...Array(20).keys()], work), /three/);
  assert.equal(done.length, 20);
  assert.equal(most, 4);
  await forEachAtMost(4, [], work);
});
