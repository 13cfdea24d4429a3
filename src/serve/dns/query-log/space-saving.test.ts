import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../../model/random.ts';
import { SpaceSaving } from './space-saving.ts';

test('counts are never too low, too high by their error at most, and every heavy key is there', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`SEED=${seed}`);
  const random = createRandom(seed);
  for (let run = 0; run < 20; run++) {
    const capacity = 1 + (random() % 60);
    const summary = new SpaceSaving(capacity);
    const truth = new Map<string, number>();
    let total = 0;
    for (let i = 0; i < 5000; i++) {
      // Small numbers come more often than large ones.
      const key = `k${Math.floor(2 ** ((random() % 1000) / 100))}`;
      const weight = 1 + (random() % 3);
      summary.add(key, weight);
      truth.set(key, (truth.get(key) ?? 0) + weight);
      total += weight;
    }
    assert.equal(summary.total, total);
    const all = summary.top(capacity);
    assert.ok(all.length <= capacity);
    for (const { key, count, error } of all) {
      const its = truth.get(key) ?? 0;
      assert.ok(count >= its && count - error <= its, `${key}: ${count} - ${error}, truth ${its}`);
    }
    const listed = new Set(all.map(({ key }) => key));
    for (const [key, its] of truth) if (its > total / capacity) assert.ok(listed.has(key), key);
    assert.deepEqual(
      all.map(({ count }) => count),
      all.map(({ count }) => count).sort((a, b) => b - a),
    );
  }
});
