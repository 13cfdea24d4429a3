/**
 * The least mean round trip that is possible with a partition of the users: the solver on the truth, with all of every capacity. With the
 * partition that resolvers and client subnets make it is the best that DNS can do; with one group a prefix, the ideal. Services whose users
 * wait go before others, so these alone are in it: what others need can only make the least longer.
 */
import { NO_SITE } from '../decide/steer/measured.ts';
import { DEFAULT_OPTIONS, type SteeringProblem } from '../decide/steer/solve/problem.ts';
import { solveSteering } from '../decide/steer/solve/solve.ts';
import { type Assignment, waitingServices } from './assignment.ts';
import type { Partition } from './partition.ts';
import type { Snapshot } from './snapshot.ts';
import type { World } from './types.ts';

/** A hundredth of the 5 % that steering is held to. */
const GAP = 0.0005;
/** Links that are down have no room; the solver wants some. */
const NO_ROOM_BPS = 1;

/** Of all services; those that do not wait go nowhere. */
export interface BestMap extends Assignment {
  readonly isComplete: boolean;
}

export class Optimum {
  readonly #world: World;
  readonly #partition: Partition;
  /** [class of the problem]: service. */
  readonly #waiting: readonly number[];
  readonly #nowMs: () => number;
  readonly #limitMs: number;
  #prices: readonly Float64Array[] = [];

  /** `nowMs`, `limitMs`: bound of a solve. */
  constructor(world: World, partition: Partition, nowMs: () => number, limitMs: number) {
    this.#world = world;
    this.#partition = partition;
    this.#waiting = waitingServices(world);
    this.#nowMs = nowMs;
    this.#limitMs = limitMs;
  }

  /** Starts from the prices of the last one. */
  find(snapshot: Snapshot): BestMap {
    const problem = this.#problemOf(snapshot);
    const solution = solveSteering(problem, this.#prices);
    this.#prices = solution.prices;
    const { services } = snapshot;
    const classes = this.#waiting.length;
    const itemOf = (item: number) => Math.floor(item / classes) * services + this.#waiting[item % classes];
    const site = new Uint16Array(this.#partition.groups * services).fill(NO_SITE);
    for (let item = 0; item < solution.site.length; item++) site[itemOf(item)] = solution.site[item];
    const splits = new Map([...solution.splits].map(([item, shares]) => [itemOf(item), shares]));
    return { site, splits, isComplete: solution.isComplete };
  }

  #problemOf(snapshot: Snapshot): SteeringProblem {
    const world = this.#world;
    const { groups, region } = this.#partition;
    const { sites, siteUp, siteCapacity, linkCapacity, paths } = snapshot;
    return {
      groups,
      sites,
      classes: this.#waiting.map((service) => ({
        kind: 'latency' as const,
        siteLoad: 1,
        linkLoad: world.parameters.services[service].bitsPerConnection,
      })),
      ...this.#demandAndRtt(snapshot),
      siteCapacity,
      isDead: siteUp.map((isUp) => 1 - isUp),
      linkCapacity: linkCapacity.map((capacity) => Math.max(NO_ROOM_BPS, capacity)),
      region,
      regions: world.regions.length,
      paths,
      batchCost: Float64Array.from(world.sites, ({ batchCost }) => batchCost),
      previous: new Int32Array(groups * this.#waiting.length).fill(-1),
      options: {
        ...DEFAULT_OPTIONS,
        reserve: 0,
        slack: 0,
        // Means of round trips are compared, so far groups count as they do in a mean.
        aboveThreshold: 0,
        gap: GAP,
        limitMs: this.#limitMs,
        nowMs: this.#nowMs,
      },
    };
  }

  /** Of a group: the sums over its pairs, and round trips weighted by demand. */
  #demandAndRtt({ services, sites, rttMs, demand }: Snapshot): Pick<SteeringProblem, 'demand' | 'rttMs'> {
    const { groups, groupOfPair } = this.#partition;
    const { pairShare, pairPrefix } = this.#world;
    const classes = this.#waiting.length;
    const ofItem = new Float64Array(groups * classes);
    const sums = new Float64Array(groups * sites);
    const weights = new Float64Array(groups);
    for (let pair = 0; pair < groupOfPair.length; pair++) {
      const group = groupOfPair[pair];
      const prefix = pairPrefix[pair];
      let all = 0;
      for (let c = 0; c < classes; c++) {
        const wanted = demand[prefix * services + this.#waiting[c]] * pairShare[pair];
        ofItem[group * classes + c] += wanted;
        all += wanted;
      }
      // Groups without demand still need an order of sites.
      const weight = all + 1e-12;
      weights[group] += weight;
      for (let site = 0; site < sites; site++) sums[group * sites + site] += weight * rttMs[prefix * sites + site];
    }
    return { demand: ofItem, rttMs: Float32Array.from(sums, (sum, at) => sum / weights[Math.floor(at / sites)]) };
  }
}
