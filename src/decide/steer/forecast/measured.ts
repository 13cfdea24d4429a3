/** Forecasts by what is measured: the same decisions as always, on a copy of the state, with the clock running ahead. */

import { survivalAfter } from '../control/decay.ts';
import { PATH_LINKS, type PredictedLoad } from '../control/predicted-load.ts';
import type { ControlState } from '../control-state.ts';
import type { SteeringHealth, SteeringModel } from '../measured-model.ts';
import type { Target } from '../target.ts';
import {
  type Forecast,
  type LinkForecast,
  landingOf,
  MinuteLoads,
  overloadsOf,
  type PlanChange,
  settlingOf,
  siteForecasts,
} from './forecast.ts';

/** Changes that measured steering can plan; others are for those who know the file. */
export type MeasuredChange = Extract<PlanChange, { readonly kind: 'drain' | 'capacity' | 'link' }>;

export interface MeasuredState {
  readonly model: SteeringModel;
  /** A fork: it is used up. */
  readonly control: ControlState;
  /** [group * sites + site]. */
  readonly rttMs: Float32Array;
  /** Takes over health and what else holds for decisions. */
  begin(control: ControlState, health: SteeringHealth, nowMs: number): void;
  /** Where everybody should be then. */
  target(control: ControlState): Target;
  /** As things are. */
  readonly health: SteeringHealth;
  /** On the clock of decisions. */
  readonly nowMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
  /** Between decisions. */
  readonly intervalSeconds: number;
}

const SAMPLE_SECONDS = 2;

/** Null: there is no such site or link. Cost: one solve, and a step of control for each interval. */
export function forecastMeasured(state: MeasuredState, change: MeasuredChange, minutes: number): Forecast | null {
  const { model, control, nowMs, rttMs } = state;
  const names = model.sites.map(({ name }) => name);
  const then = changedHealth(state, change);
  if (then === null) return null;
  state.begin(control, state.health, nowMs);
  const { load } = control;
  // Users of whom no resolver is known; they are answered by policies.
  const others = load.takeBackground();
  const settled = Float64Array.of(Infinity);
  const before = load.profile(nowMs, settled).site;
  const now = load.profile(nowMs, Float64Array.of(0));
  const rttBefore = meanRttMs(load, rttMs);
  state.begin(control, then, nowMs);
  const target = state.target(control);
  const loads = new MinuteLoads(minutes, names.length, model.links.length);
  for (let seconds = 0; seconds < minutes * 60; seconds += state.intervalSeconds) {
    control.step(target, rttMs, nowMs + seconds * 1000);
    const until = Math.min(minutes * 60, seconds + state.intervalSeconds);
    loads.sample(load, nowMs, seconds, until, SAMPLE_SECONDS);
  }
  const after = load.profile(nowMs + minutes * 60_000, settled).site;
  const landing = landingOf(names, before, after);
  const left = change.kind === 'drain' ? names.indexOf(change.site) : -1;
  addOthers({ loads, minutes, others, left, landing: landingShares(names, landing.landing), model });
  const sites = siteForecasts(names, Array.from(control.siteCapacity), sumOf(now.site, others), loads);
  const links = linkForecasts(state, now.link, loads);
  const rttAfter = meanRttMs(load, rttMs);
  const loadsAt = (seconds: number) => minuteRow(sites, Math.min(minutes - 1, Math.floor(seconds / 60)));
  return {
    change,
    basis: 'measured',
    atMs: state.wallMs,
    minutes,
    sites,
    links,
    ...landing,
    rttMs: rttBefore === null || rttAfter === null ? null : { before: rttBefore, after: rttAfter, source: 'measured' },
    overloads: overloadsOf(sites, links),
    settles: settlingOf(sumOf(now.site, others), minuteRow(sites, minutes - 1), loadsAt, minutes * 60),
    queriesPerSecond: null,
    notes: notesOf(others, before, names),
  };
}

function changedHealth({ model, health }: MeasuredState, change: MeasuredChange): SteeringHealth | null {
  const [sites, links] = [health.sites.slice(), health.links.slice()];
  const site = model.sites.findIndex(({ name }) => name === change.site);
  if (site < 0) return null;
  if (change.kind === 'drain') sites[site] = 0;
  else if (change.kind === 'capacity') sites[site] *= change.share;
  else {
    const link = model.links.findIndex(({ name }) => name === change.link || name === `${change.site}/${change.link}`);
    if (link < 0) return null;
    links[link] *= change.share;
  }
  return { ...health, sites, links };
}

/** [site]: where those go who leave. */
function landingShares(names: readonly string[], landing: Forecast['landing']): Float64Array {
  const shares = new Float64Array(names.length);
  for (const { site, share } of landing) shares[names.indexOf(site)] = share;
  return shares;
}

interface Others {
  readonly loads: MinuteLoads;
  readonly minutes: number;
  readonly others: Float64Array;
  /** Site that they leave; -1: none. */
  readonly left: number;
  readonly landing: Float64Array;
  readonly model: SteeringModel;
}

/** They obey the TTL, and go where the others go. */
function addOthers({ loads, minutes, others, left, landing, model }: Others): void {
  const sites = others.length;
  for (let minute = 0; minute < minutes; minute++) {
    let stays = 0;
    for (let s = 0; s < 60; s += SAMPLE_SECONDS)
      stays += (survivalAfter(model.ttlSeconds, 0, 0, minute * 60 + s + SAMPLE_SECONDS / 2) * SAMPLE_SECONDS) / 60;
    for (let s = 0; s < sites; s++) {
      const gone = left >= 0 && s !== left ? others[left] * (1 - stays) * landing[s] : 0;
      loads.addEvenly(minute, s, others[s] * (s === left ? stays : 1) + gone);
    }
  }
}

function linkForecasts({ control, model }: MeasuredState, now: Float64Array, loads: MinuteLoads): LinkForecast[] {
  return model.links.map(({ name }, link) => {
    const [site, own = name] = name.includes('/') ? name.split('/') : [siteOfLink(model, link), name];
    const background = control.linkBackground[link];
    const capacity = control.linkCapacity[link];
    return {
      site,
      link: own,
      capacity: capacity === Infinity ? null : capacity,
      before: now[link] + background,
      load: loads.linkRow(link).map((load) => load + background),
    };
  });
}

/** Of one that several share: the first. */
function siteOfLink({ paths, sites }: SteeringModel, link: number): string {
  const at = paths.indexOf(link);
  return at < 0 ? '' : sites[Math.floor(at / PATH_LINKS) % sites.length].name;
}

function meanRttMs(load: PredictedLoad, rttMs: Float32Array): number | null {
  const { sites, classes } = load.model;
  let [sum, total] = [0, 0];
  for (let item = 0; item < load.items; item++) {
    const demand = load.columns.demand[item];
    const row = Math.floor(item / classes) * sites;
    for (const { site, share } of load.sharesOf(item)) {
      sum += demand * share * rttMs[row + site];
      total += demand * share;
    }
  }
  return total > 0 ? sum / total : null;
}

function minuteRow(sites: Forecast['sites'], minute: number): Float64Array {
  return Float64Array.from(sites, ({ load }) => load[minute]);
}

function sumOf(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, index) => value + b[index]);
}

function notesOf(others: Float64Array, before: Float64Array, names: readonly string[]): string[] {
  const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
  const share = sum(others) / Math.max(1e-9, sum(others) + sum(before));
  if (share < 0.01) return [];
  const most = names[others.indexOf(Math.max(...others))];
  return [`of ${(share * 100).toFixed(0)} % of connections, most of them at ${most}, no resolver is known`];
}
