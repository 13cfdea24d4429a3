/**
 * What was answered, and the load that follows from it, now and later. DNS acts late: users go by answers that caches still have. A decision
 * that looks only at what is measured moves the same users again and again until the first moves arrive, and then far too many have gone.
 *
 * Caches refresh in the order of their phases, so of the users of an item those whose cache was last filled before a time x are the share
 * S(t - x), S being the survival of answers: an answer that was given from x to y has S(t - y) - S(t - x) of them.
 */
import { type MeasuredMap, NO_SITE, type SiteShare } from '../measured.ts';
import { survivalAfter } from './decay.ts';
import type { CachePhases } from './fills.ts';

/** Answers before the current one that are kept of an item; with more, the two oldest become one. */
export const PAST_ANSWERS = 4;
/** Links on the way from a region to a site. */
export const PATH_LINKS = 2;
/** In columns of sites: shares are in the table of splits. */
export const SPLIT = 0xfffe;
/** What fewer users go by is forgotten. */
const NEGLIGIBLE = 0.0005;

/** What loads are counted in. Flat, and kept: it must not change. */
export interface LoadModel {
  readonly sites: number;
  readonly links: number;
  readonly classes: number;
  /** [class]: load on a site by a unit of demand. */
  readonly siteLoad: Float64Array;
  /** [class]: load on each link on the way by a unit of demand. */
  readonly linkLoad: Float64Array;
  /** [(region * sites + site) * PATH_LINKS + n]: links on the way; -1: none. */
  readonly paths: Int32Array;
}

/** What is known of items (index of the group * classes + class) for now. Kept until the next is given. */
export interface GroupColumns {
  /** Asking prefixes, rising. */
  readonly groups: Uint32Array;
  /** [group]. */
  readonly region: Int32Array;
  /** [item], 0 or more. */
  readonly demand: Float64Array;
  /** [item]: how answers live on, as `AnswerDecay`. */
  readonly ttlSeconds: Float32Array;
  readonly lateShare: Float32Array;
  readonly lateSeconds: Float32Array;
  /** [item]: of its caches, those that hold an answer at a time: who asks seldom has none for long. Absent: all. */
  readonly heldShare?: Float32Array;
  /** [item]: when its caches refresh; absent or null: evenly spread. */
  readonly phases?: readonly (CachePhases | null)[];
}

/** Loads at some times. */
export interface LoadProfile {
  /** From `nowMs`; Infinity: when all caches have what is answered now. */
  readonly aheadSeconds: Float64Array;
  /** [time * sites + site]. */
  readonly site: Float64Array;
  /** [time * links + link]. */
  readonly link: Float64Array;
}

export class PredictedLoad {
  readonly model: LoadModel;
  columns: GroupColumns;
  /** [item]: what is answered: a site, NO_SITE (nothing known) or SPLIT. */
  site: Uint16Array;
  /** [item]: milliseconds since when; -Infinity: since before anything was known. */
  sinceMs: Float64Array;
  /** Answers that were merged with older ones, so that their users are predicted at the wrong site for a while. */
  mergedCount = 0;
  /** [item]: answers before, the newest first. */
  #pastCount: Uint8Array;
  /** [item * PAST_ANSWERS + n]. */
  #pastSite: Uint16Array;
  #pastSinceMs: Float64Array;
  /** item * (PAST_ANSWERS + 1) + n, where n = 0 is the current answer -> its shares. */
  #splits = new Map<number, readonly SiteShare[]>();
  /** Measured over predicted demand, of all sites together. */
  #scale = 1;
  /** [site]: load that no answer explains: what was lately, and what stays. */
  readonly #recentBackground: Float64Array;
  readonly #lastingBackground: Float64Array;
  #correctedMs = Number.NaN;

  constructor(model: LoadModel) {
    this.model = model;
    const none = new Float32Array(0);
    this.columns = {
      groups: new Uint32Array(0),
      region: new Int32Array(0),
      demand: new Float64Array(0),
      ttlSeconds: none,
      lateShare: none,
      lateSeconds: none,
    };
    this.site = new Uint16Array(0);
    this.sinceMs = new Float64Array(0);
    this.#pastCount = new Uint8Array(0);
    this.#pastSite = new Uint16Array(0);
    this.#pastSinceMs = new Float64Array(0);
    this.#recentBackground = new Float64Array(model.sites);
    this.#lastingBackground = new Float64Array(model.sites);
  }

  get items(): number {
    return this.site.length;
  }

  /** Takes over all that another of the same shape knows; both go on for themselves. Cost: some ns an item. */
  takeFrom(other: PredictedLoad): void {
    this.columns = other.columns;
    this.site = other.site.slice();
    this.sinceMs = other.sinceMs.slice();
    this.mergedCount = other.mergedCount;
    this.#pastCount = other.#pastCount.slice();
    this.#pastSite = other.#pastSite.slice();
    this.#pastSinceMs = other.#pastSinceMs.slice();
    this.#splits = new Map(other.#splits);
    this.#scale = other.#scale;
    this.#recentBackground.set(other.#recentBackground);
    this.#lastingBackground.set(other.#lastingBackground);
    this.#correctedMs = other.#correctedMs;
  }

  /** [site]: load that no answer explains. From now on it is not predicted. */
  takeBackground(): Float64Array {
    const { recent, lasting } = this.#takeBackground();
    return recent.map((load, site) => Math.max(load, lasting[site]));
  }

  get scale(): number {
    return this.#scale;
  }

  /** Takes over what is known now; groups that stay keep what was answered to them. Cost: some ns an item, more if the groups changed. */
  setColumns(columns: GroupColumns): void {
    const before = this.columns.groups;
    this.columns = columns;
    if (before === columns.groups || sameNumbers(before, columns.groups)) return;
    const { classes } = this.model;
    const items = columns.groups.length * classes;
    const [site, sinceMs] = [new Uint16Array(items).fill(NO_SITE), new Float64Array(items).fill(-Infinity)];
    const [count, pastSite] = [new Uint8Array(items), new Uint16Array(items * PAST_ANSWERS)];
    const pastSinceMs = new Float64Array(items * PAST_ANSWERS);
    const splits = new Map<number, readonly SiteShare[]>();
    for (let old = 0, now = 0; old < before.length && now < columns.groups.length; ) {
      if (before[old] < columns.groups[now]) old++;
      else if (before[old] > columns.groups[now]) now++;
      else {
        for (let c = 0; c < classes; c++) {
          const [from, to] = [old * classes + c, now * classes + c];
          site[to] = this.site[from];
          sinceMs[to] = this.sinceMs[from];
          count[to] = this.#pastCount[from];
          for (let n = 0; n < count[to]; n++) {
            pastSite[to * PAST_ANSWERS + n] = this.#pastSite[from * PAST_ANSWERS + n];
            pastSinceMs[to * PAST_ANSWERS + n] = this.#pastSinceMs[from * PAST_ANSWERS + n];
          }
          for (let n = 0; n <= PAST_ANSWERS; n++) {
            const shares = this.#splits.get(from * (PAST_ANSWERS + 1) + n);
            if (shares !== undefined) splits.set(to * (PAST_ANSWERS + 1) + n, shares);
          }
        }
        old++;
        now++;
      }
    }
    this.site = site;
    this.sinceMs = sinceMs;
    this.#pastCount = count;
    this.#pastSite = pastSite;
    this.#pastSinceMs = pastSinceMs;
    this.#splits = splits;
  }

  /** From now on DNS answers this. Its groups are those of the columns. */
  answered(map: MeasuredMap, nowMs: number): void {
    if (map.site.length !== this.items) throw new Error('a map of other groups');
    for (let item = 0; item < map.site.length; item++) {
      const shares = map.splits.get(item);
      if (this.#pastCount[item] > 0) this.#forgetPast(item, nowMs);
      if (shares === undefined ? this.site[item] !== map.site[item] : !sameShares(this.sharesOf(item), shares))
        this.#change(item, map.site[item], shares, nowMs);
    }
  }

  /** Current answer of an item, in shares; empty: nothing known. */
  sharesOf(item: number): readonly SiteShare[] {
    return this.#sharesOf(item, 0);
  }

  #sharesOf(item: number, n: number): readonly SiteShare[] {
    const site = n === 0 ? this.site[item] : this.#pastSite[item * PAST_ANSWERS + n - 1];
    if (site === NO_SITE) return [];
    if (site !== SPLIT) return [{ site, share: 1 }];
    return this.#splits.get(item * (PAST_ANSWERS + 1) + n) ?? [];
  }

  #change(item: number, site: number, shares: readonly SiteShare[] | undefined, nowMs: number): void {
    const key = item * (PAST_ANSWERS + 1);
    // What nobody knew has no users to follow.
    if (this.site[item] !== NO_SITE) {
      if (this.#pastCount[item] === PAST_ANSWERS) {
        // The oldest of all has no beginning: now that is the second oldest.
        this.mergedCount++;
        this.#pastCount[item]--;
      }
      for (let n = this.#pastCount[item]; n >= 0; n--) {
        const [from, to] = [item * PAST_ANSWERS + n - 1, item * PAST_ANSWERS + n];
        this.#pastSite[to] = n === 0 ? this.site[item] : this.#pastSite[from];
        this.#pastSinceMs[to] = n === 0 ? this.sinceMs[item] : this.#pastSinceMs[from];
        this.#setSplit(key + n + 1, this.#splits.get(key + n));
      }
      this.#pastCount[item]++;
    }
    this.site[item] = shares === undefined ? site : SPLIT;
    this.sinceMs[item] = nowMs;
    this.#setSplit(key, shares);
  }

  #setSplit(key: number, shares: readonly SiteShare[] | undefined): void {
    if (shares === undefined) this.#splits.delete(key);
    else this.#splits.set(key, shares);
  }

  #forgetPast(item: number, nowMs: number): void {
    for (let n = this.#pastCount[item]; n > 0; n--) {
      if (this.#survival(item, this.#endMs(item, n), nowMs) >= NEGLIGIBLE) return;
      this.#pastCount[item]--;
      this.#splits.delete(item * (PAST_ANSWERS + 1) + n);
    }
  }

  /** When answer n (from 1 on) was followed by the next. */
  #endMs(item: number, n: number): number {
    return n === 1 ? this.sinceMs[item] : this.#pastSinceMs[item * PAST_ANSWERS + n - 2];
  }

  /** Of an answer that changed, at a later time. */
  #survival(item: number, changedMs: number, atMs: number): number {
    const { ttlSeconds, lateShare, lateSeconds, phases, heldShare } = this.columns;
    const [ttl, late] = [ttlSeconds[item], lateShare[item]];
    const passed = (atMs - changedMs) / 1000;
    const known = phases?.[item] ?? null;
    if (known === null || passed >= ttl)
      return survivalAfter(ttl, late, lateSeconds[item], passed, heldShare === undefined ? 1 : heldShare[item]);
    return late + (1 - late) * known.unchanged(changedMs, atMs);
  }

  /** Share of an item's users that goes by its answers, the current one first, at a time. Empty: nothing was ever answered. */
  presence(item: number, atMs: number): { readonly site: readonly SiteShare[]; readonly share: number }[] {
    const shares: { site: readonly SiteShare[]; share: number }[] = [];
    const count = this.#pastCount[item];
    let younger = 1;
    for (let n = 0; n <= count; n++) {
      const older = n === count ? 0 : this.#survival(item, this.#endMs(item, n + 1), atMs);
      shares.push({ site: this.#sharesOf(item, n), share: younger - older });
      younger = older;
    }
    return shares;
  }

  /**
   * Predicted loads now and later, if nothing else is answered: corrected by what was measured. Cost: 10 ns an item, and 50 ns for each time
   * and item with answers that live on.
   */
  profile(nowMs: number, aheadSeconds: Float64Array): LoadProfile {
    const { sites, links } = this.model;
    const times = aheadSeconds.length;
    const sum = this.#answerLoads(nowMs, aheadSeconds);
    for (let t = 0; t < times; t++) {
      for (let s = 0; s < sites; s++) {
        const lasting = this.#lastingBackground[s];
        const fades = Number.isFinite(aheadSeconds[t]) ? Math.max(lasting, this.#recentBackground[s]) : lasting;
        sum.site[t * sites + s] = sum.site[t * sites + s] * this.#scale + fades;
      }
      for (let l = 0; l < links; l++) sum.link[t * links + l] *= this.#scale;
    }
    return { aheadSeconds, site: sum.site, link: sum.link };
  }

  #answerLoads(nowMs: number, aheadSeconds: Float64Array): LoadSum {
    const sum = new LoadSum(this.model, aheadSeconds.length);
    for (let item = 0; item < this.items; item++) this.#addItem(sum, item, nowMs, aheadSeconds);
    sum.spreadSteady();
    return sum;
  }

  #addItem(sum: LoadSum, item: number, nowMs: number, aheadSeconds: Float64Array): void {
    const demand = this.columns.demand[item];
    const site = this.site[item];
    const count = this.#pastCount[item];
    if (demand <= 0 || (site === NO_SITE && count === 0)) return;
    const c = item % this.model.classes;
    const region = this.columns.region[(item - c) / this.model.classes];
    if (count === 0) {
      if (site !== SPLIT) sum.addSteady(region, c, site, demand);
      else for (const its of this.#sharesOf(item, 0)) sum.addSteady(region, c, its.site, demand * its.share);
      return;
    }
    for (let t = 0; t < aheadSeconds.length; t++) {
      const atMs = nowMs + aheadSeconds[t] * 1000;
      let younger = 1;
      for (let n = 0; n <= count && younger > 0; n++) {
        const older = n === count ? 0 : this.#survival(item, this.#endMs(item, n + 1), atMs);
        const users = demand * (younger - older);
        younger = older;
        const at = n === 0 ? site : this.#pastSite[item * PAST_ANSWERS + n - 1];
        if (at !== SPLIT) sum.add(t, region, c, at, users);
        else for (const its of this.#sharesOf(item, n)) sum.add(t, region, c, its.site, users * its.share);
      }
    }
  }

  /**
   * Holds the prediction against what is measured. What all sites together have more or less is demand that changed; what one site has more
   * than its share is users whom no answer explains: they count as staying where they are. `siteLoad`: [site]; NaN: not measured, or down.
   */
  correct(siteLoad: Float64Array, nowMs: number): void {
    const { sites } = this.model;
    const [scaleBefore, now] = [this.#scale, new Float64Array(1)];
    this.#scale = 1;
    const background = this.#takeBackground();
    const predicted = this.profile(nowMs, now).site;
    let [measuredSum, predictedSum] = [0, 0];
    for (let s = 0; s < sites; s++) {
      if (Number.isNaN(siteLoad[s])) continue;
      measuredSum += siteLoad[s];
      predictedSum += predicted[s];
    }
    const passedMs = Number.isNaN(this.#correctedMs) ? Infinity : nowMs - this.#correctedMs;
    this.#correctedMs = nowMs;
    const ratio = predictedSum > 0 ? Math.min(MOST_SCALE, Math.max(1 / MOST_SCALE, measuredSum / predictedSum)) : 1;
    this.#scale = scaleBefore + (ratio - scaleBefore) * (1 - Math.exp(-passedMs / SCALE_MS));
    for (let s = 0; s < sites; s++) {
      const more = Number.isNaN(siteLoad[s]) ? 0 : Math.max(0, siteLoad[s] - predicted[s] * this.#scale);
      // Falls at once: what answers explain now must not be counted twice.
      const recent = more < background.recent[s] ? 1 : 1 - Math.exp(-passedMs / SCALE_MS);
      // At the first look nothing is known to last.
      const lasting = Number.isFinite(passedMs) ? 1 - Math.exp(-passedMs / LASTING_MS) : 0;
      this.#recentBackground[s] = background.recent[s] + (more - background.recent[s]) * recent;
      this.#lastingBackground[s] = background.lasting[s] + (more - background.lasting[s]) * lasting;
    }
  }

  #takeBackground(): { readonly recent: Float64Array; readonly lasting: Float64Array } {
    const taken = { recent: this.#recentBackground.slice(), lasting: this.#lastingBackground.slice() };
    this.#recentBackground.fill(0);
    this.#lastingBackground.fill(0);
    return taken;
  }
}

/** Demand is taken as changed within this time, by at most this factor. */
const SCALE_MS = 30_000;
const MOST_SCALE = 4;
/** Users whom no answer explains are taken as staying only after this time: longer than most answers live on. */
const LASTING_MS = 1_200_000;

class LoadSum {
  readonly site: Float64Array;
  readonly link: Float64Array;
  readonly #model: LoadModel;
  readonly #times: number;
  readonly #steadySite: Float64Array;
  readonly #steadyLink: Float64Array;

  constructor(model: LoadModel, times: number) {
    this.#model = model;
    this.#times = times;
    this.site = new Float64Array(times * model.sites);
    this.link = new Float64Array(times * model.links);
    this.#steadySite = new Float64Array(model.sites);
    this.#steadyLink = new Float64Array(model.links);
  }

  /** At all times. */
  addSteady(region: number, c: number, site: number, demand: number): void {
    const { siteLoad, linkLoad, paths, sites } = this.#model;
    this.#steadySite[site] += demand * siteLoad[c];
    const path = (region * sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++)
      if (paths[path + n] >= 0) this.#steadyLink[paths[path + n]] += demand * linkLoad[c];
  }

  add(time: number, region: number, c: number, site: number, demand: number): void {
    if (site === NO_SITE) return;
    const { siteLoad, linkLoad, paths, sites, links } = this.#model;
    this.site[time * sites + site] += demand * siteLoad[c];
    const path = (region * sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      if (paths[path + n] >= 0) this.link[time * links + paths[path + n]] += demand * linkLoad[c];
    }
  }

  spreadSteady(): void {
    const { sites, links } = this.#model;
    for (let t = 0; t < this.#times; t++) {
      for (let s = 0; s < sites; s++) this.site[t * sites + s] += this.#steadySite[s];
      for (let l = 0; l < links; l++) this.link[t * links + l] += this.#steadyLink[l];
    }
  }
}

function sameNumbers(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

export function sameShares(a: readonly SiteShare[], b: readonly SiteShare[]): boolean {
  return a.length === b.length && a.every(({ site, share }, n) => b[n].site === site && b[n].share === share);
}
