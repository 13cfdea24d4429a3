/**
 * Stages in order, each with the least of its objective that is possible while those before it keep within their slack. Prices come from
 * the smoothed dual of a sample of the groups, or from the last solve; the simplex method makes of them a map in which few items are split,
 * and a bound that proves how good it is.
 */
import { describe } from './describe.ts';
import { GroupSimplex } from './group-simplex.ts';
import { costScale, guessPrices, HELD_ROOM, holdMoves, noPrices, stagesOf } from './guess.ts';
import { type Assignment, outcomeOf } from './outcome.ts';
import type { SteeringProblem } from './problem.ts';
import { allowOverload, CHURN, createProgram, STAGE_COUNT, STAGES } from './program.ts';
import type { Solution, StageResult } from './solution.ts';

/** Fewer items are solved by the simplex method alone. */
const SMOOTHED_ITEMS = 1000;
/** How far prices may move at first, in cost scales. */
const UNKNOWN_REACH = 0.3;
const KNOWN_REACH = 0.001;
/** Above this, demand is taken to find no place at all. */
const HOPELESS_REACH = 1e5;
const RELATIVE_TOLERANCE = 1e-9;

interface Run {
  readonly simplex: GroupSimplex;
  readonly guess: readonly Float64Array[];
  readonly isOver: () => boolean;
  readonly results: Omit<StageResult, 'final'>[];
  readonly prices: Float64Array[];
  readonly limits: Float64Array;
  /** Of the last stage that was done. */
  best: Assignment | null;
  isComplete: boolean;
}

/** `warm`: prices of an earlier solution with as many sites and links; the classes may differ. */
export function solveSteering(problem: SteeringProblem, warm: readonly Float64Array[] = []): Solution {
  const { nowMs, limitMs } = problem.options;
  const endMs = nowMs() + limitMs;
  const isOver = () => nowMs() > endMs;
  const rows = problem.sites + problem.linkCapacity.length + STAGE_COUNT;
  const isWarm = warm.length > 0 && warm[0].length === rows;
  const isLarge = problem.groups * problem.classes.length >= SMOOTHED_ITEMS;
  const guess = isWarm
    ? { prices: warm, needsOverload: warm[0].some((price) => price > 0) }
    : isLarge
      ? guessPrices(problem, isOver)
      : { prices: noPrices(rows), needsOverload: false };
  const simplex = new GroupSimplex(createProgram(problem));
  holdMoves(simplex.pricing);
  const limits = new Float64Array(STAGE_COUNT).fill(Infinity);
  const run: Run = {
    simplex,
    guess: guess.prices,
    isOver,
    results: [],
    prices: noPrices(rows),
    limits,
    best: null,
    isComplete: true,
  };
  const [, second, ...later] = stagesOf(simplex.program);
  // That no stage needs overload proves that none is needed; only where one does, the least is looked for.
  allowOverload(simplex.program, false);
  if (second !== undefined && !guess.needsOverload && runStage(run, second)) run.results.unshift(NO_OVERLOAD);
  else {
    allowOverload(simplex.program, true);
    run.isComplete = true;
    runStage(run, 0);
    if (second !== undefined) runStage(run, second);
  }
  for (const stage of later) runStage(run, stage);
  const assignment = run.best ?? { key: simplex.key, parts: simplex.splits() };
  return describe(simplex.program, assignment, run);
}

const NO_OVERLOAD = { stage: 'overload', objective: 0, bound: 0, gap: 0, pivots: 0, milliseconds: 0 } as const;

/** False: there is no way without overload, and there may be none. */
function runStage(run: Run, stage: number): boolean {
  const { simplex, guess, isOver } = run;
  const { program, pricing, pivots } = simplex;
  const { nowMs, slack } = program.problem.options;
  const beginMs = nowMs();
  const scale = costScale(program, stage);
  const isKnown = guess[stage].some((price) => price !== 0);
  pricing.stage = stage;
  pricing.prices.set(guess[stage]);
  const isFirst = run.best === null;
  const bound = isFirst || !isOver() ? settle(run, scale, isKnown ? KNOWN_REACH : UNKNOWN_REACH) : -Infinity;
  if (bound === null) return false;
  const isReached = isFirst || !(isOver() && simplex.isHeldBack());
  if (isReached) run.best = { key: simplex.key.slice(), parts: simplex.splits() };
  else run.isComplete = false;
  const objective =
    isReached && !simplex.isHeldBack() ? simplex.objective(stage) : outcomeOf(program, run.best!).objective[stage];
  run.prices[stage].set(pricing.prices);
  const gap = gapOf(stage, objective, bound);
  run.results.push({
    stage: STAGES[stage],
    objective,
    bound,
    gap,
    pivots: simplex.pivots - pivots,
    milliseconds: nowMs() - beginMs,
  });
  if (stage === 0 && objective < HELD_ROOM) allowOverload(program, false);
  else if (stage !== CHURN) {
    const limit = Math.max(objective, Math.max(bound, 0) * (1 + slack)) + HELD_ROOM;
    pricing.hold(stage, limit, Math.max(1, (objective * (1 + slack) + HELD_ROOM) / limit));
    run.limits[stage] = limit;
  }
  return true;
}

function gapOf(stage: number, objective: number, bound: number): number {
  if (objective < HELD_ROOM) return 0;
  const lacking = Math.max(0, objective - bound) / (stage === CHURN ? 1 : objective);
  return Math.min(1, lacking);
}

/** To the optimum, in boxes around the prices that grow until none holds a price back. Returns the bound; null: hopeless. */
function settle(run: Run, scale: number, reach: number): number | null {
  const { simplex, isOver } = run;
  const { singles } = simplex;
  singles.centre.set(simplex.prices);
  singles.reach = reach * scale;
  simplex.start();
  for (;;) {
    const bound = descend(simplex, scale * RELATIVE_TOLERANCE, isOver);
    if (!simplex.isHeldBack()) return bound;
    // All at once: prices of several rows may have to move together.
    singles.reach *= 10;
    if (singles.reach > HOPELESS_REACH * scale) return null;
    if (isOver()) {
      run.isComplete = false;
      return bound;
    }
    simplex.reprice();
  }
}

/** Down to the wanted gap, or the optimum within the box; returns the best bound that was seen. */
function descend(simplex: GroupSimplex, tolerance: number, isOver: () => boolean): number {
  const { gap } = simplex.program.problem.options;
  const { stage } = simplex.pricing;
  let best = -Infinity;
  for (;;) {
    best = Math.max(best, simplex.lookAtAll(tolerance));
    const { listed } = simplex.sweep;
    if (gap > 0 && !simplex.isHeldBack() && gapOf(stage, simplex.objective(stage), best) <= gap) return best;
    const steps = simplex.improve(tolerance, isOver);
    if ((listed === 0 && steps === 0) || isOver()) return best;
    do simplex.lookAtCandidates(tolerance);
    while (simplex.sweep.listed > 0 && simplex.improve(tolerance, isOver) > 0 && !isOver());
  }
}
