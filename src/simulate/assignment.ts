/** Who goes where, for all groups of a partition, and what that means for users, sites and links: by the truth of a moment. */
import type { SiteShare } from '../decide/steer/measured.ts';
import type { Partition } from './partition.ts';
import type { Snapshot } from './snapshot.ts';
import { LINKS_ON_PATH, type World } from './types.ts';

export interface Assignment {
  /** [group * services + service]; NO_SITE: nowhere. */
  readonly site: Uint16Array;
  /** By the same numbers: all shares, of what is split. */
  readonly splits: ReadonlyMap<number, readonly SiteShare[]>;
}

/** Those whose users wait for each round trip: of class latency. For others round trips are no aim, or only a lesser one. All if there are none. */
export function waitingServices({ parameters }: World): number[] {
  const all = Array.from(parameters.services.keys());
  const waiting = all.filter((service) => parameters.services[service].class === 'latency');
  return waiting.length > 0 ? waiting : all;
}

export interface Outcome {
  /** Mean round trip over all demand of `waitingServices` that arrives, and by service. */
  readonly rttMs: number;
  readonly rttByService: Float64Array;
  /** [site], connections a second; [link], bits a second. */
  readonly siteLoad: Float64Array;
  readonly linkLoad: Float64Array;
  /** Load of sites and links above their capacity, as a share of all connections, and of all bits. */
  readonly overload: number;
  /** [user prefix]: mean round trip of its demand; empty unless asked for. */
  readonly rttOfPrefix: Float32Array;
}

/** Cost: a pass over pairs and services. */
export function judge(
  world: World,
  partition: Partition,
  snapshot: Snapshot,
  { site, splits }: Assignment,
  withPrefixes = false,
): Outcome {
  const { sites, services, demand, rttMs } = snapshot;
  const counts = new Counts(world, snapshot);
  const rttOfPrefix = new Float32Array(withPrefixes ? world.users : 0);
  const weightOfPrefix = new Float32Array(withPrefixes ? world.users : 0);
  for (let pair = 0; pair < partition.groupOfPair.length; pair++) {
    const prefix = world.pairPrefix[pair];
    for (let service = 0; service < services; service++) {
      const wanted = demand[prefix * services + service] * world.pairShare[pair];
      const item = partition.groupOfPair[pair] * services + service;
      const shares = splits.get(item);
      if (shares === undefined) counts.add(prefix, service, site[item], wanted);
      else for (const each of shares) counts.add(prefix, service, each.site, wanted * each.share);
      if (!withPrefixes || site[item] >= sites) continue;
      rttOfPrefix[prefix] += wanted * rttMs[prefix * sites + site[item]];
      weightOfPrefix[prefix] += wanted;
    }
  }
  for (let prefix = 0; prefix < rttOfPrefix.length; prefix++) rttOfPrefix[prefix] /= weightOfPrefix[prefix] || 1;
  return { ...counts.outcome(), rttOfPrefix };
}

class Counts {
  readonly #world: World;
  readonly #snapshot: Snapshot;
  readonly #siteLoad: Float64Array;
  readonly #linkLoad: Float64Array;
  readonly #rttSum: Float64Array;
  readonly #arrived: Float64Array;
  readonly #bits: readonly number[];

  constructor(world: World, snapshot: Snapshot) {
    this.#world = world;
    this.#snapshot = snapshot;
    this.#siteLoad = new Float64Array(snapshot.sites);
    this.#linkLoad = new Float64Array(world.links.length);
    this.#rttSum = new Float64Array(snapshot.services);
    this.#arrived = new Float64Array(snapshot.services);
    this.#bits = world.parameters.services.map(({ bitsPerConnection }) => bitsPerConnection);
  }

  add(prefix: number, service: number, site: number, connections: number): void {
    const { sites, rttMs, paths } = this.#snapshot;
    if (site >= sites) return;
    this.#siteLoad[site] += connections;
    this.#rttSum[service] += connections * rttMs[prefix * sites + site];
    this.#arrived[service] += connections;
    const region = this.#world.places.region[this.#world.placeOf[prefix]];
    for (let n = 0; n < LINKS_ON_PATH; n++) {
      const link = paths[(region * sites + site) * LINKS_ON_PATH + n];
      if (link >= 0) this.#linkLoad[link] += connections * this.#bits[service];
    }
  }

  outcome(): Omit<Outcome, 'rttOfPrefix'> {
    const { siteCapacity, linkCapacity, total } = this.#snapshot;
    const waiting = waitingServices(this.#world);
    const ofWaiting = (values: Float64Array) => waiting.reduce((all, service) => all + values[service], 0);
    const bits = this.#arrived.reduce((all, arrived, service) => all + arrived * this.#bits[service], 0);
    return {
      rttMs: ofWaiting(this.#rttSum) / (ofWaiting(this.#arrived) || 1),
      rttByService: this.#rttSum.map((value, service) => value / (this.#arrived[service] || 1)),
      siteLoad: this.#siteLoad,
      linkLoad: this.#linkLoad,
      overload: above(this.#siteLoad, siteCapacity) / (total || 1) + above(this.#linkLoad, linkCapacity) / (bits || 1),
    };
  }
}

/** Sum of what is above the capacities. */
export function above(load: ArrayLike<number>, capacity: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < load.length; at++) sum += Math.max(0, load[at] - capacity[at]);
  return sum;
}
