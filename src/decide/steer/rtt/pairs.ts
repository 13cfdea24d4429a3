/**
 * Round-trip times of (prefix, site) pairs, in columns: of each pair a low percentile of its connections' times, how far above it they
 * spread, and how much they weigh by now. A low percentile is what the way costs; what is above is queues and radio.
 */

/** Which share of connections is below what is kept. */
export const LOW_SHARE = 0.25;
/** Connections that count at most: the older are forgotten as new ones come. */
const MOST_WEIGHT = 64;
/** Halves the weight of what was measured. */
const HALF_LIFE_MS = 6 * 3_600_000;
/** So many in a row far above (below) mean that the way is another one. */
const RUN_ABOVE = 6;
const RUN_BELOW = 3;
/** Step of the percentile by one more connection, in spreads over the weight. */
const STEP = 1.5;
/** Milliseconds; a spread below is noise of clocks. */
const LEAST_SPREAD_MS = 0.1;
const NONE = -1;
/** Pairs that are looked at to find one of little importance. */
const TRIED = 16;

/**
 * How far the kept value is above the least that the way costs, in spreads, if the tail is exponential: the mean of one, the least of two
 * and of three, a quarter's percentile.
 */
function excess(weight: number): number {
  return weight < 1.5 ? 1 : weight < 2.5 ? 0.5 : weight < 3.5 ? 0.33 : 0.29;
}

/** Variance of the kept value by weight, in squared spreads: an exponential tail above; a step rule gets half as much from each. */
function variance(weight: number): number {
  return (weight < 1.5 ? 1.2 : 0.9) / weight;
}

function grown<T extends Int32Array | Uint32Array | Uint16Array | Int8Array | Float32Array>(old: T, length: number): T {
  const next = new (old.constructor as new (length: number) => T)(length);
  next.set(old as never);
  return next;
}

export class RttPairs {
  /** Pairs, those that are free among them. */
  length = 0;
  /** Pairs that were given up for others. */
  forgotten = 0;
  prefix = new Uint32Array(0);
  site = new Uint16Array(0);
  /** Milliseconds. */
  low = new Float32Array(0);
  spread = new Float32Array(0);
  /** Connections that count, when it was last seen. */
  weight = new Float32Array(0);
  /** Seconds. */
  seen = new Uint32Array(0);
  /** Of the same prefix. */
  next = new Int32Array(0);
  /** Milliseconds: what the prefix's own times add to the prior's; and the variance of the sum. */
  correction = new Float32Array(0);
  posterior = new Float32Array(0);
  /** [prefix]: its first pair; -1: none. */
  first = new Int32Array(0);
  /** Milliseconds: of all, for pairs that have none of their own yet. */
  usualSpread = 3;
  /** Connections in a row far above, or below if negative. */
  #run = new Int8Array(0);
  readonly #most: number;
  #draw: number;

  /** `most`: pairs, at least 16. */
  constructor(most: number, seed: number) {
    this.#most = Math.max(TRIED, most);
    this.#draw = seed >>> 0;
  }

  /** Pair's number; -1: not measured. */
  find(prefix: number, site: number): number {
    if (prefix >= this.first.length) return NONE;
    let pair = this.first[prefix];
    while (pair !== NONE && this.site[pair] !== site) pair = this.next[pair];
    return pair;
  }

  /** One connection. `ms` above 0, at most an hour; else it is not counted. */
  add(prefix: number, site: number, ms: number, nowSeconds: number): void {
    if (!(ms > 0) || ms > 3_600_000) return;
    let pair = this.find(prefix, site);
    if (pair === NONE) pair = this.#create(prefix, site);
    const weight = this.weightAt(pair, nowSeconds);
    this.seen[pair] = nowSeconds;
    if (weight < 0.5) this.#restart(pair, ms);
    else this.#learn(pair, ms, weight);
  }

  weightAt(pair: number, nowSeconds: number): number {
    const age = Math.max(0, nowSeconds - this.seen[pair]) * 1000;
    return this.weight[pair] * 2 ** (-age / HALF_LIFE_MS);
  }

  /** Milliseconds. */
  valueOf(pair: number): number {
    return this.low[pair] - excess(this.weight[pair]) * this.spread[pair];
  }

  /** Squared milliseconds. */
  varianceOf(pair: number, nowSeconds: number): number {
    const spread = Math.max(LEAST_SPREAD_MS, this.spread[pair]);
    return spread * spread * variance(Math.max(0.02, this.weightAt(pair, nowSeconds)));
  }

  /** Takes up a pair as another kept it: weights add, values are weighed. */
  merge(prefix: number, site: number, low: number, spread: number, weight: number, seenSeconds: number): void {
    let pair = this.find(prefix, site);
    if (pair === NONE) {
      pair = this.#create(prefix, site);
      this.low[pair] = low;
      this.spread[pair] = spread;
      this.weight[pair] = weight;
      this.seen[pair] = seenSeconds;
      return;
    }
    const now = Math.max(seenSeconds, this.seen[pair]);
    const own = this.weightAt(pair, now);
    const other = weight * 2 ** ((-(now - seenSeconds) * 1000) / HALF_LIFE_MS);
    const share = own + other > 0 ? other / (own + other) : 0;
    this.low[pair] += share * (low - this.low[pair]);
    this.spread[pair] += share * (spread - this.spread[pair]);
    this.weight[pair] = Math.min(MOST_WEIGHT, own + other);
    this.seen[pair] = now;
  }

  /** What is kept, for `load`. */
  columns() {
    const { prefix, site, low, spread, weight, seen, length } = this;
    return {
      rttPrefix: prefix.slice(0, length),
      rttSite: site.slice(0, length),
      rttLow: low.slice(0, length),
      rttSpread: spread.slice(0, length),
      rttWeight: weight.slice(0, length),
      rttSeen: seen.slice(0, length),
    };
  }

  /** Takes up what another kept; what is no number is left out. `sites`: all are below. */
  load(kept: ReturnType<RttPairs['columns']>, sites: number): void {
    const { rttPrefix, rttSite, rttLow, rttSpread, rttWeight, rttSeen } = kept;
    for (let n = 0; n < rttPrefix.length; n++) {
      if (rttSite[n] >= sites || !(rttLow[n] > 0) || !(rttSpread[n] > 0) || !(rttWeight[n] >= 0)) continue;
      this.merge(rttPrefix[n], rttSite[n], rttLow[n], rttSpread[n], Math.min(MOST_WEIGHT, rttWeight[n]), rttSeen[n]);
    }
  }

  #restart(pair: number, ms: number): void {
    this.low[pair] = ms;
    this.weight[pair] = 1;
    this.#run[pair] = 0;
    if (!(this.spread[pair] > 0)) this.spread[pair] = this.usualSpread;
  }

  #learn(pair: number, ms: number, weight: number): void {
    const spread = Math.max(LEAST_SPREAD_MS, this.spread[pair]);
    const low = this.low[pair];
    const run = this.#run[pair];
    if (ms > low + 3 * spread) this.#run[pair] = Math.min(RUN_ABOVE, Math.max(0, run) + 1);
    else if (ms < low - 2 * spread - 1) this.#run[pair] = Math.max(-RUN_BELOW, Math.min(0, run) - 1);
    else this.#run[pair] = 0;
    if (this.#run[pair] >= RUN_ABOVE || this.#run[pair] <= -RUN_BELOW) {
      this.#restart(pair, ms);
      return;
    }
    const count = Math.min(MOST_WEIGHT, weight + 1);
    this.weight[pair] = count;
    // The least of three has a quarter of all below it; from then on in steps (Robbins and Monro).
    if (count < 3.5) this.low[pair] = Math.min(low, ms);
    else this.low[pair] = low + ((STEP * spread) / count) * (ms > low ? LOW_SHARE : LOW_SHARE - 1);
    const above = Math.min(ms - low, 8 * spread);
    if (above <= 0) return;
    this.spread[pair] = spread + (above - spread) / Math.min(32, 4 + count);
    if (count > 8) this.usualSpread += (this.spread[pair] - this.usualSpread) * 1e-3;
  }

  #create(prefix: number, site: number): number {
    if (prefix >= this.first.length) {
      const from = this.first.length;
      this.first = grown(this.first, Math.max(prefix + 1, 2 * from, 1024));
      this.first.fill(NONE, from);
    }
    const pair = this.length < this.#most ? this.#append() : this.#replace();
    this.prefix[pair] = prefix;
    this.site[pair] = site;
    this.weight[pair] = 0;
    this.spread[pair] = this.usualSpread;
    this.correction[pair] = 0;
    this.#run[pair] = 0;
    this.next[pair] = this.first[prefix];
    this.first[prefix] = pair;
    return pair;
  }

  #append(): number {
    if (this.length === this.low.length) this.#grow(Math.min(this.#most, Math.max(1024, 2 * this.length)));
    return this.length++;
  }

  #grow(length: number): void {
    this.prefix = grown(this.prefix, length);
    this.site = grown(this.site, length);
    this.low = grown(this.low, length);
    this.spread = grown(this.spread, length);
    this.weight = grown(this.weight, length);
    this.seen = grown(this.seen, length);
    this.next = grown(this.next, length);
    this.correction = grown(this.correction, length);
    this.posterior = grown(this.posterior, length);
    this.#run = grown(this.#run, length);
  }

  /** Gives up the one that weighs least of a few. */
  #replace(): number {
    let latest = 0;
    let worst = 0;
    let least = Infinity;
    const tried: number[] = [];
    for (let n = 0; n < TRIED; n++) {
      this.#draw = (Math.imul(this.#draw, 1664525) + 1013904223) >>> 0;
      const pair = Math.floor((this.#draw / 2 ** 32) * this.length);
      tried.push(pair);
      latest = Math.max(latest, this.seen[pair]);
    }
    for (const pair of tried) {
      const weight = this.weightAt(pair, latest);
      if (weight >= least) continue;
      least = weight;
      worst = pair;
    }
    this.#unlink(worst);
    this.forgotten++;
    return worst;
  }

  #unlink(pair: number): void {
    const prefix = this.prefix[pair];
    if (this.first[prefix] === pair) {
      this.first[prefix] = this.next[pair];
      return;
    }
    let at = this.first[prefix];
    while (this.next[at] !== pair) at = this.next[at];
    this.next[at] = this.next[pair];
  }
}
