/** What is known of each client prefix: its demand, and which resolvers its users ask. */
import { NO_SITE, type PrefixFacts } from '../measured.ts';
import { type BookModel, CANDIDATES } from './book-model.ts';
import type { NetworkTable } from './network-table.ts';
import { SlotTable } from './slot-table.ts';

/** Of a symmetric matrix of the candidates. */
export const INFO_SIZE = (CANDIDATES * (CANDIDATES + 1)) / 2;

/** Where (a, b) with a >= b stands in it. */
export const infoAt = (a: number, b: number): number => ((a * (a + 1)) >> 1) + b;

/** Of those who have places, the share that gives way when all are taken. */
const GIVE_WAY_SHARE = 1 / 16;
/** What a subnet told by a resolver weighs beside a beacon: that somebody there uses it is certain, how many is not. */
const TOLD_MASS = 0.5;

export class UserColumns {
  readonly slots: SlotTable;
  readonly classes: number;
  /** [slot * classes + class]: new connections a second. */
  readonly demand: Float32Array;
  /** [slot]: number in `NetworkTable`. */
  readonly network: Int32Array;
  /** [slot * CANDIDATES + n]: slot of a resolver; -1: none. */
  readonly candidate: Int32Array;
  /** Of candidates: beacons, faded. */
  readonly beacons: Float32Array;
  /** Of candidates: queries that told this prefix (RFC 7871), faded. */
  readonly told: Float32Array;
  /** Of candidates: part of the demand, its variance, and how much of that is known by the prefix's own data: 0 to 1. */
  readonly share: Float32Array;
  readonly variance: Float32Array;
  readonly own: Float32Array;
  /** [slot]: beacons of resolvers that are no candidates. */
  readonly otherBeacons: Float32Array;
  /** [slot * INFO_SIZE]: from traffic, information on the shares: sum of h h' / variance, and of h f / variance. */
  readonly info: Float32Array;
  readonly moment: Float32Array;
  /** [slot * services + service]: site that a query with this client subnet was answered last; NO_SITE: none. */
  readonly answeredTold: Uint16Array;
  /** [slot * services + service]: where its candidates were sent in the interval before, as a hash, and for how many intervals. */
  readonly sentHash: Int32Array;
  readonly sentCount: Uint16Array;
  readonly services: number;
  readonly #networks: NetworkTable;
  readonly #facts: PrefixFacts;

  constructor(capacity: number, model: BookModel, networks: NetworkTable, facts: PrefixFacts) {
    this.slots = new SlotTable(capacity);
    this.classes = model.classes;
    this.demand = new Float32Array(capacity * model.classes);
    this.network = new Int32Array(capacity);
    const places = capacity * CANDIDATES;
    this.candidate = new Int32Array(places).fill(-1);
    this.beacons = new Float32Array(places);
    this.told = new Float32Array(places);
    this.share = new Float32Array(places);
    this.variance = new Float32Array(places);
    this.own = new Float32Array(places);
    this.otherBeacons = new Float32Array(capacity);
    this.info = new Float32Array(capacity * INFO_SIZE);
    this.moment = new Float32Array(places);
    this.services = model.classOf.length;
    this.answeredTold = new Uint16Array(capacity * this.services).fill(NO_SITE);
    this.sentHash = new Int32Array(capacity * this.services);
    this.sentCount = new Uint16Array(capacity * this.services);
    this.#networks = networks;
    this.#facts = facts;
  }

  /** -1: no room, counted. */
  intern(prefix: number): number {
    const found = this.slots.find(prefix);
    if (found >= 0) return found;
    if (this.slots.used === this.slots.capacity) this.#makeRoom();
    const slot = this.slots.take(prefix);
    if (slot >= 0) this.#clear(slot, this.#networks.of(prefix, this.#facts));
    return slot;
  }

  /** All classes. */
  demandOf(slot: number): number {
    let sum = 0;
    for (let c = 0; c < this.classes; c++) sum += this.demand[slot * this.classes + c];
    return sum;
  }

  addBeacon(slot: number, resolver: number, count: number): void {
    const at = this.candidateAt(slot, resolver, count);
    if (at < 0) this.otherBeacons[slot] += count;
    else this.beacons[at] += count;
  }

  addTold(slot: number, resolver: number, queries: number): void {
    const at = this.candidateAt(slot, resolver, TOLD_MASS);
    if (at >= 0) this.told[at] += queries;
  }

  /** Place of the resolver among the candidates, made by displacing a weaker one if need be; -1: all others have more evidence. */
  candidateAt(slot: number, resolver: number, evidence: number): number {
    const begin = slot * CANDIDATES;
    let weakest = -1;
    let least = Infinity;
    for (let at = begin; at < begin + CANDIDATES; at++) {
      if (this.candidate[at] === resolver) return at;
      const strength = this.candidate[at] < 0 ? -1 : this.strength(at);
      if (strength < least) {
        least = strength;
        weakest = at;
      }
    }
    if (least >= evidence) return -1;
    this.replace(slot, weakest - begin, resolver);
    return weakest;
  }

  /** Of the evidence for a candidate, in beacons. */
  strength(at: number): number {
    return this.beacons[at] + (this.told[at] > 0 ? TOLD_MASS : 0) + this.own[at] * this.share[at] * 10;
  }

  /** What was known of the candidate that stood there is lost. */
  replace(slot: number, n: number, resolver: number): void {
    const at = slot * CANDIDATES + n;
    this.otherBeacons[slot] += this.beacons[at];
    this.candidate[at] = resolver;
    this.beacons[at] = this.told[at] = this.share[at] = this.variance[at] = this.own[at] = this.moment[at] = 0;
    const info = slot * INFO_SIZE;
    for (let other = 0; other < CANDIDATES; other++) {
      this.info[info + infoAt(Math.max(n, other), Math.min(n, other))] = 0;
    }
  }

  /** Of resolvers that are forgotten. */
  dropResolvers(isGone: Uint8Array): void {
    for (let slot = 0; slot < this.slots.end; slot++) {
      for (let n = 0; n < CANDIDATES; n++) {
        const resolver = this.candidate[slot * CANDIDATES + n];
        if (resolver >= 0 && isGone[resolver] === 1) this.replace(slot, n, -1);
      }
    }
  }

  /** Evidence fades: beacons and subnets by one factor, what traffic said by another. */
  fade(evidence: number, traffic: number): void {
    const end = this.slots.end * CANDIDATES;
    for (let at = 0; at < end; at++) {
      this.beacons[at] *= evidence;
      this.told[at] *= evidence;
      this.moment[at] *= traffic;
    }
    for (let slot = 0; slot < this.slots.end; slot++) this.otherBeacons[slot] *= evidence;
    const infoEnd = this.slots.end * INFO_SIZE;
    for (let at = 0; at < infoEnd; at++) this.info[at] *= traffic;
  }

  #clear(slot: number, network: number): void {
    this.network[slot] = network;
    this.demand.fill(0, slot * this.classes, (slot + 1) * this.classes);
    const [begin, end] = [slot * CANDIDATES, (slot + 1) * CANDIDATES];
    this.candidate.fill(-1, begin, end);
    for (const column of [this.beacons, this.told, this.share, this.variance, this.own, this.moment]) {
      column.fill(0, begin, end);
    }
    this.otherBeacons[slot] = 0;
    this.answeredTold.fill(NO_SITE, slot * this.services, (slot + 1) * this.services);
    this.sentCount.fill(0, slot * this.services, (slot + 1) * this.services);
    this.info.fill(0, slot * INFO_SIZE, (slot + 1) * INFO_SIZE);
  }

  #makeRoom(): void {
    const importance = (slot: number) => this.demandOf(slot);
    const least = this.slots.quantile(GIVE_WAY_SHARE, importance);
    let left = Math.max(1, Math.ceil(this.slots.used * GIVE_WAY_SHARE));
    for (let slot = 0; slot < this.slots.end && left > 0; slot++) {
      if (!this.slots.isFree(slot) && importance(slot) <= least) {
        this.slots.release(slot);
        left--;
      }
    }
  }
}
