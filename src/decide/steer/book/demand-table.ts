/** Demand behind each resolver with its interval, by the best method that says enough. */
import { RAKE_MASS } from './beliefs.ts';
import { type BookModel, DEMAND_METHODS, type DemandEstimate, type DemandMethod, ttlOf, Z90 } from './book-model.ts';
import { type Lookups, lookupsOf } from './query-gaps.ts';
import { RATE_MEMORY_SECONDS, type ResolverColumns } from './resolver-columns.ts';
import type { UserShares } from './user-shares.ts';

/** Connections by lookup from so many resolvers, or they are taken to be the same everywhere, within a factor. */
const LEAST_KNOWN = 20;
const UNKNOWN_FACTOR = 6;
/** An estimate by users is good enough to learn connections by lookup from: relative half of its interval. */
const GOOD = 0.3;
/** Of an estimate by users, the part that must be known by data; below it gaps are asked. */
const LEAST_BACKED = 0.3;
/** Demand itself, over minutes: relative standard deviation. */
const DEMAND_NOISE = 0.03;
/** Of what traffic told: caches that lengthen TTLs, resolvers that nobody thought of. As seen in the simulator. */
const TRAFFIC_NOISE = 0.1;

export class DemandTable {
  readonly #model: BookModel;
  readonly #resolvers: ResolverColumns;
  readonly #shares: UserShares;
  readonly #value: Float64Array;
  readonly #low: Float64Array;
  readonly #high: Float64Array;
  /** Index in DEMAND_METHODS + 1; 0: nothing is known. */
  readonly #method: Uint8Array;
  readonly #lookups: (Lookups | null)[] = [];

  /** Part of all demand that is in no prefix's. */
  untrackedShare = 0;

  constructor(model: BookModel, resolvers: ResolverColumns, shares: UserShares) {
    this.#model = model;
    this.#resolvers = resolvers;
    this.#shares = shares;
    const { capacity } = resolvers.slots;
    this.#value = new Float64Array(capacity);
    this.#low = new Float64Array(capacity);
    this.#high = new Float64Array(capacity);
    this.#method = new Uint8Array(capacity);
  }

  refresh(nowMs: number): void {
    const { slots } = this.#resolvers;
    this.#method.fill(0);
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      this.#byUsers(slot);
      this.#lookups[slot] = this.#lookupsOf(slot, nowMs);
    }
    const ratio = this.#connectionsByLookup();
    for (let slot = 0; slot < slots.end; slot++) {
      if (!slots.isFree(slot) && this.#method[slot] === 0) this.#byGaps(slot, ratio);
    }
  }

  estimate(slot: number, ofClass: number): DemandEstimate | null {
    if (this.#method[slot] === 0) return null;
    const part = ofClass < 0 ? 1 : this.#partOf(slot, ofClass);
    const [value, low, high] = [this.#value[slot] * part, this.#low[slot] * part, this.#high[slot] * part];
    const method = DEMAND_METHODS[this.#method[slot] - 1];
    return { value, low, high: Number.isNaN(high) ? Infinity : high, method, isAtLeast: high === Infinity };
  }

  /** Of the demand: by users where they are known, else by queries. */
  #partOf(slot: number, ofClass: number): number {
    const { classes, classOf } = this.#model;
    let [its, all] = [0, 0];
    for (let c = 0; c < classes; c++) {
      const demand = this.#shares.demand[slot * classes + c];
      all += demand;
      if (c === ofClass) its = demand;
    }
    if (all > 0) return its / all;
    for (let service = 0; service < classOf.length; service++) {
      const rate = this.#resolvers.rate[slot * classOf.length + service];
      all += rate;
      if (classOf[service] === ofClass) its += rate;
    }
    return all > 0 ? its / all : 1 / classes;
  }

  #byUsers(slot: number): void {
    const { classes } = this.#model;
    const { demand, variance, byTraffic, byBeacons, byTold } = this.#shares;
    const { beacons } = this.#resolvers;
    let value = 0;
    for (let c = 0; c < classes; c++) value += demand[slot * classes + c];
    const backed = byTraffic[slot] + byBeacons[slot] + byTold[slot];
    const isBacked = value > 0 && backed >= LEAST_BACKED * value;
    const all = 1 / (1 - Math.min(0.9, this.untrackedShare));
    // Traffic tells of prefixes that are seen; the others are small ones.
    const seen = Math.min(value, byTraffic[slot]);
    value = seen + (value - seen) * all;
    this.#value[slot] = value;
    if (!isBacked) return;
    // What is believed of networks may be wrong for a resolver: as much as its beacons cannot tell.
    const believed = (value * Math.max(0, 1 - seen / value)) ** 2 / (beacons[slot] + RAKE_MASS);
    const half =
      Z90 *
      Math.sqrt(variance[slot] * all * all + believed + (DEMAND_NOISE * value) ** 2 + (TRAFFIC_NOISE * seen) ** 2);
    this.#low[slot] = Math.max(0, value - half);
    this.#high[slot] = value + half;
    let method: DemandMethod = 'traffic';
    if (byTraffic[slot] < backed / 2) method = byBeacons[slot] >= byTold[slot] ? 'beacons' : 'ecs';
    this.#method[slot] = DEMAND_METHODS.indexOf(method) + 1;
  }

  /** All services together; null: too few queries, or with client subnets, which caches keep apart. */
  #lookupsOf(slot: number, nowMs: number): Lookups | null {
    const { services, rate, squares, firstMs, toldRate } = this.#resolvers;
    const seconds = Math.max(1, (nowMs - firstMs[slot]) / 1000);
    const remembered = Math.min(seconds, 2 * RATE_MEMORY_SECONDS);
    const { windowSeconds } = this.#resolvers;
    const windows = remembered / windowSeconds;
    let [value, low, high] = [0, 0, 0];
    for (let service = 0; service < services; service++) {
      const item = slot * services + service;
      const queries = rate[item] * remembered;
      const counts = { rate: rate[item], queries, windows, windowSeconds, squares: squares[item] };
      const found = lookupsOf(counts, ttlOf(this.#model, service));
      if (found === null) continue;
      value += found.value;
      low += found.low;
      high += found.high;
    }
    return value > 0 && toldRate[slot] < value * 0.1 ? { value, low, high } : null;
  }

  #byGaps(slot: number, { low, middle, high }: Ratio): void {
    const lookups = this.#lookups[slot];
    if (lookups === null || middle === 0) return;
    this.#method[slot] = DEMAND_METHODS.indexOf('gaps') + 1;
    if (lookups.high === Infinity) {
      this.#value[slot] = this.#low[slot] = lookups.low * low;
      this.#high[slot] = Infinity;
      return;
    }
    this.#value[slot] = lookups.value * middle;
    const below = Math.hypot(Math.log(middle / low), Math.log(lookups.value / lookups.low));
    const above = Math.hypot(Math.log(high / middle), Math.log(lookups.high / lookups.value));
    this.#low[slot] = this.#value[slot] * Math.exp(-below);
    this.#high[slot] = this.#value[slot] * Math.exp(above);
  }

  /** From resolvers whose users are known: connections by lookup, the middle and the middle 90 %. */
  #connectionsByLookup(): Ratio {
    const { slots } = this.#resolvers;
    const known: number[] = [];
    let [connections, lookups] = [0, 0];
    for (let slot = 0; slot < slots.end; slot++) {
      const its = this.#lookups[slot];
      if (slots.isFree(slot) || its === null || its === undefined || its.high === Infinity) continue;
      const value = this.#value[slot];
      connections += value;
      lookups += its.value;
      if (this.#method[slot] > 0 && this.#high[slot] - value < GOOD * value) known.push(value / its.value);
    }
    if (known.length < LEAST_KNOWN) {
      const middle = lookups > 0 ? connections / lookups : 0;
      return { low: middle / UNKNOWN_FACTOR, middle, high: middle * UNKNOWN_FACTOR };
    }
    known.sort((a, b) => a - b);
    const at = (share: number) => known[Math.min(known.length - 1, Math.floor(known.length * share))];
    return { low: at(0.05), middle: at(0.5), high: at(0.95) };
  }
}

interface Ratio {
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}
