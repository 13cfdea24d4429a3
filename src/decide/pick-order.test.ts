import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pickOrder } from './pick-order.ts';

const turns = (...weights: number[]) => weights.map((weight, i) => ({ name: `b${i}`, index: i + 1, weight }));

test('equal weights take turns by name, whatever the scale', () => {
  assert.deepEqual([...pickOrder(turns(1, 1, 1), 4096)], [1, 2, 3]);
  assert.deepEqual([...pickOrder(turns(700, 700), 4096)], [1, 2]);
  assert.deepEqual([...pickOrder(turns(0.3), 4096)], [1]);
  assert.deepEqual([...pickOrder([], 4096)], []);
});

test('a heavy member has its turns spread over the round', () => {
  assert.deepEqual([...pickOrder(turns(5, 1, 1), 4096)], [1, 1, 2, 1, 3, 1, 1]);
  assert.deepEqual([...pickOrder(turns(100, 20, 20), 4096)], [1, 1, 2, 1, 3, 1, 1]);
});

test('in a round each has the turns of its weight, and never much more or less on the way', () => {
  const weight = fc.integer({ min: 1, max: 40 });
  fc.assert(
    fc.property(fc.array(weight, { minLength: 1, maxLength: 12 }), (weights) => {
      const order = pickOrder(turns(...weights), 4096);
      const sum = weights.reduce((all, one) => all + one, 0);
      const counts = weights.map(() => 0);
      order.forEach((index, turn) => {
        counts[index - 1] = (counts[index - 1] as number) + 1;
        weights.forEach((one, i) => {
          const due = ((turn + 1) * one) / sum;
          assert.ok(Math.abs((counts[i] as number) - due) < weights.length, `${counts[i]} turns, due ${due}`);
        });
      });
      weights.forEach((one, i) => {
        assert.equal((counts[i] as number) * sum, one * order.length);
      });
    }),
  );
});

test('weights in any scale fit into the limit', () => {
  const order = pickOrder(turns(0.001, 0.002, 1e6, 2e6), 30);
  assert.equal(order.length, 30);
  assert.deepEqual([...order].filter((index) => index === 4).length, 20);
});
