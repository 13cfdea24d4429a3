/**
 * Lookups behind a resolver from the queries that it sends. A cache with TTL T that is looked up l times a second asks l / (1 + l T) times:
 * a renewal process whose counts vary less than their mean, by the factor u^2 with u = 1 / (1 + l T). So l = q / u, also for
 * several equal caches behind one prefix, whose means and variances add up: their number need not be known. Near saturation u is small
 * and drowns in its own error.
 */
import { Z90 } from './book-model.ts';

/** l T of about 3. */
const LEAST_U = 0.25;
/** Windows that the index of dispersion needs at least. */
const LEAST_WINDOWS = 20;
/** Queries below which a rate says nothing. */
const LEAST_QUERIES = 20;

export interface Lookups {
  /** A second. */
  readonly value: number;
  readonly low: number;
  /** Infinity: the caches are saturated, or nearly. */
  readonly high: number;
}

export interface GapCounts {
  /** Queries a second, over how many queries. */
  readonly rate: number;
  readonly queries: number;
  readonly windows: number;
  /** At least the TTL. */
  readonly windowSeconds: number;
  /** Mean of squared differences between the queries of successive windows. */
  readonly squares: number;
}

/** null: too few to say anything. */
export function lookupsOf(counts: GapCounts, ttlSeconds: number): Lookups | null {
  const { rate, queries, windows, squares } = counts;
  if (queries < LEAST_QUERIES || windows < LEAST_WINDOWS) return null;
  // Of successive differences: the relative variance of their mean square is about 3 / n (von Neumann 1941).
  const error = Math.min(0.9, Z90 * Math.sqrt(3 / windows + 1 / (2 * queries)));
  const half = squares / 2;
  const u = slackOf(counts, half, ttlSeconds);
  const uLow = slackOf(counts, half / (1 + error), ttlSeconds);
  const uHigh = slackOf(counts, half / (1 - error), ttlSeconds);
  // The rate of a cache that is asked all the time hardly varies: its error shrinks with u.
  const rateError = (Z90 * u) / Math.sqrt(queries);
  const least = rate * Math.max(0.01, 1 - rateError);
  // Of saturated caches no more is said than that they are.
  if (uLow < LEAST_U) {
    const low = least / Math.max(uHigh, 2 * LEAST_U);
    return { value: low, low, high: Infinity };
  }
  const low = least / uHigh;
  return { value: rate / u, low, high: (rate * (1 + rateError)) / uLow };
}

/**
 * u by half the mean square of differences, which is for n caches u^2 q W + 3/2 n b(u) with windows of W, where b = 1/6 + u^4 / 2 - 2 u^3 / 3
 * is what the ends of windows add (the constant in the variance of an equilibrium renewal process, Cox 1962, section 4.5), and
 * n = q T / (1 - u). A cache alone has u = 1 - q T: there is not less.
 */
function slackOf({ rate, windowSeconds }: GapCounts, half: number, ttlSeconds: number): number {
  let [from, to] = [Math.min(1, Math.max(0, 1 - rate * ttlSeconds)), 1];
  for (let step = 0; step < 20; step++) {
    const u = (from + to) / 2;
    const ends = 1 / 6 + u ** 4 / 2 - (2 * u ** 3) / 3;
    const expected = u * u * rate * windowSeconds + (1.5 * rate * ttlSeconds * ends) / (1 - u);
    if (expected < half) from = u;
    else to = u;
  }
  return (from + to) / 2;
}
