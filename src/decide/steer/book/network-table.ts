/**
 * Networks: client prefixes that probably use the same resolvers - of one AS and country, nearest to one site. Behind each stands its AS as
 * a whole. What is known of a prefix's neighbours stands in for what is not known of it.
 */
import type { PrefixFacts } from '../measured.ts';
import type { BookModel } from './book-model.ts';
import { PairTable } from './pair-table.ts';

/** Beyond it, prefixes share the network of those that nothing is known of. */
const MAX_NETWORKS = 131_072;
/** Resolvers of a network that are looked at one by one. */
export const NETWORK_TOP = 12;

export class NetworkTable {
  /** Networks, and ASes, are numbers below it; 0: nothing is known. */
  size = 1;
  /** [network]: the number of its AS; of an AS its own. */
  parent: Int32Array = new Int32Array(1024);
  asn: Float64Array = new Float64Array(1024);
  country: Int32Array = new Int32Array(1024).fill(-1);
  /** Nearest site; -1: unknown. */
  nearest: Int32Array = new Int32Array(1024).fill(-1);
  /** (network, resolver's slot): beacons, and what traffic told. */
  readonly evidence: PairTable;
  readonly #model: BookModel;
  readonly #numbers = new Map<string, number>();

  constructor(pairs: number, model: BookModel) {
    this.evidence = new PairTable(pairs);
    this.#model = model;
  }

  of(prefix: number, facts: PrefixFacts): number {
    const asn = facts.asn(prefix);
    const country = facts.country(prefix);
    if (asn === 0 && country < 0) return 0;
    const nearest = nearestSite(prefix, facts, this.#model.sites);
    const key = `${asn}/${country}/${nearest}`;
    const found = this.#numbers.get(key);
    if (found !== undefined) return found;
    const parent = this.#intern(`${asn}/${asn === 0 ? country : ''}`, -1, asn, country, -1);
    return this.#intern(key, parent, asn, country, nearest);
  }

  #intern(key: string, parent: number, asn: number, country: number, nearest: number): number {
    const found = this.#numbers.get(key);
    if (found !== undefined) return found;
    if (this.size === MAX_NETWORKS) return 0;
    if (this.size === this.parent.length) this.#grow();
    const number = this.size++;
    this.#numbers.set(key, number);
    this.parent[number] = parent < 0 ? number : parent;
    this.asn[number] = asn;
    this.country[number] = country;
    this.nearest[number] = nearest;
    return number;
  }

  #grow(): void {
    const length = this.parent.length * 2;
    const grown = <A extends Int32Array | Float64Array>(to: A, from: A): A => {
      to.set(from);
      return to;
    };
    this.parent = grown(new Int32Array(length), this.parent);
    this.asn = grown(new Float64Array(length), this.asn);
    this.country = grown(new Int32Array(length), this.country);
    this.nearest = grown(new Int32Array(length), this.nearest);
  }
}

/** -1: no distance is known. */
export function nearestSite(prefix: number, facts: PrefixFacts, sites: number): number {
  let nearest = -1;
  let least = Infinity;
  for (let site = 0; site < sites; site++) {
    const km = facts.distanceKm(prefix, site);
    if (km < least) {
      least = km;
      nearest = site;
    }
  }
  return nearest;
}
