/** What DNS says now: the measured map, and geography where it has no opinion or its site is down, as in production. */
import { type MeasuredMap, NO_PREFIX, NO_SITE, type SiteShare } from '../decide/steer/measured.ts';
import type { Answer, World } from './types.ts';

export class Answers {
  readonly #world: World;
  /** [service]: class of the map. */
  readonly #classOf: readonly number[];
  readonly #classes: number;
  /** [asking prefix * classes + class]; NO_SITE: no opinion. */
  #site: Uint16Array;
  #splits = new Map<number, readonly SiteShare[]>();
  /** [asking prefix]: nearest site by distance that serves; refilled when sites come or go. */
  readonly #geography: Uint16Array;
  #serves: Uint8Array;
  readonly #random: () => number;

  /** `random`: uniform, 0 to 1 without 1: which of several sites a lookup is answered with. */
  constructor(world: World, classOf: readonly number[], classes: number, random: () => number) {
    this.#world = world;
    this.#classOf = classOf;
    this.#classes = classes;
    this.#random = random;
    const askers = world.users + world.resolvers;
    this.#site = new Uint16Array(askers * classes).fill(NO_SITE);
    this.#geography = new Uint16Array(askers).fill(NO_SITE);
    this.#serves = new Uint8Array(world.sites.length).fill(1);
    this.#fillGeography();
  }

  /** 1: answers may name the site. */
  setServing(serves: Uint8Array): void {
    if (serves.every((is, site) => is === this.#serves[site])) return;
    this.#serves = serves.slice();
    this.#fillGeography();
  }

  take({ groups, classes, site, splits }: MeasuredMap): void {
    const next = new Uint16Array(this.#site.length).fill(NO_SITE);
    const nextSplits = new Map<number, readonly SiteShare[]>();
    for (let index = 0; index < groups.length; index++) {
      for (let c = 0; c < classes; c++) next[groups[index] * classes + c] = site[index * classes + c];
    }
    for (const [item, shares] of splits) {
      const index = Math.floor(item / classes);
      nextSplits.set(groups[index] * classes + (item % classes), shares);
    }
    this.#site = next;
    this.#splits = nextSplits;
  }

  readonly answer: Answer = (resolver, subnet, service) => {
    const asker = subnet === NO_PREFIX ? resolver : subnet;
    const item = asker * this.#classes + this.#classOf[service];
    const shares = this.#splits.get(item);
    const site = shares === undefined ? this.#site[item] : this.#draw(shares);
    return site !== NO_SITE && this.#serves[site] === 1 ? site : this.#geography[asker];
  };

  /** The site that most lookups of an asking prefix are answered with. */
  mainSite(asker: number, service: number): number {
    const site = this.#site[asker * this.#classes + this.#classOf[service]];
    return site !== NO_SITE && this.#serves[site] === 1 ? site : this.#geography[asker];
  }

  /** All shares of an asking prefix, of what is split; else undefined. */
  sharesOf(asker: number, service: number): readonly SiteShare[] | undefined {
    return this.#splits.get(asker * this.#classes + this.#classOf[service]);
  }

  #draw(shares: readonly SiteShare[]): number {
    let left = this.#random();
    for (const { site, share } of shares) {
      left -= share;
      if (left < 0) return site;
    }
    return shares[0].site;
  }

  #fillGeography(): void {
    const { facts, sites } = this.#world;
    for (let asker = 0; asker < this.#geography.length; asker++) {
      let best = NO_SITE;
      let least = Number.POSITIVE_INFINITY;
      for (let site = 0; site < sites.length; site++) {
        if (this.#serves[site] === 0) continue;
        const km = facts.distanceKm(asker, site);
        if (km >= least && best !== NO_SITE) continue;
        best = site;
        least = Number.isNaN(km) ? Number.POSITIVE_INFINITY : km;
      }
      this.#geography[asker] = best;
    }
  }
}
