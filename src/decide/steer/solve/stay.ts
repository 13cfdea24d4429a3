/**
 * Churn in large problems, where a gap is allowed: items go back to where they were, those first that cost least of what the stages before may still
 * use, as long as sites and links have room. Not the least churn that is possible: the bound is 0.
 */
import { type Assignment, outcomeOf } from './outcome.ts';
import { PATH_LINKS } from './problem.ts';
import { CHURN, latencyCost, type Program, STAGE_COUNT } from './program.ts';

const SLOPE_STAGE = 2;

/** A map with fewer moves. `limits`: [stage]. Cost: some passes over the items, and sorting those that moved. */
export function stayWherePossible(program: Program, { key, parts }: Assignment, limits: Float64Array): Assignment {
  const { previous, demand, items } = program;
  const stay = new Stay(program, { key, parts }, limits);
  const moved: number[] = [];
  const price = new Float64Array(items);
  for (let item = 0; item < items; item++) {
    if (previous[item] < 0 || previous[item] === key[item] || demand[item] === 0 || parts.has(item)) continue;
    price[item] = stay.priceOf(item, key[item], previous[item]);
    moved.push(item);
  }
  moved.sort((a, b) => price[a] - price[b]);
  const next = key.slice();
  for (const item of moved) if (stay.take(item, key[item], previous[item])) next[item] = previous[item];
  return { key: next, parts };
}

class Stay {
  readonly #program: Program;
  readonly #load: Float64Array;
  readonly #room: Float64Array;
  /** [stage]: what may still be spent. */
  readonly #left = new Float64Array(STAGE_COUNT);
  readonly #delta = new Float64Array(STAGE_COUNT);

  constructor(program: Program, assignment: Assignment, limits: Float64Array) {
    const { capacity, background, problem } = program;
    const { load, objective } = outcomeOf(program, assignment);
    this.#program = program;
    this.#load = load;
    this.#room = capacity.map((value, row) => value * (1 - problem.options.reserve) - background[row]);
    for (let stage = 1; stage < CHURN; stage++) this.#left[stage] = limits[stage] - objective[stage];
  }

  /** Share of what is left that a unit of demand would spend. */
  priceOf(item: number, from: number, to: number): number {
    this.#compare(item, from, to, 1);
    let most = 0;
    for (let stage = 1; stage < CHURN; stage++) {
      if (this.#delta[stage] > 0) most = Math.max(most, this.#delta[stage] / Math.max(this.#left[stage], 1e-12));
    }
    return most;
  }

  /** Moves an item back if all limits allow it. */
  take(item: number, from: number, to: number): boolean {
    const amount = this.#program.demand[item];
    if (!this.#hasRoom(item, from, to, amount)) return false;
    this.#compare(item, from, to, amount);
    for (let stage = 1; stage < CHURN; stage++)
      if (this.#delta[stage] > 0 && this.#delta[stage] > this.#left[stage]) return false;
    for (let stage = 1; stage < CHURN; stage++) this.#left[stage] -= this.#delta[stage];
    this.#add(item, from, -amount);
    this.#add(item, to, amount);
    return true;
  }

  #hasRoom(item: number, from: number, to: number, amount: number): boolean {
    this.#add(item, from, -amount);
    this.#add(item, to, amount);
    const { problem, siteLoad } = this.#program;
    const c = item % problem.classes.length;
    let isFree = this.#load[to] <= this.#room[to] || siteLoad[c] === 0;
    const path = this.#path(item, to);
    for (let n = 0; n < PATH_LINKS; n++) {
      const row = problem.sites + problem.paths[path + n];
      if (row >= problem.sites && this.#load[row] > this.#room[row]) isFree = false;
    }
    this.#add(item, from, amount);
    this.#add(item, to, -amount);
    return isFree;
  }

  #path(item: number, site: number): number {
    const { problem } = this.#program;
    return (problem.region[Math.floor(item / problem.classes.length)] * problem.sites + site) * PATH_LINKS;
  }

  #add(item: number, site: number, amount: number): void {
    const { problem, siteLoad, linkLoad } = this.#program;
    const c = item % problem.classes.length;
    this.#load[site] += amount * siteLoad[c];
    const path = this.#path(item, site);
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link >= 0) this.#load[problem.sites + link] += amount * linkLoad[c];
    }
  }

  /** What a move of an amount adds to each stage. */
  #compare(item: number, from: number, to: number, amount: number): void {
    const { problem, pairWeight, batchWeight, moveWeight } = this.#program;
    const { thresholdMs, aboveThreshold } = problem.options;
    const c = item % problem.classes.length;
    const pairs = Math.floor(item / problem.classes.length) * problem.sites;
    const latency = (site: number) => latencyCost(problem.rttMs[pairs + site], thresholdMs, aboveThreshold);
    for (let stage = 1; stage < CHURN; stage++) {
      let cost = batchWeight[stage][c] * (problem.batchCost[to] - problem.batchCost[from]) - moveWeight[stage][c];
      if (pairWeight[stage][c] !== 0) cost += pairWeight[stage][c] * (latency(to) - latency(from));
      this.#delta[stage] = amount * cost;
    }
    this.#delta[SLOPE_STAGE] += amount * (this.#slopes(item, to) - this.#slopes(item, from));
  }

  /** Cost of more load on the links of a path. */
  #slopes(item: number, site: number): number {
    const { problem, linkLoad } = this.#program;
    const c = item % problem.classes.length;
    const path = this.#path(item, site);
    let sum = 0;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link >= 0) sum += linkLoad[c] * this.#slopeOf(problem.sites + link);
    }
    return sum;
  }

  #slopeOf(row: number): number {
    const { problem, capacity, background } = this.#program;
    const share = (this.#load[row] + background[row]) / capacity[row];
    let slope = 0;
    for (const cut of problem.options.linkCost) if (share >= cut.from) slope = cut.slope;
    return slope;
  }
}
