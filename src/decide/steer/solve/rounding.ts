/**
 * A map from the shares of the smoothed dual: each item goes to one of its sites whole, so that the loads come out as the shares would give them. Items
 * follow from large to small, each to the site that mends most of the error that is left.
 */

import type { Part } from './group-simplex.ts';
import { CANDIDATES, type OptionSweep } from './option-sweep.ts';
import type { Pricing } from './pricing.ts';
import { PATH_LINKS } from './problem.ts';
import { OVERLOAD, STAGE_COUNT } from './program.ts';

/** In temperatures: sites that cost so much more are not thought of. */
const FAR = 12;
/** Least share of a site that may get the whole item. */
const LEAST_SHARE = 0.01;
/** The same of items that share costs with their region, in that of the cheapest site. */
const LEAST_SHARED = 1e-4;
const MOST_TRIED = 10;
const STRIDE = 7919;
/** Demand above this looks at all sites. */
const LARGE = 2e-5;
/** Passes over all after the first. */
const REPAIRS = 2;
/** Of a stage's limit, to that of a resource. */
const STAGE_WEIGHT = 100;
/** Demand below this is not split, as a share of all. */
const SMALL = 1e-6;
const MOST_PARTS = 8;
/** Throughput. */
const SLOPE_STAGE = 2;
const CLOSED = 0;
const OPEN = 1;
const SHARED = 2;

/** What the smoothed dual gave. */
export interface Shares {
  readonly temperature: number;
  /** [row]: by how much they miss what is wanted. */
  readonly excess: Float64Array;
  /** [row]: load of the pieces. */
  readonly fill: Float64Array;
  /** Of the objective. */
  readonly value: number;
}

export class Rounding {
  readonly #pricing: Pricing;
  readonly #sweep: OptionSweep;
  /** [row]: load so far, with what is expected of those that follow, less what was wanted. */
  readonly #error: Float64Array;
  readonly #weight: Float64Array;
  /** [stage]: factor of its row; 0: not looked at. [row]: cost of more load in stage 2. */
  readonly #stageScale = new Float64Array(STAGE_COUNT);
  readonly #slope: Float64Array;
  readonly #share: Float64Array;
  /** Sites that the item in hand may get. */
  readonly #choice: Uint16Array;
  /** Items with demand, the largest first. */
  readonly #order: Int32Array;
  /** [item]. */
  readonly #isOpen: Uint8Array;
  /** [(region * classes + class) * sites + n]: sites that those who share costs may get, and how much is left for each; their count; which is tried next. */
  readonly #sharedSite: Uint16Array;
  readonly #quota: Float64Array;
  readonly #sharedCount: Uint16Array;
  readonly #sharedNext: Uint16Array;

  constructor(pricing: Pricing, sweep: OptionSweep) {
    const { capacity, resources, problem } = pricing.program;
    this.#pricing = pricing;
    this.#sweep = sweep;
    this.#error = new Float64Array(resources + STAGE_COUNT);
    this.#weight = new Float64Array(resources + STAGE_COUNT).fill(STAGE_WEIGHT);
    this.#share = new Float64Array(Math.max(CANDIDATES, problem.sites));
    this.#slope = new Float64Array(resources + STAGE_COUNT);
    this.#choice = new Uint16Array(this.#share.length);
    const lists = problem.regions * problem.classes.length;
    this.#sharedSite = new Uint16Array(lists * problem.sites);
    this.#quota = new Float64Array(lists * problem.sites);
    this.#sharedCount = new Uint16Array(lists);
    this.#sharedNext = new Uint16Array(lists);
    const { demand } = pricing.program;
    this.#isOpen = new Uint8Array(demand.length);
    const all = new Int32Array(demand.length);
    let count = 0;
    for (let item = 0; item < demand.length; item++) if (demand[item] > 0) all[count++] = item;
    this.#order = all.subarray(0, count).sort((a, b) => demand[b] - demand[a]);
    for (let row = 0; row < resources; row++) this.#weight[row] = 1 / Math.max(capacity[row], 1e-6) ** 2;
  }

  /**
   * Fills `key` and `parts`. Returns the least cost of all items over all sites, by the prices
   * of now. `pricing.tabulate` first.
   */
  round(key: Uint16Array, parts: Map<number, Part[]>, { temperature, excess, fill, value }: Shares): number {
    const { problem, demand } = this.#pricing.program;
    const classes = problem.classes.length;
    const { near, cost } = this.#sweep;
    this.#error.set(excess);
    this.#findSlopes(fill);
    this.#trackStages(value);
    this.#isOpen.fill(CLOSED);
    let least = 0;
    const lists = problem.regions * classes;
    const shared = new Float64Array(lists);
    const example = new Int32Array(lists);
    for (let c = 0; c < classes; c++) {
      const isShared = this.#pricing.isShared(c);
      for (let group = 0, item = c; group < problem.groups; group++, item += classes) {
        this.#sweep.nearest(group, c, item);
        key[item] = near[0];
        if (demand[item] === 0) continue;
        least += demand[item] * cost[0];
        const at = problem.region[group] * classes + c;
        if (isShared) {
          this.#isOpen[item] = SHARED;
          shared[at] += demand[item];
          example[at] = item;
        } else {
          // As the shares were made.
          const few = this.#sweep.nearestCandidates(group, c, item);
          key[item] = near[0];
          if (few > 1 && cost[1] < cost[0] + FAR * temperature) this.#isOpen[item] = OPEN;
        }
      }
    }
    for (let at = 0; at < lists; at++) if (shared[at] > 0) this.#expectShared(at, shared[at], example[at], temperature);
    for (const item of this.#order) {
      const kind = this.#isOpen[item];
      if (kind === CLOSED) continue;
      const count = kind === OPEN ? this.#listOpen(item, temperature, true) : 1;
      if (count === 0) this.#addLoad(item, key[item], demand[item]);
      else if (kind === SHARED) this.#apportion(item, key, parts);
      else if (demand[item] > LARGE) this.#keepShares(item, count, key, parts);
      else this.#place(item, count, key);
    }
    for (let pass = 0; pass < REPAIRS; pass++) this.#repair(key, parts, temperature);
    return least;
  }

  /** Stages that are held, and the one of now, whose value is to come out too. */
  #trackStages(value: number): void {
    const { isHeld, rowScale, stage } = this.#pricing;
    for (let each = 0; each < STAGE_COUNT; each++) this.#stageScale[each] = isHeld[each] === 1 ? rowScale[each] : 0;
    if (stage > 0 && isHeld[stage] === 0 && value > 0) this.#stageScale[stage] = 1 / value;
  }

  /** What more load costs in stage 2, where the pieces are filled up to now. */
  #findSlopes(fill: Float64Array): void {
    const { singles, resources } = this.#pricing.program;
    const left = fill.slice();
    for (let index = 0; index < singles.count; index++) {
      const row = singles.row[index];
      if (row >= resources || singles.kind[index] > OVERLOAD || left[row] <= 0) continue;
      this.#slope[row] = singles.objective[index * STAGE_COUNT + SLOPE_STAGE];
      left[row] -= singles.width[index];
    }
  }

  #stageCost(stage: number, item: number, site: number, slopes: number): number {
    const cost = this.#pricing.costOf(stage, item, site);
    return (stage === SLOPE_STAGE ? cost + slopes : cost) * this.#stageScale[stage];
  }

  /** Items that are whole once more, each to where it mends most now. */
  #repair(key: Uint16Array, parts: ReadonlyMap<number, Part[]>, temperature: number): void {
    const { demand } = this.#pricing.program;
    for (const item of this.#order) {
      const kind = this.#isOpen[item];
      if (kind === CLOSED || parts.has(item)) continue;
      const count = kind === OPEN ? this.#listOpen(item, temperature, false) : this.#listShared(item);
      this.#addLoad(item, key[item], -demand[item]);
      let best = key[item];
      let least = this.#errorWith(item, best, demand[item]);
      for (let n = 0; n < count; n++) {
        const error = this.#errorWith(item, this.#choice[n], demand[item]);
        if (error >= least) continue;
        least = error;
        best = this.#choice[n];
      }
      key[item] = best;
      this.#addLoad(item, best, demand[item]);
    }
  }

  /** A large item as its shares are; `#share` has those of the sites in `#choice`. */
  #keepShares(item: number, count: number, key: Uint16Array, parts: Map<number, Part[]>): void {
    const demand = this.#pricing.program.demand[item];
    let sum = 0;
    for (let n = 0; n < count; n++) sum += this.#share[n];
    const split: Part[] = [];
    for (let n = 0; n < count; n++) {
      const amount = (demand * this.#share[n]) / sum;
      split.push({ site: this.#choice[n], amount });
      this.#addLoad(item, this.#choice[n], amount);
    }
    this.#keepParts(item, 0, key, parts, split);
  }

  /** An item to the site of those in `#choice` that mends most. */
  #place(item: number, count: number, key: Uint16Array): void {
    const demand = this.#pricing.program.demand[item];
    let least = Infinity;
    for (let n = 0; n < count; n++) {
      const error = this.#errorWith(item, this.#choice[n], demand);
      if (error >= least) continue;
      least = error;
      key[item] = this.#choice[n];
    }
    this.#addLoad(item, key[item], demand);
  }

  /** One of those that share costs: to where its region has most to give out; where that is not enough for a large one, to several sites. */
  #apportion(item: number, key: Uint16Array, parts: Map<number, Part[]>): void {
    const { problem, demand } = this.#pricing.program;
    const { sites, rttMs } = problem;
    const group = Math.floor(item / problem.classes.length);
    const at = problem.region[group] * problem.classes.length + (item - group * problem.classes.length);
    const begin = at * sites;
    const end = begin + this.#sharedCount[at];
    const split: Part[] = [];
    let left = demand[item];
    while (left > 0) {
      let best = -1;
      for (let n = begin; n < end; n++) {
        if (best >= 0 && this.#quota[n] <= this.#quota[best]) continue;
        if (rttMs[group * sites + this.#sharedSite[n]] !== Infinity) best = n;
      }
      if (best < 0) break;
      const isRest = left - this.#quota[best] <= SMALL || this.#quota[best] <= SMALL || split.length >= MOST_PARTS;
      const amount = isRest ? left : this.#quota[best];
      const site = this.#sharedSite[best];
      this.#quota[best] -= amount;
      this.#addLoad(item, site, amount);
      const before = split.findIndex((part) => part.site === site);
      if (before >= 0) split[before] = { site, amount: split[before].amount + amount };
      else split.push({ site, amount });
      left -= amount;
    }
    this.#keepParts(item, left, key, parts, split);
  }

  /** What found no room goes to where most is. */
  #keepParts(item: number, left: number, key: Uint16Array, parts: Map<number, Part[]>, split: Part[]): void {
    split.sort((a, b) => b.amount - a.amount);
    if (split.length > 0) key[item] = split[0].site;
    if (left > 0) this.#addLoad(item, key[item], left);
    const others = split.filter(({ site }) => site !== key[item]);
    if (others.length > 0) parts.set(item, others);
  }

  /** Takes away what is expected of all items of a class of a region. */
  #expectShared(at: number, total: number, item: number, temperature: number): void {
    const { program, table } = this.#pricing;
    const { sites } = program.problem;
    const share = this.#share;
    let cheapest = Infinity;
    for (let site = 0; site < sites; site++) cheapest = Math.min(cheapest, table[at * sites + site]);
    let sum = 0;
    for (let site = 0; site < sites; site++) {
      share[site] = Math.exp((cheapest - table[at * sites + site]) / temperature);
      sum += share[site];
    }
    let count = 0;
    for (let site = 0; site < sites; site++) {
      if (share[site] === 0) continue;
      this.#addLoad(item, site, (-share[site] * total) / sum);
      if (share[site] <= LEAST_SHARED) continue;
      this.#quota[at * sites + count] = (share[site] * total) / sum;
      this.#sharedSite[at * sites + count++] = site;
    }
    this.#sharedCount[at] = count;
    // Not all lists from the front.
    this.#sharedNext[at] = count > 0 ? (at * STRIDE) % count : 0;
  }

  /** Some of the sites, others the next time, to `#choice`. Returns how many. */
  #listShared(item: number): number {
    const { problem, demand } = this.#pricing.program;
    const group = Math.floor(item / problem.classes.length);
    const at = problem.region[group] * problem.classes.length + (item - group * problem.classes.length);
    const count = this.#sharedCount[at];
    let listed = 0;
    const most = demand[item] > LARGE ? count : Math.min(count, MOST_TRIED);
    for (let tries = most; tries > 0; tries--) {
      const next = this.#sharedNext[at];
      this.#sharedNext[at] = next + 1 >= count ? 0 : next + 1;
      const site = this.#sharedSite[at * problem.sites + next];
      if (problem.rttMs[group * problem.sites + site] !== Infinity) this.#choice[listed++] = site;
    }
    return listed;
  }

  /** The item's near sites go to `#choice`, with `#share`; `isNew`: takes away what is expected of it. */
  #listOpen(item: number, temperature: number, isNew: boolean): number {
    const { demand, problem } = this.#pricing.program;
    const group = Math.floor(item / problem.classes.length);
    const { near, cost } = this.#sweep;
    const share = this.#share;
    const count = this.#sweep.nearestCandidates(group, item - group * problem.classes.length, item);
    let sum = 0;
    for (let k = 0; k < count; k++) {
      share[k] = Math.exp((cost[0] - cost[k]) / temperature);
      sum += share[k];
    }
    let listed = 0;
    for (let k = 0; k < count; k++) {
      if (isNew && share[k] > 0) this.#addLoad(item, near[k], (-demand[item] * share[k]) / sum);
      if (share[k] < LEAST_SHARE * sum) continue;
      share[listed] = share[k];
      this.#choice[listed++] = near[k];
    }
    return listed;
  }

  #addLoad(item: number, site: number, amount: number): void {
    const { program } = this.#pricing;
    const { problem, siteLoad, linkLoad, resources } = program;
    const group = Math.floor(item / problem.classes.length);
    const c = item - group * problem.classes.length;
    const error = this.#error;
    let slopes = 0;
    error[site] += amount * siteLoad[c];
    const path = (problem.region[group] * problem.sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link < 0) continue;
      error[problem.sites + link] += amount * linkLoad[c];
      slopes += linkLoad[c] * this.#slope[problem.sites + link];
    }
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (this.#stageScale[stage] !== 0)
        error[resources + stage] += amount * this.#stageCost(stage, item, site, slopes);
    }
  }

  /** What an item at a site adds to the weighted square of the errors. */
  #errorWith(item: number, site: number, amount: number): number {
    const { program } = this.#pricing;
    const { problem, siteLoad, linkLoad, resources } = program;
    const group = Math.floor(item / problem.classes.length);
    const c = item - group * problem.classes.length;
    const error = this.#error;
    const weight = this.#weight;
    let slopes = 0;
    let load = amount * siteLoad[c];
    let sum = weight[site] * load * (2 * error[site] + load);
    load = amount * linkLoad[c];
    const path = (problem.region[group] * problem.sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      const row = problem.sites + problem.paths[path + n];
      if (row < problem.sites) continue;
      sum += weight[row] * load * (2 * error[row] + load);
      slopes += linkLoad[c] * this.#slope[row];
    }
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (this.#stageScale[stage] === 0) continue;
      load = amount * this.#stageCost(stage, item, site, slopes);
      sum += STAGE_WEIGHT * load * (2 * error[resources + stage] + load);
    }
    return sum;
  }
}
