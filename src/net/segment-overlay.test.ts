import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AddressSegments, flattenPrefixes, PrefixColumns } from './address-segments.ts';
import { overlaySegments, segmentAt } from './segment-overlay.ts';

interface Entry {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly value: number;
}

function layers(family: 4 | 6): fc.Arbitrary<Entry[][]> {
  const size = family === 4 ? 4 : 16;
  const bytes = fc.uint8Array({ minLength: size, maxLength: size });
  const entry = fc.record({
    bytes: bytes.map((random) => random.map((byte) => byte & 0x81)),
    length: fc.nat(size * 8),
    value: fc.nat(3),
  });
  return fc.array(fc.array(entry, { maxLength: 12 }), { minLength: 1, maxLength: 3 });
}

function flatten(family: 4 | 6, entries: readonly Entry[]): AddressSegments {
  const list = new PrefixColumns(family);
  for (const { bytes, length, value } of entries) list.add(bytes, 0, length, value);
  return flattenPrefixes(list);
}

test('a row of several layers has at every address what the layers have there, and no segment too many', () => {
  for (const family of [4, 6] as const) {
    const size = family === 4 ? 4 : 16;
    const asked = fc.array(fc.uint8Array({ minLength: size, maxLength: size }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(layers(family), asked, (lists, random) => {
        const rows = lists.map((entries) => flatten(family, entries));
        const seen = new Map<string, number>();
        const row = overlaySegments(rows, (values) => {
          const key = values.join();
          const number = seen.get(key) ?? seen.size;
          seen.set(key, number);
          return number;
        });
        for (const bytes of [...random, ...lists.flat().map((entry) => entry.bytes)]) {
          const there = rows.map((each) => each.values[segmentAt(each, bytes)]);
          assert.equal(row.values[segmentAt(row, bytes)], seen.get(there.join()));
        }
        for (let i = 1; i < row.count; i++) assert.notEqual(row.values[i], row.values[i - 1]);
      }),
      { numRuns: 500 },
    );
  }
});
