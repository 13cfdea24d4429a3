/**
 * What is known of each resolver and its users: who stands behind it, where they are, how long they keep to an answer. Prefixes only, never
 * addresses. Bounded in all it keeps.
 */
import { type AnswerDecay, NO_PREFIX, type Observations, type PrefixFacts, type TrafficRows } from '../measured.ts';
import { Beliefs } from './beliefs.ts';
import {
  type BookBounds,
  type BookModel,
  CANDIDATES,
  DEFAULT_BOUNDS,
  type DemandEstimate,
  type UserPlace,
} from './book-model.ts';
import { type KnownResolver, type KnownShare, readBook, writeBook } from './book-snapshot.ts';
import { DemandTable } from './demand-table.ts';
import { Lateness, USUAL_LATE } from './lateness.ts';
import { NetworkTable } from './network-table.ts';
import { PendingTraffic } from './pending-traffic.ts';
import { ResolverColumns } from './resolver-columns.ts';
import { TrafficShares } from './traffic-shares.ts';
import { INFO_SIZE, infoAt, UserColumns } from './user-columns.ts';
import { UserShares } from './user-shares.ts';

/** Demand follows with this time constant. */
const DEMAND_MEMORY_MS = 600_000;
/** Beacons and subnets count for 1/e after this, traffic too. */
const EVIDENCE_MEMORY_MS = 48 * 3_600_000;
const TRAFFIC_MEMORY_MS = 12 * 3_600_000;
/** Shorter intervals are put together: too few connections say nothing. */
const LEAST_INTERVAL_MS = 30_000;
/** Estimates that traffic is compared with are no older. */
const REFRESH_MS = 120_000;
/** A resolver that is silent for so long is forgotten. */
const RETENTION_MS = 14 * 86_400_000;
/** How often evidence fades and tables are looked through. */
const TIDY_MS = 600_000;
/** Beacons below which a pair of network and resolver may be forgotten. */
const LEAST_MASS = 0.3;

export class ResolverBook {
  readonly model: BookModel;
  readonly bounds: BookBounds;
  readonly resolvers: ResolverColumns;
  readonly users: UserColumns;
  readonly networks: NetworkTable;
  readonly lateness: Lateness;
  readonly #shares: UserShares;
  readonly #traffic: TrafficShares;
  readonly #beliefs: Beliefs;
  readonly #demands: DemandTable;
  /** Part of connections whose users' prefix is not told or has no place: taken to ask the same resolvers as all others. */
  untrackedShare = 0;
  readonly #pending = new PendingTraffic();
  #pendingMs = 0;
  /** End of the last interval. */
  nowMs = 0;
  #beganMs = Number.NaN;
  #tidiedMs = Number.NaN;
  #refreshedMs = Number.NaN;
  #isStale = true;

  constructor(model: BookModel, facts: PrefixFacts, bounds: Partial<BookBounds> = {}) {
    this.model = model;
    this.bounds = { ...DEFAULT_BOUNDS, ...bounds };
    this.networks = new NetworkTable(this.bounds.pairs, model);
    this.resolvers = new ResolverColumns(this.bounds.resolvers, model, facts);
    this.users = new UserColumns(this.bounds.users, model, this.networks, facts);
    this.lateness = new Lateness(this.bounds.resolvers);
    this.#beliefs = new Beliefs(this.networks, this.resolvers, this.users);
    this.#shares = new UserShares(this.users, this.networks, this.resolvers, this.#beliefs);
    this.#traffic = new TrafficShares(model, this.users, this.resolvers, this.lateness);
    this.#demands = new DemandTable(model, this.resolvers, this.#shares);
  }

  /**
   * Intervals of less than half a minute are put together. Cost: by row; and then by resolver and client prefix, some 0.3 s with 200,000 prefixes and
   * 20,000 resolvers.
   */
  record(observations: Observations): void {
    const { nowMs, intervalMs } = observations;
    // Traffic teaches about candidates that are known by then.
    if (!(nowMs - this.#refreshedMs < REFRESH_MS)) this.refresh();
    this.nowMs = nowMs;
    if (Number.isNaN(this.#beganMs)) this.#beganMs = nowMs - intervalMs;
    this.#recordQueries(observations);
    this.#recordBeacons(observations);
    this.#pending.add(observations.traffic);
    this.#pendingMs += intervalMs;
    if (this.#pendingMs < LEAST_INTERVAL_MS) return;
    const lastedMs = this.#pendingMs;
    this.#pendingMs = 0;
    this.resolvers.endInterval(nowMs, lastedMs);
    this.#recordTraffic(this.#pending.rows, nowMs, lastedMs);
    this.#traffic.record(this.#pending.rows, nowMs, lastedMs);
    this.#pending.clear();
    this.#tidy(nowMs);
    this.#isStale = true;
  }

  /** A move that was decided: the resolver's next answers for the service tell `to`. */
  moved(resolver: number, service: number, from: number, _to: number, nowMs: number): void {
    const slot = this.resolvers.slots.find(resolver);
    if (slot >= 0) this.resolvers.moved(slot, service, from, nowMs);
  }

  /** Prefixes whose numbers are given to others. */
  forget(prefixes: Uint32Array): void {
    const isGone = new Uint8Array(this.resolvers.slots.capacity);
    let gone = 0;
    for (const prefix of prefixes) {
      const user = this.users.slots.find(prefix);
      if (user >= 0) this.users.slots.release(user);
      const resolver = this.resolvers.slots.find(prefix);
      if (resolver < 0) continue;
      isGone[resolver] = 1;
      this.resolvers.slots.release(resolver);
      gone++;
    }
    if (gone > 0) this.#displaced(isGone);
    this.#isStale = true;
  }

  /** Of a class, or of all; null: the resolver is not known, or nothing is known of its users. The first call after `record` computes all. */
  demandOf(resolver: number, ofClass = -1): DemandEstimate | null {
    this.refresh();
    const slot = this.resolvers.slots.find(resolver);
    return slot < 0 ? null : this.#demands.estimate(slot, ofClass);
  }

  /** Where its users are: at most `limit`, the largest shares first. Shares of all of them add up to 1. */
  placesOf(resolver: number, limit = 64): UserPlace[] {
    const { prefix, demand } = this.placeColumns(resolver);
    let sum = 0;
    for (const value of demand) sum += value;
    const order = Array.from(demand.keys()).sort((a, b) => demand[b] - demand[a]);
    return order.slice(0, limit).map((at) => ({ prefix: prefix[at], share: sum > 0 ? demand[at] / sum : 0 }));
  }

  /** The same in any order, without copying: client prefixes and new connections a second. Valid until the next `record`. */
  placeColumns(resolver: number): { readonly prefix: Uint32Array; readonly demand: Float32Array } {
    this.refresh();
    const slot = this.resolvers.slots.find(resolver);
    const { placesOf, placePrefix, placeDemand } = this.#shares;
    const [begin, end] = slot < 0 ? [0, 0] : [placesOf[slot], placesOf[slot + 1]];
    return { prefix: placePrefix.subarray(begin, end), demand: placeDemand.subarray(begin, end) };
  }

  decayOf(resolver: number): AnswerDecay {
    const slot = this.resolvers.slots.find(resolver);
    const { ttlSeconds } = this.model;
    return slot < 0 ? { ttlSeconds, ...USUAL_LATE } : this.lateness.decayOf(slot, ttlSeconds);
  }

  /** Of its queries, the part with a client subnet. */
  ecsShareOf(resolver: number): number {
    const slot = this.resolvers.slots.find(resolver);
    if (slot < 0) return 0;
    const all = this.resolvers.rateOf(slot);
    return all > 0 ? this.resolvers.toldRate[slot] / all : 0;
  }

  /** Queries a second; of one service those without a client subnet. */
  rateOf(resolver: number, service = -1): number {
    const slot = this.resolvers.slots.find(resolver);
    if (slot < 0) return 0;
    return service < 0 ? this.resolvers.rateOf(slot) : this.resolvers.rate[slot * this.resolvers.services + service];
  }

  /** New connections a second that an answer to this resolver moves, times what each gains by it, by default 1. */
  impactOf(resolver: number, gain = 1): number {
    return (this.demandOf(resolver)?.value ?? 0) * gain;
  }

  /** New connections a second from a client prefix, all classes; 0: unknown. */
  demandOfUser(prefix: number): number {
    const slot = this.users.slots.find(prefix);
    return slot < 0 ? 0 : this.users.demandOf(slot);
  }

  /** Prefixes of all known resolvers, those that move the most first. */
  list(): Uint32Array {
    this.refresh();
    const { slots } = this.resolvers;
    const order: number[] = [];
    const values = new Float64Array(slots.end);
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      order.push(slot);
      values[slot] = this.#demands.estimate(slot, -1)?.value ?? 0;
    }
    order.sort((a, b) => values[b] - values[a] || this.resolvers.rateOf(b) - this.resolvers.rateOf(a));
    return Uint32Array.from(order, (slot) => slots.prefix[slot]);
  }

  /** Of what a network's shares weigh beside a prefix's own beacons. */
  get strength(): number {
    return this.#beliefs.strength;
  }

  /** All of it as bytes, and back: see `book-snapshot.ts`. */
  snapshot(): Uint8Array {
    return writeBook(this);
  }

  restore(bytes: Uint8Array, renumber: (prefix: number) => number = (prefix) => prefix): boolean {
    const isRead = readBook(this, bytes, renumber);
    if (isRead) this.#isStale = true;
    return isRead;
  }

  /** For `readBook`: -1: no room. */
  addKnownResolver({ prefix, firstMs, lastMs, beacons, toldRate, rates, late }: KnownResolver): number {
    if (prefix === NO_PREFIX) return -1;
    const isNew = this.resolvers.slots.find(prefix) < 0;
    const slot = this.#resolver(prefix, firstMs);
    if (slot < 0) return -1;
    const { resolvers } = this;
    resolvers.firstMs[slot] = Math.min(resolvers.firstMs[slot], firstMs);
    resolvers.lastMs[slot] = isNew ? lastMs : Math.max(resolvers.lastMs[slot], lastMs);
    resolvers.beacons[slot] += beacons;
    resolvers.toldRate[slot] += toldRate;
    for (let service = 0; service < resolvers.services; service++) {
      resolvers.rate[slot * resolvers.services + service] += rates[service * 2];
      resolvers.squares[slot * resolvers.services + service] += rates[service * 2 + 1];
    }
    this.lateness.addColumns(slot, late);
    return slot;
  }

  addKnownUser(prefix: number, demand: readonly number[], otherBeacons: number): number {
    const slot = prefix === NO_PREFIX ? -1 : this.users.intern(prefix);
    if (slot < 0) return -1;
    for (const [c, value] of demand.entries()) this.users.demand[slot * this.users.classes + c] += value;
    this.users.otherBeacons[slot] += otherBeacons;
    return slot;
  }

  addKnownShare(slot: number, resolver: number, { beacons, told, share, precision }: KnownShare): void {
    const { users } = this;
    const at = users.candidateAt(slot, resolver, Math.max(beacons, 0.5));
    if (at < 0) return;
    users.beacons[at] += beacons;
    users.told[at] += told;
    const n = at - slot * CANDIDATES;
    users.info[slot * INFO_SIZE + infoAt(n, n)] += precision;
    users.moment[at] += precision * share;
    this.#addEvidence(users.network[slot], resolver, beacons);
  }

  /** Computes estimates, if something was recorded since. Cost: about 2 us a client prefix. */
  refresh(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#refreshedMs = this.nowMs;
    this.#beliefs.refresh();
    this.#shares.refresh();
    this.#beliefs.rake((slot) => this.#shares.demandOf(slot));
    this.#demands.refresh(this.nowMs);
  }

  #recordQueries({ queries, nowMs }: Observations): void {
    const { services } = this.resolvers;
    for (let row = 0; row < queries.length; row++) {
      const service = queries.service[row];
      if (service >= services || queries.resolver[row] === NO_PREFIX) continue;
      const slot = this.#resolver(queries.resolver[row], nowMs);
      if (slot < 0) continue;
      const subnet = queries.subnet[row];
      if (subnet === NO_PREFIX) {
        this.resolvers.add(slot, service, queries.site[row], queries.queries[row]);
        continue;
      }
      this.resolvers.addTold(slot, queries.queries[row]);
      const user = this.users.intern(subnet);
      if (user < 0) continue;
      this.users.addTold(user, slot, queries.queries[row]);
      this.users.answeredTold[user * services + service] = queries.site[row];
    }
  }

  #recordTraffic(traffic: TrafficRows, nowMs: number, intervalMs: number): void {
    const { classOf, classes } = this.model;
    const age = Math.max(intervalMs, nowMs - this.#beganMs);
    const gain = Math.max(1 - Math.exp(-intervalMs / DEMAND_MEMORY_MS), intervalMs / age);
    const { demand, slots } = this.users;
    for (let at = 0; at < slots.end * classes; at++) demand[at] *= 1 - gain;
    let [tracked, untracked] = [0, 0];
    for (let row = 0; row < traffic.length; row++) {
      const user = traffic.prefix[row] === NO_PREFIX ? -1 : this.users.intern(traffic.prefix[row]);
      tracked += traffic.connections[row];
      if (user < 0) untracked += traffic.connections[row];
      else
        demand[user * classes + classOf[traffic.service[row]]] += (gain * traffic.connections[row] * 1000) / intervalMs;
    }
    if (tracked > 0) this.untrackedShare += gain * (untracked / tracked - this.untrackedShare);
    this.#demands.untrackedShare = this.untrackedShare;
  }

  #recordBeacons({ beacons, nowMs }: Observations): void {
    for (let row = 0; row < beacons.length; row++) {
      const resolver = this.#resolver(beacons.resolver[row], nowMs);
      const user = this.users.intern(beacons.prefix[row]);
      if (resolver < 0 || user < 0) continue;
      this.users.addBeacon(user, resolver, 1);
      this.resolvers.beacons[resolver]++;
      this.#addEvidence(this.users.network[user], resolver, 1);
    }
  }

  #addEvidence(network: number, resolver: number, beacons: number): void {
    const { evidence, parent } = this.networks;
    for (const of of network === parent[network] ? [network] : [network, parent[network]]) {
      const pair = evidence.intern(of, resolver);
      if (pair >= 0) evidence.mass[pair] += beacons;
    }
  }

  #resolver(prefix: number, nowMs: number): number {
    const before = this.resolvers.slots.used;
    const slot = this.resolvers.intern(prefix, nowMs, (isGone) => this.#displaced(isGone));
    if (slot >= 0 && this.resolvers.slots.used !== before) {
      this.lateness.clear(slot);
      this.#beliefs.scale[slot] = 1;
    }
    return slot;
  }

  #displaced(isGone: Uint8Array): void {
    this.users.dropResolvers(isGone);
    this.networks.evidence.prune(0, (slot) => isGone[slot] === 0);
  }

  #forgetSilent(nowMs: number): void {
    const { slots, lastMs } = this.resolvers;
    const isGone = new Uint8Array(slots.capacity);
    let gone = 0;
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot) || nowMs - lastMs[slot] < RETENTION_MS) continue;
      slots.release(slot);
      isGone[slot] = 1;
      gone++;
    }
    if (gone > 0) this.#displaced(isGone);
  }

  #tidy(nowMs: number): void {
    if (Number.isNaN(this.#tidiedMs)) this.#tidiedMs = nowMs;
    const elapsedMs = nowMs - this.#tidiedMs;
    if (elapsedMs < TIDY_MS) return;
    this.#tidiedMs = nowMs;
    const kept = Math.exp(-elapsedMs / EVIDENCE_MEMORY_MS);
    this.users.fade(kept, Math.exp(-elapsedMs / TRAFFIC_MEMORY_MS));
    this.lateness.fade(kept);
    for (let slot = 0; slot < this.resolvers.slots.end; slot++) this.resolvers.beacons[slot] *= kept;
    this.#forgetSilent(nowMs);
    const { evidence } = this.networks;
    for (let pair = 0; pair < evidence.size; pair++) evidence.mass[pair] *= kept;
    if (evidence.size > evidence.capacity * 0.9) evidence.prune(LEAST_MASS, () => true);
  }
}
