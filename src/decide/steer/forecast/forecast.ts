/** What a forecast says, and how it is added up from predicted loads. Plain data: it goes over the API and into files. */
import type { LoadProfile, PredictedLoad } from '../control/predicted-load.ts';

/** One change to plan for. */
export type PlanChange =
  | { readonly kind: 'drain'; readonly site: string }
  /** `share`: of what is in the configuration. */
  | { readonly kind: 'capacity'; readonly site: string; readonly share: number }
  /** `share` 0: down. */
  | { readonly kind: 'link'; readonly site: string; readonly link: string; readonly share: number }
  | {
      readonly kind: 'site';
      readonly site: string;
      readonly latitudeDegrees: number;
      readonly longitudeDegrees: number;
      /** New connections a second; null: as much as the largest of the others. */
      readonly capacityPerSecond: number | null;
    }
  | { readonly kind: 'ttl'; readonly service: string; readonly ttlSeconds: number };

export interface Forecast {
  readonly change: PlanChange;
  /** `measured`: by steering of what is measured. `policies`: by the policies of the file, counters and TTLs. */
  readonly basis: 'policies' | 'measured';
  /** When it was made, and when the change is made: milliseconds since 1970. */
  readonly atMs: number;
  readonly minutes: number;
  readonly sites: readonly SiteForecast[];
  readonly links: readonly LinkForecast[];
  /** Where those go who change their site, as shares of them, when all has settled. */
  readonly landing: readonly { readonly site: string; readonly share: number }[];
  /** Share of all demand that changes its site. */
  readonly movedShare: number;
  /** Mean over all demand, in the end; null: not known. */
  readonly rttMs: { readonly before: number; readonly after: number; readonly source: 'measured' | 'distance' } | null;
  readonly overloads: readonly Overload[];
  /** Seconds after which half, all but 5 % and all but 1 % of those who will move have moved; null: later than the forecast reaches. */
  readonly settles: readonly { readonly share: number; readonly seconds: number | null }[];
  /** Queries a second for names of services that are changed; null: they stay. */
  readonly queriesPerSecond: { readonly before: number; readonly after: number } | null;
  /** What the forecast could not know. */
  readonly notes: readonly string[];
}

export interface SiteForecast {
  readonly site: string;
  /** New connections a second; null: no limit. */
  readonly capacity: number | null;
  readonly before: number;
  /** By minute from the change on: mean new connections a second, and share of those of all sites. */
  readonly load: readonly number[];
  readonly share: readonly number[];
}

export interface LinkForecast {
  readonly site: string;
  readonly link: string;
  /** Bits a second; null: no limit. */
  readonly capacity: number | null;
  readonly before: number;
  readonly load: readonly number[];
}

export interface Overload {
  readonly site: string;
  /** Null: the site itself. */
  readonly link: string | null;
  /** From the first minute on until before the second; null: longer than the forecast reaches. */
  readonly fromMinute: number;
  readonly untilMinute: number | null;
  /** Load over capacity at its worst. */
  readonly peak: number;
}

export const MAX_FORECAST_MINUTES = 1440;
const MINUTE_SECONDS = 60;

/** Loads by minute, from what is predicted at times that step evenly through each. */
export class MinuteLoads {
  readonly #sites: number;
  readonly #links: number;
  /** [minute * sites + site]. */
  readonly site: Float64Array;
  readonly link: Float64Array;
  readonly #samples: Uint32Array;

  constructor(minutes: number, sites: number, links: number) {
    this.#sites = sites;
    this.#links = links;
    this.site = new Float64Array(minutes * sites);
    this.link = new Float64Array(minutes * links);
    this.#samples = new Uint32Array(minutes);
  }

  /** Samples `load` between two times after the change, in the middle of each of `stepSeconds`. */
  sample(load: PredictedLoad, changeMs: number, fromSeconds: number, untilSeconds: number, stepSeconds: number): void {
    const count = Math.round((untilSeconds - fromSeconds) / stepSeconds);
    const ahead = Float64Array.from({ length: count }, (_, n) => (n + 0.5) * stepSeconds);
    this.add(load.profile(changeMs + fromSeconds * 1000, ahead), fromSeconds);
  }

  add({ aheadSeconds, site, link }: LoadProfile, fromSeconds: number): void {
    for (let t = 0; t < aheadSeconds.length; t++) {
      const minute = Math.floor((fromSeconds + aheadSeconds[t]) / MINUTE_SECONDS);
      if (minute >= this.#samples.length) return;
      this.#samples[minute]++;
      for (let s = 0; s < this.#sites; s++) this.site[minute * this.#sites + s] += site[t * this.#sites + s];
      for (let l = 0; l < this.#links; l++) this.link[minute * this.#links + l] += link[t * this.#links + l];
    }
  }

  /** Load that is the same through a minute. */
  addEvenly(minute: number, site: number, load: number): void {
    this.site[minute * this.#sites + site] += load * this.#samples[minute];
  }

  siteRow(site: number): number[] {
    return Array.from(this.#samples, (samples, minute) => this.site[minute * this.#sites + site] / samples);
  }

  linkRow(link: number): number[] {
    return Array.from(this.#samples, (samples, minute) => this.link[minute * this.#links + link] / samples);
  }
}

export function siteForecasts(
  names: readonly string[],
  capacity: readonly number[],
  before: Float64Array,
  loads: MinuteLoads,
): SiteForecast[] {
  const rows = names.map((_, site) => loads.siteRow(site));
  const totals = (rows[0] ?? []).map((_, minute) => rows.reduce((sum, row) => sum + row[minute], 0));
  return names.map((site, index) => ({
    site,
    capacity: capacity[index] === Infinity ? null : capacity[index],
    before: before[index],
    load: rows[index],
    share: rows[index].map((load, minute) => (totals[minute] > 0 ? load / totals[minute] : 0)),
  }));
}

/** What is above its capacity, and when. */
export function overloadsOf(sites: readonly SiteForecast[], links: readonly LinkForecast[]): Overload[] {
  const found: Overload[] = [];
  const look = (site: string, link: string | null, capacity: number | null, load: readonly number[]): void => {
    if (capacity === null) return;
    for (let minute = 0; minute < load.length; minute++) {
      if (load[minute] <= capacity) continue;
      const fromMinute = minute;
      let peak = 0;
      for (; minute < load.length && load[minute] > capacity; minute++) peak = Math.max(peak, load[minute] / capacity);
      found.push({ site, link, fromMinute, untilMinute: minute === load.length ? null : minute, peak });
    }
  };
  for (const { site, capacity, load } of sites) look(site, null, capacity, load);
  for (const { site, link, capacity, load } of links) look(site, link, capacity, load);
  return found;
}

/** Who leaves and where they go, from loads before and in the end. */
export function landingOf(
  names: readonly string[],
  before: Float64Array,
  after: Float64Array,
): Pick<Forecast, 'landing' | 'movedShare'> {
  const gains = names.map((site, index) => ({ site, share: Math.max(0, after[index] - before[index]) }));
  const moved = gains.reduce((sum, { share }) => sum + share, 0);
  const total = before.reduce((sum, load) => sum + load, 0);
  if (total === 0 || moved / total < 1e-6) return { landing: [], movedShare: 0 };
  const landing = gains.filter(({ share }) => share > 0).map(({ site, share }) => ({ site, share: share / moved }));
  return { landing: landing.sort((a, b) => b.share - a.share), movedShare: moved / total };
}

/** When how much of what moves has moved, by the distance of loads from those in the end. */
export function settlingOf(
  before: Float64Array,
  after: Float64Array,
  loadsAt: (seconds: number) => Float64Array,
  limitSeconds: number,
): Forecast['settles'] {
  const distance = (loads: Float64Array) => loads.reduce((sum, load, n) => sum + Math.abs(load - after[n]), 0);
  const whole = distance(before);
  return [0.5, 0.95, 0.99].map((share) => {
    if (whole < 1e-9) return { share, seconds: 0 };
    const isThere = (seconds: number) => distance(loadsAt(seconds)) <= (1 - share) * whole + 1e-9;
    if (!isThere(limitSeconds)) return { share, seconds: null };
    let [low, high] = [0, limitSeconds];
    while (high - low > 0.5) {
      const middle = (low + high) / 2;
      if (isThere(middle)) high = middle;
      else low = middle;
    }
    return { share, seconds: Math.ceil(high) };
  });
}
