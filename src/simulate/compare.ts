/** What else could have been done at a moment of a run, in the same world: two optima, and two simple ways. */
import { NO_SITE } from '../decide/steer/measured.ts';
import { type Assignment, judge, type Outcome } from './assignment.ts';
import { Optimum } from './optimum.ts';
import { type Partition, partitionByAsker, partitionByPrefix, partitionByResolver } from './partition.ts';
import { type Snapshot, takeSnapshot } from './snapshot.ts';
import type { TrueState, World } from './types.ts';

export interface Comparison {
  readonly atMs: number;
  readonly snapshot: Snapshot;
  readonly geography: Outcome;
  readonly nearestToResolver: Outcome;
  readonly bestOfDns: Outcome;
  readonly perUser: Outcome;
  /** Share of all demand for which there is no capacity at any site. */
  readonly unavoidable: number;
}

export class Comparer {
  readonly byAsker: Partition;
  readonly #world: World;
  readonly #byResolver: Partition;
  readonly #byPrefix: Partition;
  readonly #bestOfDns: Optimum;
  readonly #perUser: Optimum;

  /** `nowMs`, `limitMs`: bound of each of the two solves of a comparison. */
  constructor(world: World, nowMs: () => number, limitMs: number) {
    this.#world = world;
    this.byAsker = partitionByAsker(world);
    this.#byResolver = partitionByResolver(world);
    this.#byPrefix = partitionByPrefix(world);
    this.#bestOfDns = new Optimum(world, this.byAsker, nowMs, limitMs);
    this.#perUser = new Optimum(world, this.#byPrefix, nowMs, limitMs);
  }

  /** `serves`: 1: sites that may be answered. */
  compare(state: TrueState, serves: Uint8Array): Comparison {
    const world = this.#world;
    const snapshot = withoutDrained(takeSnapshot(world, state), serves);
    const { facts } = world;
    const byDistance = nearestSites(world, this.byAsker, serves, (asker, site) => facts.distanceKm(asker, site));
    const byRtt = nearestSites(world, this.#byResolver, serves, (asker, site) => state.rttMs(asker, site));
    const best = this.#bestOfDns.find(snapshot);
    return {
      atMs: state.nowMs,
      snapshot,
      geography: judge(world, this.byAsker, snapshot, byDistance),
      nearestToResolver: judge(world, this.#byResolver, snapshot, byRtt),
      bestOfDns: judge(world, this.byAsker, snapshot, best),
      perUser: judge(world, this.#byPrefix, snapshot, this.#perUser.find(snapshot)),
      unavoidable: Math.max(
        0,
        1 - snapshot.siteCapacity.reduce((sum, value) => sum + value, 0) / (snapshot.total || 1),
      ),
    };
  }
}

/** Nobody is to be sent to a drained site, so the optima must not use it either. */
function withoutDrained(snapshot: Snapshot, serves: Uint8Array): Snapshot {
  const siteUp = snapshot.siteUp.map((isUp, site) => isUp & serves[site]);
  const siteCapacity = snapshot.siteCapacity.map((capacity, site) => (serves[site] === 1 ? capacity : 0));
  return { ...snapshot, siteUp, siteCapacity };
}

function nearestSites(
  world: World,
  partition: Partition,
  serves: Uint8Array,
  farness: (asker: number, site: number) => number,
): Assignment {
  const services = world.parameters.services.length;
  const site = new Uint16Array(partition.groups * services);
  for (let group = 0; group < partition.groups; group++) {
    let best = NO_SITE;
    let least = Number.POSITIVE_INFINITY;
    for (let candidate = 0; candidate < world.sites.length; candidate++) {
      if (serves[candidate] === 0) continue;
      const far = farness(partition.asker[group], candidate);
      if (far >= least) continue;
      best = candidate;
      least = far;
    }
    site.fill(best, group * services, (group + 1) * services);
  }
  return { site, splits: new Map() };
}
