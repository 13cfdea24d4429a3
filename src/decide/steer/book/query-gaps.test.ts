import assert from 'node:assert/strict';
import test from 'node:test';
import { lookupsOf } from './query-gaps.ts';
import { mulberry } from './small-internet.ts';

const SEED = Number(process.env['SEED'] ?? 3);
const WINDOWS = 60;
const WINDOW_SECONDS = 60;

/** Queries by window of `caches` that together are looked up `rate` times a second. */
function ask(rate: number, caches: number, ttlSeconds: number, random: () => number): number[] {
  const counts = new Array<number>(WINDOWS).fill(0);
  for (let cache = 0; cache < caches; cache++) {
    const gap = () => (-Math.log(1 - random()) * caches) / rate;
    for (let at = -random() * ttlSeconds + gap(); at < WINDOWS * WINDOW_SECONDS; at += ttlSeconds + gap()) {
      if (at >= 0) counts[Math.floor(at / WINDOW_SECONDS)]++;
    }
  }
  return counts;
}

function estimate(counts: readonly number[], ttlSeconds: number) {
  const queries = counts.reduce((sum, count) => sum + count, 0);
  let squares = 0;
  for (let at = 1; at < counts.length; at++) squares += (counts[at] - counts[at - 1]) ** 2 / (counts.length - 1);
  const rate = queries / (WINDOWS * WINDOW_SECONDS);
  return lookupsOf({ rate, queries, windows: WINDOWS, windowSeconds: WINDOW_SECONDS, squares }, ttlSeconds);
}

test(`gaps tell lookups within honest intervals, whatever the pool; saturated caches say "at least" (seed ${SEED})`, () => {
  const random = mulberry(SEED);
  let [held, answered, wrong] = [0, 0, 0];
  let [saturated, saidSo] = [0, 0];
  for (let trial = 0; trial < 3000; trial++) {
    const caches = 1 + Math.floor(random() ** 2 * 8);
    const load = 0.05 * 400 ** random();
    const ttlSeconds = 30;
    const rate = (load / ttlSeconds) * caches;
    const found = estimate(ask(rate, caches, ttlSeconds, random), ttlSeconds);
    if (found === null) continue;
    if (load > 6) {
      saturated++;
      if (found.high === Infinity) saidSo++;
    }
    if (found.high === Infinity) {
      if (found.low > rate) wrong++;
      continue;
    }
    answered++;
    if (found.low <= rate && rate <= found.high) held++;
  }
  assert.ok(answered > 500, `answered ${answered}`);
  const share = held / answered;
  assert.ok(share > 0.85 && share < 0.95, `${share} of ${answered} intervals hold the truth`);
  assert.ok(saidSo / saturated > 0.95, `${saidSo} of ${saturated} saturated ones say "at least"`);
  assert.ok(wrong / 3000 < 0.05, `${wrong} are above the truth`);
});
