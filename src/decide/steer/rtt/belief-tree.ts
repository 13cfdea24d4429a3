/**
 * Normal beliefs on a tree: each node's value is its parent's plus something of its own, of variance tau2 by level. Measurements go up,
 * weighed by how far a child is from its parent; then beliefs come down, each without what the child itself had said. Exact for a tree
 * (Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988, chapter 7); the same as shrinking each level towards the one above.
 */

/** Precisions below this share of their sum come from rounding. */
const ROUNDING = 1e-5;
/** Squared errors count at most as so many times what was expected: few strange children do not widen all. */
const OUTLIER = 25;
/** Of a new tau2, by one fit. */
const LEARN = 0.5;
/** Children whose weight a level's mean has against what one column says. */
const POOLED = 12;

export class BeliefTree {
  readonly columns: number;
  readonly levels: number;
  /** [level * columns + column]: squared. How far a child of that level is from its parent; the last: a measurement from its node. */
  readonly tau2: Float64Array;
  /** [level]: the ninth tenth of errors is below so many standard deviations. */
  readonly reach: Float64Array;
  /** [node * columns + column]: precision and precision times value of what was measured below. */
  precision = new Float32Array(0);
  #sum = new Float32Array(0);
  /** [node * columns + column]: belief. */
  mean = new Float32Array(0);
  variance = new Float32Array(0);
  /** Of the last `except`. */
  restMean = 0;
  restVariance = 0;
  readonly #least2: number;
  readonly #found: Float64Array;
  readonly #weights: Float64Array;

  /** `first`: standard deviations by level before anything is measured; the last level is that of what is below the nodes. */
  constructor(columns: number, first: readonly number[], least: number) {
    this.columns = columns;
    this.levels = first.length;
    this.tau2 = new Float64Array(first.length * columns);
    this.reach = new Float64Array(first.length).fill(1.645);
    for (let n = 0; n < this.tau2.length; n++) this.tau2[n] = first[Math.floor(n / columns)] ** 2;
    this.#least2 = least * least;
    this.#found = new Float64Array(this.tau2.length);
    this.#weights = new Float64Array(this.tau2.length);
  }

  /** Empties it for `nodes` nodes. */
  begin(nodes: number): void {
    const size = nodes * this.columns;
    if (this.mean.length < size) {
      const room = Math.ceil(size * 1.25);
      const mean = new Float32Array(room);
      mean.set(this.mean);
      this.mean = mean;
      this.variance = new Float32Array(room);
      this.precision = new Float32Array(room);
      this.#sum = new Float32Array(room);
    }
    this.precision.fill(0);
    this.#sum.fill(0);
    this.#found.fill(0);
    this.#weights.fill(0);
  }

  /** A measurement at a node: `variance` is of its error and of its distance from the node's value. */
  tell(at: number, value: number, variance: number): void {
    const precision = 1 / variance;
    this.precision[at] += precision;
    this.#sum[at] += precision * value;
  }

  /** Tells parents what their children were told. `extra(node)`: variance that a whole node has in common. */
  up(count: number, parent: Int32Array, level: Uint8Array, extra: number): void {
    const { columns, tau2, precision } = this;
    const sum = this.#sum;
    for (let node = count - 1; node > 0; node--) {
      for (let c = 0, at = node * columns, above = parent[node] * columns; c < columns; c++, at++, above++) {
        if (precision[at] === 0) continue;
        const message = 1 / (1 / precision[at] + tau2[level[node] * columns + c] + extra);
        precision[above] += message;
        sum[above] += (message * sum[at]) / precision[at];
      }
    }
  }

  /** Beliefs from what is above and below; the root's is about 0 with the variance of level 0. */
  down(count: number, parent: Int32Array, level: Uint8Array, extra: number): void {
    const { columns, tau2, precision, mean, variance } = this;
    const sum = this.#sum;
    for (let c = 0; c < columns; c++) {
      const own = 1 / tau2[c] + precision[c];
      mean[c] = sum[c] / own;
      variance[c] = 1 / own;
    }
    for (let node = 1; node < count; node++) {
      for (let c = 0, at = node * columns, above = parent[node] * columns; c < columns; c++, at++, above++) {
        const tau = tau2[level[node] * columns + c];
        if (precision[at] === 0) {
          mean[at] = mean[above];
          variance[at] = variance[above] + tau;
          continue;
        }
        const told = 1 / precision[at];
        const value = sum[at] / precision[at];
        this.#without(mean[above], variance[above], value, told + tau + extra);
        this.#score(level[node], c, value - this.restMean, told + this.restVariance + extra);
        const prior = 1 / (this.restVariance + tau);
        variance[at] = 1 / (precision[at] + prior);
        mean[at] = (sum[at] + prior * this.restMean) * variance[at];
      }
    }
  }

  /**
   * Leaves in `restMean` and `restVariance` what a node's belief is without one measurement that it was told; notes how wrong that would
   * have been. `noise`: of the measurement's variance what is no distance from the node.
   */
  except(at: number, value: number, variance: number, noise: number): void {
    this.#without(this.mean[at], this.variance[at], value, variance);
    this.#score(this.levels - 1, at % this.columns, value - this.restMean, noise + this.restVariance);
  }

  /** Takes up the errors that were noted, of levels from `first` on: how far children really are from their parents. */
  learn(first: number): void {
    const { columns } = this;
    for (let l = first; l < this.levels; l++) {
      let found = 0;
      let weights = 0;
      for (let c = 0; c < columns; c++) {
        found += this.#found[l * columns + c];
        weights += this.#weights[l * columns + c];
      }
      if (weights === 0) continue;
      const mean = found / weights;
      for (let c = 0; c < columns; c++) {
        const at = l * columns + c;
        const weight = weights / columns;
        const own = (this.#found[at] + (POOLED / 100) * weight * mean) / (this.#weights[at] + (POOLED / 100) * weight);
        this.tau2[at] += LEARN * (Math.max(this.#least2, own) - this.tau2[at]);
      }
    }
  }

  #score(level: number, column: number, error: number, known: number): void {
    const at = level * this.columns + column;
    const expected = known + this.tau2[at];
    const square = Math.min(error * error, OUTLIER * expected);
    const weight = 1 / (expected * expected);
    this.#found[at] += weight * (square - known);
    this.#weights[at] += weight;
    const deviations = Math.sqrt((error * error) / expected);
    this.reach[level] = Math.min(
      3.5,
      Math.max(1.2, this.reach[level] + (deviations > this.reach[level] ? 9e-4 : -1e-4)),
    );
  }

  #without(mean: number, variance: number, value: number, told: number): void {
    const precision = 1 / variance;
    const rest = precision - 1 / told;
    if (rest <= ROUNDING * precision) {
      this.restMean = mean;
      this.restVariance = variance / ROUNDING;
      return;
    }
    this.restMean = (precision * mean - value / told) / rest;
    this.restVariance = 1 / rest;
  }
}
