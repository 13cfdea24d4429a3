/**
 * A service of a few backends through some days, to try the weight controllers on: unequal machines that have other work at hours
 * of their own, a day curve with a surge, connections that stay where they are, reports that come late. Minute by minute, pure.
 */
import { balanceLoad, effectiveWeight, LOAD_RULES, type LoadRules } from './least-load.ts';
import { createPrediction, expectedUtilisation, observeLoad, type Prediction } from './predictive.ts';

export const DAY_MINUTES = 24 * 60;

export interface SimulatedBackend {
  /** Work that it can do, in the unit of demand. */
  readonly capacity: number;
  /** Share of it that other work takes, by minute of the day: a base, and more from `from` for `minutes`. */
  readonly base: number;
  readonly extra: number;
  readonly from: number;
  readonly minutes: number;
}

export interface SimulatedSite {
  readonly backends: readonly SimulatedBackend[];
  /** Demand at night and at its highest without the surge. */
  readonly least: number;
  readonly most: number;
  readonly surge: number;
  readonly surgeFrom: number;
  readonly surgeMinutes: number;
  /** Of reports, in minutes. */
  readonly delay: number;
  /** Of connections, in minutes: so long load lags behind weights. */
  readonly lifetime: number;
  /** Relative error of reports and of demand. */
  readonly noise: number;
}

export type SimulatedController = 'none' | 'least-load' | 'predictive';

export interface SimulationOptions {
  readonly site: SimulatedSite;
  readonly controller: SimulatedController;
  readonly days: number;
  /** Counted from this day on. */
  readonly measuredFrom: number;
  /** Minutes by which the surge and the other work of a day come later than usual: 0 by default. */
  readonly shift?: (day: number) => number;
  readonly rules?: LoadRules;
  /** Minutes between two rounds of the controller. */
  readonly round?: number;
  /** Uniform, 0 to 1 without 1. */
  readonly random: () => number;
}

export interface SimulationResult {
  /** Of the highest utilisation among the backends, minute by minute. */
  readonly p95: number;
  readonly worst: number;
  /** Minutes in which somebody was over its capacity. */
  readonly overloadMinutes: number;
  /** Demand beyond the capacity of whom it came to, in capacity minutes. */
  readonly overload: number;
  /** Rounds in which the forecast was used. */
  readonly predictedRounds: number;
  readonly fallbacks: number;
}

/** 0 outside, 1 inside, with edges of 20 minutes. */
function plateau(minute: number, from: number, minutes: number): number {
  const since = (((minute - from) % DAY_MINUTES) + DAY_MINUTES) % DAY_MINUTES;
  if (since >= minutes) return 0;
  return Math.min(1, since / 20, (minutes - since) / 20);
}

function demandAt(site: SimulatedSite, minute: number, shift: number): number {
  const daily = (1 - Math.cos((2 * Math.PI * (minute - 240)) / DAY_MINUTES)) / 2;
  const surge = site.surge * plateau(minute - shift, site.surgeFrom, site.surgeMinutes);
  return site.least + (site.most - site.least) * daily + surge;
}

export function simulateDays(options: SimulationOptions): SimulationResult {
  const { site, days, random, round = 2, rules = LOAD_RULES, shift = () => 0 } = options;
  const { backends } = site;
  const total = backends.reduce((sum, { capacity }) => sum + capacity, 0);
  const names = new Set(backends.map((_, i) => `${i}`));
  const prediction = createPrediction();
  let factors = backends.map(() => 1);
  let shares = sharesOf(backends, factors);
  const load = [...shares];
  /** Reports on the way, the oldest first. */
  const reports: number[][] = [];
  const highest: number[] = [];
  const result = { overloadMinutes: 0, overload: 0, predictedRounds: 0 };
  for (let minute = 0; minute < days * DAY_MINUTES; minute++) {
    const day = Math.floor(minute / DAY_MINUTES);
    const late = shift(day);
    const noise = (): number => 1 + site.noise * (random() + random() + random() - 1.5);
    const demand = demandAt(site, minute, late) * noise();
    const busy = backends.map((backend, i) => {
      load[i] = (load[i] as number) + ((shares[i] as number) - (load[i] as number)) / site.lifetime;
      const other = backend.base + backend.extra * plateau(minute - late, backend.from, backend.minutes);
      return other + (demand * (load[i] as number)) / backend.capacity;
    });
    reports.push(busy.map((one) => one * noise()));
    if (day >= options.measuredFrom) measure(busy, backends, result, highest);
    const report = reports.length > site.delay ? (reports.shift() as number[]) : null;
    if (report === null || options.controller === 'none') continue;
    const samples = report.map((utilisation, i) => ({ name: `${i}`, utilisation, share: shares[i] as number }));
    if (options.controller === 'predictive') observeLoad(prediction, minute * 60_000, names, samples);
    if (minute % round !== 0) continue;
    if (prediction.isTrusted) result.predictedRounds++;
    factors = nextFactors(options.controller, prediction, report, factors, shares, rules);
    shares = sharesOf(backends, factors);
  }
  highest.sort((a, b) => a - b);
  const p95 = highest[Math.floor(0.95 * highest.length)] as number;
  const worst = highest.at(-1) as number;
  return { ...result, overload: result.overload / total, p95, worst, fallbacks: prediction.fallbacks };
}

/** Configured weights are all 1: the operator does not know how unequal the machines are. */
function sharesOf(backends: readonly SimulatedBackend[], factors: readonly number[]): number[] {
  const weights = backends.map((_, i) => effectiveWeight(1, factors[i] as number));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function measure(
  busy: readonly number[],
  backends: readonly SimulatedBackend[],
  result: { overloadMinutes: number; overload: number },
  highest: number[],
): void {
  const most = Math.max(...busy);
  highest.push(most);
  if (most > 1) result.overloadMinutes++;
  for (let i = 0; i < busy.length; i++)
    result.overload += Math.max(0, (busy[i] as number) - 1) * (backends[i] as SimulatedBackend).capacity;
}

function nextFactors(
  controller: SimulatedController,
  prediction: Prediction,
  report: readonly number[],
  factors: readonly number[],
  shares: readonly number[],
  rules: LoadRules,
): number[] {
  const expected = report.map((now, i) =>
    controller === 'predictive' ? (expectedUtilisation(prediction, `${i}`, shares[i] as number) ?? now) : now,
  );
  return balanceLoad(
    factors.map((factor, i) => ({ weight: 1, factor, utilisation: expected[i] as number })),
    rules,
  );
}
