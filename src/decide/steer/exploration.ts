/**
 * What is tried so that wrong beliefs are found. A site that nobody in an area uses is believed to be as far as others like it; where that
 * may be wrong by enough, a small resolver or subnet of the area is sent there for a while, and what it measures holds for the area and, in
 * part, for its AS. Worth of a trial: what all these users may be expected to gain from knowing (Frazier, Powell and Dayanik, "A
 * Knowledge-Gradient Policy for Sequential Information Collection", 2008), by the demand that is put at risk. Nothing is tried twice a day.
 */
import type { SteeredGroups } from './demand/groups.ts';
import { SUBNETS_OF_NODE } from './demand/groups.ts';
import type { Forecast } from './demand/prefix-demand.ts';
import { type MeasuredMap, NO_SITE } from './measured.ts';
import type { SteeringModel } from './measured-model.ts';
import type { RttMap } from './rtt/rtt-map.ts';

/** A trial lasts so many TTLs, and no less than this. */
const TRIAL_TTLS = 2;
const LEAST_TRIAL_MS = 240_000;
const AGAIN_MS = 24 * 3_600_000;
/** Connections that a trial should bring. */
const WANTED_CONNECTIONS = 30;
/** Of the budget, for one trial: small ones only. */
const MOST_PART = 0.5;
/** Milliseconds a user may be expected to gain: less is not worth it. */
const LEAST_GAIN_MS = 0.1;
/** Variance of what a trial measures beside the prefix's distance from its area: queues and radio, squared milliseconds. */
const TRIAL_VARIANCE = 4;
const EXCESS_PART = 0.5;
/** Share of an asker's users in its main area. */
const MAIN_SHARE = 0.3;
/** Trials that are remembered. */
const MOST_TRIALS = 1 << 18;
const METRO_LEVEL = 3;

interface Trial {
  readonly asker: number;
  readonly site: number;
  readonly demand: number;
  readonly endMs: number;
}

interface Offer {
  readonly asker: number;
  readonly node: number;
  readonly site: number;
  readonly demand: number;
  readonly worth: number;
}

export interface ExploreInput {
  readonly groups: SteeredGroups;
  readonly forecast: Forecast;
  readonly rtt: RttMap;
  /** Of asking prefixes: what they get without trials. */
  readonly map: MeasuredMap;
  /** [site]: 1: has room for more. */
  readonly hasRoom: Uint8Array;
  readonly prefixes: number;
  readonly nowMs: number;
}

export class Exploration {
  /** Trials that were begun. */
  begun = 0;
  readonly #model: SteeringModel;
  /** That trials are for; -1: none wants nearness. */
  readonly class: number;
  readonly #seed: number;
  #trials: Trial[] = [];
  /** node * sites + site -> when it was last tried. */
  readonly #tried = new Map<number, number>();

  /** `seed`: which of equals is tried. */
  constructor(model: SteeringModel, seed: number) {
    this.#model = model;
    this.class = model.classes.findIndex(({ kind }) => kind === 'latency');
    this.#seed = seed;
  }

  /** Place of an asker among `groups.askers` -> site it is sent to now. Cost: some 50 ns for each area and site, 20 ns a prefix. */
  choose(input: ExploreInput): { readonly sites: ReadonlyMap<number, number>; readonly share: number } {
    const { groups, map, nowMs } = input;
    const c = this.class;
    const sites = new Map<number, number>();
    const share = this.#model.limits.explorationShare;
    if (c < 0 || share <= 0) return { sites, share: 0 };
    const total = groups.demand.reduce((sum, demand) => sum + demand, 0);
    const budget = share * total;
    const place = new Map<number, number>();
    for (let at = 0; at < groups.askers.length; at++) place.set(groups.askers[at], at);
    this.#trials = this.#trials.filter(({ asker, endMs, site }) => {
      const at = place.get(asker);
      return endMs > nowMs && at !== undefined && map.site[at * map.classes + c] !== site;
    });
    let spent = this.#trials.reduce((sum, { demand }) => sum + demand, 0);
    const busy = new Set(this.#trials.map(({ asker }) => asker));
    for (const offer of this.#offers(input, budget)) {
      if (spent + offer.demand > budget || busy.has(offer.asker)) continue;
      spent += offer.demand;
      busy.add(offer.asker);
      this.#begin(offer, nowMs);
    }
    for (const { asker, site } of this.#trials) sites.set(place.get(asker) as number, site);
    return { sites, share: total > 0 ? spent / total : 0 };
  }

  #begin({ asker, node, site, demand }: Offer, nowMs: number): void {
    const ttlSeconds = this.#model.classes[this.class].ttlSeconds ?? this.#model.ttlSeconds;
    const endMs = nowMs + Math.max(LEAST_TRIAL_MS, TRIAL_TTLS * 1000 * ttlSeconds);
    this.#trials.push({ asker, site, demand, endMs });
    this.begun++;
    if (this.#tried.size >= MOST_TRIALS) for (const key of this.#tried.keys()) if (this.#tried.delete(key)) break;
    this.#tried.set(node * this.#model.sites.length + site, nowMs);
  }

  /** The most worth by demand first. */
  #offers(input: ExploreInput, budget: number): Offer[] {
    const { groups, rtt, nowMs } = input;
    const sites = this.#model.sites.length;
    const demand = this.#demandOfNodes(input);
    const askers = this.#askersOfNodes(groups, rtt, MOST_PART * budget);
    const offers: Offer[] = [];
    for (const [node, asker] of askers) {
      const at = groups.groupOf[asker];
      const its = groups.demand[at * input.map.classes + this.class] * groups.partOf[asker];
      const current = input.map.site[asker * input.map.classes + this.class];
      for (let site = 0; site < sites; site++) {
        if (site === current || input.hasRoom[site] === 0) continue;
        if (nowMs - (this.#tried.get(node * sites + site) ?? -Infinity) < AGAIN_MS) continue;
        const worth = this.#worth(rtt, node, site, demand);
        if (worth > 0)
          offers.push({ asker: groups.askers[asker], node, site, demand: its, worth: worth / (its + 1e-9) });
      }
    }
    const tie = (offer: Offer) => Math.imul(offer.asker ^ this.#seed, 0x9e3779b1) >>> 0;
    return offers.sort((a, b) => b.worth - a.worth || tie(a) - tie(b));
  }

  /** [node]: of class `latency`, of all that is below too. */
  #demandOfNodes({ forecast, prefixes, rtt: { nodes } }: ExploreInput): Float64Array {
    const demand = new Float64Array(nodes.count);
    for (let prefix = 0; prefix < Math.min(prefixes, nodes.of.length); prefix++) {
      const node = nodes.of[prefix];
      if (node >= 0 && node < demand.length) demand[node] += forecast.of(prefix, this.class);
    }
    for (let node = nodes.count - 1; node > 0; node--) demand[nodes.parent[node]] += demand[node];
    return demand;
  }

  /** For each area the asker that is tried first: the smallest that brings enough connections, else the largest. */
  #askersOfNodes(groups: SteeredGroups, rtt: RttMap, most: number): Map<number, number> {
    const classes = this.#model.classes.length;
    const enough = (WANTED_CONNECTIONS * 1000) / LEAST_TRIAL_MS;
    const found = new Map<number, number>();
    const best = new Map<number, number>();
    for (let asker = 0; asker < groups.askers.length; asker++) {
      const group = groups.groupOf[asker];
      const demand = groups.demand[group * classes + this.class] * groups.partOf[asker];
      if (!(demand > 0) || demand > most) continue;
      const node = mainNode(groups, rtt, asker, group);
      if (node < 0 || rtt.nodes.level[node] !== METRO_LEVEL || !rtt.isFitted(node)) continue;
      const rank = demand >= enough ? 1 / demand : demand - enough;
      if (rank <= (best.get(node) ?? -Infinity)) continue;
      best.set(node, rank);
      found.set(node, asker);
    }
    return found;
  }

  /** Milliseconds times demand that may be expected to be gained; 0: not worth a trial. */
  #worth(rtt: RttMap, node: number, site: number, demand: Float64Array): number {
    const sites = this.#model.sites.length;
    let best = -1;
    for (let s = 0; s < sites; s++) if (best < 0 || rtt.nodeMs(node, s) < rtt.nodeMs(node, best)) best = s;
    const ahead = site === best ? -1 : 1;
    const other = site === best ? secondBest(rtt, node, sites, best) : best;
    const mean = rtt.nodeMs(node, other) - rtt.nodeMs(node, site);
    const unit = rtt.unitOf(node, site);
    // Where one site only is measured, what is too much there may be its way, or come with every site.
    const excess = rtt.nodePrecision(node, site) > 0 ? 0 : EXCESS_PART * Math.max(0, rtt.accessOf(node));
    const variance = unit * unit * rtt.nodeVariance(node, site) + excess * excess;
    const noise = TRIAL_VARIANCE + unit * unit * rtt.levelVariance(4, site);
    const change = variance / Math.sqrt(variance + noise);
    // Of the best site itself: what is gained if it is worse than the second.
    const gain = expectedGain(ahead * mean, change);
    if (gain < LEAST_GAIN_MS) return 0;
    const parent = rtt.nodes.parent[node];
    const part = parent > 0 ? rtt.nodeVariance(parent, site) / Math.max(1e-9, rtt.nodeVariance(node, site)) : 0;
    return gain * (demand[node] + Math.min(1, part) * (demand[parent] - demand[node]));
  }
}

function secondBest(rtt: RttMap, node: number, sites: number, best: number): number {
  let second = best;
  for (let s = 0; s < sites; s++) {
    if (s !== best && (second === best || rtt.nodeMs(node, s) < rtt.nodeMs(node, second))) second = s;
  }
  return second;
}

function mainNode(groups: SteeredGroups, rtt: RttMap, asker: number, group: number): number {
  if (groups.ids[group] >= SUBNETS_OF_NODE) return rtt.nodes.nodeOf(groups.askers[asker]);
  let main = -1;
  let most = MAIN_SHARE;
  for (let at = groups.begin[group]; at < groups.begin[group + 1]; at++) {
    if (groups.share[at] <= most) continue;
    most = groups.share[at];
    main = groups.prefix[at];
  }
  if (main >= 0) return rtt.nodes.nodeOf(main);
  const share = new Map<number, number>();
  for (let at = groups.begin[group]; at < groups.begin[group + 1]; at++) {
    const node = rtt.nodes.nodeOf(groups.prefix[at]);
    const sum = (share.get(node) ?? 0) + groups.share[at];
    share.set(node, sum);
    if (sum > MAIN_SHARE) return node;
  }
  return -1;
}

/** Of the greater of 0 and a normal value of this mean and deviation. */
export function expectedGain(mean: number, deviation: number): number {
  if (!(deviation > 0)) return Math.max(0, mean);
  const z = mean / deviation;
  if (z < -4) return 0;
  const density = Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);
  // Abramowitz and Stegun 26.2.17, good to 1e-7.
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const tail =
    density * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return deviation * density + mean * (z >= 0 ? 1 - tail : tail);
}

/** The map with what is tried now. */
export function withTrials(map: MeasuredMap, trials: ReadonlyMap<number, number>, c: number): MeasuredMap {
  if (trials.size === 0) return map;
  const site = map.site.slice();
  const splits = new Map(map.splits);
  for (const [asker, its] of trials) {
    const item = asker * map.classes + c;
    if (site[item] === NO_SITE) continue;
    site[item] = its;
    splits.delete(item);
  }
  return { ...map, site, splits };
}
