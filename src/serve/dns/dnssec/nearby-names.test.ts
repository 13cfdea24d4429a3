import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lowerName, MAX_NAME_BYTES, type Name, parentName } from '../wire/name.ts';
import { joinBytes } from '../wire/record-data.ts';
import { compareNames } from './canonical.ts';
import { nameAfterSubtree, nameBefore, nextName } from './nearby-names.ts';

const SEED = Number(process.env.PORTICO_SEED ?? Date.now() % 1_000_000);
const ZONE = Uint8Array.of(4, 122, 111, 110, 101, 0);

function nameOf(labels: readonly Uint8Array[]): Name {
  const parts = [...labels.flatMap((label) => [Uint8Array.of(label.length), label]), ZONE];
  return lowerName(
    joinBytes(
      parts,
      parts.reduce((sum, { length }) => sum + length, 0),
    ),
  );
}

/** Labels of bytes that are on an edge: 0, letters of both cases and their neighbours, 255; short and as long as can be. */
const label = fc
  .array(fc.constantFrom(0, 1, 0x2a, 0x40, 0x41, 0x5a, 0x5b, 0x61, 0x7a, 0xfe, 0xff), { minLength: 1, maxLength: 3 })
  .chain((bytes) =>
    fc.constantFrom(
      bytes,
      [...bytes, ...Array(60).fill(0xff)],
      [...bytes, ...Array(60).fill(0)],
      [...Array(62).fill(0x61), ...bytes],
    ),
  )
  .map((bytes) => Uint8Array.from(bytes.slice(0, 63)));
const name = fc
  .array(label, { minLength: 1, maxLength: 4 })
  .map(nameOf)
  .filter(({ length }) => length <= MAX_NAME_BYTES);
const subject = name.filter((each) => each.length > ZONE.length);

function isBelow(below: Name, above: Name): boolean {
  for (let each = below; each.length >= above.length; each = parentName(each)) {
    if (each.length === above.length) return compareNames(each, above) === 0;
  }
  return false;
}

test(`the next name comes right after a name, and no other can be between (seed ${SEED})`, () => {
  const property = fc.property(subject, name, (own, other) => {
    const next = nextName(own);
    assert.ok(next.length <= MAX_NAME_BYTES);
    assert.ok(compareNames(own, next) < 0);
    const isBetween = compareNames(own, other) < 0 && compareNames(other, next) < 0;
    // A name too long to have names below it is the exception that is none.
    assert.equal(isBetween, false);
  });
  fc.assert(property, { seed: SEED, numRuns: 3000 });
});

test(`a range covers a name, all below it and no other (seed ${SEED})`, () => {
  const property = fc.property(subject, name, (own, other) => {
    const [before, after] = [nameBefore(own), nameAfterSubtree(own)];
    assert.ok(before.length <= MAX_NAME_BYTES && after.length <= MAX_NAME_BYTES);
    assert.ok(compareNames(before, own) < 0, 'begins before the name');
    assert.ok(compareNames(own, after) < 0, 'ends after it');
    const isCovered = compareNames(before, other) < 0 && compareNames(other, after) < 0;
    if (isBelow(other, own)) assert.ok(isCovered, 'covers what is below');
    else if (isCovered) {
      // Only what no zone has: names below the range's own beginning, or labels filled up with 255.
      assert.ok(isBelow(other, before) || endsHigh(other), Buffer.from(other).toString('hex'));
    }
  });
  fc.assert(property, { seed: SEED, numRuns: 3000 });
});

/** The longest label that differs from others only at its end. */
function endsHigh(each: Name): boolean {
  for (let at = 0; each[at] !== 0; at += each[at] + 1) if (each[at + each[at]] === 0xff && each[at] === 63) return true;
  return false;
}

test('a range of a name that has its neighbour as parent begins there', () => {
  const parent = nameOf([Uint8Array.of(0x61)]);
  assert.deepEqual(nameBefore(nameOf([Uint8Array.of(0), Uint8Array.of(0x61)])), parent);
  // What is below "www" comes before "www\000", and is not covered.
  const www = nameOf([Uint8Array.of(0x77, 0x77, 0x77)]);
  const below = nameOf([Uint8Array.of(0x78), Uint8Array.of(0x77, 0x77, 0x77)]);
  const before = nameBefore(nameOf([Uint8Array.of(0x77, 0x77, 0x77, 0)]));
  assert.ok(compareNames(www, before) < 0);
  assert.ok(compareNames(below, before) < 0);
});
