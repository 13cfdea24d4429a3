/**
 * New connections a second of each client prefix and class, now and a few minutes ahead. A prefix's own rate is smoothed slowly, since few
 * connections say little; how its country's demand goes up and down, day and night or in a rush, is followed quickly.
 */
import type { PrefixFacts, TrafficRows } from '../measured.ts';
import { NO_PREFIX } from '../measured.ts';

/** Of a prefix's rate. */
const MEMORY_MS = 900_000;
/** Of a country's: level, and change of the level by the minute. */
const LEVEL_MEMORY_MS = 90_000;
const TREND_MEMORY_MS = 600_000;
/** Connections of a country in an interval below which its own course counts less than that of all. */
const CROWD = 400;
/** What a country may differ from its prefixes' sum: below, above. */
const LEAST_FACTOR = 0.3;
const MOST_FACTOR = 4;
const MINUTE_MS = 60_000;
const UNKNOWN_COUNTRY = 0;

export class PrefixDemand {
  readonly classes: number;
  /** [prefix * classes + class]: connections a second, smoothed. */
  rate = new Float32Array(0);
  /** Connections of prefixes that had no row of their own: [class], a second, smoothed. */
  readonly unknown: Float64Array;
  readonly #facts: PrefixFacts;
  readonly #most: number;
  /** [prefix]: country + 1; -1: not asked yet. */
  #country = new Int16Array(0);
  /** [country * classes + class]: last interval's connections a second; level; change of it by the minute; sum of `rate`. */
  #now = new Float64Array(0);
  #level = new Float64Array(0);
  #trend = new Float64Array(0);
  #sum = new Float64Array(0);
  #seconds = 0;
  #isFirst = true;

  /** `most`: prefixes; those with higher numbers count as unknown. */
  constructor(facts: PrefixFacts, classes: number, most: number) {
    this.#facts = facts;
    this.classes = classes;
    this.#most = most;
    this.unknown = new Float64Array(classes);
  }

  /** Prefixes whose numbers are below have room. */
  get prefixes(): number {
    return this.#country.length;
  }

  /** `classOf`: by service. Cost: about 50 ns a row, 1 ns a prefix. */
  observe(rows: TrafficRows, classOf: readonly number[], intervalMs: number): void {
    const { classes } = this;
    const gain = this.#isFirst ? 1 : 1 - Math.exp(-intervalMs / MEMORY_MS);
    const part = (gain * 1000) / intervalMs;
    for (let at = 0; at < this.rate.length; at++) this.rate[at] *= 1 - gain;
    for (let c = 0; c < classes; c++) this.unknown[c] *= 1 - gain;
    this.#now.fill(0);
    for (let row = 0; row < rows.length; row++) {
      const c = classOf[rows.service[row]];
      if (c === undefined) continue;
      const prefix = rows.prefix[row];
      if (prefix === NO_PREFIX || prefix >= this.#most) {
        this.unknown[c] += part * rows.connections[row];
        continue;
      }
      const country = this.#countryOf(prefix);
      this.rate[prefix * classes + c] += part * rows.connections[row];
      this.#now[country * classes + c] += (rows.connections[row] * 1000) / intervalMs;
    }
    this.#seconds = intervalMs / 1000;
    this.#follow(intervalMs);
    this.#isFirst = false;
  }

  /**
   * [prefix * classes + class] -> factor on `rate` for what is expected in `aheadMs`; by `factorOf`. Unknown connections are spread over all
   * prefixes of the class. Cost: 2 ns a prefix.
   */
  forecast(aheadMs: number): Forecast {
    const { classes } = this;
    this.#addUp();
    const factors = new Float64Array(this.#now.length);
    for (let c = 0; c < classes; c++) {
      let expected = 0;
      let sum = 0;
      for (let at = c; at < factors.length; at += classes) {
        expected += this.#expected(at, aheadMs);
        sum += this.#sum[at];
      }
      const all = sum > 0 ? clamp(expected / sum) : 1;
      const rest = sum > 0 ? 1 + this.unknown[c] / sum : 1;
      for (let at = c; at < factors.length; at += classes) {
        const crowd = this.#level[at] * this.#seconds;
        const own = this.#sum[at] > 0 ? clamp(this.#expected(at, aheadMs) / this.#sum[at]) : all;
        factors[at] = ((crowd * own + CROWD * all) / (crowd + CROWD)) * rest;
      }
    }
    return new Forecast(this.rate, this.#country, factors, classes);
  }

  /** Takes up rates that another kept: [prefix * classes + class]. Those of prefixes without a number are left out. */
  load(rate: Float32Array, classes: number): void {
    for (let at = 0; at < rate.length; at++) {
      const c = at % classes;
      const prefix = (at - c) / classes;
      if (!(rate[at] > 0) || c >= this.classes || prefix >= this.#most) continue;
      const country = this.#countryOf(prefix);
      this.rate[prefix * this.classes + c] = rate[at];
      this.#level[country * this.classes + c] += rate[at];
      this.#isFirst = false;
    }
  }

  #expected(at: number, aheadMs: number): number {
    return Math.max(0.3 * this.#level[at], this.#level[at] + (this.#trend[at] * aheadMs) / MINUTE_MS);
  }

  #addUp(): void {
    const { classes } = this;
    this.#sum.fill(0);
    for (let prefix = 0, at = 0; prefix < this.#country.length; prefix++) {
      const country = Math.max(0, this.#country[prefix]) * classes;
      for (let c = 0; c < classes; c++, at++) this.#sum[country + c] += this.rate[at];
    }
  }

  /** Double exponential smoothing of countries (Holt). */
  #follow(intervalMs: number): void {
    const gain = this.#isFirst ? 1 : 1 - Math.exp(-intervalMs / LEVEL_MEMORY_MS);
    const bend = this.#isFirst ? 0 : 1 - Math.exp(-intervalMs / TREND_MEMORY_MS);
    const minutes = intervalMs / MINUTE_MS;
    for (let at = 0; at < this.#now.length; at++) {
      const before = this.#level[at];
      const isNew = before === 0;
      const expected = Math.max(0, before + this.#trend[at] * minutes);
      this.#level[at] = isNew ? this.#now[at] : expected + gain * (this.#now[at] - expected);
      if (!isNew) this.#trend[at] += bend * ((this.#level[at] - before) / minutes - this.#trend[at]);
    }
  }

  #countryOf(prefix: number): number {
    if (prefix >= this.#country.length) this.#makeRoom(prefix);
    let country = this.#country[prefix];
    if (country < 0) {
      country = Math.min(32_000, Math.max(UNKNOWN_COUNTRY, this.#facts.country(prefix) + 1));
      this.#country[prefix] = country;
    }
    const size = (country + 1) * this.classes;
    if (size > this.#now.length) {
      this.#now = longer(this.#now, 2 * size);
      this.#level = longer(this.#level, 2 * size);
      this.#trend = longer(this.#trend, 2 * size);
      this.#sum = longer(this.#sum, 2 * size);
    }
    return country;
  }

  #makeRoom(prefix: number): void {
    const length = Math.min(this.#most, Math.max(prefix + 1, 2 * this.#country.length, 1024));
    const country = new Int16Array(length).fill(-1);
    country.set(this.#country);
    this.#country = country;
    const rate = new Float32Array(length * this.classes);
    rate.set(this.rate);
    this.rate = rate;
  }
}

/** What is expected of each prefix. Valid until the next observation. */
export class Forecast {
  readonly #rate: Float32Array;
  readonly #country: Int16Array;
  readonly #factors: Float64Array;
  readonly #classes: number;

  constructor(rate: Float32Array, country: Int16Array, factors: Float64Array, classes: number) {
    this.#rate = rate;
    this.#country = country;
    this.#factors = factors;
    this.#classes = classes;
  }

  /** New connections a second. */
  of(prefix: number, c: number): number {
    if (prefix >= this.#country.length) return 0;
    const country = Math.max(0, this.#country[prefix]);
    return this.#rate[prefix * this.#classes + c] * this.#factors[country * this.#classes + c];
  }
}

function clamp(factor: number): number {
  return Math.min(MOST_FACTOR, Math.max(LEAST_FACTOR, factor));
}

function longer(old: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(length);
  next.set(old);
  return next;
}
