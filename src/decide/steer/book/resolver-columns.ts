/** What is known of each resolver: what it asks, what it was answered, how long its users keep to that. */
import { NO_SITE, type PrefixFacts } from '../measured.ts';
import { type BookModel, ttlOf } from './book-model.ts';
import { nearestSite } from './network-table.ts';
import { SlotTable } from './slot-table.ts';

/** Sites that a resolver was answered lately, for a service. */
export const ANSWER_PLACES = 3;
/** A query counts for 1/e after this time. */
export const RATE_MEMORY_SECONDS = 3600;
/** Windows in which queries are counted, at least, and in TTLs. */
const WINDOW_SECONDS = 60;
const WINDOW_TTLS = 2;
const GIVE_WAY_SHARE = 1 / 16;
/** Smaller parts of answers are left out. */
const LEAST_ANSWER = 0.001;
/** So long after it was decided a move is seen in queries. */
const KNOWN_MOVE_MS = 600_000;

export class ResolverColumns {
  readonly slots: SlotTable;
  readonly services: number;
  readonly asn: Float64Array;
  readonly country: Int32Array;
  readonly nearest: Int32Array;
  /** [slot]: milliseconds. */
  readonly firstMs: Float64Array;
  readonly lastMs: Float64Array;
  /** [slot * services + service]: queries a second without a client subnet, over the memory. */
  readonly rate: Float32Array;
  /** The same, mean square of the difference between successive windows' queries. */
  readonly squares: Float32Array;
  /** Queries of the window before (below 0: there was none), of this one, and of this interval. */
  readonly before: Float32Array;
  readonly inWindow: Float32Array;
  readonly now: Float32Array;
  /** [slot]: beacons, faded. */
  readonly beacons: Float32Array;
  /** [slot]: queries a second with a client subnet. */
  readonly toldRate: Float32Array;
  /** [(slot * services + service) * ANSWER_PLACES + n]: where its users are sent, and which part of them; those without: NO_SITE. */
  readonly answerSite: Uint16Array;
  readonly answerShare: Float32Array;
  /** [slot * services + service]: how far answers were another way the interval before: 0 to 1. */
  readonly turned: Float32Array;
  /** Main answer before the last change, and when that was, in milliseconds. */
  readonly leftSite: Uint16Array;
  readonly leftMs: Float64Array;
  readonly #model: BookModel;
  readonly #facts: PrefixFacts;
  /** What was answered in this interval: sites and queries, by the same places as `answerSite`. */
  readonly #freshSite: Uint16Array;
  readonly #freshQueries: Float32Array;
  #elapsedMs = 0;
  #windowMs = WINDOW_SECONDS * 1000;
  /** [slot]: queries with a client subnet in this interval. */
  readonly #told: Float32Array;
  /** For the answers of one interval, then those before. */
  readonly #site = new Uint16Array(2 * ANSWER_PLACES);
  readonly #share = new Float32Array(2 * ANSWER_PLACES);

  constructor(capacity: number, model: BookModel, facts: PrefixFacts) {
    this.slots = new SlotTable(capacity);
    this.services = model.classOf.length;
    this.#model = model;
    this.#facts = facts;
    this.asn = new Float64Array(capacity);
    this.country = new Int32Array(capacity);
    this.nearest = new Int32Array(capacity);
    this.firstMs = new Float64Array(capacity);
    this.lastMs = new Float64Array(capacity);
    this.beacons = new Float32Array(capacity);
    this.toldRate = new Float32Array(capacity);
    this.#told = new Float32Array(capacity);
    const items = capacity * this.services;
    this.rate = new Float32Array(items);
    this.squares = new Float32Array(items);
    this.before = new Float32Array(items).fill(-1);
    this.inWindow = new Float32Array(items);
    this.now = new Float32Array(items);
    this.answerSite = new Uint16Array(items * ANSWER_PLACES).fill(NO_SITE);
    this.answerShare = new Float32Array(items * ANSWER_PLACES);
    this.turned = new Float32Array(items);
    this.leftSite = new Uint16Array(items).fill(NO_SITE);
    this.leftMs = new Float64Array(items);
    this.#freshSite = new Uint16Array(items * ANSWER_PLACES).fill(NO_SITE);
    this.#freshQueries = new Float32Array(items * ANSWER_PLACES);
  }

  /** -1: no room, counted. `displaced` hears of those who gave way. */
  intern(prefix: number, nowMs: number, displaced: (isGone: Uint8Array) => void): number {
    const found = this.slots.find(prefix);
    if (found >= 0) return found;
    if (this.slots.used === this.slots.capacity) this.#makeRoom(displaced);
    const slot = this.slots.take(prefix);
    if (slot >= 0) this.#clear(slot, prefix, nowMs);
    return slot;
  }

  /** One row without a client subnet. */
  add(slot: number, service: number, site: number, queries: number): void {
    const item = slot * this.services + service;
    this.now[item] += queries;
    if (site === NO_SITE) return;
    let free = -1;
    for (let at = item * ANSWER_PLACES; at < (item + 1) * ANSWER_PLACES; at++) {
      if (this.#freshSite[at] === site) {
        this.#freshQueries[at] += queries;
        return;
      }
      if (free < 0 && this.#freshSite[at] === NO_SITE) free = at;
    }
    if (free < 0) return;
    this.#freshSite[free] = site;
    this.#freshQueries[free] = queries;
  }

  addTold(slot: number, queries: number): void {
    this.#told[slot] += queries;
  }

  /** Length of a window in which queries are counted: of the last one that ended. */
  get windowSeconds(): number {
    return this.#windowMs / 1000;
  }

  /** Ends an interval: rates, and where users are sent from now on. Cost: by resolver and service. */
  endInterval(nowMs: number, intervalMs: number): void {
    this.#elapsedMs += intervalMs;
    const isWindow = this.#elapsedMs >= Math.max(WINDOW_SECONDS, WINDOW_TTLS * this.#longestTtl()) * 1000;
    if (isWindow) this.#windowMs = this.#elapsedMs;
    for (let slot = 0; slot < this.slots.end; slot++) {
      if (this.slots.isFree(slot)) continue;
      const ageMs = Math.max(intervalMs, nowMs - this.firstMs[slot]);
      const gain = gainOf(intervalMs, ageMs);
      const told = (this.#told[slot] * 1000) / intervalMs;
      this.toldRate[slot] += gain * (told - this.toldRate[slot]);
      if (this.#told[slot] > 0) this.lastMs[slot] = nowMs;
      this.#told[slot] = 0;
      for (let service = 0; service < this.services; service++) {
        const item = slot * this.services + service;
        const queries = this.now[item];
        if (queries > 0) this.lastMs[slot] = nowMs;
        this.rate[item] += gain * ((queries * 1000) / intervalMs - this.rate[item]);
        this.inWindow[item] += queries;
        this.now[item] = 0;
        if (isWindow) this.#endWindow(item, gainOf(this.#elapsedMs, ageMs));
        this.#turn(item, ttlOf(this.#model, service) * 1000, nowMs, intervalMs);
      }
    }
    if (isWindow) this.#elapsedMs = 0;
  }

  /** A move that was decided: from when on the next answers tell another site. */
  moved(slot: number, service: number, from: number, nowMs: number): void {
    const item = slot * this.services + service;
    this.leftSite[item] = from;
    this.leftMs[item] = nowMs;
  }

  /** The part of the users of a service that is sent to a site. */
  answered(slot: number, service: number, site: number): number {
    const begin = (slot * this.services + service) * ANSWER_PLACES;
    for (let at = begin; at < begin + ANSWER_PLACES; at++) {
      if (this.answerSite[at] === site) return this.answerShare[at];
    }
    return 0;
  }

  /** Part of its queries with a client subnet. */
  tellsShare(slot: number): number {
    const told = this.toldRate[slot];
    return told === 0 ? 0 : told / this.rateOf(slot);
  }

  /** Queries a second, all. */
  rateOf(slot: number): number {
    let sum = this.toldRate[slot];
    for (let service = 0; service < this.services; service++) sum += this.rate[slot * this.services + service];
    return sum;
  }

  #longestTtl(): number {
    let longest = 0;
    for (let service = 0; service < this.services; service++) longest = Math.max(longest, ttlOf(this.#model, service));
    return longest;
  }

  #endWindow(item: number, gain: number): void {
    const queries = this.inWindow[item];
    if (this.before[item] >= 0) {
      this.squares[item] += gain * ((queries - this.before[item]) ** 2 - this.squares[item]);
    }
    this.before[item] = queries;
    this.inWindow[item] = 0;
  }

  /** Answers of an interval send users in it and, while they are cached, in the next one. */
  #turn(item: number, ttlMs: number, nowMs: number, intervalMs: number): void {
    const begin = item * ANSWER_PLACES;
    let sum = 0;
    for (let at = begin; at < begin + ANSWER_PLACES; at++) sum += this.#freshQueries[at];
    this.turned[item] = 0;
    if (sum === 0) return;
    const before = mainOf(this.answerSite, this.answerShare, begin);
    const after = mainOf(this.#freshSite, this.#freshQueries, begin);
    if (before !== NO_SITE && before !== after && !this.#isKnownMove(item, before, nowMs)) {
      this.leftSite[item] = before;
      this.leftMs[item] = nowMs - intervalMs / 2;
    }
    const part = intervalMs >= ttlMs ? 1 - ttlMs / (3 * intervalMs) : intervalMs / (ttlMs + intervalMs / 2);
    const fresh = before === NO_SITE ? 1 : part;
    let same = 0;
    for (let n = 0; n < ANSWER_PLACES; n++) {
      const [at, old] = [begin + n, begin + n];
      this.#share[n] = (fresh * this.#freshQueries[at]) / sum;
      this.#site[n] = this.#freshSite[at];
      this.#share[ANSWER_PLACES + n] = (1 - fresh) * this.answerShare[old];
      this.#site[ANSWER_PLACES + n] = this.answerSite[old];
      this.#freshSite[at] = NO_SITE;
      this.#freshQueries[at] = 0;
    }
    for (let n = 0; n < ANSWER_PLACES; n++) {
      for (let old = ANSWER_PLACES; old < 2 * ANSWER_PLACES; old++) {
        if (this.#site[n] !== this.#site[old] || this.#site[n] === NO_SITE) continue;
        same += Math.min(this.#share[n] / fresh, fresh < 1 ? this.#share[old] / (1 - fresh) : 1);
        this.#share[n] += this.#share[old];
        this.#share[old] = 0;
      }
    }
    if (before !== NO_SITE) this.turned[item] = Math.max(0, 1 - same);
    this.#keepLargest(begin);
  }

  /** Of what stands in `#site` and `#share`. */
  #keepLargest(begin: number): void {
    let sum = 0;
    for (let n = 0; n < ANSWER_PLACES; n++) {
      let largest = 0;
      for (let k = 1; k < 2 * ANSWER_PLACES; k++) if (this.#share[k] > this.#share[largest]) largest = k;
      const share = this.#share[largest];
      this.answerShare[begin + n] = share;
      this.answerSite[begin + n] = share > LEAST_ANSWER ? this.#site[largest] : NO_SITE;
      if (share <= LEAST_ANSWER) this.answerShare[begin + n] = 0;
      sum += this.answerShare[begin + n];
      this.#share[largest] = 0;
    }
    if (sum > 0) for (let n = 0; n < ANSWER_PLACES; n++) this.answerShare[begin + n] /= sum;
  }

  /** Told by `moved` before it was seen. */
  #isKnownMove(item: number, from: number, nowMs: number): boolean {
    return this.leftSite[item] === from && nowMs - this.leftMs[item] < KNOWN_MOVE_MS;
  }

  #clear(slot: number, prefix: number, nowMs: number): void {
    this.asn[slot] = this.#facts.asn(prefix);
    this.country[slot] = this.#facts.country(prefix);
    this.nearest[slot] = nearestSite(prefix, this.#facts, this.#model.sites);
    this.firstMs[slot] = this.lastMs[slot] = nowMs;
    this.toldRate[slot] = this.#told[slot] = this.beacons[slot] = 0;
    const [begin, end] = [slot * this.services, (slot + 1) * this.services];
    for (const column of [this.rate, this.squares, this.inWindow, this.now, this.turned, this.leftMs])
      column.fill(0, begin, end);
    this.before.fill(-1, begin, end);
    this.leftSite.fill(NO_SITE, begin, end);
    for (const column of [this.answerSite, this.#freshSite]) {
      column.fill(NO_SITE, begin * ANSWER_PLACES, end * ANSWER_PLACES);
    }
    for (const column of [this.answerShare, this.#freshQueries]) {
      column.fill(0, begin * ANSWER_PLACES, end * ANSWER_PLACES);
    }
  }

  #makeRoom(displaced: (isGone: Uint8Array) => void): void {
    const importance = (slot: number) => this.rateOf(slot);
    const least = this.slots.quantile(GIVE_WAY_SHARE, importance);
    const isGone = new Uint8Array(this.slots.capacity);
    let left = Math.max(1, Math.ceil(this.slots.used * GIVE_WAY_SHARE));
    for (let slot = 0; slot < this.slots.end && left > 0; slot++) {
      if (this.slots.isFree(slot) || importance(slot) > least) continue;
      this.slots.release(slot);
      isGone[slot] = 1;
      left--;
    }
    displaced(isGone);
  }
}

/** Weight of what is new beside a mean over the memory, or over the age where that is less. */
function gainOf(newMs: number, ageMs: number): number {
  return Math.min(1, Math.max(1 - Math.exp(-newMs / (RATE_MEMORY_SECONDS * 1000)), newMs / ageMs));
}

function mainOf(sites: Uint16Array, shares: Float32Array, begin: number): number {
  let main = begin;
  for (let at = begin + 1; at < begin + ANSWER_PLACES; at++) if (shares[at] > shares[main]) main = at;
  return shares[main] > 0 ? sites[main] : NO_SITE;
}
