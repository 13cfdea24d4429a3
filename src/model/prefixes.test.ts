import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from './layout.ts';
import type { IpHeader } from './parse.ts';
import { isLimited, PREFIX_SET_WORDS, type PrefixState, TALLY_WORDS } from './prefixes.ts';
import { createRandom } from './random.ts';

const SECOND = 2 ** 30;
const SETS = 64;
const CELLS = 4 * SETS;
const random = createRandom(7);
const uniform = (): number => random() / 2 ** 32;

function newState(sets = SETS): PrefixState {
  return {
    key: Uint32Array.of(1, 2, 3, 4),
    prefixes: new Uint32Array(sets * PREFIX_SET_WORDS),
    tally: new Uint32Array(TALLY_WORDS),
    icmpPerPrefix: 0,
    icmpPerSecond: 0,
  };
}

const clockAt = (ns: number): Clock => ({ high: Math.floor(ns / 2 ** 32), low: ns % 2 ** 32 });

/** All that is read of a frame here: its source. */
const ip = { version: 4, sourceOffset: 0 } as IpHeader;
const frame = new Uint8Array(4);

function newFlow(state: PrefixState, prefix: number, ns: number, prefixNewPerSecond = 0): boolean {
  frame.set([prefix >>> 16, prefix >>> 8, prefix, 9]);
  return isLimited(state, frame, ip, { subject: 5, prefixNewPerSecond }, clockAt(ns));
}

interface Cell {
  readonly prefix: number;
  readonly weight: number;
  readonly error: number;
}

/** The heaviest first, as of the second that the last flow came in. */
function cells(state: PrefixState): Cell[] {
  const words = state.prefixes;
  const found: Cell[] = [];
  for (let set = 0; set < words.length; set += PREFIX_SET_WORDS)
    for (let way = 0; way < 4; way++) {
      if (words[set + 2 * way + 1] === 0) continue;
      const weight = words[set + 16 + way] + words[set + 8 + 2 * way];
      found.push({ prefix: words[set + 2 * way] & 0xffffff, weight, error: words[set + 20 + way] });
    }
  return found.sort((a, b) => b.weight - a.weight);
}

/** 0 .. `count` - 1 by Zipf's law with exponent 1.1: the cumulated shares are searched. */
function zipf(count: number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) sums[i] = sum += (i + 1) ** -1.1;
  return () => {
    const wanted = uniform() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

test('in a flood from 50,000 prefixes by Zipf 256 cells name the ten busiest, each within its error', () => {
  const state = newState();
  const next = zipf(50_000);
  const counts = new Uint32Array(50_000);
  const flows = 200_000;
  for (let i = 0; i < flows; i++) {
    const prefix = next();
    counts[prefix]++;
    // All in one second, so that weights are counts.
    assert.equal(newFlow(state, prefix, 5 * SECOND, 0xffffffff), false);
  }
  const found = cells(state);
  assert.equal(found.length, CELLS);
  assert.deepEqual(
    found
      .slice(0, 10)
      .map(({ prefix }) => prefix)
      .sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  for (const { prefix, weight, error } of found) {
    assert.ok(counts[prefix] <= weight, 'never too low');
    assert.ok(weight - error <= counts[prefix], 'too high by the error at most');
  }
  // The bound that the docs state: a quarter of what its set saw.
  for (const { error } of found.slice(0, 10)) assert.ok(error <= (2 * flows) / SETS / 4, String(error));
});

test('samples of one in 64 flows still name the ten busiest and their rates', () => {
  const state = newState();
  const next = zipf(2_000);
  const perSecond = 200_000;
  const counts = new Uint32Array(2_000);
  const seconds = 6;
  for (let i = 0; i < seconds * perSecond; i++) {
    const prefix = next();
    counts[prefix]++;
    newFlow(state, prefix, (100 + i / perSecond) * SECOND);
  }
  const sampled = cells(state);
  const top = sampled.slice(0, 10).map(({ prefix }) => prefix);
  assert.ok(top.filter((prefix) => prefix < 12).length >= 9, String(top));
  assert.deepEqual(top.slice(0, 2), [0, 1]);
  // Weight and the count of a whole second: twice the rate, to 15 %.
  const ratio = sampled[0].weight / 2 / (counts[0] / seconds);
  assert.ok(ratio > 0.85 && ratio < 1.15, String(ratio));
});

test('a source that sends in turns of 64 is not met at the same place each time', () => {
  const state = newState(1024);
  for (let i = 0; i < 64 * 64 * 40; i++) newFlow(state, i % 64, 3 * SECOND);
  const found = cells(state);
  assert.equal(found.length, 64);
  const [most, least] = [found[0].weight, found[63].weight];
  assert.ok(least > 0 && most / least < 4, `${most} and ${least}`);
});

test('who takes the place of another is not held to blame for what that one did', () => {
  const state = newState(1);
  for (let prefix = 0; prefix < 4; prefix++) for (let i = 0; i < 50; i++) newFlow(state, prefix, 9 * SECOND, 10);
  for (let i = 0; i < 10; i++) assert.equal(newFlow(state, 4, 9 * SECOND, 10), false);
  assert.equal(newFlow(state, 4, 9 * SECOND, 10), true);
  assert.deepEqual(cells(state)[0], { prefix: 4, weight: 61, error: 50 });
});

test('the limit is for each second, and those over it count', () => {
  const state = newState();
  const refused = (ns: number, count: number) =>
    Array.from({ length: count }, () => newFlow(state, 77, ns, 3)).filter(Boolean).length;
  assert.equal(refused(10 * SECOND, 8), 5);
  assert.equal(refused(11 * SECOND, 8), 5);
  assert.equal(refused(11 * SECOND + SECOND / 2, 4), 4);
});

test('weights halve every second, over the end of the clock', () => {
  const state = newState();
  const end = 2 ** 62; // 2^32 seconds
  for (let i = 0; i < 64; i++) newFlow(state, 1, end - SECOND, 1000);
  newFlow(state, 1, end, 1000);
  assert.equal(cells(state)[0].weight, 32 + 1);
});
