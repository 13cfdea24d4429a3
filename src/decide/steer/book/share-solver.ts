/**
 * Parts of a prefix's demand by resolver, from what is believed and what traffic shows: the w that minimises
 * (w - m)' diag(c / m) (w - m) + w' L w - 2 b' w with sum w = total, w >= 0. The first term is, near its mean m, a Dirichlet distribution of
 * concentration c; L and b are the information that observed shares give.
 */
import { CANDIDATES } from './book-model.ts';
import { infoAt } from './user-columns.ts';

/** Precision with which the sum is kept. */
const SUM_PRECISION = 1e7;

export class ShareSolver {
  /** In: what is believed, above 0, and how many candidates. */
  readonly mean = new Float64Array(CANDIDATES);
  count = 0;
  concentration = 1;
  total = 1;
  /** Out. */
  readonly share = new Float64Array(CANDIDATES);
  readonly variance = new Float64Array(CANDIDATES);
  /** How much of each is known by observed shares: 0 nothing, 1 all. */
  readonly learnt = new Float64Array(CANDIDATES);
  readonly #matrix = new Float64Array(CANDIDATES * CANDIDATES);
  readonly #inverse = new Float64Array(CANDIDATES * CANDIDATES);
  readonly #right = new Float64Array(CANDIDATES);
  readonly #free = new Int32Array(CANDIDATES);

  /** `info` and `moment` from their offsets on. Cost: under 1 us without negative shares. */
  solve(info: Float32Array, infoOffset: number, moment: Float32Array, momentOffset: number): void {
    let free = 0;
    for (let n = 0; n < this.count; n++) {
      this.#free[free++] = n;
      this.share[n] = this.variance[n] = this.learnt[n] = 0;
    }
    for (;;) {
      this.#fill(free, info, infoOffset, moment, momentOffset);
      invert(this.#matrix, this.#inverse, free);
      let worst = -1;
      let least = -1e-9;
      for (let a = 0; a < free; a++) {
        let value = 0;
        for (let b = 0; b < free; b++) value += this.#inverse[a * CANDIDATES + b] * this.#right[b];
        const n = this.#free[a];
        this.share[n] = value;
        const variance = this.#inverse[a * CANDIDATES + a];
        this.variance[n] = variance;
        const before = (this.mean[n] * Math.max(0, 1 - this.mean[n])) / this.concentration;
        this.learnt[n] = before <= 0 ? 0 : Math.min(1, Math.max(0, 1 - variance / before));
        if (value < least) {
          least = value;
          worst = a;
        }
      }
      if (worst < 0 || free === 1) return;
      const n = this.#free[worst];
      this.share[n] = 0;
      // Its deviation is about what it would have had to go below 0.
      this.#free.copyWithin(worst, worst + 1, free);
      free--;
    }
  }

  #fill(free: number, info: Float32Array, infoOffset: number, moment: Float32Array, momentOffset: number): void {
    for (let a = 0; a < free; a++) {
      const n = this.#free[a];
      for (let b = 0; b <= a; b++) {
        const value = info[infoOffset + infoAt(n, this.#free[b])] + SUM_PRECISION;
        this.#matrix[a * CANDIDATES + b] = this.#matrix[b * CANDIDATES + a] = value;
      }
      this.#matrix[a * CANDIDATES + a] += this.concentration / this.mean[n];
      this.#right[a] = moment[momentOffset + n] + this.concentration + SUM_PRECISION * this.total;
    }
  }
}

/** Of a symmetric positive matrix, by Cholesky; `size` rows of CANDIDATES columns. */
function invert(matrix: Float64Array, inverse: Float64Array, size: number): void {
  for (let column = 0; column < size; column++) {
    for (let row = column; row < size; row++) {
      let sum = matrix[row * CANDIDATES + column];
      for (let k = 0; k < column; k++) sum -= matrix[row * CANDIDATES + k] * matrix[column * CANDIDATES + k];
      if (row === column) matrix[row * CANDIDATES + row] = Math.sqrt(Math.max(sum, 1e-12));
      else matrix[row * CANDIDATES + column] = sum / matrix[column * CANDIDATES + column];
    }
  }
  // Columns of the inverse: forward, then back.
  for (let unit = 0; unit < size; unit++) {
    for (let row = 0; row < size; row++) {
      let sum = row === unit ? 1 : 0;
      for (let k = unit; k < row; k++) sum -= matrix[row * CANDIDATES + k] * inverse[k * CANDIDATES + unit];
      inverse[row * CANDIDATES + unit] = row < unit ? 0 : sum / matrix[row * CANDIDATES + row];
    }
    for (let row = size - 1; row >= 0; row--) {
      let sum = inverse[row * CANDIDATES + unit];
      for (let k = row + 1; k < size; k++) sum -= matrix[k * CANDIDATES + row] * inverse[k * CANDIDATES + unit];
      inverse[row * CANDIDATES + unit] = sum / matrix[row * CANDIDATES + row];
    }
  }
}
