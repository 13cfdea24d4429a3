/** An internet just large enough to try the resolver book on: ASes with resolvers of their own and public ones, seeded. For tests. */
import { NO_PREFIX, type Observations, type PrefixFacts } from '../measured.ts';

export interface SmallParameters {
  readonly ases: number;
  readonly prefixesPerAs: number;
  readonly resolversPerAs: number;
  readonly publicResolvers: number;
  readonly sites: number;
  /** New connections a second, all. */
  readonly connections: number;
  readonly beaconShare: number;
  readonly ttlSeconds: number;
  readonly intervalSeconds: number;
  /** Of resolvers: those behind which users keep to an answer for long. */
  readonly violatorShare: number;
}

export const SMALL: SmallParameters = {
  ases: 20,
  prefixesPerAs: 15,
  resolversPerAs: 3,
  publicResolvers: 4,
  sites: 4,
  connections: 3000,
  beaconShare: 0,
  ttlSeconds: 30,
  intervalSeconds: 60,
  violatorShare: 0,
};

export class SmallInternet {
  readonly users: number;
  readonly resolvers: number;
  readonly facts: PrefixFacts;
  /** [user * resolvers + resolver] */
  readonly share: Float64Array;
  /** [user]: connections a second. */
  readonly demand: Float64Array;
  /** [resolver]: site. */
  readonly answer: Uint16Array;
  readonly isViolator: Uint8Array;
  nowMs = 0;
  readonly #parameters: SmallParameters;
  readonly #random: () => number;
  readonly #left: Uint16Array;
  readonly #leftMs: Float64Array;

  constructor(parameters: SmallParameters, seed: number) {
    this.#parameters = parameters;
    const { ases, prefixesPerAs, resolversPerAs, publicResolvers, sites, connections } = parameters;
    const random = mulberry(seed);
    this.#random = random;
    this.users = ases * prefixesPerAs;
    this.resolvers = ases * resolversPerAs + publicResolvers;
    const { users } = this;
    const asOf = (number: number) => {
      if (number < users) return 1 + Math.floor(number / prefixesPerAs);
      const resolver = number - users;
      return resolver < ases * resolversPerAs ? 1 + Math.floor(resolver / resolversPerAs) : 1000 + resolver;
    };
    this.facts = {
      asn: asOf,
      country: (number) => asOf(number) % 7,
      distanceKm: (number, site) => 100 + 1000 * ((asOf(number) + site) % sites),
    };
    this.share = new Float64Array(users * this.resolvers);
    this.demand = new Float64Array(users);
    let sum = 0;
    for (let user = 0; user < users; user++) {
      this.demand[user] = Math.exp(1.2 * normal(random));
      sum += this.demand[user];
      this.#chooseResolvers(user);
    }
    for (let user = 0; user < users; user++) this.demand[user] *= connections / sum;
    this.answer = Uint16Array.from({ length: this.resolvers }, (_, r) => (asOf(users + r) * 3) % sites);
    this.#left = this.answer.slice();
    this.#leftMs = new Float64Array(this.resolvers).fill(-1e12);
    this.isViolator = Uint8Array.from({ length: this.resolvers }, () => (random() < parameters.violatorShare ? 1 : 0));
  }

  #chooseResolvers(user: number): void {
    const { ases, resolversPerAs, publicResolvers, prefixesPerAs } = this.#parameters;
    const begin = user * this.resolvers;
    const first = Math.floor(user / prefixesPerAs) * resolversPerAs;
    const main = first + Math.floor(this.#random() * resolversPerAs);
    const toPublic = publicResolvers === 0 ? 0 : 0.4 * this.#random();
    this.share[begin + main] = (1 - toPublic) * 0.8;
    for (let n = 0; n < resolversPerAs; n++) this.share[begin + first + n] += ((1 - toPublic) * 0.2) / resolversPerAs;
    for (let n = 0; n < publicResolvers; n++) {
      this.share[begin + ases * resolversPerAs + n] =
        (toPublic * 2 * (n + 1)) / (publicResolvers * (publicResolvers + 1));
    }
  }

  demandOf(resolver: number): number {
    let sum = 0;
    for (let user = 0; user < this.users; user++)
      sum += this.demand[user] * this.share[user * this.resolvers + resolver];
    return sum;
  }

  prefixOf(resolver: number): number {
    return this.users + resolver;
  }

  move(resolver: number, site: number): void {
    if (this.answer[resolver] === site) return;
    this.#left[resolver] = this.answer[resolver];
    this.#leftMs[resolver] = this.nowMs;
    this.answer[resolver] = site;
  }

  /** Part of the users of a resolver that went where it was answered before, over the step. */
  #late(resolver: number): number {
    const { ttlSeconds, intervalSeconds } = this.#parameters;
    const after = (this.nowMs - this.#leftMs[resolver]) / 1000;
    const cached = Math.max(0, ttlSeconds - after) ** 2 - Math.max(0, ttlSeconds - after - intervalSeconds) ** 2;
    const kept = cached / (2 * ttlSeconds * intervalSeconds);
    if (this.isViolator[resolver] === 0) return kept;
    return Math.max(kept, 0.5 * Math.exp(-(after + intervalSeconds / 2 - ttlSeconds) / 900));
  }

  step(): Observations {
    const { sites, intervalSeconds, ttlSeconds, beaconShare } = this.#parameters;
    const traffic: number[][] = [[], [], [], [], []];
    const beacons: number[][] = [[], []];
    const late = Float64Array.from({ length: this.resolvers }, (_, r) => (this.#leftMs[r] < -1e11 ? 0 : this.#late(r)));
    for (let user = 0; user < this.users; user++) {
      const arrived = new Float64Array(sites);
      for (let r = 0; r < this.resolvers; r++) {
        const mean = this.demand[user] * this.share[user * this.resolvers + r] * intervalSeconds;
        if (mean === 0) continue;
        arrived[this.answer[r]] += poisson(mean * (1 - late[r]), this.#random);
        arrived[this.#left[r]] += poisson(mean * late[r], this.#random);
        for (let n = poisson(mean * beaconShare, this.#random); n > 0; n--) {
          beacons[0].push(this.prefixOf(r));
          beacons[1].push(user);
        }
      }
      for (let site = 0; site < sites; site++) {
        if (arrived[site] > 0)
          for (const [n, value] of [user, site, 0, arrived[site], 0].entries()) traffic[n].push(value);
      }
    }
    const asking = Array.from({ length: this.resolvers }, (_, r) => r);
    const queries = asking.map((r) => {
      const lookups = this.demandOf(r) / 10;
      return poisson((lookups / (1 + lookups * ttlSeconds)) * intervalSeconds, this.#random);
    });
    this.nowMs += intervalSeconds * 1000;
    return {
      nowMs: this.nowMs,
      intervalMs: intervalSeconds * 1000,
      rtt: { length: 0, prefix: new Uint32Array(0), site: new Uint16Array(0), ms: new Float32Array(0) },
      traffic: {
        length: traffic[0].length,
        prefix: Uint32Array.from(traffic[0]),
        site: Uint16Array.from(traffic[1]),
        service: Uint16Array.from(traffic[2]),
        connections: Float64Array.from(traffic[3]),
        bytes: Float64Array.from(traffic[4]),
      },
      queries: {
        length: this.resolvers,
        resolver: Uint32Array.from(asking, (r) => this.prefixOf(r)),
        subnet: new Uint32Array(this.resolvers).fill(NO_PREFIX),
        service: new Uint16Array(this.resolvers),
        site: this.answer.slice(),
        queries: Float64Array.from(queries),
      },
      beacons: {
        length: beacons[0].length,
        resolver: Uint32Array.from(beacons[0]),
        prefix: Uint32Array.from(beacons[1]),
      },
      linkLoad: new Float64Array(0),
    };
  }
}

export function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export function poisson(mean: number, random: () => number): number {
  if (mean <= 0) return 0;
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  let [count, left] = [0, Math.exp(-mean)];
  for (let p = random(); p > left; p *= random()) count++;
  return count;
}
