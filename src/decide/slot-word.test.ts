import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_SILENCE_TICKS, silenceTicks, slotFields, slotHigh, slotLow, tickOf } from './slot-word.ts';

const index = fc.integer({ min: 0, max: 0xfff });
const generation = fc.integer({ min: 0, max: 0xffff });

test('a slot word holds five fields and gives them back', () => {
  fc.assert(
    fc.property(index, index, index, generation, index, (current, previous, third, generation, tick) => {
      const low = slotLow(current, previous, third);
      const high = slotHigh(third, generation, tick);
      assert.deepEqual(slotFields(low, high), { current, previous, third, generation, tick });
      const word = (BigInt(high) << 32n) | BigInt(low);
      const expected = [current, previous << 0, third, generation, tick].reduceRight(
        (sum, field, i) => (sum << (i === 3 ? 16n : 12n)) | BigInt(field),
        0n,
      );
      assert.equal(word, expected);
    }),
  );
});

test('the tick of an unsettled slot is never 0', () => {
  assert.equal(tickOf(0x30000), 1);
  assert.equal(tickOf(0x30007), 7);
  assert.equal(tickOf(0xfff), 0xfff);
});

test('silence told by a tick is never longer than it was, whatever passes and whosever clock is ahead', () => {
  const ticks = fc.integer({ min: 5000, max: 2 ** 31 });
  fc.assert(
    fc.property(ticks, fc.integer({ min: -3, max: 20_000 }), (written, passed) => {
      const silence = silenceTicks(written + passed, tickOf(written));
      assert.ok(silence <= Math.max(0, passed), `${silence} after ${passed}`);
    }),
    { numRuns: 5000 },
  );
});

test('and within its range it is at most one tick shorter', () => {
  for (let passed = 0; passed <= MAX_SILENCE_TICKS; passed++)
    for (const written of [8192, 8191, 8190, 12_345])
      assert.ok(silenceTicks(written + passed, tickOf(written)) >= passed - 1);
});
