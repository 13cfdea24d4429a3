/**
 * `least-load`: weights follow the load that backends report. Each backend has a factor on its configured weight; in each round
 * it goes a part of the way (`gain`, on a logarithmic scale) to where all utilisations would be the same.
 *
 * What keeps it calm, with reports that are late and connections that stay where they are:
 * - a gain so low that a loop with three rounds of delay does not swing: x[k+1] = x[k] - gain x[k-3] is stable below 0.445;
 * - a step that is bounded for each backend, and a share of all flows that is bounded for each round;
 * - a dead band: while all are near enough to the mean nothing moves;
 * - who does not report keeps its factor, and nobody else pays for it.
 */

export interface LoadRules {
  /** Part of the way that a round goes, above 0, below 1. */
  readonly gain: number;
  /** A factor changes in a round by at most this share of itself. */
  readonly maxStep: number;
  /** Share of all new flows that a round may move. */
  readonly maxMoved: number;
  /** Nothing moves while all are nearer to the mean than this share of it. */
  readonly deadBand: number;
  /** Nor while all are nearer than this much utilisation: on an idle service every difference is noise. */
  readonly deadUtilisation: number;
  /** Bounds of the factors. */
  readonly leastFactor: number;
  readonly mostFactor: number;
}

export const LOAD_RULES: LoadRules = {
  gain: 0.1,
  maxStep: 0.1,
  maxMoved: 0.05,
  deadBand: 0.05,
  deadUtilisation: 0.02,
  leastFactor: 1 / 8,
  mostFactor: 8,
};

export interface LoadedBackend {
  /** As configured, above 0. */
  readonly weight: number;
  readonly factor: number;
  /** 0: idle, 1: full, may be more; null: it does not report. */
  readonly utilisation: number | null;
}

/** No less, so that somebody idle does not get everything. */
const LEAST_UTILISATION = 0.01;

/** The factors after one round, in the order of `backends`. Pure; those that stay are the same number as before. */
export function balanceLoad(backends: readonly LoadedBackend[], rules: LoadRules = LOAD_RULES): number[] {
  const factors = backends.map(({ factor }) => factor);
  const mean = meanUtilisation(backends);
  if (mean === null || backends.every((backend) => isNear(backend, mean, rules))) return factors;
  const goals = backends.map((backend) => goalOf(backend, mean, rules));
  const scale = keepingScale(backends, goals);
  const proposed = backends.map((backend, i) => {
    if (backend.utilisation === null) return backend.factor;
    return bounded((goals[i] as number) * scale, backend.factor, rules);
  });
  return withinMoved(backends, proposed, rules.maxMoved);
}

/** By share of the flows; null: fewer than two report. */
function meanUtilisation(backends: readonly LoadedBackend[]): number | null {
  let sum = 0;
  let shares = 0;
  let reporting = 0;
  for (const { weight, factor, utilisation } of backends) {
    if (utilisation === null) continue;
    sum += weight * factor * utilisation;
    shares += weight * factor;
    reporting++;
  }
  return reporting < 2 || shares === 0 ? null : sum / shares;
}

function isNear({ utilisation }: LoadedBackend, mean: number, rules: LoadRules): boolean {
  return utilisation === null || Math.abs(utilisation - mean) <= Math.max(rules.deadBand * mean, rules.deadUtilisation);
}

function goalOf({ factor, utilisation }: LoadedBackend, mean: number, rules: LoadRules): number {
  if (utilisation === null) return factor;
  const ratio = Math.max(mean, LEAST_UTILISATION) / Math.max(utilisation, LEAST_UTILISATION);
  return bounded(factor * ratio ** rules.gain, factor, rules);
}

function bounded(goal: number, factor: number, rules: LoadRules): number {
  const { maxStep, leastFactor, mostFactor } = rules;
  const stepped = Math.min(factor * (1 + maxStep), Math.max(factor * (1 - maxStep), goal));
  return Math.min(mostFactor, Math.max(leastFactor, stepped));
}

/** What those that report are multiplied by so that they have together what they had: else silent ones would win or lose. */
function keepingScale(backends: readonly LoadedBackend[], goals: readonly number[]): number {
  let before = 0;
  let after = 0;
  for (let i = 0; i < backends.length; i++) {
    const { weight, factor, utilisation } = backends[i] as LoadedBackend;
    if (utilisation === null) continue;
    before += weight * factor;
    after += weight * (goals[i] as number);
  }
  return after === 0 ? 1 : before / after;
}

/** The share of all flows that goes elsewhere when factors change so. */
export function movedShare(backends: readonly LoadedBackend[], after: readonly number[]): number {
  const total = (factors: readonly number[]): number =>
    backends.reduce((sum, { weight }, i) => sum + weight * (factors[i] as number), 0);
  const before = backends.map(({ factor }) => factor);
  const [sumBefore, sumAfter] = [total(before), total(after)];
  let moved = 0;
  for (let i = 0; i < backends.length; i++) {
    const { weight } = backends[i] as LoadedBackend;
    moved += Math.abs((weight * (after[i] as number)) / sumAfter - (weight * (before[i] as number)) / sumBefore);
  }
  return moved / 2;
}

function withinMoved(backends: readonly LoadedBackend[], proposed: number[], maxMoved: number): number[] {
  let goals = proposed;
  // The share moved is nearly linear in the step; a second turn takes out what is not.
  for (let turn = 0; turn < 8; turn++) {
    const moved = movedShare(backends, goals);
    if (moved <= maxMoved) return goals;
    const part = (maxMoved / moved) * 0.99;
    goals = goals.map((goal, i) => {
      const { factor } = backends[i] as LoadedBackend;
      return goal === factor ? factor : factor + (goal - factor) * part;
    });
  }
  return backends.map(({ factor }) => factor);
}

/** Parts of 1 that effective weights are rounded to: a power of two, so that weights of any scale give the same table. */
const FACTOR_PARTS = 1024;

/**
 * The weight for the lookup table. The rounded factor is exact in binary, so is its product with a whole weight: weights 1 and
 * 10 give the table of 100 and 1000.
 */
export function effectiveWeight(weight: number, factor: number): number {
  return weight * (Math.max(1, Math.round(factor * FACTOR_PARTS)) / FACTOR_PARTS);
}
