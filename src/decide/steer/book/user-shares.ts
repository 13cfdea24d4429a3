/** The parts of each client prefix's demand by resolver, and what follows for resolvers: sums, variances, from where they are known. */
import type { Beliefs } from './beliefs.ts';
import { CANDIDATES } from './book-model.ts';
import { NETWORK_TOP, type NetworkTable } from './network-table.ts';
import type { ResolverColumns } from './resolver-columns.ts';
import { ShareSolver } from './share-solver.ts';
import { INFO_SIZE, type UserColumns } from './user-columns.ts';

/** What is believed of a resolver that its network does not name, so that data can lift it. */
const LEAST_SHARE = 0.004;
/** A resolver tells client subnets if so much of its queries has one. */
const TELLS_SHARE = 0.9;
const PRESENT_FACTOR = 2;
const ABSENT_FACTOR = 0.1;
/** For the name of the method: a subnet that a resolver told is as much as so many beacons. */
const TOLD_MASS = 0.5;
/** Of the variance of a prefix's shares, the part that traffic must have taken away before it says something of the network. */
const TELLING = 0.8;
/** What traffic tells of a network counts for at most so many beacons a prefix. */
const LEARNT_MASS = 4;

export class UserShares {
  readonly #classes: number;
  readonly #users: UserColumns;
  readonly #networks: NetworkTable;
  readonly #beliefs: Beliefs;
  readonly #resolvers: ResolverColumns;
  readonly #solver = new ShareSolver();
  /** [resolver * classes + class]: new connections a second. */
  readonly demand: Float64Array;
  /** [resolver]: of all classes together. */
  readonly variance: Float64Array;
  /** [resolver]: of the demand, by traffic; by beacons; by subnets told. */
  readonly byTraffic: Float64Array;
  readonly byBeacons: Float64Array;
  readonly byTold: Float64Array;
  /** Places of users, by resolver: those of `resolver` begin at `placesOf[resolver]` and end before `placesOf[resolver + 1]`. */
  readonly placesOf: Uint32Array;
  placePrefix = new Uint32Array(0);
  placeDemand = new Float32Array(0);
  /** [resolver]: demand of users by what is only believed of their network; its square error is one for all of them. */
  readonly #believed: Float64Array;
  #touched: number[] = [];
  /** Of the prefix in hand: beacons of its own. */
  #beacons = 0;

  constructor(users: UserColumns, networks: NetworkTable, resolvers: ResolverColumns, beliefs: Beliefs) {
    this.#users = users;
    this.#networks = networks;
    this.#beliefs = beliefs;
    this.#resolvers = resolvers;
    this.#classes = users.classes;
    const { capacity } = resolvers.slots;
    this.demand = new Float64Array(capacity * users.classes);
    this.variance = new Float64Array(capacity);
    this.byTraffic = new Float64Array(capacity);
    this.byBeacons = new Float64Array(capacity);
    this.byTold = new Float64Array(capacity);
    this.placesOf = new Uint32Array(capacity + 1);
    this.#believed = new Float64Array(capacity);
  }

  /** Cost: about 1 us a client prefix. */
  refresh(): void {
    for (const column of [this.demand, this.variance, this.byTraffic, this.byBeacons, this.byTold]) column.fill(0);
    this.#networks.evidence.derived.fill(0);
    const { order, begins } = this.#byNetwork();
    for (let network = 0; network < begins.length - 1; network++) {
      if (begins[network] === begins[network + 1]) continue;
      let rest = 0;
      for (let at = begins[network]; at < begins[network + 1]; at++) rest += this.#solve(order[at], network);
      this.#addRest(network, rest);
      this.#addBelieved(network);
    }
    this.#listPlaces();
  }

  /** All classes. */
  demandOf(resolver: number): number {
    let sum = 0;
    for (let c = 0; c < this.#classes; c++) sum += this.demand[resolver * this.#classes + c];
    return sum;
  }

  /** Slots of users in order of their network. */
  #byNetwork() {
    const { slots, network } = this.#users;
    const begins = new Uint32Array(this.#networks.size + 1);
    for (let slot = 0; slot < slots.end; slot++) if (!slots.isFree(slot)) begins[network[slot] + 1]++;
    for (let at = 1; at < begins.length; at++) begins[at] += begins[at - 1];
    const next = begins.slice();
    const order = new Uint32Array(slots.used);
    for (let slot = 0; slot < slots.end; slot++) if (!slots.isFree(slot)) order[next[network[slot]]++] = slot;
    return { order, begins };
  }

  /** Returns the demand, all classes, that goes to resolvers which are no candidates. */
  #solve(slot: number, network: number): number {
    const users = this.#users;
    this.#fillCandidates(slot, network);
    const solver = this.#solver;
    const begin = slot * CANDIDATES;
    this.#believe(slot, network);
    solver.solve(users.info, slot * INFO_SIZE, users.moment, begin);
    const demand = users.demandOf(slot);
    const trust = this.#beliefs.strength / solver.concentration;
    const told = this.#toldByTraffic();
    for (let n = 0; n < solver.count; n++) {
      const at = begin + n;
      const resolver = users.candidate[at];
      users.share[at] = resolver < 0 ? 0 : solver.share[n];
      users.variance[at] = solver.variance[n];
      const believed = trust * (1 - solver.learnt[n]);
      users.own[at] = 1 - believed;
      if (resolver < 0) continue;
      if (told > 0) this.#learn(network, resolver, told * solver.share[n]);
      if (demand > 0) this.#addTo(resolver, slot, at, demand, solver.learnt[n], believed);
    }
    return Math.max(0, 1 - solver.total) * demand;
  }

  /**
   * How far a prefix may teach its network: only where traffic tells nearly all its resolvers apart. What was merely believed would come back as
   * if it were evidence.
   */
  #toldByTraffic(): number {
    const { mean, count, concentration, variance } = this.#solver;
    let [before, after] = [0, 0];
    for (let n = 0; n < count; n++) {
      before += (mean[n] * (1 - mean[n])) / concentration;
      after += variance[n];
    }
    return before > 0 ? Math.max(0, (1 - after / before - TELLING) / (1 - TELLING)) : 0;
  }

  /** Free places, and those of candidates that nothing speaks for any more, go to the first resolvers of the network. */
  #fillCandidates(slot: number, network: number): void {
    const users = this.#users;
    const { top } = this.#beliefs;
    let next = network * NETWORK_TOP;
    const end = next + CANDIDATES;
    const begin = slot * CANDIDATES;
    for (let n = 0; n < CANDIDATES; n++) {
      const at = begin + n;
      if (users.candidate[at] >= 0 && !this.#isIdle(at, network)) continue;
      while (next < end && top[next] >= 0 && this.#isCandidate(begin, top[next])) next++;
      if (next === end || top[next] < 0) return;
      users.replace(slot, n, top[next++]);
    }
  }

  #isIdle(at: number, network: number): boolean {
    const { candidate, beacons, told, share, own } = this.#users;
    if (beacons[at] > 0.3 || told[at] > 0 || (own[at] > 0.5 && share[at] > 0.05)) return false;
    return !this.#isFirst(network, candidate[at]);
  }

  #isCandidate(begin: number, resolver: number): boolean {
    const { candidate } = this.#users;
    for (let at = begin; at < begin + CANDIDATES; at++) if (candidate[at] === resolver) return true;
    return false;
  }

  /** Into the solver: what is believed before traffic. */
  #believe(slot: number, network: number): void {
    const users = this.#users;
    const solver = this.#solver;
    const { strength } = this.#beliefs;
    const begin = slot * CANDIDATES;
    let beacons = users.otherBeacons[slot];
    let named = 0;
    let mass = 0;
    for (let n = 0; n < CANDIDATES; n++) {
      const at = begin + n;
      const resolver = users.candidate[at];
      const share = resolver < 0 ? 0 : this.#beliefs.shareOf(network, resolver) * this.#presence(at, resolver);
      const seen = users.beacons[at];
      beacons += seen;
      named += share;
      const value = strength * Math.max(share, resolver < 0 ? 1e-9 : LEAST_SHARE) + seen;
      solver.mean[n] = value;
      mass += value;
    }
    solver.count = CANDIDATES;
    solver.concentration = strength + beacons;
    const unnamed = (strength * Math.max(0, 1 - named) + users.otherBeacons[slot]) / (strength + beacons);
    solver.total = 1 - Math.min(0.9, unnamed);
    for (let n = 0; n < CANDIDATES; n++) solver.mean[n] *= solver.total / mass;
    this.#beacons = beacons;
  }

  /**
   * A resolver that tells client subnets has users exactly in those that it told. How much of its network that is, is not known: at most some times
   * the network's share.
   */
  #presence(at: number, resolver: number): number {
    if (this.#resolvers.tellsShare(resolver) < TELLS_SHARE) return 1;
    return this.#users.told[at] > 0 ? PRESENT_FACTOR : ABSENT_FACTOR;
  }

  #addTo(resolver: number, slot: number, at: number, demand: number, learnt: number, believed: number): void {
    const users = this.#users;
    const part = users.share[at];
    for (let c = 0; c < this.#classes; c++) {
      this.demand[resolver * this.#classes + c] += users.demand[slot * this.#classes + c] * part;
    }
    // The error of what is believed of the network is one for all its prefixes; the rest is each prefix's own.
    this.variance[resolver] += demand * demand * users.variance[at];
    if (this.#believed[resolver] === 0) this.#touched.push(resolver);
    this.#believed[resolver] += demand * believed;
    this.byTraffic[resolver] += demand * part * learnt;
    const { support } = this.#beliefs;
    const known = support[users.network[slot]];
    const backed = known / (known + 4);
    const told = users.told[at] > 0 ? TOLD_MASS / (TOLD_MASS + this.#beacons) : 0;
    const rest = demand * part * (1 - learnt);
    this.byTold[resolver] += rest * told;
    this.byBeacons[resolver] += rest * Math.max(0, 1 - told - believed * (1 - backed));
  }

  #learn(network: number, resolver: number, mass: number): void {
    const { evidence, parent } = this.#networks;
    const pair = evidence.intern(network, resolver);
    if (pair >= 0) evidence.derived[pair] += LEARNT_MASS * mass;
    if (parent[network] === network) return;
    const ofAs = evidence.intern(parent[network], resolver);
    if (ofAs >= 0) evidence.derived[ofAs] += LEARNT_MASS * mass;
  }

  /** Demand by way of resolvers beyond the candidates of prefixes: as their network has them. */
  #addRest(network: number, rest: number): void {
    const { evidence } = this.#networks;
    if (rest <= 0) return;
    let sum = 0;
    const isSmall = (resolver: number) => !this.#isFirst(network, resolver);
    for (let pair = evidence.head(network); pair >= 0; pair = evidence.next[pair]) {
      if (isSmall(evidence.second[pair])) sum += evidence.mass[pair];
    }
    for (let pair = evidence.head(network); pair >= 0 && sum > 0; pair = evidence.next[pair]) {
      const resolver = evidence.second[pair];
      if (!isSmall(resolver)) continue;
      const demand = (rest * evidence.mass[pair]) / sum;
      // Not known by class: by the mean of classes.
      for (let c = 0; c < this.#classes; c++) this.demand[resolver * this.#classes + c] += demand / this.#classes;
      this.variance[resolver] += demand * demand;
      this.byBeacons[resolver] += demand;
    }
  }

  #isFirst(network: number, resolver: number): boolean {
    const { top } = this.#beliefs;
    for (let at = network * NETWORK_TOP; at < network * NETWORK_TOP + CANDIDATES; at++) {
      if (top[at] === resolver) return true;
    }
    return false;
  }

  #addBelieved(network: number): void {
    const { support } = this.#beliefs;
    for (const resolver of this.#touched) {
      const share = this.#beliefs.shareOf(network, resolver);
      this.variance[resolver] += this.#believed[resolver] ** 2 * ((share * (1 - share)) / (support[network] + 2));
      this.#believed[resolver] = 0;
    }
    this.#touched.length = 0;
  }

  #listPlaces(): void {
    const { slots, candidate, share } = this.#users;
    const begins = this.placesOf.fill(0);
    const end = slots.end * CANDIDATES;
    const counts = (at: number) => candidate[at] >= 0 && share[at] > 0 && !slots.isFree(Math.floor(at / CANDIDATES));
    for (let at = 0; at < end; at++) if (counts(at)) begins[candidate[at] + 1]++;
    for (let at = 1; at < begins.length; at++) begins[at] += begins[at - 1];
    const total = begins[begins.length - 1];
    if (this.placePrefix.length < total) {
      this.placePrefix = new Uint32Array(total + (total >> 3));
      this.placeDemand = new Float32Array(this.placePrefix.length);
    }
    const next = begins.slice();
    for (let at = 0; at < end; at++) {
      if (!counts(at)) continue;
      const slot = Math.floor(at / CANDIDATES);
      const place = next[candidate[at]]++;
      this.placePrefix[place] = slots.prefix[slot];
      this.placeDemand[place] = share[at] * this.#users.demandOf(slot);
    }
  }
}
