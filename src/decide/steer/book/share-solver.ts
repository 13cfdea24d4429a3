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
  readonly #right = new Float64Array(CANDIDATES);
  readonly #half = new Float64Array(CANDIDATES);
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
      factorise(this.#matrix, free);
      invertFactor(this.#matrix, free);
      this.#forward(free);
      let worst = -1;
      let least = -1e-9;
      for (let a = 0; a < free; a++) {
        // Entry a of inv(L)' (inv(L) right), and the diagonal of inv(L)' inv(L).
        let value = 0;
        let variance = 0;
        for (let row = a; row < free; row++) {
          const entry = this.#matrix[row * CANDIDATES + a];
          value += entry * this.#half[row];
          variance += entry * entry;
        }
        const n = this.#free[a];
        this.share[n] = value;
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

  /** inv(L) times the right side. */
  #forward(free: number): void {
    for (let row = 0; row < free; row++) {
      let sum = 0;
      for (let k = 0; k <= row; k++) sum += this.#matrix[row * CANDIDATES + k] * this.#right[k];
      this.#half[row] = sum;
    }
  }

  #fill(free: number, info: Float32Array, infoOffset: number, moment: Float32Array, momentOffset: number): void {
    for (let a = 0; a < free; a++) {
      const n = this.#free[a];
      for (let b = 0; b <= a; b++) {
        this.#matrix[a * CANDIDATES + b] = info[infoOffset + infoAt(n, this.#free[b])] + SUM_PRECISION;
      }
      this.#matrix[a * CANDIDATES + a] += this.concentration / this.mean[n];
      this.#right[a] = moment[momentOffset + n] + this.concentration + SUM_PRECISION * this.total;
    }
  }
}

/** Of a symmetric positive matrix, in place: L of L L', with reciprocals on its diagonal; `size` rows of CANDIDATES columns. */
function factorise(matrix: Float64Array, size: number): void {
  for (let row = 0; row < size; row++) {
    const begin = row * CANDIDATES;
    let square = matrix[begin + row];
    for (let column = 0; column < row; column++) {
      const other = column * CANDIDATES;
      let sum = matrix[begin + column];
      for (let k = 0; k < column; k++) sum -= matrix[begin + k] * matrix[other + k];
      sum *= matrix[other + column];
      matrix[begin + column] = sum;
      square -= sum * sum;
    }
    matrix[begin + row] = 1 / Math.sqrt(Math.max(square, 1e-12));
  }
}

/** The inverse of L, in place of it. */
function invertFactor(factor: Float64Array, size: number): void {
  for (let row = 1; row < size; row++) {
    const begin = row * CANDIDATES;
    for (let column = 0; column < row; column++) {
      let sum = 0;
      for (let k = column; k < row; k++) sum -= factor[begin + k] * factor[k * CANDIDATES + column];
      // Entries of this row right of `column` are still those of L.
      factor[begin + column] = sum * factor[begin + row];
    }
  }
}
