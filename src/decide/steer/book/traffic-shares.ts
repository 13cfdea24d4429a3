/**
 * What traffic tells of shares: of a prefix's connections, the part that arrives at a site is the sum of its resolvers' parts, each times the
 * part of that resolver's users who are sent there. Each interval adds its information on the shares; moves make resolvers differ.
 */
import { NO_PREFIX, NO_SITE, type TrafficRows } from '../measured.ts';
import { type BookModel, CANDIDATES, ttlOf } from './book-model.ts';
import { LATE_LIMIT_SECONDS, type Lateness } from './lateness.ts';
import { ANSWER_PLACES, type ResolverColumns } from './resolver-columns.ts';
import { INFO_SIZE, type UserColumns } from './user-columns.ts';

/** Connections of a prefix and service in an interval, below which they are left out. */
const LEAST_CONNECTIONS = 3;
/**
 * What the equation leaves out, as a standard deviation of the part that arrives at a site. As long as nobody is sent elsewhere it stays the same: the
 * n-th such interval in a row adds little.
 */
const MODEL_ERROR = 0.15;
/** Of the users of a resolver that was sent elsewhere: part that may keep to the old answer, and for how long, in milliseconds. */
const TURNING_PART = 0.3;
const TURNING_MS = 300_000;
/** A resolver tells client subnets if more of its queries have one. */
const TELLS_SHARE = 0.5;
/** Whose users are looked for at the site before: a candidate with at least this part, and of those that left the site the same. */
const LEAST_PART = 0.25;
const LEAST_OF_LEFT = 0.7;

export class TrafficShares {
  readonly #model: BookModel;
  readonly #users: UserColumns;
  readonly #resolvers: ResolverColumns;
  readonly #lateness: Lateness;
  /** [user's slot]: last row of the interval; [row]: the one before. */
  #last: Int32Array;
  #before = new Int32Array(1024);
  /** [site]: connections of the prefix and service in hand; sites that are told of, each once. */
  readonly #arrived: Float64Array;
  readonly #isSite: Uint8Array;
  readonly #sites: Uint16Array;
  #siteCount = 0;
  /** [candidate * sites + site]: part of its users who are sent there. */
  readonly #sent: Float64Array;
  readonly #isKnown = new Uint8Array(CANDIDATES);
  #count = 0;
  #hash = 0;

  constructor(model: BookModel, users: UserColumns, resolvers: ResolverColumns, lateness: Lateness) {
    this.#model = model;
    this.#users = users;
    this.#resolvers = resolvers;
    this.#lateness = lateness;
    this.#last = new Int32Array(users.slots.capacity).fill(-1);
    this.#arrived = new Float64Array(model.sites);
    this.#isSite = new Uint8Array(model.sites);
    this.#sites = new Uint16Array(model.sites);
    this.#sent = new Float64Array(CANDIDATES * model.sites);
  }

  /** Cost: about 1 us a prefix and service. */
  record(traffic: TrafficRows, nowMs: number, intervalMs: number): void {
    this.#chain(traffic);
    const services = this.#model.classOf.length;
    for (let slot = 0; slot < this.#users.slots.end; slot++) {
      if (this.#last[slot] < 0) continue;
      for (let service = 0; service < services; service++) {
        const total = this.#gather(traffic, slot, service);
        if (total >= LEAST_CONNECTIONS) {
          this.#send(slot, service, nowMs, intervalMs);
          this.#learn(slot, service, total, nowMs, intervalMs);
          this.#lookForLate(slot, service, total, nowMs, intervalMs);
        }
        this.#forget();
      }
      this.#last[slot] = -1;
    }
  }

  #chain(traffic: TrafficRows): void {
    if (this.#before.length < traffic.length) this.#before = new Int32Array(traffic.length * 2);
    for (let row = 0; row < traffic.length; row++) {
      if (traffic.prefix[row] === NO_PREFIX) continue;
      const slot = this.#users.slots.find(traffic.prefix[row]);
      if (slot < 0) continue;
      this.#before[row] = this.#last[slot];
      this.#last[slot] = row;
    }
  }

  #gather(traffic: TrafficRows, slot: number, service: number): number {
    let total = 0;
    for (let row = this.#last[slot]; row >= 0; row = this.#before[row]) {
      const site = traffic.site[row];
      if (traffic.service[row] !== service || site >= this.#model.sites) continue;
      this.#touch(site);
      this.#arrived[site] += traffic.connections[row];
      total += traffic.connections[row];
    }
    return total;
  }

  #touch(site: number): void {
    if (this.#isSite[site] === 1) return;
    this.#isSite[site] = 1;
    this.#sites[this.#siteCount++] = site;
  }

  #forget(): void {
    const { sites } = this.#model;
    for (let at = 0; at < this.#siteCount; at++) {
      const site = this.#sites[at];
      this.#isSite[site] = 0;
      this.#arrived[site] = 0;
      for (let n = 0; n < CANDIDATES; n++) this.#sent[n * sites + site] = 0;
    }
    this.#siteCount = 0;
  }

  /** Where the candidates' users are sent. */
  #send(slot: number, service: number, nowMs: number, intervalMs: number): void {
    const { candidate, answeredTold } = this.#users;
    const resolvers = this.#resolvers;
    this.#count = 0;
    this.#hash = 1;
    for (let n = 0; n < CANDIDATES; n++) {
      const resolver = candidate[slot * CANDIDATES + n];
      this.#isKnown[n] = 0;
      if (resolver < 0) continue;
      this.#count = n + 1;
      if (resolvers.tellsShare(resolver) > TELLS_SHARE) {
        const site = answeredTold[slot * resolvers.services + service];
        if (site === NO_SITE) continue;
        this.#sendTo(n, site, 1);
        this.#isKnown[n] = 1;
        continue;
      }
      const item = resolver * resolvers.services + service;
      const late = this.#lateOf(resolver, item, ttlOf(this.#model, service), nowMs, intervalMs);
      for (let at = item * ANSWER_PLACES; at < (item + 1) * ANSWER_PLACES; at++) {
        if (resolvers.answerShare[at] <= 0) continue;
        this.#sendTo(n, resolvers.answerSite[at], (1 - late) * resolvers.answerShare[at]);
        this.#isKnown[n] = 1;
      }
      if (late > 0 && this.#isKnown[n] === 1) this.#sendTo(n, resolvers.leftSite[item], late);
    }
  }

  #sendTo(n: number, site: number, part: number): void {
    // Turns of less than a part in eight are none.
    this.#hash = Math.imul(this.#hash ^ ((n << 24) | (site << 8) | Math.round(part * 8)), 0x9e37_79b1);
    this.#touch(site);
    this.#sent[n * this.#model.sites + site] += part;
  }

  /** Part of a resolver's users who keep to the answer before, beyond what caches explain. */
  #lateOf(resolver: number, item: number, ttlSeconds: number, nowMs: number, intervalMs: number): number {
    const { leftSite, leftMs } = this.#resolvers;
    if (leftSite[item] === NO_SITE || leftSite[item] >= this.#model.sites) return 0;
    const seconds = (nowMs - intervalMs / 2 - leftMs[item]) / 1000 - ttlSeconds;
    if (seconds > LATE_LIMIT_SECONDS) return 0;
    const { lateShare, lateSeconds } = this.#lateness.decayOf(resolver, ttlSeconds);
    return lateShare * Math.exp(-Math.max(0, seconds) / lateSeconds);
  }

  #learn(slot: number, service: number, total: number, nowMs: number, intervalMs: number): void {
    const { share, candidate, info, moment, sentHash, sentCount } = this.#users;
    const { sites } = this.#model;
    if (this.#siteCount < 2) return;
    const begin = slot * CANDIDATES;
    let turned = 0;
    let [known, all] = [0, 0];
    for (let n = 0; n < this.#count; n++) {
      const part = share[begin + n];
      all += part;
      if (this.#isKnown[n] === 0) continue;
      known += part;
      const its = candidate[begin + n] * this.#resolvers.services + service;
      const sinceMs = nowMs - this.#resolvers.leftMs[its];
      turned += part * (this.#resolvers.turned[its] / 2 + TURNING_PART * Math.exp(-sinceMs / TURNING_MS));
    }
    // What the others do is taken to be what all do; before anything is known the candidates are all there is.
    if (all === 0) known = all = 1;
    const item = slot * this.#resolvers.services + service;
    const repeated = this.#hash === sentHash[item] ? Math.min(60_000, sentCount[item] + 1) : 1;
    sentHash[item] = this.#hash;
    sentCount[item] = repeated;
    const error = (MODEL_ERROR ** 2 * repeated * intervalMs) / 60_000 + turned ** 2 + 1 / total ** 2;
    // Parts at the sites add up to 1: one of the equations says what the others do.
    const weight = (this.#siteCount - 1) / this.#siteCount;
    for (let at = 0; at < this.#siteCount; at++) {
      const site = this.#sites[at];
      const part = this.#arrived[site] / total;
      let expected = (1 - known) * part;
      for (let n = 0; n < this.#count; n++) expected += share[begin + n] * this.#sent[n * sites + site];
      const middle = Math.min(1, Math.max(0, (part + expected) / 2));
      const precision = weight / ((middle * (1 - middle)) / total + error);
      for (let a = 0; a < this.#count; a++) {
        // Of a candidate of which nothing is known, the users are taken to go where all go.
        const sentA = this.#isKnown[a] === 1 ? this.#sent[a * sites + site] : part;
        if (sentA === 0) continue;
        moment[begin + a] += precision * sentA * part * Math.min(1, all);
        const row = slot * INFO_SIZE + ((a * (a + 1)) >> 1);
        for (let b = 0; b <= a; b++) {
          const sentB = this.#isKnown[b] === 1 ? this.#sent[b * sites + site] : part;
          info[row + b] += precision * sentA * sentB;
        }
      }
    }
  }

  /** Traffic at the site that a candidate's users were sent to before, beyond what all others explain. */
  #lookForLate(slot: number, service: number, total: number, nowMs: number, intervalMs: number): void {
    const { share, candidate, own } = this.#users;
    const { services, leftSite, leftMs, answerShare } = this.#resolvers;
    const { sites } = this.#model;
    const ttlSeconds = ttlOf(this.#model, service);
    const begin = slot * CANDIDATES;
    for (let n = 0; n < this.#count; n++) {
      if (this.#isKnown[n] === 0 || share[begin + n] < LEAST_PART || own[begin + n] < 0.3) continue;
      const resolver = candidate[begin + n];
      const item = resolver * services + service;
      const site = leftSite[item];
      if (site === NO_SITE || answerShare[item * ANSWER_PLACES] === 0) continue;
      const seconds = (nowMs - intervalMs / 2 - leftMs[item]) / 1000 - ttlSeconds;
      if (seconds < intervalMs / 1000 || seconds > LATE_LIMIT_SECONDS) continue;
      if (this.#resolvers.answered(resolver, service, site) > 0.02 || this.#resolvers.turned[item] > 0.1) continue;
      let explained = 0;
      let left = share[begin + n];
      for (let other = 0; other < this.#count; other++) {
        if (other === n || candidate[begin + other] < 0) continue;
        explained += share[begin + other] * this.#sent[other * sites + site];
        const its = candidate[begin + other] * services + service;
        if (leftSite[its] === site && nowMs - leftMs[its] < 2 * LATE_LIMIT_SECONDS * 1000) left += share[begin + other];
      }
      if (share[begin + n] < LEAST_OF_LEFT * left) continue;
      const late = this.#arrived[site] - total * explained;
      this.#lateness.add(resolver, seconds, late, total * share[begin + n]);
    }
  }
}
