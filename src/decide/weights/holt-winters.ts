/**
 * Holt-Winters with an additive season (Winters 1960; the damped trend after Gardner and McKenzie 1985): a series as level,
 * trend and what the time of day adds. A sample stands for one part of the season, all parts are equally long.
 */

export interface SmoothingRules {
  /** Parts of a season. */
  readonly parts: number;
  /** How much of what a new sample says goes into level, trend and season: above 0, at most 1. */
  readonly level: number;
  readonly trend: number;
  readonly season: number;
  /** What is left of the trend a part later, above 0, at most 1. */
  readonly damping: number;
}

/** Parts of five minutes of a day. */
export const DAY_SMOOTHING: SmoothingRules = { parts: 288, level: 0.05, trend: 0.01, season: 0.3, damping: 0.9 };

export interface Series {
  readonly rules: SmoothingRules;
  level: number;
  trend: number;
  /** By part of the season. During the first season: the samples as they came. */
  readonly season: Float32Array;
  /** Samples taken in so far. */
  count: number;
}

export function createSeries(rules: SmoothingRules = DAY_SMOOTHING): Series {
  return { rules, level: 0, trend: 0, season: new Float32Array(rules.parts), count: 0 };
}

/** A whole season has been seen: it can forecast. */
export function isSeasoned(series: Series): boolean {
  return series.count >= series.rules.parts;
}

/**
 * Takes in the value of `part` (0 .. parts - 1). Parts come one after the other. After a gap call `skipGap` first.
 */
export function addSample(series: Series, part: number, value: number): void {
  const { rules, season } = series;
  if (!isSeasoned(series)) {
    season[part] = value;
    series.count++;
    if (isSeasoned(series)) beginSeason(series);
    return;
  }
  const before = series.level;
  const kept = before + rules.damping * series.trend;
  const seasonal = season[part] as number;
  series.level = rules.level * (value - seasonal) + (1 - rules.level) * kept;
  series.trend = rules.trend * (series.level - before) + (1 - rules.trend) * rules.damping * series.trend;
  season[part] = rules.season * (value - series.level) + (1 - rules.season) * seasonal;
  series.count++;
}

/** The season's first estimate is what each part differs from the mean. */
function beginSeason(series: Series): void {
  const { season } = series;
  series.level = season.reduce((sum, one) => sum + one, 0) / season.length;
  for (let i = 0; i < season.length; i++) season[i] = (season[i] as number) - series.level;
}

/** Samples are missing: the season stays as known, the trend is old. A first season must be whole, so it begins anew. */
export function skipGap(series: Series): void {
  series.trend = 0;
  if (!isSeasoned(series)) series.count = 0;
}

/** The value expected `ahead` parts (1 or more) after `part`, the last one taken in. Only of a series that is seasoned. */
export function forecast(series: Series, part: number, ahead: number): number {
  const { rules, season } = series;
  let trend = 0;
  for (let i = 1, left = rules.damping; i <= ahead; i++, left *= rules.damping) trend += left * series.trend;
  return series.level + trend + (season[(part + ahead) % rules.parts] as number);
}
