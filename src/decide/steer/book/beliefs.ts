/**
 * What is believed of a client prefix before its own data: the shares of resolvers in its network, drawn towards those in its AS, drawn
 * towards what the resolvers' queries say. (Shrinkage; the prior's strength comes from how alike prefixes of a network are.)
 */
import { CANDIDATES } from './book-model.ts';
import { NETWORK_TOP, type NetworkTable } from './network-table.ts';
import type { ResolverColumns } from './resolver-columns.ts';
import type { UserColumns } from './user-columns.ts';

/** In beacons: what an AS weighs beside a network of it, and what queries weigh beside an AS. */
const AS_MASS = 4;
const QUERY_MASS = 4;
/** Of users whose AS has resolvers: part that asks others', until it is known better. */
const OTHERS_SHARE = 0.25;
/** Resolvers of others that are thought of, and of the own AS. */
const OTHERS = 4;
const OWN = 8;
/** A resolver of the own AS that is nearest to the same site counts so many times. */
const NEAR_FACTOR = 8;
/** Likeness of two users of one prefix beyond that of a network, until beacons tell: as if from so many pairs. */
const LIKENESS = 0.2;
const LIKENESS_PAIRS = 50;

/** Beacons below which nothing is compared; and what the beliefs weigh in it, for each resolver. */
const LEAST_BEACONS = 200;
export const RAKE_MASS = 20;

export class Beliefs {
  /** [network * NETWORK_TOP + n]: resolvers by share, the largest first; -1: no more. */
  top = new Int32Array(0);
  topShare = new Float32Array(0);
  /** [network]: beacons that the shares rest on, less for coming from few prefixes. */
  support = new Float32Array(0);
  /** Strength of a network's shares beside a prefix's own beacons. */
  strength = 4;
  /** [resolver]: by how much its shares are to be larger for its beacons to be as many as are seen. */
  readonly scale: Float32Array;
  readonly #networks: NetworkTable;
  readonly #resolvers: ResolverColumns;
  readonly #users: UserColumns;
  readonly #byAs = new Map<number, number[]>();
  readonly #bySite = new Map<number, number[]>();
  /** [resolver's slot]: share that is being added up, and who has one. */
  readonly #sum: Float64Array;
  readonly #rate: Float32Array;
  #some: number[] = [];

  constructor(networks: NetworkTable, resolvers: ResolverColumns, users: UserColumns) {
    this.#networks = networks;
    this.#resolvers = resolvers;
    this.#users = users;
    this.scale = new Float32Array(resolvers.slots.capacity).fill(1);
    this.#sum = new Float64Array(resolvers.slots.capacity);
    this.#rate = new Float32Array(resolvers.slots.capacity);
  }

  /** Cost: by network and pair. */
  refresh(): void {
    const { size } = this.#networks;
    this.top = new Int32Array(size * NETWORK_TOP).fill(-1);
    this.topShare = new Float32Array(size * NETWORK_TOP);
    this.support = new Float32Array(size);
    this.#indexResolvers();
    this.strength = this.#likeness();
    for (let network = 0; network < size; network++) this.#believe(network);
  }

  /**
   * Compares the beacons of each resolver with those that its demand makes expect (raking): what is believed of networks is right for each of
   * them on average, and may still be wrong for a resolver.
   */
  rake(demandOf: (resolver: number) => number): void {
    const { slots, beacons } = this.#resolvers;
    let [seen, all] = [0, 0];
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      seen += beacons[slot];
      all += demandOf(slot);
    }
    if (seen < LEAST_BEACONS || all === 0) return;
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      const expected = (demandOf(slot) / all) * seen;
      const factor = (beacons[slot] + RAKE_MASS) / (expected + RAKE_MASS);
      this.scale[slot] = Math.min(10, Math.max(0.1, this.scale[slot] * factor));
    }
  }

  /** Of a resolver in a network, among its first; 0: it is none of those. */
  shareOf(network: number, resolver: number): number {
    for (let at = network * NETWORK_TOP; at < (network + 1) * NETWORK_TOP; at++) {
      if (this.top[at] === resolver) return this.topShare[at];
    }
    return 0;
  }

  #indexResolvers(): void {
    this.#byAs.clear();
    this.#bySite.clear();
    const { slots, asn, nearest } = this.#resolvers;
    const order: number[] = [];
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      this.#rate[slot] = this.#resolvers.rateOf(slot);
      order.push(slot);
    }
    order.sort((a, b) => this.#rate[b] - this.#rate[a]);
    const push = (map: Map<number, number[]>, key: number, slot: number) => {
      const list = map.get(key);
      if (list === undefined) map.set(key, [slot]);
      else list.push(slot);
    };
    for (const slot of order) {
      if (asn[slot] !== 0) push(this.#byAs, asn[slot], slot);
      push(this.#bySite, nearest[slot], slot);
    }
  }

  #believe(network: number): void {
    const { parent, evidence } = this.#networks;
    this.#some.length = 0;
    const own = this.#massOf(network);
    const ofAs = parent[network] === network ? 0 : this.#massOf(parent[network]);
    // Shares by queries, then by the AS, then by the network itself; each is scaled by what it weighs beside the next.
    const asPart = AS_MASS / (own + AS_MASS);
    this.#addQueries(network, (asPart * QUERY_MASS) / (ofAs + QUERY_MASS));
    if (ofAs > 0) {
      const scale = asPart / (ofAs + QUERY_MASS);
      for (let pair = evidence.head(parent[network]); pair >= 0; pair = evidence.next[pair]) {
        this.#add(evidence.second[pair], scale * evidence.weight(pair));
      }
    }
    for (let pair = evidence.head(network); pair >= 0; pair = evidence.next[pair]) {
      this.#add(evidence.second[pair], evidence.weight(pair) / (own + AS_MASS));
    }
    this.#keepTop(network);
    this.support[network] = own + (ofAs * AS_MASS) / (ofAs + AS_MASS);
  }

  #massOf(network: number): number {
    const { evidence } = this.#networks;
    let sum = 0;
    for (let pair = evidence.head(network); pair >= 0; pair = evidence.next[pair]) sum += evidence.weight(pair);
    return sum;
  }

  #add(resolver: number, share: number): void {
    if (this.#sum[resolver] === 0) this.#some.push(resolver);
    this.#sum[resolver] += share * this.scale[resolver];
  }

  /** Resolvers of the AS, the near ones above all, and large ones of others that are near. */
  #addQueries(network: number, scale: number): void {
    const { asn, nearest } = this.#networks;
    const own = this.#byAs.get(asn[network]) ?? [];
    const near = nearest[network];
    const isNear = (slot: number) => this.#resolvers.nearest[slot] === near;
    const first = own.length > OWN ? [...own.filter(isNear), ...own.filter((slot) => !isNear(slot))] : own;
    const others = (this.#bySite.get(near) ?? []).slice(0, 4 * OTHERS);
    const isForeign = (slot: number) => asn[network] === 0 || this.#resolvers.asn[slot] !== asn[network];
    const foreign = others.filter(isForeign).slice(0, OTHERS);
    const ownShare = own.length === 0 ? 0 : foreign.length === 0 ? 1 : 1 - OTHERS_SHARE;
    const weigh = (slot: number) => this.#rate[slot] * (isNear(slot) ? NEAR_FACTOR : 1) + 1e-9;
    for (const [list, share] of [
      [first.slice(0, OWN), ownShare],
      [foreign, 1 - ownShare],
    ] as const) {
      const sum = list.reduce((all, slot) => all + weigh(slot), 0);
      for (const slot of list) this.#add(slot, (scale * share * weigh(slot)) / sum);
    }
  }

  #keepTop(network: number): void {
    this.#some.sort((a, b) => this.#sum[b] - this.#sum[a]);
    let all = 0;
    for (const resolver of this.#some) all += this.#sum[resolver];
    for (const [n, resolver] of this.#some.entries()) {
      if (n < NETWORK_TOP) {
        this.top[network * NETWORK_TOP + n] = resolver;
        this.topShare[network * NETWORK_TOP + n] = all > 0 ? this.#sum[resolver] / all : 0;
      }
      this.#sum[resolver] = 0;
    }
  }

  /**
   * Two beacons of a prefix come from one resolver more often than two of a network: with r = (within - between) / (1 - between), a
   * Dirichlet prior has the strength (1 - r) / r.
   */
  #likeness(): number {
    const { slots, beacons, otherBeacons, network } = this.#users;
    let [same, pairs] = [0, 0];
    const all = new Float64Array(this.#networks.size);
    for (let slot = 0; slot < slots.end; slot++) {
      if (slots.isFree(slot)) continue;
      let sum = otherBeacons[slot];
      let equal = 0;
      for (let at = slot * CANDIDATES; at < (slot + 1) * CANDIDATES; at++) {
        sum += beacons[at];
        equal += Math.max(0, beacons[at] * (beacons[at] - 1));
      }
      if (sum < 2) continue;
      same += equal;
      pairs += sum * (sum - 1);
      all[network[slot]] += sum * (sum - 1);
    }
    if (pairs === 0) return (1 - LIKENESS) / LIKENESS;
    const between = this.#between(all, pairs);
    const found = Math.max(0, same / pairs - between) / Math.max(1e-6, 1 - between);
    const likeness = (found * pairs + LIKENESS * LIKENESS_PAIRS) / (pairs + LIKENESS_PAIRS);
    return Math.min(1000, Math.max(0.2, (1 - likeness) / Math.max(1e-6, likeness)));
  }

  /** How often two beacons of a network come from one resolver, on average over the pairs that prefixes have. */
  #between(pairsOf: Float64Array, pairs: number): number {
    const { evidence } = this.#networks;
    let between = 0;
    for (let network = 0; network < pairsOf.length; network++) {
      if (pairsOf[network] === 0) continue;
      let [sum, squares] = [0, 0];
      for (let pair = evidence.head(network); pair >= 0; pair = evidence.next[pair]) {
        const mass = evidence.mass[pair];
        sum += mass;
        squares += Math.max(0, mass * (mass - 1));
      }
      if (sum > 1) between += (pairsOf[network] / pairs) * (squares / (sum * (sum - 1)));
    }
    return Math.min(1, between);
  }
}
