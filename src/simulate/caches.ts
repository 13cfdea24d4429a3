/**
 * Caches of resolvers: when they ask, what they are told, and where that sends users.
 *
 * A cache holds an answer for its TTL and asks again at the first lookup after, which comes after a time that is exponential in the
 * rate of lookups: so one with lookup rate l and TTL T asks at l / (1 + l T). Users who come while it holds an answer go there; a lookup
 * stands for those who come while it holds none, 1 / l times their rate: so no demand is lost on average, and where lookups are
 * rare, connections come right after them.
 *
 * Of a unit's users a share is late: they keep where they went for a time that is exponential (browsers, long-lived programs, stub
 * caches that hold what they should not).
 */
import { NO_SITE } from '../decide/steer/measured.ts';
import type { Draws } from './draws.ts';
import { QueryTable } from './rows.ts';
import type { Answer, World } from './types.ts';
import type { Units } from './units.ts';

/** Sites that users of a unit go to in one step, at most; a further one's users count as of the first. */
export const MIX = 6;
/** In `soleSite`: more than one. */
export const MANY_SITES = 0xfffe;
const LATE = 4;
/** Late shares below this are forgotten. */
const LEAST_LATE = 1e-4;
/** Refreshed ahead in the last tenth. */
export const PREFETCH_FROM = 0.9;
/** How long a resolver waits after no answer: RFC 8767 recommends 30 s. */
const RETRY_SECONDS = 30;

/** TTL that a resolver makes of one, seconds. */
export function effectiveTtl(world: World, resolver: number, ttlSeconds: number): number {
  const least = world.resolver.clampMin[resolver] as number;
  const most = world.resolver.clampMax[resolver] as number;
  const raised = Math.max(ttlSeconds, least);
  return Math.max(1, most > 0 ? Math.min(raised, most) : raised);
}

/** A step costs about 50 ns for each lookup and 10 ns for each other cache and service. */
export class Caches {
  /** [(unit * services + service) * MIX + n]: sites, and the share of the step's demand that went there; shares add up to 1 on average. */
  readonly mixSite: Uint16Array;
  readonly mixWeight: Float32Array;
  /** [unit * services + service]. */
  readonly mixCount: Uint8Array;
  /** [unit * services + service]: the same where all go to one site, in less room; a weight of 0: to none. */
  readonly soleSite: Uint16Array;
  readonly soleWeight: Float32Array;
  readonly queries = new QueryTable();
  readonly #world: World;
  readonly #units: Units;
  readonly #services: number;
  /** [cache * services + service]: what it holds, and until when, seconds. */
  readonly #site: Uint16Array;
  readonly #expires: Float64Array;
  readonly #lateSite: Uint16Array;
  readonly #lateWeight: Float32Array;
  readonly #lateCount: Uint8Array;
  /** [resolver]: share of the late who stay so over a step of `#keptSeconds`. */
  readonly #kept: Float32Array;
  #keptSeconds = 0;
  #warm = false;
  /** Of the unit and service at hand: as `mix...`, of users who are not late. */
  readonly #promptSite = new Uint16Array(MIX);
  readonly #promptWeight = new Float64Array(MIX);
  #promptCount = 0;

  constructor(world: World, units: Units) {
    const services = world.parameters.services.length;
    this.#world = world;
    this.#units = units;
    this.#services = services;
    this.mixSite = new Uint16Array(units.count * services * MIX);
    this.mixWeight = new Float32Array(units.count * services * MIX);
    this.mixCount = new Uint8Array(units.count * services);
    this.soleSite = new Uint16Array(units.count * services);
    this.soleWeight = new Float32Array(units.count * services);
    this.#site = new Uint16Array(units.caches * services).fill(NO_SITE);
    this.#expires = new Float64Array(units.caches * services);
    this.#lateSite = new Uint16Array(units.count * services * LATE);
    this.#lateWeight = new Float32Array(units.count * services * LATE);
    this.#lateCount = new Uint8Array(units.count * services);
    this.#kept = new Float32Array(world.resolvers);
  }

  /** `demand`: [unit * services + service], new connections a second. */
  step(
    fromSeconds: number,
    seconds: number,
    demand: Float64Array,
    ttlSeconds: readonly number[],
    answer: Answer,
    draws: Draws,
  ): void {
    const { resolver: resolvers, pool: pools, firstCache, count } = this.#units;
    const { lookupsByConnection } = this.#world.resolver;
    const services = this.#services;
    this.#keep(seconds);
    this.queries.clear();
    for (let unit = 0; unit < count; unit++) {
      const resolver = resolvers[unit] as number;
      const pool = pools[unit] as number;
      const firstMember = firstCache[unit] as number;
      const lookups = (lookupsByConnection[resolver] as number) / pool;
      for (let service = 0; service < services; service++) {
        const item = unit * services + service;
        const wanted = demand[item] as number;
        if (wanted <= 0) {
          this.mixCount[item] = 0;
          this.soleWeight[item] = 0;
          continue;
        }
        const ttl = effectiveTtl(this.#world, resolver, ttlSeconds[service] as number);
        const rate = wanted * lookups;
        if (!this.#warm) this.#fill(unit, service, fromSeconds, ttl, rate, answer, draws);
        this.#promptCount = 0;
        this.queries.begin();
        for (let member = firstMember; member < firstMember + pool; member++) {
          this.#run(unit, service, member, fromSeconds, seconds, ttl, rate, answer, draws);
        }
        this.#mix(item, resolver);
      }
    }
    this.#warm = true;
  }

  #keep(seconds: number): void {
    if (this.#keptSeconds === seconds) return;
    this.#keptSeconds = seconds;
    for (const [resolver, late] of this.#world.resolver.lateSeconds.entries()) {
      this.#kept[resolver] = late > 0 ? Math.exp(-seconds / late) : 0;
    }
  }

  /** As if the clock had run before: each cache at some point of its turn. */
  #fill(unit: number, service: number, from: number, ttl: number, rate: number, answer: Answer, draws: Draws): void {
    const units = this.#units;
    const resolver = this.#world.users + (units.resolver[unit] as number);
    const first = units.firstCache[unit] as number;
    const turn = ttl + 1 / rate;
    for (let cache = first; cache < first + (units.pool[unit] as number); cache++) {
      const index = cache * this.#services + service;
      this.#site[index] = answer(resolver, units.subnet[unit] as number, service);
      this.#expires[index] = from + draws.uniform() * turn - 1 / rate;
    }
  }

  #run(
    unit: number,
    service: number,
    cache: number,
    from: number,
    seconds: number,
    ttl: number,
    rate: number,
    answer: Answer,
    draws: Draws,
  ): void {
    const index = cache * this.#services + service;
    let expires = this.#expires[index] as number;
    const end = from + seconds;
    const scale = 1 / (seconds * (this.#units.pool[unit] as number));
    if (expires >= end) {
      this.#add(this.#site[index] as number, seconds * scale);
      return;
    }
    const { resolver: behaviour, users } = this.#world;
    const resolver = this.#units.resolver[unit] as number;
    const ahead = behaviour.prefetch[resolver] === 1;
    const hold = ahead ? ttl * PREFETCH_FROM : ttl;
    const stale = behaviour.serveStale[resolver] === 1;
    let site = this.#site[index] as number;
    if (expires > from) this.#add(site, (expires - from) * scale);
    let now = Math.max(expires, from);
    for (;;) {
      now += draws.exponential() / rate;
      if (now >= end) break;
      const told = answer(users + resolver, this.#units.subnet[unit] as number, service);
      // Those who come first are told what was, where the answer is fetched behind their backs.
      const behind = stale || (ahead && now - expires <= ttl - hold);
      const first = behind && site !== NO_SITE ? site : told;
      if (told === NO_SITE) {
        if (!stale) site = NO_SITE;
      } else {
        site = told;
        this.queries.add(users + resolver, this.#units.subnet[unit] as number, service, told);
      }
      this.#add(first, scale / rate);
      expires = now + (told === NO_SITE ? RETRY_SECONDS : hold);
      this.#add(site, (Math.min(expires, end) - now) * scale);
      if (expires >= end) break;
      now = expires;
    }
    this.#site[index] = site;
    this.#expires[index] = expires;
  }

  #add(site: number, weight: number): void {
    const count = this.#promptCount;
    for (let index = 0; index < count; index++) {
      if (this.#promptSite[index] !== site) continue;
      this.#promptWeight[index] = (this.#promptWeight[index] as number) + weight;
      return;
    }
    if (count === MIX) {
      this.#promptWeight[0] = (this.#promptWeight[0] as number) + weight;
      return;
    }
    this.#promptSite[count] = site;
    this.#promptWeight[count] = weight;
    this.#promptCount = count + 1;
  }

  /** Joins the prompt with the late, and lets the late follow. */
  #mix(item: number, resolver: number): void {
    const lateShare = this.#world.resolver.lateShare[resolver] as number;
    const count = this.#promptCount;
    const late = item * LATE;
    let total = 0;
    for (let index = 0; index < count; index++) total += this.#promptWeight[index] as number;
    if (total > 0) {
      const settled = this.#lateCount[item] === 1 && count === 1 && this.#lateSite[late] === this.#promptSite[0];
      if (!settled) this.#follow(item, total, this.#lateCount[item] === 0 ? 0 : (this.#kept[resolver] as number));
    }
    for (let index = 0; index < count; index++) {
      this.#promptWeight[index] = (this.#promptWeight[index] as number) * (1 - lateShare);
    }
    for (let index = 0; index < (this.#lateCount[item] as number); index++) {
      this.#add(this.#lateSite[late + index] as number, lateShare * (this.#lateWeight[late + index] as number));
    }
    this.mixCount[item] = this.#promptCount;
    this.soleSite[item] = this.#promptCount > 1 ? MANY_SITES : (this.#promptSite[0] as number);
    this.soleWeight[item] = this.#promptCount === 0 ? 0 : (this.#promptWeight[0] as number);
    for (let index = 0; index < this.#promptCount; index++) {
      this.mixSite[item * MIX + index] = this.#promptSite[index] as number;
      this.mixWeight[item * MIX + index] = this.#promptWeight[index] as number;
    }
  }

  #follow(item: number, total: number, kept: number): void {
    const first = item * LATE;
    let count = 0;
    let sum = 0;
    for (let index = 0; index < (this.#lateCount[item] as number); index++) {
      const weight = (this.#lateWeight[first + index] as number) * kept;
      if (weight < LEAST_LATE) continue;
      this.#lateSite[first + count] = this.#lateSite[first + index] as number;
      this.#lateWeight[first + count] = weight;
      sum += weight;
      count++;
    }
    for (let index = 0; index < this.#promptCount; index++) {
      const site = this.#promptSite[index] as number;
      // Who had no answer has nowhere to go on to.
      if (site === NO_SITE) continue;
      const weight = ((1 - kept) * (this.#promptWeight[index] as number)) / total;
      sum += weight;
      let place = 0;
      while (place < count && this.#lateSite[first + place] !== site) place++;
      if (place === LATE) place = 0;
      if (place === count) {
        this.#lateSite[first + count] = site;
        this.#lateWeight[first + count] = 0;
        count++;
      }
      this.#lateWeight[first + place] = (this.#lateWeight[first + place] as number) + weight;
    }
    for (let index = 0; index < count; index++) {
      this.#lateWeight[first + index] = (this.#lateWeight[first + index] as number) / sum;
    }
    this.#lateCount[item] = count;
  }
}
