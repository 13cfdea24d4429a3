import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HandedUp } from './engine.ts';
import type { Home } from './fragments.ts';
import { HeldFragments, type HoldLimits } from './held-fragments.ts';

const LIMITS: HoldLimits = {
  lifetimeMs: 1000,
  fragments: 40,
  bytes: 4000,
  fragmentsPerPrefix: 10,
  bytesPerPrefix: 1500,
};

function fragment(datagram: number, region: number, bytes = 50, number = 0): HandedUp {
  return {
    reason: 'early',
    bucket: region,
    datagramLow: datagram,
    datagramHigh: 7,
    check: number,
    subject: 1,
    backend: 0,
    key: 0,
    flowLabel: 0,
    ingressIfindex: 1,
    region,
    frame: new Uint8Array(bytes),
  };
}

const home = (backend: number): Home => ({ backend, port: 53, isTcp: false });
const nobody = (): null => null;

test('a fragment waits for the first of its datagram and is released when that has come', () => {
  const held = new HeldFragments(LIMITS);
  assert.equal(held.hold(fragment(1, 5), 0), 'held');
  assert.equal(held.hold(fragment(2, 5), 0), 'held');
  assert.deepEqual(held.release(nobody, 10), { released: [], expired: 0 });
  const { released } = held.release(({ datagramLow }) => (datagramLow === 2 ? home(9) : null), 20);
  assert.deepEqual(
    released.map(({ fragment, home: { backend } }) => [fragment.datagramLow, backend]),
    [[2, 9]],
  );
  assert.equal(held.size, 1);
});

test('what has waited for its time is thrown away, counted from the first that was held of the datagram', () => {
  const held = new HeldFragments(LIMITS);
  held.hold(fragment(1, 5), 0);
  held.hold(fragment(1, 5), 900);
  held.hold(fragment(2, 5), 900);
  assert.equal(held.release(nobody, 999).expired, 0);
  assert.equal(held.release(nobody, 1000).expired, 2);
  assert.equal(held.release(nobody, 1900).expired, 1);
  assert.deepEqual([held.size, held.bytes], [0, 0]);
});

test('a prefix that fills its share takes nothing from the others', () => {
  const held = new HeldFragments(LIMITS);
  const results = Array.from({ length: 100 }, (_, i) => held.hold(fragment(i, 5), 0));
  assert.equal(results.filter((result) => result === 'held').length, LIMITS.fragmentsPerPrefix);
  assert.equal(results[99], 'prefix-full');
  assert.equal(held.hold(fragment(1, 6), 0), 'held');
  assert.equal(held.hold(fragment(2, 6, 1450), 0), 'held');
  assert.equal(held.hold(fragment(3, 6, 1), 0), 'prefix-full', 'of its bytes');
  for (let region = 7; region < 12; region++) for (let i = 0; i < 10; i++) held.hold(fragment(i, region, 1), 0);
  assert.equal(held.hold(fragment(1, 20), 0), 'full');
  assert.equal(held.size, LIMITS.fragments);
});

/** What the kernel program does with the fragments of a few datagrams in any order, with a slow path that looks now and then. */
function play(order: readonly number[], looks: readonly boolean[], pieces: number): Map<number, number[]> {
  const held = new HeldFragments({
    ...LIMITS,
    fragments: 1000,
    bytes: 1e6,
    fragmentsPerPrefix: 1000,
    bytesPerPrefix: 1e6,
  });
  const homes = new Map<number, Home>();
  const arrived = new Map<number, number[]>();
  const deliver = (datagram: number, { backend }: Home): void => {
    arrived.set(datagram, [...(arrived.get(datagram) ?? []), backend]);
  };
  const look = (): void => {
    for (const { fragment, home } of held.release(({ datagramLow }) => homes.get(datagramLow) ?? null, 500).released)
      deliver(fragment.datagramLow, home);
  };
  order.forEach((each, i) => {
    const datagram = Math.floor(each / pieces);
    const isFirst = each % pieces === 0;
    if (isFirst) homes.set(datagram, home(100 + (datagram % 3)));
    const known = homes.get(datagram);
    if (known !== undefined) deliver(datagram, known);
    else assert.equal(held.hold(fragment(datagram, datagram % 4, 50, each), 0), 'held');
    if (looks[i % looks.length]) look();
  });
  look();
  assert.deepEqual([held.size, held.bytes], [0, 0]);
  return arrived;
}

test('in whatever order they come, every fragment of every datagram ends on one backend, once', () => {
  const datagrams = 8;
  const pieces = 6;
  const numbers = Array.from({ length: datagrams * pieces }, (_, i) => i);
  const orders = fc.shuffledSubarray(numbers, { minLength: numbers.length });
  fc.assert(
    fc.property(orders, fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), (order, looks) => {
      const arrived = play(order, looks, pieces);
      assert.equal(arrived.size, datagrams);
      for (const [datagram, backends] of arrived) assert.deepEqual(backends, Array(pieces).fill(100 + (datagram % 3)));
    }),
  );
});
