/**
 * Passes over the options of all items: what each would like best by the prices of now. Full passes look at every site, and note the cheapest
 * few of each item as candidates; passes between them look at candidates only.
 */

import { NO_SITE } from '../measured.ts';
import type { Pricing } from './pricing.ts';
import { latencyCost } from './program.ts';

/** Sites of an item that passes between full ones look at. */
export const CANDIDATES = 5;

export class OptionSweep {
  /** Items whose best option improves the objective, by more than the tolerance. */
  listed = 0;
  item = new Int32Array(1024);
  site = new Uint16Array(1024);
  /** What moving all of the item would gain. */
  gain = new Float64Array(1024);
  /** Least cost of all items, by the prices of now; true only after a full pass. */
  least = 0;
  /** Demand of the items of which the last full pass found the best site not among their candidates. */
  stale = 0;
  /** [item * CANDIDATES + n], by rising cost; the last one again where there are fewer. */
  readonly candidates: Uint16Array;
  /** [item * CANDIDATES + n]: latency cost there. */
  readonly candidateCost: Float32Array;
  /** [item]: how many of them are different. */
  readonly candidateCount: Uint8Array;
  /** What `nearest` and `nearestCandidates` found. */
  readonly near: Int32Array;
  readonly cost: Float64Array;
  readonly #pricing: Pricing;
  readonly #key: Uint16Array;

  /** `key`: [item], where each is now. */
  constructor(pricing: Pricing, key: Uint16Array) {
    this.#pricing = pricing;
    this.#key = key;
    this.candidates = new Uint16Array(pricing.program.items * CANDIDATES);
    const most = Math.max(CANDIDATES, pricing.program.problem.sites);
    this.near = new Int32Array(most);
    this.cost = new Float64Array(most);
    this.candidateCost = new Float32Array(this.candidates.length);
    this.candidateCount = new Uint8Array(pricing.program.items);
  }

  /**
   * Every site of every item; notes candidates. `pricing.tabulate` first. `move`: each goes to its best at once, and nothing is listed;
   * `candidates`: nothing else.
   */
  full(tolerance: number, purpose: 'list' | 'move' | 'candidates'): void {
    const { problem, demand } = this.#pricing.program;
    const classes = problem.classes.length;
    this.listed = 0;
    this.stale = 0;
    let least = 0;
    for (let group = 0, item = 0; group < problem.groups; group++) {
      for (let c = 0; c < classes; c++, item++) {
        if (demand[item] === 0 && purpose !== 'move') continue;
        const count = this.nearest(group, c, item);
        const site = this.near[0];
        if (purpose === 'candidates' && !this.#isCandidate(item, site)) this.stale += demand[item];
        this.#keep(group, item, count);
        if (purpose === 'move') this.#key[item] = site;
        else if (purpose === 'list') {
          least += demand[item] * this.cost[0];
          if (site !== this.#key[item])
            this.#compare(item, this.#costAt(group, c, item, this.#key[item]), this.cost[0], site, tolerance);
        }
      }
    }
    this.least = least;
  }

  /** Candidates only. */
  few(tolerance: number): void {
    const { problem, demand } = this.#pricing.program;
    const classes = problem.classes.length;
    this.listed = 0;
    for (let group = 0, item = 0; group < problem.groups; group++) {
      for (let c = 0; c < classes; c++, item++) {
        if (demand[item] === 0) continue;
        const now = this.#costAt(group, c, item, this.#key[item]);
        let best = now;
        let bestSite = -1;
        for (let k = item * CANDIDATES, end = k + CANDIDATES; k < end; k++) {
          const cost = this.#costAt(group, c, item, this.candidates[k]);
          if (cost >= best) continue;
          best = cost;
          bestSite = this.candidates[k];
        }
        if (bestSite >= 0) this.#compare(item, now, best, bestSite, tolerance);
      }
    }
  }

  #costAt(group: number, c: number, item: number, site: number): number {
    const { program, table, pairWeight, moveWeight } = this.#pricing;
    const { sites, region, classes } = program.problem;
    let cost = table[(region[group] * classes.length + c) * sites + site];
    if (pairWeight[c] !== 0) cost += pairWeight[c] * this.#pricing.latencyOf(group * sites + site);
    const stay = program.previous[item];
    return stay >= 0 && stay !== site ? cost + moveWeight[c] : cost;
  }

  /**
   * The cheapest sites of an item by the table of now, at most CANDIDATES, in `near` and `cost` by rising cost. Returns how many there are.
   */
  nearest(group: number, c: number, item: number): number {
    const { program, table: prices, pairWeight, moveWeight } = this.#pricing;
    const { sites, rttMs, options, region } = program.problem;
    const { thresholdMs, aboveThreshold } = options;
    const { near, cost } = this;
    const weight = pairWeight[c];
    const table = (region[group] * program.problem.classes.length + c) * sites;
    const pairs = group * sites;
    const stay = program.previous[item];
    const move = stay >= 0 ? moveWeight[c] : 0;
    let count = 0;
    let limit = Infinity;
    for (let site = 0; site < sites; site++) {
      const rtt = rttMs[pairs + site];
      if (rtt === Infinity) continue;
      let own = prices[table + site] + weight * latencyCost(rtt, thresholdMs, aboveThreshold);
      if (site !== stay) own += move;
      if (own >= limit) continue;
      let place = count < CANDIDATES ? count++ : CANDIDATES - 1;
      for (; place > 0 && cost[place - 1] > own; place--) {
        cost[place] = cost[place - 1];
        near[place] = near[place - 1];
      }
      cost[place] = own;
      near[place] = site;
      if (count === CANDIDATES) limit = cost[CANDIDATES - 1];
    }
    if (count === 0) near[0] = NO_SITE;
    return count;
  }

  #isCandidate(item: number, site: number): boolean {
    for (let k = item * CANDIDATES, end = k + CANDIDATES; k < end; k++) if (this.candidates[k] === site) return true;
    return false;
  }

  #keep(group: number, item: number, count: number): void {
    const { near, candidates, candidateCost } = this;
    const pairs = group * this.#pricing.program.problem.sites;
    this.candidateCount[item] = count;
    for (let k = 0, at = item * CANDIDATES; k < CANDIDATES; k++, at++) {
      candidates[at] = near[k < count ? k : Math.max(0, count - 1)];
      if (k < count) candidateCost[at] = this.#pricing.latencyOf(pairs + near[k]);
    }
  }

  /** The same of the item's candidates only. */
  nearestCandidates(group: number, c: number, item: number): number {
    const { program, table: prices, pairWeight, moveWeight } = this.#pricing;
    const { problem } = program;
    const { near, cost, candidates, candidateCost } = this;
    const weight = pairWeight[c];
    const table = (problem.region[group] * problem.classes.length + c) * problem.sites;
    const stay = program.previous[item];
    const move = stay >= 0 ? moveWeight[c] : 0;
    const count = this.candidateCount[item];
    for (let k = 0, at = item * CANDIDATES; k < count; k++, at++) {
      const site = candidates[at];
      let own = prices[table + site] + weight * candidateCost[at];
      if (site !== stay) own += move;
      let place = k;
      for (; place > 0 && cost[place - 1] > own; place--) {
        cost[place] = cost[place - 1];
        near[place] = near[place - 1];
      }
      cost[place] = own;
      near[place] = site;
    }
    return count;
  }

  #compare(item: number, now: number, best: number, site: number, tolerance: number): void {
    if (best >= now - tolerance) return;
    if (this.listed === this.item.length) this.#grow();
    this.item[this.listed] = item;
    this.site[this.listed] = site;
    this.gain[this.listed++] = (now - best) * this.#pricing.program.demand[item];
  }

  #grow(): void {
    const { item, site, gain } = this;
    const size = 2 * item.length;
    this.item = new Int32Array(size);
    this.site = new Uint16Array(size);
    this.gain = new Float64Array(size);
    this.item.set(item);
    this.site.set(site);
    this.gain.set(gain);
  }

  /** Places in the list, those that gain most first. */
  order(): Uint32Array {
    const { gain } = this;
    const order = new Uint32Array(this.listed);
    for (let place = 0; place < this.listed; place++) order[place] = place;
    return order.sort((a, b) => gain[b] - gain[a]);
  }
}
