/**
 * Which prefixes are alike: a tree of the world, countries, ASes in a country, and ASes in a metropolitan area. Prefixes with few
 * measurements of their own borrow from the smallest of these that has some.
 */
import type { PrefixFacts } from '../measured.ts';

/** Places nearer than this to each other, as seen from the sites, are one. */
const METRO_KM = 60;
const UNKNOWN = -1;
/** Sites whose distances tell places apart: two leave a mirror image. */
const REFERENCES = 3;

export class PrefixNodes {
  /** Nodes; node 0 is the world, parents come before their children. */
  count = 1;
  /** Nodes that found no room: their prefixes belong to what is above. */
  refused = 0;
  parent: Int32Array;
  level: Uint8Array;
  /** [node * sites + site]: NaN: unknown, or not one place. */
  km: Float32Array;
  /** [prefix]: the smallest node it is in; -1: not asked yet. */
  of = new Int32Array(0);
  readonly #facts: PrefixFacts;
  readonly #sites: number;
  readonly #most: number;
  readonly #byKey = new Map<string, number>();

  /** `most`: nodes, at least 1. */
  constructor(facts: PrefixFacts, sites: number, most: number) {
    this.#facts = facts;
    this.#sites = sites;
    this.#most = Math.max(1, most);
    this.parent = new Int32Array(1024).fill(UNKNOWN);
    this.level = new Uint8Array(1024);
    this.km = new Float32Array(1024 * sites).fill(Number.NaN);
  }

  /** The smallest node of a prefix. Cost: a load, and some hundred nanoseconds a site when the prefix is new. */
  nodeOf(prefix: number): number {
    if (prefix >= this.of.length) {
      const next = new Int32Array(Math.max(prefix + 1, 2 * this.of.length, 1024)).fill(UNKNOWN);
      next.set(this.of);
      this.of = next;
    }
    let node = this.of[prefix];
    if (node === UNKNOWN) {
      node = this.#place(prefix);
      this.of[prefix] = node;
    }
    return node;
  }

  /** Forgets where prefixes are; nodes stay. For new facts. */
  forgetPlaces(): void {
    this.of.fill(UNKNOWN);
  }

  #place(prefix: number): number {
    const asn = this.#facts.asn(prefix);
    const country = this.#facts.country(prefix);
    let node = 0;
    if (country >= 0) node = this.#child(`c${country}`, node, 1, prefix);
    if (asn > 0) node = this.#child(`a${asn}/${country}`, node, 2, prefix);
    const metro = this.#metroOf(prefix);
    return metro === null ? node : this.#child(`m${asn}/${country}/${metro}`, node, 3, prefix);
  }

  #metroOf(prefix: number): string | null {
    const parts: number[] = [];
    for (let n = 0; n < Math.min(REFERENCES, this.#sites); n++) {
      const km = this.#facts.distanceKm(prefix, Math.floor((n * this.#sites) / REFERENCES));
      if (Number.isNaN(km)) return null;
      parts.push(Math.floor(km / METRO_KM));
    }
    return parts.join('.');
  }

  #child(key: string, parent: number, level: number, prefix: number): number {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.count >= this.#most) {
      this.refused++;
      return parent;
    }
    if (this.count === this.parent.length) this.#grow();
    const node = this.count++;
    this.parent[node] = parent;
    this.level[node] = level;
    this.#byKey.set(key, node);
    if (level === 3) {
      for (let s = 0; s < this.#sites; s++) this.km[node * this.#sites + s] = this.#facts.distanceKm(prefix, s);
    }
    return node;
  }

  #grow(): void {
    const length = 2 * this.parent.length;
    const parent = new Int32Array(length).fill(UNKNOWN);
    parent.set(this.parent);
    this.parent = parent;
    const level = new Uint8Array(length);
    level.set(this.level);
    this.level = level;
    const km = new Float32Array(length * this.#sites).fill(Number.NaN);
    km.set(this.km);
    this.km = km;
  }
}
