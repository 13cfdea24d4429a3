/** What controllers of weights have learnt, kept over restarts: the lookup tables in the kernel stand as their factors wanted them. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createSeries } from '../decide/weights/holt-winters.ts';
import { addBackend, createPrediction, type Prediction } from '../decide/weights/predictive.ts';
import type { Log } from './log.ts';

interface KeptSeries {
  readonly level: number;
  readonly trend: number;
  readonly count: number;
  /** Float32, base64. */
  readonly season: string;
}

type PredictionNumbers = Pick<Prediction, 'part' | 'forecastError' | 'naiveError' | 'judged' | 'fallbacks'>;

export interface KeptPrediction extends PredictionNumbers {
  readonly isTrusted: boolean;
  readonly series: Readonly<Record<string, KeptSeries>>;
}

export interface KeptService {
  /** Members and configured weights that the factors were made for (service-weights.ts). */
  readonly key: string;
  readonly factors: Readonly<Record<string, number>>;
  readonly prediction: KeptPrediction | null;
}

/** By service. */
export type KeptWeights = Readonly<Record<string, KeptService>>;

export interface WeightStore {
  load(): KeptWeights;
  save(kept: KeptWeights): void;
}

export function keepPrediction(prediction: Prediction): KeptPrediction {
  const { part, forecastError, naiveError, judged, fallbacks, isTrusted } = prediction;
  const series = [...prediction.backends].map(
    ([
      name,
      {
        series: { level, trend, count, season },
      },
    ]) => {
      const bytes = Buffer.from(season.buffer, season.byteOffset, season.byteLength);
      return [name, { level, trend, count, season: bytes.toString('base64') }] as const;
    },
  );
  return { part, forecastError, naiveError, judged, fallbacks, isTrusted, series: Object.fromEntries(series) };
}

/** What was expected for the parts that run is not kept: judging begins anew with the next ones. */
export function restorePrediction({ series, ...rest }: KeptPrediction): Prediction {
  const prediction = Object.assign(createPrediction(), rest);
  for (const [name, { season, ...numbers }] of Object.entries(series)) {
    const backend = addBackend(prediction, name);
    Object.assign(backend.series, numbers);
    backend.series.season.set(floatsOf(season));
  }
  return prediction;
}

function floatsOf(base64: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  return new Float32Array(bytes.buffer, 0, bytes.length >> 2);
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);

function isSeries(value: KeptSeries): boolean {
  if (![value.level, value.trend, value.count].every(isNumber) || typeof value.season !== 'string') return false;
  const floats = floatsOf(value.season);
  return floats.length === createSeries().season.length && floats.every(Number.isFinite);
}

function isPrediction(value: KeptPrediction): boolean {
  const { part, forecastError, naiveError, judged, fallbacks, isTrusted, series } = value;
  if (![part, forecastError, naiveError, judged, fallbacks].every(isNumber)) return false;
  return typeof isTrusted === 'boolean' && Object.values(series).every(isSeries);
}

function isService({ key, factors, prediction }: KeptService): boolean {
  const areFactors = Object.values(factors).every((factor) => isNumber(factor) && factor > 0);
  return typeof key === 'string' && areFactors && (prediction === null || isPrediction(prediction));
}

/** What `writeWeights` wrote; nothing where there is no file. Throws where it cannot be read or is something else. */
export function readWeights(file: string): KeptWeights {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  try {
    const read = JSON.parse(text) as KeptWeights;
    if (!Array.isArray(read) && Object.values(read).every(isService)) return read;
  } catch {
    // told below
  }
  throw new Error(`${file} does not hold weights; remove it`);
}

/** A reader sees the old ones or the new ones, never half. */
export function writeWeights(file: string, kept: KeptWeights): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, `${JSON.stringify(kept)}\n`);
  renameSync(`${file}.new`, file);
}

/** Trouble with the file is told and holds nothing up: weights begin anew then. */
export function weightStore(file: string, log: Log): WeightStore {
  let hasFailed = false;
  return {
    load: () => {
      try {
        return readWeights(file);
      } catch (error) {
        log.error({ reason: (error as Error).message }, 'weights that follow load begin anew');
        return {};
      }
    },
    save: (kept) => {
      try {
        writeWeights(file, kept);
        hasFailed = false;
      } catch (error) {
        if (!hasFailed)
          log.error({ reason: (error as Error).message }, 'weights will begin anew with the next process');
        hasFailed = true;
      }
    },
  };
}
