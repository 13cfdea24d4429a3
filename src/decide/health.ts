/**
 * Health as a pure state machine: results of probes in, verdicts out; the clock and randomness are arguments.
 *
 * A probed path starts `unknown`. A success makes it healthy at once, so that a start does not take `rise` intervals; failures need to be `fall` in a
 * row as later, so that a process that starts again does not take one lost probe for a death. Afterwards `rise` successes in a row are
 * needed to become healthy, `fall` failures in a row to become unhealthy.
 */

export type Verdict = 'unknown' | 'healthy' | 'unhealthy';

export interface PathHealth {
  readonly verdict: Verdict;
  /** Results in a row that contradict the verdict. */
  readonly against: number;
  /** When the verdict was reached. */
  readonly sinceMs: number;
  /** Why the last failed probe failed; null: none has failed yet, or the last one succeeded. */
  readonly reason: string | null;
}

export interface Thresholds {
  /** Successes in a row before unhealthy becomes healthy, at least 1. */
  readonly rise: number;
  /** Failures in a row before healthy becomes unhealthy, at least 1. */
  readonly fall: number;
}

export const UNKNOWN_HEALTH: PathHealth = { verdict: 'unknown', against: 0, sinceMs: 0, reason: null };

/** The state after one more result. `reason` says why it failed; null is a success. */
export function afterProbe(
  state: PathHealth,
  reason: string | null,
  thresholds: Thresholds,
  nowMs: number,
): PathHealth {
  const verdict = reason === null ? 'healthy' : 'unhealthy';
  if (state.verdict === 'unknown' && verdict === 'healthy') return { verdict, against: 0, sinceMs: nowMs, reason };
  if (state.verdict === verdict) return { ...state, against: 0, reason };
  const against = state.against + 1;
  const needed = verdict === 'healthy' ? thresholds.rise : thresholds.fall;
  if (against >= needed) return { verdict, against: 0, sinceMs: nowMs, reason };
  return { ...state, against, reason };
}

/** Share by which intervals vary, so that probes of many targets do not march in step. */
const JITTER = 0.1;

/** When to probe again after a probe that began at `beganMs`: the interval, up to a tenth shorter or longer. `random` is in [0, 1). */
export function nextProbeMs(beganMs: number, intervalMs: number, random: number): number {
  return beganMs + intervalMs * (1 - JITTER + 2 * JITTER * random);
}

export type Diagnosis =
  | 'healthy'
  | 'not probed yet'
  | 'machine or service down'
  | 'not reached through the VIP'
  | 'decapsulation misconfigured'
  | 'direct path broken';

/**
 * What the two paths together say of a backend; null: that path is not probed. Healthy only if every probed path is;
 * unknown while a probed path is and none is unhealthy.
 */
export function diagnose(
  vip: PathHealth | null,
  direct: PathHealth | null,
): { verdict: Verdict; diagnosis: Diagnosis } {
  const verdict = joinPaths(vip, direct);
  if (verdict === 'unhealthy') {
    if (vip?.verdict === 'unhealthy' && direct?.verdict === 'healthy')
      return { verdict: 'unhealthy', diagnosis: 'decapsulation misconfigured' };
    if (vip?.verdict === 'healthy' && direct?.verdict === 'unhealthy')
      return { verdict: 'unhealthy', diagnosis: 'direct path broken' };
    // With the VIP's path alone it may be the machine, the decapsulation or the balancer.
    if (direct?.verdict !== 'unhealthy') return { verdict: 'unhealthy', diagnosis: 'not reached through the VIP' };
    return { verdict: 'unhealthy', diagnosis: 'machine or service down' };
  }
  return { verdict, diagnosis: verdict === 'healthy' ? 'healthy' : 'not probed yet' };
}

/** The verdict of `diagnose` alone. */
export function joinPaths(vip: PathHealth | null, direct: PathHealth | null): Verdict {
  if (vip?.verdict === 'unhealthy' || direct?.verdict === 'unhealthy') return 'unhealthy';
  if (vip?.verdict === 'unknown' || direct?.verdict === 'unknown') return 'unknown';
  return vip === null && direct === null ? 'unknown' : 'healthy';
}

/** What several observers say of one backend: it serves if one of them sees it serve; a blind observer proves nothing. */
export function joinVerdicts(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes('healthy')) return 'healthy';
  return verdicts.includes('unknown') || verdicts.length === 0 ? 'unknown' : 'unhealthy';
}

/**
 * The panic rule: when more than `panicShare` (0 to 1) of the backends look dead, probing is more likely wrong than so
 * many machines at once, and all are used. `verdicts` maps backend names; unknown ones count as alive.
 */
export function usableBackends(
  verdicts: ReadonlyMap<string, Verdict>,
  panicShare: number,
): { readonly usable: readonly string[]; readonly panic: boolean } {
  const names = [...verdicts.keys()];
  const alive = names.filter((name) => verdicts.get(name) !== 'unhealthy');
  const panic = isPanic(names.length - alive.length, names.length, panicShare);
  return { usable: panic ? names : alive, panic };
}

/** `dead` of `all` look dead. */
export function isPanic(dead: number, all: number, panicShare: number): boolean {
  return dead > panicShare * all;
}
