/** What a run has to show: the targets of `portico simulate --assert`. */
import type { CheckResult, EstimatorResult, LoadResult, MoveResult, RttResult } from './report/result.ts';
import { NEAR } from './score.ts';

/** Share of the demand that counts as none: rounding. */
const NO_OVERLOAD = 1e-9;

export function checkRun(
  rtt: RttResult,
  load: LoadResult,
  moves: MoveResult,
  estimators: readonly EstimatorResult[],
): CheckResult[] {
  const { mean } = rtt;
  const far = moves.prefixDays > 0 ? moves.farUnexplained / moves.prefixDays : 0;
  const checks: CheckResult[] = [
    atMost(
      'mean round trip above the best that DNS can do, after the first hour',
      mean.steered / mean.bestOfDns - 1,
      NEAR - 1,
    ),
    {
      ...atMost('overload outside the decay after events, of all demand', load.outsideDecay, NO_OVERLOAD),
      limit: 0,
      detail: load.outsideDecayAt,
    },
    load.surgeOvershoot === null
      ? {
          ...atMost('overshoot in a surge beyond the predicted decay', Number.NaN, 0.05),
          holds: null,
          detail: 'no surge in this run',
        }
      : atMost('overshoot in a surge beyond the predicted decay', load.surgeOvershoot, 0.05),
    atMost('prefix-days with a move of over 1,000 km that no event explains', far, 0.01),
  ];
  return [...checks, ...estimators.flatMap(checkEstimator)];
}

function atMost(claim: string, value: number, limit: number): CheckResult {
  return { claim, value, limit, relation: 'at most', isShare: true, holds: value <= limit, detail: '' };
}

/** Those with a target. */
function checkEstimator({ name, hour, answered, asked, measure, value, least, most }: EstimatorResult): CheckResult[] {
  const isTold = answered > 0 && Number.isFinite(value);
  const detail = `${answered} of ${asked} answered`;
  const claim = `${name}, after ${hour} h: ${measure}`;
  const base = { claim, value, isShare: true, detail };
  const checks: CheckResult[] = [];
  if (least !== null)
    checks.push({ ...base, limit: least, relation: 'at least', holds: isTold ? value >= least : null });
  if (most !== null) checks.push({ ...base, limit: most, relation: 'at most', holds: isTold ? value <= most : null });
  return checks;
}
