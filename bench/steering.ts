/**
 * `portico bench steering`: how long the solver takes for a map, and for the next one after 2 % of demand and of round-trip times changed; how far each
 * stage is above its own proven bound; memory.
 */
import { CANDIDATES } from '../src/decide/steer/solve/option-sweep.ts';
import type { Solution } from '../src/decide/steer/solve/solution.ts';
import { solveSteering } from '../src/decide/steer/solve/solve.ts';
import { createRandom } from '../src/model/random.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';
import { changeProblem, createProblem, type Size } from './steering-problem.ts';

/** Limits of issue and design: of the whole solve, of one stage, of the gap in percent. */
const SIZES = [
  { groups: 2_000, sites: 10, classes: 3, wholeMs: 1_000, stageMs: 1_000, gapPercent: 0.1 },
  { groups: 100_000, sites: 50, classes: 3, wholeMs: 5_000, stageMs: 2_000, gapPercent: 0.1 },
  { groups: 1_000_000, sites: 100, classes: 1, wholeMs: 10_000, stageMs: 10_000, gapPercent: 0.15 },
] as const;
const RESOLVE_SHARE = 0.2;

/** About a minute and 3 GB; `quick`: the smallest only. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const cases: BenchCase[] = [];
  const checks: BenchCheck[] = [];
  for (const size of options.quick ? SIZES.slice(0, 1) : SIZES) {
    options.progress?.(`${size.groups} groups, ${size.sites} sites, ${size.classes} classes`);
    const measured = measure(size);
    cases.push(...measured.cases);
    checks.push(...measured.checks);
  }
  return { bench: 'steering', cases, checks };
}

function measure(size: (typeof SIZES)[number]): { cases: BenchCase[]; checks: BenchCheck[] } {
  const generator = createRandom(5);
  const random = () => generator() / 2 ** 32;
  const problem = createProblem(size, random);
  const { solution, ms } = timed(() => solveSteering(problem));
  const changed = changeProblem(problem, solution.site, random);
  const again = timed(() => solveSteering(changed, solution.prices));
  const name = `${size.groups} groups, ${size.sites} sites, ${size.classes} classes`;
  const add = (what: string, kind: string, unit: string, value: number) =>
    benchCase(`${name}: ${what}`, size, kind, unit, value);
  const judged = solution.stages.filter(({ stage }) => stage !== 'churn');
  const gap = Math.max(...judged.map((stage) => stage.gap * 100));
  const stageMs = Math.max(...judged.map(({ milliseconds }) => milliseconds));
  const cases = [
    add('solve', 'solve', 'ms', ms),
    ...judged.map(({ stage, milliseconds }) => add(`solve, stage ${stage}`, 'solve', 'ms', milliseconds)),
    add('again after 2 %', 'resolve', 'ms', again.ms),
    add('worst gap', 'gap', '%', gap),
    add('memory of the process', 'solve', 'MB', process.memoryUsage().rss / 1e6),
  ];
  const checks = [
    checkThat(`${name}: solve, ms`, ms, 'at most', size.wholeMs),
    checkThat(`${name}: slowest stage, ms`, stageMs, 'at most', size.stageMs),
    checkThat(`${name}: again, share of the solve`, again.ms / ms, 'at most', RESOLVE_SHARE),
    checkThat(`${name}: worst gap, %`, gap, 'at most', size.gapPercent),
  ];
  return { cases, checks };
}

function timed(solve: () => Solution): { solution: Solution; ms: number } {
  const beginMs = performance.now();
  const solution = solve();
  return { solution, ms: performance.now() - beginMs };
}

function benchCase(
  name: string,
  { groups, sites, classes }: Size,
  measureName: string,
  unit: string,
  value: number,
): BenchCase {
  const params = { groups, sites, classes, candidates: CANDIDATES, measure: measureName };
  return { case: name, params, unit, ...spreadOf([value]), samples: 1 };
}
