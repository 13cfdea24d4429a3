/** Expected connections by (prefix, service, site), a block of prefixes at a time: what the answers that users hold make of their wishes. */
import { type Caches, MANY_SITES, MIX } from './caches.ts';
import type { World } from './types.ts';
import type { Units } from './units.ts';

/** Prefixes at a time: what is filled stays in the processor's cache until it is read. */
export const BLOCK = 512;
/** Pairs of a prefix. */
const MOST_PAIRS = 4;

/** [row], the first `length` count. */
export class Flows {
  length = 0;
  readonly prefix: Uint32Array;
  readonly service: Uint8Array;
  /** As many as there are sites: none. */
  readonly site: Uint16Array;
  readonly expected: Float64Array;
  readonly #world: World;
  readonly #units: Units;
  readonly #shares: Float64Array;
  /** [site], and one more for none: of the prefix and service at hand. */
  readonly #sum: Float64Array;

  constructor(world: World, units: Units) {
    const { services } = world.parameters;
    const rows = BLOCK * services.length * Math.min(world.sites.length + 1, MOST_PAIRS * MIX);
    this.#world = world;
    this.#units = units;
    this.#shares = Float64Array.from(services, (service) => service.share);
    this.#sum = new Float64Array(world.sites.length + 1);
    this.prefix = new Uint32Array(rows);
    this.service = new Uint8Array(rows);
    this.site = new Uint16Array(rows);
    this.expected = new Float64Array(rows);
  }

  /** `demand`: [place * services + service], over the mean; `all`: connections in the step at the mean. */
  fill(first: number, end: number, demand: Float64Array, all: number, caches: Caches): void {
    const { weight, placeOf, pairsOf, pairShare } = this.#world;
    const { ofPair } = this.#units;
    const { soleSite, soleWeight } = caches;
    const shares = this.#shares;
    const services = shares.length;
    const none = this.#world.sites.length;
    this.length = 0;
    for (let prefix = first; prefix < end; prefix++) {
      const own = (weight[prefix] as number) * all;
      const place = (placeOf[prefix] as number) * services;
      const firstPair = pairsOf[prefix] as number;
      const endPair = pairsOf[prefix + 1] as number;
      for (let service = 0; service < services; service++) {
        const wanted = own * (shares[service] as number) * (demand[place + service] as number);
        let site = MANY_SITES;
        let sum = 0;
        let pair = firstPair;
        for (; pair < endPair; pair++) {
          const item = (ofPair[pair] as number) * services + service;
          const share = (pairShare[pair] as number) * (soleWeight[item] as number);
          if (share === 0) continue;
          const sole = soleSite[item] as number;
          if (site === MANY_SITES) site = sole;
          if (sole !== site || sole === MANY_SITES) break;
          sum += share;
        }
        if (pair < endPair) this.#fillMany(prefix, service, wanted, caches);
        else if (sum > 0) this.#add(prefix, service, Math.min(site, none), wanted * sum);
      }
    }
  }

  #add(prefix: number, service: number, site: number, expected: number): void {
    const row = this.length;
    this.prefix[row] = prefix;
    this.service[row] = service;
    this.site[row] = site;
    this.expected[row] = expected;
    this.length = row + 1;
  }

  #fillMany(prefix: number, service: number, wanted: number, caches: Caches): void {
    const { pairsOf, pairShare } = this.#world;
    const { mixCount, mixSite, mixWeight } = caches;
    const none = this.#world.sites.length;
    const begin = this.length;
    const end = pairsOf[prefix + 1] as number;
    for (let pair = pairsOf[prefix] as number; pair < end; pair++) {
      const item = (this.#units.ofPair[pair] as number) * this.#shares.length + service;
      const last = item * MIX + (mixCount[item] as number);
      for (let index = item * MIX; index < last; index++) {
        const site = Math.min(mixSite[index] as number, none);
        const before = this.#sum[site] as number;
        if (before === 0) this.#add(prefix, service, site, 0);
        this.#sum[site] = before + wanted * (pairShare[pair] as number) * (mixWeight[index] as number);
      }
    }
    for (let row = begin; row < this.length; row++) {
      const site = this.site[row] as number;
      this.expected[row] = this.#sum[site] as number;
      this.#sum[site] = 0;
    }
  }
}
