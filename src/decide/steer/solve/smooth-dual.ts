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
/** Of one step, in temperatures: how far the curvature is trusted. */
const FIRST_REACH = 10;
const LEAST_REACH = 0.01;
const MOST_REACH = 1e5;
/** Of a piece without end: more than all demand. */
const ENDLESS_WIDTH = 50;
/** Of the overload that is granted. */
const OVERLOAD_MARGIN = 1e-3;
/** Share of the rows from which on all are gone through in their order. */
const DENSE = 0.2;
const ENTRIES = 1 + PATH_LINKS + STAGE_COUNT;

export interface Settling {
  readonly temperature: number;
  readonly steps: number;
  /** The last step gains less, in temperatures. */
  readonly least: number;
  /** Looks at candidates only. */
  readonly few: boolean;
  /** Ends when the value is above this: there is no solution. */
  readonly hopeless: number;
}

export class SmoothDual {
  readonly #pricing: Pricing;
  readonly #sweep: OptionSweep;
  readonly #rows: number;
  readonly #gradient: Float64Array;
  readonly #curvature: Float64Array;
  /** [row]: what the pieces take. */
  readonly fill: Float64Array;
  readonly #kept: Float64Array;
  readonly #keptGradient: Float64Array;
  readonly #before: Float64Array;
  #few = false;
  steps = 0;
  /** Share of each capacity that is not used, so that rounding keeps within it; and of each limit. */
  margin = 0;
  limitMargin = 0;
  mayOverload = true;
  /** What the shares cost above the least that the prices allow. */
  waste = 0;
  /** That least, of the sites that were looked at: without smoothing. */
  hard = 0;
  /** Of the item in hand. */
  readonly #share: Float64Array;
  readonly #entryRow: Int32Array;
  readonly #entryValue: Float64Array;
  readonly #entryEnd: Int32Array;
  readonly #touched: Int32Array;
  /** [region * classes + class]: an item of it, and the demand of all. */
  readonly #regionItem: Int32Array;
  readonly #regionDemand: Float64Array;
  readonly #mean: Float64Array;

  /** `sweep`: of these prices; its candidates are overwritten. */
  constructor(pricing: Pricing, sweep: OptionSweep) {
    this.#pricing = pricing;
    this.#sweep = sweep;
    this.#rows = pricing.prices.length;
    this.#gradient = new Float64Array(this.#rows);
    const { problem, demand, items } = pricing.program;
    const most = Math.max(problem.sites, CANDIDATES);
    const classes = problem.classes.length;
    this.#share = new Float64Array(most);
    this.#entryRow = new Int32Array(most * ENTRIES);
    this.#entryValue = new Float64Array(most * ENTRIES);
    this.#entryEnd = new Int32Array(most);
    this.#touched = new Int32Array(most * ENTRIES);
    this.#regionItem = new Int32Array(problem.regions * classes);
    this.#regionDemand = new Float64Array(problem.regions * classes);
    for (let item = 0; item < items; item++) {
      const group = Math.floor(item / classes);
      const at = problem.region[group] * classes + (item - group * classes);
      this.#regionItem[at] = item;
      this.#regionDemand[at] += demand[item];
    }
    this.#curvature = new Float64Array(this.#rows * this.#rows);
    this.#mean = new Float64Array(this.#rows);
    this.fill = new Float64Array(this.#rows);
    this.#kept = new Float64Array(this.#rows * this.#rows);
    this.#keptGradient = new Float64Array(this.#rows);
    this.#before = new Float64Array(this.#rows);
  }

  /** Newton's steps at one temperature, within a region of trust; changes the prices and returns the value. `isOver`: asked between steps. */
  settle({ temperature, steps, least, few, hopeless }: Settling, isOver: () => boolean): number {
    const { prices } = this.#pricing;
    const rows = this.#rows;
    this.#few = few;
    let reach = FIRST_REACH;
    let value = this.#evaluate(temperature);
    for (let step = 0; step < steps && !isOver(); step++) {
      this.#kept.set(this.#curvature);
      this.#keptGradient.set(this.#gradient);
      const { waste, hard } = this;
      // Flat directions would be followed to no end; the more there is to gain, the more is added to their curvature.
      for (let r = 0; r < rows; r++)
        this.#curvature[r * rows + r] += Math.abs(this.#gradient[r]) / (reach * temperature);
      const direction = solveSymmetric(this.#curvature, this.#gradient, rows);
      this.#before.set(prices);
      let slope = 0;
      for (let r = 0; r < rows; r++) {
        slope += this.#gradient[r] * direction[r];
        prices[r] += direction[r];
      }
      if (slope < least * temperature) {
        prices.set(this.#before);
        this.#gradient.set(this.#keptGradient);
        this.waste = waste;
        this.hard = hard;
        return value;
      }
      const next = this.#evaluate(temperature);
      const ratio = (next - value) / slope;
      this.steps++;
      if (ratio > 0.4) reach = Math.min(reach * 4, MOST_REACH);
      else if (ratio < 0.2) reach = Math.max(reach / 5, LEAST_REACH);
      if (next > hopeless) return next;
      if (ratio > 0.01) value = next;
      else {
        prices.set(this.#before);
        this.#curvature.set(this.#kept);
        this.#gradient.set(this.#keptGradient);
        this.waste = waste;
        this.hard = hard;
      }
    }
    return value;
  }

  /** [row]: by how much the shares are above what is wanted. */
  get excess(): Float64Array {
    return this.#gradient;
  }

  /** Value by the prices of now, with gradient and curvature (negated, so positive). */
  #evaluate(temperature: number): number {
    this.#gradient.fill(0);
    this.#curvature.fill(0);
    this.waste = 0;
    this.hard = 0;
    this.fill.fill(0);
    this.#pricing.tabulate();
    return this.#addItems(temperature) - this.#addSingles(temperature);
  }

  #addItems(temperature: number): number {
    const { problem, demand } = this.#pricing.program;
    const classes = problem.classes.length;
    const isShared = problem.classes.map((_, c) => this.#pricing.isShared(c));
    let value = 0;
    for (const [at, total] of this.#regionDemand.entries()) {
      if (total > 0 && isShared[at % classes]) value += this.#addShared(at, total, temperature);
    }
    for (let c = 0; c < classes; c++) {
      if (isShared[c]) continue;
      for (let group = 0, item = c; group < problem.groups; group++, item += classes) {
        if (demand[item] === 0) continue;
        const count = this.#few ? this.#sweep.nearestCandidates(group, c, item) : this.#sweep.nearest(group, c, item);
        value += this.#addItem(item, c, group, demand[item], count, temperature);
      }
    }
    return value;
  }

  /** All items of a class of a region at once, where nothing but the region counts. */
  #addShared(at: number, demand: number, temperature: number): number {
    const { program, table } = this.#pricing;
    const { sites, classes } = program.problem;
    const { near, cost } = this.#sweep;
    let count = 0;
    for (let site = 0; site < sites; site++) {
      const own = table[at * sites + site];
      if (own === Infinity) continue;
      let place = count++;
      for (; place > 0 && cost[place - 1] > own; place--) {
        cost[place] = cost[place - 1];
        near[place] = near[place - 1];
      }
      cost[place] = own;
      near[place] = site;
    }
    const item = this.#regionItem[at];
    return this.#addItem(item, at % classes.length, Math.floor(item / classes.length), demand, count, temperature);
  }

  /** One item with `count` sites at hand, by rising cost. Returns its smoothed cost. */
  #addItem(item: number, c: number, group: number, demand: number, count: number, temperature: number): number {
    const { cost } = this.#sweep;
    let sum = 1;
    let near = 1;
    this.#share[0] = 1;
    while (near < count && cost[near] < cost[0] + FAR * temperature) {
      const share = Math.exp((cost[0] - cost[near]) / temperature);
      this.#share[near++] = share;
      sum += share;
    }
    this.#addDerivatives(group, c, item, demand, near, sum, temperature);
    let waste = 0;
    for (let k = 1; k < near; k++) waste += this.#share[k] * (cost[k] - cost[0]);
    this.waste += (demand * waste) / sum;
    this.hard += demand * cost[0];
    return demand * (near === 1 ? cost[0] : cost[0] - temperature * Math.log(sum));
  }

  #addDerivatives(
    group: number,
    c: number,
    item: number,
    demand: number,
    near: number,
    sum: number,
    temperature: number,
  ): void {
    const rows = this.#rows;
    const mean = this.#mean;
    const entryRow = this.#entryRow;
    const entryValue = this.#entryValue;
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
        for (let b = begin; b < last; b++)
          if (entryRow[b] <= row) curvature[row * rows + entryRow[b]] += scaled * entryValue[b];
      }
    }
    this.#subtractMeans(factor, touched);
    for (let a = 0; a < touched; a++) mean[this.#touched[a]] = 0;
  }

  /** The product of the means, from the lower half of the curvature. */
  #subtractMeans(factor: number, touched: number): void {
    const rows = this.#rows;
    const mean = this.#mean;
    const curvature = this.#curvature;
    const isDense = touched > DENSE * rows;
    for (let a = 0; a < touched; a++) {
      const row = this.#touched[a];
      const scaled = factor * mean[row];
      const start = row * rows;
      if (isDense) for (let other = 0; other <= row; other++) curvature[start + other] -= scaled * mean[other];
      else {
        for (let b = 0; b < touched; b++) {
          const other = this.#touched[b];
          if (other <= row) curvature[start + other] -= scaled * mean[other];
        }
      }
    }
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

  /** Where overload may be, what is above the room is no harm, as long as the sum is. */
  #marginOf(kind: number, row: number): number {
    if (kind === USED && row === this.#pricing.program.resources) return OVERLOAD_MARGIN;
    if (kind === USED) return this.limitMargin;
    return this.mayOverload ? 0 : this.margin;
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
      const most = Math.min(width[index], ENDLESS_WIDTH) * (1 - this.#marginOf(kind[index], at));
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
      this.fill[at] += most * filled;
      const worth = cost - prices[at];
      this.waste += most * (filled * worth - Math.min(0, worth));
      this.hard += most * Math.min(0, worth);
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
