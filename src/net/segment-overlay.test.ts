import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maskAddress, prefixContains } from './address.ts';
import { type AddressSegments, flattenPrefixes, PrefixColumns } from './address-segments.ts';
import { NO_VALUE } from './prefix-map.ts';
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
    // Many with the same first words.
    bytes: bytes.map((random) => random.map((byte, index) => (family === 4 || index % 7 === 0 ? byte & 0x81 : 0))),
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

function longest(family: 4 | 6, entries: readonly Entry[], bytes: Uint8Array): number {
  let best: Entry | null = null;
  for (const each of entries) {
    const { length } = each;
    const prefix = { address: maskAddress({ family, bytes: each.bytes }, length), length };
    if (prefixContains(prefix, { family, bytes }) && (best === null || length >= best.length)) best = each;
  }
  return best?.value ?? NO_VALUE;
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
          const there = lists.map((entries) => longest(family, entries, bytes));
          assert.equal(row.values[segmentAt(row, bytes)], seen.get(there.join()));
        }
        for (let i = 1; i < row.count; i++) assert.notEqual(row.values[i], row.values[i - 1]);
      }),
      { numRuns: 500 },
    );
  }
});
