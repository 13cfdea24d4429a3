/**
 * `predictive`: `least-load` that looks ahead. For each backend it forecasts, by time of day, the utilisation that it would have
 * if it had all flows of the service: that does not change when weights do. Times its share, a horizon ahead, it is what
 * `balanceLoad` gets in place of the reported utilisation, so that weights have moved when the surge comes.
 *
 * A forecast is worth only what it got right: it is held against the naive one ("as it is now") over the same horizon. While it
 * errs more, the reported utilisation is used; it comes back when it errs clearly less.
 */
import { addSample, createSeries, DAY_SMOOTHING, forecast, isSeasoned, type Series, skipGap } from './holt-winters.ts';

export interface PredictionRules {
  /** Length of a part of the day. */
  readonly partMs: number;
  /** Parts that the forecast looks ahead: reports, steps and connections that stay make the way so long. */
  readonly horizonParts: number;
  /** How much the errors of one part count in the errors so far. */
  readonly errorWeight: number;
  /** Parts that have to be judged before a forecast is believed. */
  readonly judgedParts: number;
  /** It is believed when it errs less than this share of the naive one, and no longer when it errs more than `distrust`. */
  readonly trust: number;
  readonly distrust: number;
  /** Mean errors below this (in utilisation) make nobody distrust: where nothing happens the naive forecast is perfect. */
  readonly smallError: number;
}

export const PREDICTION_RULES: PredictionRules = {
  partMs: (24 * 60 * 60 * 1000) / DAY_SMOOTHING.parts,
  horizonParts: 3,
  errorWeight: 1 / 12,
  judgedParts: 12,
  trust: 0.75,
  distrust: 1.1,
  smallError: 0.02,
};

export interface LoadSample {
  readonly name: string;
  readonly utilisation: number;
  /** Of the service's new flows, above 0 to 1. */
  readonly share: number;
}

interface BackendSeries {
  readonly series: Series;
  /** Sum and number of the samples of the part that runs. */
  sum: number;
  samples: number;
  share: number;
  /** What was expected of, and what was seen in, each of the last parts: rings by part number. */
  readonly expected: Float64Array;
  readonly seen: Float64Array;
}

export interface Prediction {
  readonly rules: PredictionRules;
  readonly backends: Map<string, BackendSeries>;
  /** Number of the part that runs, since the epoch; -1: none yet. */
  part: number;
  /** Mean errors so far, in utilisation: of the forecast, and of the naive one. */
  forecastError: number;
  naiveError: number;
  judged: number;
  isTrusted: boolean;
  /** How often it was believed and then no longer. */
  fallbacks: number;
}

export function createPrediction(rules: PredictionRules = PREDICTION_RULES): Prediction {
  return {
    rules,
    backends: new Map(),
    part: -1,
    forecastError: 0,
    naiveError: 0,
    judged: 0,
    isTrusted: false,
    fallbacks: 0,
  };
}

/**
 * Takes in what was reported at `nowMs` (time of day counts: since the epoch). Those who report nothing are missing. Backends that
 * are not in `names` are forgotten.
 */
export function observeLoad(
  prediction: Prediction,
  nowMs: number,
  names: ReadonlySet<string>,
  samples: readonly LoadSample[],
): void {
  const part = Math.floor(nowMs / prediction.rules.partMs);
  if (part !== prediction.part) closePart(prediction, part);
  for (const name of prediction.backends.keys()) if (!names.has(name)) prediction.backends.delete(name);
  for (const { name, utilisation, share } of samples) {
    if (share <= 0) continue;
    const backend = prediction.backends.get(name) ?? addBackend(prediction, name);
    backend.sum += utilisation / share;
    backend.samples++;
    backend.share = share;
  }
}

/** It has seen nothing yet. */
export function addBackend(prediction: Prediction, name: string): BackendSeries {
  const ring = prediction.rules.horizonParts + 1;
  const backend = {
    series: createSeries(),
    sum: 0,
    samples: 0,
    share: 0,
    expected: new Float64Array(ring).fill(Number.NaN),
    seen: new Float64Array(ring).fill(Number.NaN),
  };
  prediction.backends.set(name, backend);
  return backend;
}

/** A part is over: its mean goes into the series, and the forecasts that were made for it are judged. */
function closePart(prediction: Prediction, next: number): void {
  const { part } = prediction;
  prediction.part = next;
  if (part < 0) return;
  let forecastErrors = 0;
  let naiveErrors = 0;
  let judged = 0;
  for (const backend of prediction.backends.values()) {
    if (backend.samples === 0 || next !== part + 1) forgetRecent(backend);
    if (backend.samples === 0) continue;
    const errors = closeBackend(prediction, backend, part);
    if (errors === null) continue;
    forecastErrors += errors[0];
    naiveErrors += errors[1];
    judged++;
  }
  if (judged > 0) judge(prediction, forecastErrors / judged, naiveErrors / judged);
}

function forgetRecent(backend: BackendSeries): void {
  skipGap(backend.series);
  backend.expected.fill(Number.NaN);
  backend.seen.fill(Number.NaN);
}

/** Errors of the forecast and of the naive one, in utilisation; null: none had been made for this part. */
function closeBackend({ rules }: Prediction, backend: BackendSeries, part: number): [number, number] | null {
  const { series, expected, seen, share } = backend;
  const ring = seen.length;
  const value = backend.sum / backend.samples;
  backend.sum = 0;
  backend.samples = 0;
  const place = part % series.rules.parts;
  addSample(series, place, value);
  const forecastError = Math.abs((expected[part % ring] as number) - value) * share;
  seen[part % ring] = value;
  const ahead = part + rules.horizonParts;
  expected[ahead % ring] = isSeasoned(series) ? forecast(series, place, rules.horizonParts) : Number.NaN;
  const naiveError = Math.abs((seen[(part + ring - rules.horizonParts) % ring] as number) - value) * share;
  return Number.isFinite(forecastError) && Number.isFinite(naiveError) ? [forecastError, naiveError] : null;
}

function judge(prediction: Prediction, forecastError: number, naiveError: number): void {
  const { rules } = prediction;
  const weight = prediction.judged === 0 ? 1 : rules.errorWeight;
  prediction.forecastError += weight * (forecastError - prediction.forecastError);
  prediction.naiveError += weight * (naiveError - prediction.naiveError);
  prediction.judged++;
  const { forecastError: errs, naiveError: naive } = prediction;
  if (prediction.isTrusted) {
    if (errs <= Math.max(rules.distrust * naive, rules.smallError)) return;
    prediction.isTrusted = false;
    prediction.fallbacks++;
  } else if (prediction.judged >= rules.judgedParts) {
    prediction.isTrusted = errs < Math.max(rules.trust * naive, rules.smallError / 2);
  }
}

/**
 * The utilisation that the backend is expected to have a horizon from now with `share` of the flows; null: the forecast is not
 * believed, or none can be made for it yet, and what is reported counts.
 */
export function expectedUtilisation(prediction: Prediction, name: string, share: number): number | null {
  if (!prediction.isTrusted) return null;
  const backend = prediction.backends.get(name);
  if (backend === undefined || !isSeasoned(backend.series)) return null;
  const { parts } = backend.series.rules;
  // The last part that is in the series is the one before the part that runs.
  const expected = forecast(backend.series, (prediction.part - 1 + parts) % parts, prediction.rules.horizonParts);
  return Math.max(0, expected * share);
}
