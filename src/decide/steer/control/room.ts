/** What sites and links have free, at every time ahead: moves are booked as they are decided. */
import type { SiteShare } from '../measured.ts';
import { survivalAfter } from './decay.ts';
import type { ControlLimits, SiteHealth } from './limits.ts';
import {
  type GroupColumns,
  type LoadModel,
  type LoadProfile,
  PATH_LINKS,
  type PredictedLoad,
} from './predicted-load.ts';

/** Seconds ahead at which loads are looked at; the last is when all has settled. */
export const AHEAD_SECONDS = Float64Array.of(0, 15, 30, 60, 90, 120, 240, 480, 960, 1920, Infinity);
const TIMES = AHEAD_SECONDS.length;
const SETTLED = TIMES - 1;

export interface Capacity {
  /** [site], in the unit of `siteLoad` times demand. */
  readonly site: Float64Array;
  /** [link], in the unit of `linkLoad` times demand; what is left for what is steered. */
  readonly link: Float64Array;
}

export type Lack = 'no room at the site' | 'no room on a link' | 'site recovers';

export class Room {
  readonly profile: LoadProfile;
  readonly #model: LoadModel;
  readonly #columns: GroupColumns;
  readonly #capacity: Capacity;
  readonly #scale: number;
  /** [time * sites + site]: capacity then, by what a site that recovers may have. */
  readonly #open: Float64Array;
  readonly #ramps: Uint8Array;
  /** How much of a change of the last item has arrived at each time. */
  readonly #arrived = new Float64Array(TIMES);
  #arrivedItem = -1;

  constructor(load: PredictedLoad, capacity: Capacity, health: SiteHealth, limits: ControlLimits, nowMs: number) {
    this.#model = load.model;
    this.#columns = load.columns;
    this.#capacity = capacity;
    this.#scale = load.scale;
    this.profile = load.profile(nowMs, AHEAD_SECONDS);
    const { sites } = load.model;
    this.#open = new Float64Array(TIMES * sites);
    this.#ramps = new Uint8Array(sites);
    for (let s = 0; s < sites; s++) {
      for (let t = 0; t < TIMES; t++) {
        const upMinutes = (nowMs - health.upSinceMs[s]) / 60_000 + AHEAD_SECONDS[t] / 60;
        const share = Math.min(1, limits.recoverAtOnce + limits.recoverPerMinute * upMinutes);
        this.#open[t * sites + s] = capacity.site[s] * share;
        if (share < 1) this.#ramps[s] = 1;
      }
    }
  }

  /** Load when all caches have what is answered now. */
  settledSite(site: number): number {
    return this.profile.site[SETTLED * this.#model.sites + site];
  }

  settledLink(link: number): number {
    return this.profile.link[SETTLED * this.#model.links + link];
  }

  /** Share of capacity, of the fuller of a site and the links to it, when all has settled. */
  settledShare(item: number, site: number): number {
    let share = this.settledSite(site) / this.#capacity.site[site];
    const path = this.#path(item, site);
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = this.#model.paths[path + n];
      if (link >= 0) share = Math.max(share, this.settledLink(link) / this.#capacity.link[link]);
    }
    return Number.isNaN(share) ? Infinity : share;
  }

  /** What keeps an item from going to a site so that no more than `fill` of a capacity is used at any time; null: nothing. */
  lack(item: number, from: readonly SiteShare[], to: SiteShare, fill: number): Lack | null {
    const { sites, links, classes, siteLoad, linkLoad, paths } = this.#model;
    const c = item % classes;
    const more = (to.share - shareAt(from, to.site)) * this.#columns.demand[item] * this.#scale;
    if (more <= 0) return null;
    const arrived = this.#arrival(item);
    for (let t = 0; t < TIMES; t++) {
      const room = this.#open[t * sites + to.site] * fill - this.profile.site[t * sites + to.site];
      if (more * arrived[t] * siteLoad[c] > room && arrived[t] > 0)
        return this.#ramps[to.site] === 1 ? 'site recovers' : 'no room at the site';
    }
    const path = this.#path(item, to.site);
    const fromPath = from.length === 1 ? this.#path(item, from[0].site) : -1;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = paths[path + n];
      // Who is on the link already brings nothing more.
      if (link < 0 || (fromPath >= 0 && (paths[fromPath] === link || paths[fromPath + 1] === link))) continue;
      const full = this.#capacity.link[link] * fill;
      for (let t = 0; t < TIMES; t++) {
        const room = full - this.profile.link[t * links + link];
        if (more * arrived[t] * linkLoad[c] > room && arrived[t] > 0) return 'no room on a link';
      }
    }
    return null;
  }

  /** Books that an item is answered with other sites from now on. */
  move(item: number, from: readonly SiteShare[], to: readonly SiteShare[]): void {
    const demand = this.#columns.demand[item] * this.#scale;
    const arrived = this.#arrival(item);
    for (const { site, share } of from) this.#add(item, site, -demand * share, arrived);
    for (const { site, share } of to) this.#add(item, site, demand * share, arrived);
  }

  #add(item: number, site: number, demand: number, arrived: Float64Array): void {
    const { sites, links, classes, siteLoad, linkLoad, paths } = this.#model;
    const c = item % classes;
    const path = this.#path(item, site);
    for (let t = 0; t < TIMES; t++) {
      this.profile.site[t * sites + site] += demand * arrived[t] * siteLoad[c];
      for (let n = 0; n < PATH_LINKS; n++) {
        const link = paths[path + n];
        if (link >= 0) this.profile.link[t * links + link] += demand * arrived[t] * linkLoad[c];
      }
    }
  }

  #path(item: number, site: number): number {
    const { classes, sites } = this.#model;
    return (this.#columns.region[Math.floor(item / classes)] * sites + site) * PATH_LINKS;
  }

  #arrival(item: number): Float64Array {
    if (item === this.#arrivedItem) return this.#arrived;
    const { ttlSeconds, lateShare, lateSeconds } = this.#columns;
    const [ttl, share, late] = [ttlSeconds[item], lateShare[item], lateSeconds[item]];
    for (let t = 0; t < TIMES; t++) this.#arrived[t] = 1 - survivalAfter(ttl, share, late, AHEAD_SECONDS[t]);
    this.#arrivedItem = item;
    return this.#arrived;
  }
}

function shareAt(shares: readonly SiteShare[], site: number): number {
  for (const its of shares) if (its.site === site) return its.share;
  return 0;
}
