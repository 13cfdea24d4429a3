/** Seeded draws at random: the same seed gives the same numbers on every machine. Not for secrets. */

const NORMALS = 4096;
let normals: Float64Array | null = null;

/** Quantiles of the normal distribution at (i + 1/2) / NORMALS, scaled to a variance of 1 (Abramowitz and Stegun 26.2.23, error < 4.5e-4). */
function normalTable(): Float64Array {
  if (normals !== null) return normals;
  const table = new Float64Array(NORMALS);
  let squares = 0;
  for (let index = 0; index < NORMALS / 2; index++) {
    const t = Math.sqrt(-2 * Math.log((index + 0.5) / NORMALS));
    const value = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    table[index] = -value;
    table[NORMALS - 1 - index] = value;
    squares += 2 * value * value;
  }
  const scale = Math.sqrt(NORMALS / squares);
  normals = table.map((value) => value * scale);
  return normals;
}

const POISSON_MOST = 12;
const POISSON_STEPS = 16;
/** Of a mean of 12, one in 10^13 is larger. */
const POISSON_COUNTS = 48;
const POISSON_GUIDES = 64;

/** [row * COUNTS + n]: probability of at most n at a mean of row / STEPS; and where to search from, by the upper bits of the draw. */
interface PoissonTable {
  readonly sums: Float64Array;
  readonly guide: Uint8Array;
}

let poisson: PoissonTable | null = null;

function poissonTable(): PoissonTable {
  if (poisson !== null) return poisson;
  const rows = POISSON_MOST * POISSON_STEPS + 1;
  const sums = new Float64Array(rows * POISSON_COUNTS).fill(1);
  const guide = new Uint8Array(rows * POISSON_GUIDES);
  for (let row = 0; row < rows; row++) {
    const mean = row / POISSON_STEPS;
    const first = row * POISSON_COUNTS;
    let term = Math.exp(-mean);
    let sum = 0;
    for (let count = 0; count < POISSON_COUNTS - 1; count++) {
      sum += term;
      term *= mean / (count + 1);
      sums[first + count] = sum;
    }
    let count = 0;
    for (let part = 0; part < POISSON_GUIDES; part++) {
      while ((sums[first + count] as number) <= part / POISSON_GUIDES) count++;
      guide[row * POISSON_GUIDES + part] = count;
    }
  }
  poisson = { sums, guide };
  return poisson;
}

/** A stream of draws (sfc32 by Chris Doty-Humphrey; passes PractRand). About 2 ns a number. */
export class Draws {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;
  readonly #normals = normalTable();
  readonly #poisson = poissonTable();

  /** Streams of one seed with different numbers are independent. */
  constructor(seed: number, stream: number) {
    this.#a = seed >>> 0;
    this.#b = stream >>> 0;
    this.#c = 0x9e3779b9;
    for (let turn = 0; turn < 15; turn++) this.bits();
  }

  /** 32 bits. */
  bits(): number {
    const sum = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** From 0 to below 1. */
  uniform(): number {
    return this.bits() * 2 ** -32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** From 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  chance(share: number): boolean {
    return this.uniform() < share;
  }

  /** With mean 1. */
  exponential(): number {
    return -Math.log(1 - this.uniform());
  }

  /** From a table of quantiles: at most 3.7 standard deviations from 0. */
  normal(): number {
    return this.#normals[this.bits() >>> 20] as number;
  }

  /** With median 1; `spread` is the standard deviation of the logarithm. */
  lognormal(spread: number): number {
    return Math.exp(spread * this.normal());
  }

  /**
   * Below a mean of 12 by tables for steps of 1/16, the nearer of two the more often: the mean is exact, the variance at most 0.001 too
   * high. From 12 on from the normal distribution. About 10 ns.
   */
  poisson(mean: number): number {
    if (mean >= POISSON_MOST) return Math.max(0, Math.floor(mean + Math.sqrt(mean) * this.normal() + 0.5));
    if (!(mean > 0)) return 0;
    // One draw for both: the lower 12 bits choose the row, the upper 20 the count.
    const bits = this.bits();
    const step = mean * POISSON_STEPS;
    let row = Math.floor(step);
    if ((bits & 0xfff) + 0.5 < (step - row) * 0x1000) row++;
    const draw = (bits >>> 12) * 2 ** -20;
    const { sums, guide } = this.#poisson;
    const first = row * POISSON_COUNTS;
    let count = guide[row * POISSON_GUIDES + (bits >>> 26)] as number;
    while ((sums[first + count] as number) <= draw) count++;
    return count;
  }
}

/** Sums of weights up to and with each: what `pick` takes. */
export function cumulate(weights: ArrayLike<number>): Float64Array {
  const sums = new Float64Array(weights.length);
  let sum = 0;
  for (let index = 0; index < weights.length; index++) {
    sum += weights[index] as number;
    sums[index] = sum;
  }
  return sums;
}

/** An index with probability by its weight; some weight is above 0. */
export function pick(draws: Draws, sums: Float64Array): number {
  const target = draws.uniform() * (sums[sums.length - 1] as number);
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] as number) > target) high = middle;
    else low = middle + 1;
  }
  return low;
}
