/** The world with a clock: users ask and connect, and steering sees of it what it would in production. */
import type { AnswerDecay } from '../decide/steer/measured.ts';
import { Caches, effectiveTtl } from './caches.ts';
import { Conditions } from './conditions.ts';
import { Draws } from './draws.ts';
import { Traffic } from './traffic.ts';
import { type DecayFacts, decayFromTtl, remainingShare } from './true-decay.ts';
import type { Answer, StepResult, TrueState, World, WorldEvent } from './types.ts';
import { findUnits, type Units } from './units.ts';

/** How often the demand of units is added up where nothing happens. */
const SUM_SECONDS = 300;

/** Of a resolver, by which its decay is followed. */
const REMAINING_UNITS = 4;

/** Of a resolver, its pairs: [resolver] first, and the pairs in order of resolvers. */
interface PairsByResolver {
  readonly first: Uint32Array;
  readonly pairs: Uint32Array;
}

function sortPairs(world: World): PairsByResolver {
  const first = new Uint32Array(world.resolvers + 1);
  for (const resolver of world.pairResolver) first[resolver + 1] = (first[resolver + 1] as number) + 1;
  for (let index = 0; index < world.resolvers; index++) {
    first[index + 1] = (first[index + 1] as number) + (first[index] as number);
  }
  const next = first.slice();
  const pairs = new Uint32Array(world.pairResolver.length);
  for (const [pair, resolver] of world.pairResolver.entries()) {
    pairs[next[resolver] as number] = pair;
    next[resolver] = (next[resolver] as number) + 1;
  }
  return { first, pairs };
}

/**
 * Starts at midnight of longitude 0, with caches that are full as if it had run before: of what the first step's `answer` says. A step at
 * 200,000 prefixes, 20,000 resolvers, 30 sites and 3 services takes about 0.1 s.
 */
export class Internet implements TrueState {
  readonly world: World;
  nowMs = 0;
  readonly siteUp: Uint8Array;
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly paths: Int32Array;
  readonly units: Units;
  readonly #conditions: Conditions;
  readonly #caches: Caches;
  readonly #traffic: Traffic;
  readonly #draws: Draws;
  readonly #byResolver: PairsByResolver;
  #summedMs = Number.NEGATIVE_INFINITY;
  #summedRevision = -1;

  constructor(world: World, seed: number) {
    this.world = world;
    this.#draws = new Draws(seed, 101);
    this.#conditions = new Conditions(world);
    this.units = findUnits(world);
    this.#caches = new Caches(world, this.units);
    this.#traffic = new Traffic(world, this.units);
    this.#byResolver = sortPairs(world);
    this.siteUp = this.#conditions.siteUp;
    this.siteCapacity = this.#conditions.siteCapacity;
    this.linkCapacity = this.#conditions.linkCapacity;
    this.paths = this.#conditions.paths;
    this.#conditions.advance(0, this.#draws);
  }

  /** In any order. Each happens at the beginning of the first step that begins then or later. */
  schedule(events: readonly WorldEvent[]): void {
    this.#conditions.schedule(events);
  }

  /** Now, by events. */
  ttlSeconds(service: number): number {
    return this.#conditions.ttlSeconds[service] as number;
  }

  /** Lets `seconds` pass, 1 to 3,600. What it returns is overwritten by the next step. */
  step(answer: Answer, seconds: number): StepResult {
    if (!(seconds >= 1 && seconds <= 3600)) throw new RangeError(`a step of ${seconds} seconds`);
    const traffic = this.#traffic;
    const caches = this.#caches;
    this.#conditions.advance(this.nowMs, this.#draws);
    this.#sumDemand();
    const { ttlSeconds } = this.#conditions;
    caches.step(this.nowMs / 1000, seconds, traffic.unitDemand, ttlSeconds, answer, this.#draws);
    traffic.step(seconds, this.#conditions, caches, this.#draws);
    this.nowMs += seconds * 1000;
    return {
      observations: {
        nowMs: this.nowMs,
        intervalMs: seconds * 1000,
        rtt: traffic.rtt,
        traffic: traffic.rows,
        queries: caches.queries,
        beacons: traffic.beacons,
        linkLoad: traffic.linkLoad,
      },
      truth: {
        wanted: traffic.wanted,
        lost: traffic.lost,
        arrived: traffic.arrived,
        rttSumMs: traffic.rttSumMs,
        offeredBps: traffic.offeredBps,
        lookups: caches.queries.total,
      },
    };
  }

  /** How often caches are asked follows the hour slowly, events at once. */
  #sumDemand(): void {
    const { revision } = this.#conditions;
    if (revision === this.#summedRevision && this.nowMs - this.#summedMs < SUM_SECONDS * 1000) return;
    this.#summedMs = this.nowMs;
    this.#summedRevision = revision;
    this.#traffic.sumDemand(this.#conditions);
  }

  rttMs(prefix: number, site: number): number {
    const place = this.world.placeOf[prefix] as number;
    const access = prefix < this.world.users ? (this.world.accessMs[prefix] as number) : 0;
    return access + (this.#conditions.wayMs[place * this.world.sites.length + site] as number);
  }

  demandOfPrefix(prefix: number, service: number): number {
    const { placeOf, weight, parameters } = this.world;
    const share = parameters.services[service]?.share ?? 0;
    const mean = (weight[prefix] as number) * parameters.demand.connectionsPerSecond * share;
    return mean * this.#conditions.demandOf(placeOf[prefix] as number, service, this.nowMs);
  }

  demandOfResolver(resolver: number, service: number): number {
    const { pairPrefix, pairShare } = this.world;
    let sum = 0;
    for (const pair of this.pairsOfResolver(resolver)) {
      sum += (pairShare[pair] as number) * this.demandOfPrefix(pairPrefix[pair] as number, service);
    }
    return sum;
  }

  /** Pairs at a resolver; their shares of its demand are the truth behind location shares. */
  pairsOfResolver(resolver: number): Uint32Array {
    const { first, pairs } = this.#byResolver;
    return pairs.subarray(first[resolver], first[resolver + 1]);
  }

  remaining(resolver: number, service: number, seconds: number): number {
    let share = 0;
    let demand = 0;
    for (const facts of this.#decayFacts(resolver, service)) {
      demand += facts.demand;
      share += facts.demand * remainingShare(facts, seconds);
    }
    return demand === 0 ? 0 : share / demand;
  }

  /** `remaining` for many moments, by at most 4 of the resolver's units, which stand for the same demand each. */
  remainingOf(resolver: number, service: number): (seconds: number) => number {
    const all = [...this.#decayFacts(resolver, service)];
    const width = all.reduce((sum, { demand }) => sum + demand, 0) / REMAINING_UNITS;
    const some: DecayFacts[] = [];
    for (let at = 0, sum = 0, next = width / 2; at < all.length; at++) {
      sum += (all[at] as (typeof all)[number]).demand;
      for (; next < sum; next += width) some.push(all[at] as DecayFacts);
    }
    const units = all.length === 1 ? all : some;
    return (seconds) => units.reduce((sum, facts) => sum + remainingShare(facts, seconds), 0) / (units.length || 1);
  }

  /** About 0.1 ms; where client subnets are sent, for each prefix at the resolver. */
  decayOf(resolver: number, service: number): AnswerDecay {
    const ttl = this.ttlSeconds(service);
    const longest = Math.max(ttl, effectiveTtl(this.world, resolver, ttl));
    const end = longest + 6 * (this.world.resolver.lateSeconds[resolver] as number);
    return decayFromTtl((seconds) => this.remaining(resolver, service, seconds), ttl, end);
  }

  /** Of each of the resolver's units with demand. */
  *#decayFacts(resolver: number, service: number): Generator<DecayFacts & { readonly demand: number }> {
    const { resolver: behaviour, pairPrefix, pairShare } = this.world;
    const facts = {
      ttlSeconds: effectiveTtl(this.world, resolver, this.ttlSeconds(service)),
      prefetch: behaviour.prefetch[resolver] === 1,
      serveStale: behaviour.serveStale[resolver] === 1,
      lateShare: behaviour.lateShare[resolver] as number,
      lateSeconds: behaviour.lateSeconds[resolver] as number,
    };
    const lookups = behaviour.lookupsByConnection[resolver] as number;
    if (behaviour.ecs[resolver] === 0) {
      const demand = this.demandOfResolver(resolver, service);
      const lookupsPerSecond = (demand * lookups) / (behaviour.pool[resolver] as number);
      if (demand > 0) yield { ...facts, demand, lookupsPerSecond };
      return;
    }
    for (const pair of this.pairsOfResolver(resolver)) {
      const demand = (pairShare[pair] as number) * this.demandOfPrefix(pairPrefix[pair] as number, service);
      if (demand > 0) yield { ...facts, demand, lookupsPerSecond: demand * lookups };
    }
  }
}
