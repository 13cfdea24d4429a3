/** Orders items by a value, roughly: buckets on a logarithmic scale, so that a million items take milliseconds. */

const BUCKETS = 512;
/** Values from 2^-10 to 2^22 have buckets of their own, each 4.4 % wide. */
const LOWEST_EXPONENT = -10;
const PER_OCTAVE = BUCKETS / 32;

/** Items (the first `count` of them) by values from the largest to the smallest; values are 0 or more. Equal ones stay as they were. */
export function byValue(items: Uint32Array, values: Float64Array, count: number): Uint32Array {
  const bucketOf = new Uint16Array(count);
  const starts = new Uint32Array(BUCKETS + 1);
  for (let n = 0; n < count; n++) {
    const exponent = values[n] > 0 ? Math.log2(values[n]) : LOWEST_EXPONENT;
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor((exponent - LOWEST_EXPONENT) * PER_OCTAVE)));
    bucketOf[n] = BUCKETS - 1 - bucket;
    starts[bucketOf[n] + 1]++;
  }
  for (let bucket = 0; bucket < BUCKETS; bucket++) starts[bucket + 1] += starts[bucket];
  const ordered = new Uint32Array(count);
  for (let n = 0; n < count; n++) ordered[starts[bucketOf[n]]++] = items[n];
  return ordered;
}
