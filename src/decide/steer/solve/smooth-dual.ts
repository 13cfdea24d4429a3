/**
 * Prices by Newton's method on the smoothed dual: each item is spread over its cheapest sites by exp(-cost / temperature), each piece is filled by
 * a logistic function of its price. At a falling temperature the prices come near those of the optimum; the simplex method does the rest.
 */
import { CANDIDATES, type OptionSweep } from './option-sweep.ts';
import type { Pricing } from './pricing.ts';
import { PATH_LINKS } from './problem.ts';
import { STAGE_COUNT, USED } from './program.ts';
import { solveSymmetric } from './symmetric.ts';

/** In temperatures: farther ones get nothing. */
const FAR = 20;
/** Of one step, in temperatures: the curvature tells no more of what is farther. */
const REACH = 50;
/** Of a piece without end: more than all demand. */
const ENDLESS_WIDTH = 50;
const ENTRIES = 1 + PATH_LINKS + STAGE_COUNT;
/** A step that gains less, in temperatures, is the last. */
const LEAST_GAIN = 0.01;
const HALVINGS = 4;

export class SmoothDual {
  readonly #pricing: Pricing;
  readonly #sweep: OptionSweep;
  readonly #rows: number;
  readonly #gradient: Float64Array;
  readonly #curvature: Float64Array;
  #isWhole = true;
  /** Of the item in hand. */
  readonly #share = new Float64Array(CANDIDATES);
  readonly #entryRow = new Int32Array(CANDIDATES * ENTRIES);
  readonly #entryValue = new Float64Array(CANDIDATES * ENTRIES);
  readonly #entryEnd = new Int32Array(CANDIDATES);
  readonly #touched = new Int32Array(CANDIDATES * ENTRIES);
  readonly #mean: Float64Array;

  /** `sweep`: of these prices; its candidates are overwritten. */
  constructor(pricing: Pricing, sweep: OptionSweep) {
    this.#pricing = pricing;
    this.#sweep = sweep;
    this.#rows = pricing.prices.length;
    this.#gradient = new Float64Array(this.#rows);
    this.#curvature = new Float64Array(this.#rows * this.#rows);
    this.#mean = new Float64Array(this.#rows);
  }

  /** Steps at one temperature; changes the prices and returns the value. `isOver`: asked between steps. */
  settle(temperature: number, steps: number, isOver: () => boolean): number {
    const { prices } = this.#pricing;
    const rows = this.#rows;
    let value = this.#evaluate(temperature, true);
    for (let step = 0; step < steps && !isOver(); step++) {
      // Flat directions would be followed to no end; the more there is to gain, the more is added to their curvature.
      for (let r = 0; r < rows; r++)
        this.#curvature[r * rows + r] += Math.abs(this.#gradient[r]) / (REACH * temperature);
      const direction = solveSymmetric(this.#curvature, this.#gradient, rows);
      const before = prices.slice();
      let slope = 0;
      for (let r = 0; r < rows; r++) slope += this.#gradient[r] * direction[r];
      if (slope < LEAST_GAIN * temperature) return value;
      let next = value;
      let length = 1;
      for (let half = 0; half <= HALVINGS; half++, length /= 4) {
        for (let r = 0; r < rows; r++) prices[r] = before[r] + length * direction[r];
        // The first try is mostly taken, and then its gradient is wanted.
        next = this.#evaluate(temperature, half === 0 && step + 1 < steps);
        if (next >= value + 0.05 * length * slope) break;
        if (half < HALVINGS) continue;
        prices.set(before);
        return value;
      }
      value = next;
      if (length < 1 && step + 1 < steps) this.#evaluate(temperature, true);
    }
    return value;
  }

  /** Value by the prices of now; whole: gradient and curvature (negated, so positive) too. */
  #evaluate(temperature: number, isWhole: boolean): number {
    this.#isWhole = isWhole;
    if (isWhole) {
      this.#gradient.fill(0);
      this.#curvature.fill(0);
    }
    this.#pricing.tabulate();
    return this.#addItems(temperature) - this.#addSingles(temperature);
  }

  #addItems(temperature: number): number {
    const { problem, demand } = this.#pricing.program;
    const classes = problem.classes.length;
    const { cost } = this.#sweep;
    let value = 0;
    for (let group = 0, item = 0; group < problem.groups; group++) {
      for (let c = 0; c < classes; c++, item++) {
        const weight = demand[item];
        if (weight === 0) continue;
        const count = this.#sweep.nearest(group, c, item);
        let sum = 1;
        let near = 1;
        this.#share[0] = 1;
        while (near < count && cost[near] < cost[0] + FAR * temperature) {
          const share = Math.exp((cost[0] - cost[near]) / temperature);
          this.#share[near++] = share;
          sum += share;
        }
        value += weight * (near === 1 ? cost[0] : cost[0] - temperature * Math.log(sum));
        if (this.#isWhole) this.#addDerivatives(group, c, item, near, sum, temperature);
      }
    }
    return value;
  }

  #addDerivatives(group: number, c: number, item: number, near: number, sum: number, temperature: number): void {
    const rows = this.#rows;
    const mean = this.#mean;
    const entryRow = this.#entryRow;
    const entryValue = this.#entryValue;
    const demand = this.#pricing.program.demand[item];
    const gradient = this.#gradient;
    let end = 0;
    for (let k = 0; k < near; k++) {
      const begin = end;
      end = this.#fillColumn(group, c, item, this.#sweep.near[k], end);
      this.#entryEnd[k] = end;
      const share = this.#share[k] / sum;
      for (let e = begin; e < end; e++) gradient[entryRow[e]] += demand * share * entryValue[e];
    }
    if (near === 1) return;
    const factor = demand / temperature;
    const curvature = this.#curvature;
    let touched = 0;
    for (let k = 0, begin = 0; k < near; begin = this.#entryEnd[k++]) {
      const share = this.#share[k] / sum;
      for (let a = begin, last = this.#entryEnd[k]; a < last; a++) {
        const row = entryRow[a];
        if (mean[row] === 0) this.#touched[touched++] = row;
        mean[row] += share * entryValue[a];
        const scaled = factor * share * entryValue[a];
        for (let b = begin; b < last; b++) curvature[row * rows + entryRow[b]] += scaled * entryValue[b];
      }
    }
    for (let a = 0; a < touched; a++) {
      const row = this.#touched[a];
      const scaled = factor * mean[row];
      for (let b = 0; b < touched; b++) curvature[row * rows + this.#touched[b]] -= scaled * mean[this.#touched[b]];
    }
    for (let a = 0; a < touched; a++) mean[this.#touched[a]] = 0;
  }

  #fillColumn(group: number, c: number, item: number, site: number, start: number): number {
    const { program, isHeld, rowScale } = this.#pricing;
    const { problem, siteLoad, linkLoad, resources } = program;
    let at = start;
    this.#entryRow[at] = site;
    this.#entryValue[at++] = siteLoad[c];
    const path = (problem.region[group] * problem.sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link < 0 || linkLoad[c] === 0) continue;
      this.#entryRow[at] = problem.sites + link;
      this.#entryValue[at++] = linkLoad[c];
    }
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (isHeld[stage] === 0) continue;
      const cost = this.#pricing.costOf(stage, item, site);
      if (cost === 0) continue;
      this.#entryRow[at] = resources + stage;
      this.#entryValue[at++] = cost * rowScale[stage];
    }
    return at;
  }

  /** Pieces, and what stages may use. Returns what they give. */
  #addSingles(temperature: number): number {
    const { program, prices, isHeld, rowScale, stage } = this.#pricing;
    const { resources } = program;
    const { count, kind, row, width, objective } = program.singles;
    const rows = this.#rows;
    let value = 0;
    for (let index = 0; index < count; index++) {
      const at = row[index];
      if (kind[index] > USED || width[index] === 0 || (at >= resources && isHeld[at - resources] === 0)) continue;
      const most = Math.min(width[index], ENDLESS_WIDTH);
      let end = 1;
      this.#entryRow[0] = at;
      this.#entryValue[0] = -1;
      let cost = objective[index * STAGE_COUNT + stage];
      for (let held = 0; held < STAGE_COUNT; held++) {
        const own = objective[index * STAGE_COUNT + held] * rowScale[held];
        if (isHeld[held] === 0 || own === 0) continue;
        cost += prices[resources + held] * own;
        this.#entryRow[end] = resources + held;
        this.#entryValue[end++] = own;
      }
      const drive = (prices[at] - cost) / temperature;
      const filled = 1 / (1 + Math.exp(-drive));
      value += most * temperature * (drive > 30 ? drive : Math.log1p(Math.exp(drive)));
      if (!this.#isWhole) continue;
      const bend = (most / temperature) * filled * (1 - filled);
      for (let a = 0; a < end; a++) {
        const x = this.#entryValue[a];
        this.#gradient[this.#entryRow[a]] += most * filled * x;
        for (let b = 0; b < end; b++)
          this.#curvature[this.#entryRow[a] * rows + this.#entryRow[b]] += bend * x * this.#entryValue[b];
      }
    }
    // Rows that nothing uses.
    for (let r = 0; r < rows; r++) this.#curvature[r * rows + r] += 1e-9;
    return value;
  }
}
