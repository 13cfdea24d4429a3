/**
 * Stages in order, each with the least of its objective that is possible while those before it keep within their slack. Prices come from
 * the smoothed dual of a sample of the groups, or from the last solve. Where a gap is allowed and the problem is large, the smoothed dual of all groups gives the
 * map; else, or where that is not enough, the simplex method does. Each stage has a bound that proves how good it is.
 */
import { describe } from './describe.ts';
import { GroupSimplex } from './group-simplex.ts';
import { costScale, guessPrices, HELD_ROOM, holdMoves, noPrices, stagesOf } from './guess.ts';
import { type Assignment, outcomeOf } from './outcome.ts';
import type { SteeringProblem } from './problem.ts';
import { allowOverload, CHURN, createProgram, STAGE_COUNT, STAGES } from './program.ts';
import { SmoothStage } from './smooth-stage.ts';
import type { Solution, StageResult } from './solution.ts';
import { stayWherePossible } from './stay.ts';

/** Fewer items are solved by the simplex method alone; more by the smoothed dual alone, where a gap is allowed. */
const SMOOTHED_ITEMS = 1000;
const SIMPLEX_ITEMS = 8000;
/** Where a gap is allowed, part of it that is allowed as overload, a share of all demand. */
const OVERLOAD_IN_GAP = 0.1;
/** How far prices may move at first, in cost scales. */
const UNKNOWN_REACH = 0.3;
const KNOWN_REACH = 0.001;
/** Temperatures to begin with, in cost scales. */
const UNKNOWN_WARMTH = 0.03;
const KNOWN_WARMTH = 1e-3;
/** Above this, demand is taken to find no place at all. */
const HOPELESS_REACH = 1e5;
/** Prices above this, in cost scales, are of no use as a start. */
const WILD_PRICE = 1e4;
const RELATIVE_TOLERANCE = 1e-9;
/** Where a gap is allowed: overload that is as good as none, as a share of all demand. */
const SMALL_OVERLOAD = 1e-6;

interface Run {
  readonly simplex: GroupSimplex;
  /** For large problems. */
  readonly smooth: SmoothStage | null;
  readonly guess: readonly Float64Array[];
  readonly isOver: () => boolean;
  readonly results: Omit<StageResult, 'final'>[];
  readonly prices: Float64Array[];
  readonly limits: Float64Array;
  /** Of the last stage that was done. */
  best: Assignment | null;
  isComplete: boolean;
}

interface Reached {
  readonly objective: number;
  readonly bound: number;
  readonly steps: number;
}

/**
 * `warm`: prices of an earlier solution with as many sites and links; groups and classes may differ. Those of a world that was otherwise - with
 * another site - can lead the simplex method astray: then it begins without them.
 */
export function solveSteering(problem: SteeringProblem, warm: readonly Float64Array[] = []): Solution {
  if (warm.length === 0) return solveFrom(problem, warm);
  try {
    return solveFrom(problem, warm);
  } catch {
    return solveFrom(problem, []);
  }
}

function solveFrom(problem: SteeringProblem, warm: readonly Float64Array[]): Solution {
  const { nowMs, limitMs, gap, maxMoved } = problem.options;
  const endMs = nowMs() + limitMs;
  const isOver = () => nowMs() > endMs;
  const simplex = new GroupSimplex(createProgram(problem));
  const rows = simplex.prices.length;
  const isLarge = problem.groups * problem.classes.length >= SMOOTHED_ITEMS;
  const guess = startPrices(problem, warm, rows, isLarge, isOver);
  const limits = new Float64Array(STAGE_COUNT).fill(Infinity);
  if (maxMoved < 1) limits[CHURN] = maxMoved + HELD_ROOM;
  holdMoves(simplex.pricing);
  const smooth = gap > 0 && simplex.program.items > SIMPLEX_ITEMS ? new SmoothStage(simplex) : null;
  const run: Run = {
    simplex,
    smooth,
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
  setOverload(run, false);
  if (second !== undefined && !guess.needsOverload && runStage(run, second)) run.results.unshift(NO_OVERLOAD);
  else {
    setOverload(run, true);
    run.isComplete = true;
    runStage(run, 0);
    if (second !== undefined) runStage(run, second);
  }
  for (const stage of later) runStage(run, stage);
  return describe(simplex.program, run.best ?? { key: simplex.key, parts: simplex.splits() }, run);
}

function startPrices(
  problem: SteeringProblem,
  warm: readonly Float64Array[],
  rows: number,
  isLarge: boolean,
  isOver: () => boolean,
) {
  if (warm.length > 0 && warm[0].length === rows)
    return { prices: warm, needsOverload: warm[0].some((price) => price > 0) };
  return isLarge ? guessPrices(problem, isOver) : { prices: noPrices(rows), needsOverload: false };
}

const NO_OVERLOAD = { stage: 'overload', objective: 0, bound: 0, gap: 0, steps: 0, milliseconds: 0 } as const;

function setOverload({ simplex, smooth, limits }: Run, may: boolean): void {
  allowOverload(simplex.program, may);
  if (smooth !== null) smooth.mayOverload = may;
  limits[0] = may ? Infinity : HELD_ROOM;
}

/** False: there is no way without overload, and there may be none. */
function runStage(run: Run, stage: number): boolean {
  const { pricing, program } = run.simplex;
  const { nowMs } = program.problem.options;
  const beginMs = nowMs();
  pricing.stage = stage;
  const wild = WILD_PRICE * costScale(program, stage);
  for (const [row, price] of run.guess[stage].entries()) pricing.prices[row] = Math.abs(price) < wild ? price : 0;
  const reached = runSmooth(run, stage) ?? runSimplex(run, stage);
  if (reached === null || reached === 'hopeless') {
    if (run.best !== null) addFailed(run, stage, nowMs() - beginMs);
    return false;
  }
  const { objective, bound, steps } = reached;
  run.prices[stage].set(pricing.prices);
  run.results.push({
    stage: STAGES[stage],
    objective,
    bound,
    gap: gapOf(stage, objective, bound),
    steps,
    milliseconds: nowMs() - beginMs,
  });
  holdStage(run, stage, reached);
  return true;
}

/** A stage for which nothing was found that keeps the limits: what was there before stays. */
function addFailed(run: Run, stage: number, milliseconds: number): void {
  const objective = outcomeOf(run.simplex.program, run.best!).objective[stage];
  run.results.push({
    stage: STAGES[stage],
    objective,
    bound: 0,
    gap: gapOf(stage, objective, 0),
    steps: 0,
    milliseconds,
  });
  run.isComplete = false;
}

function holdStage(run: Run, stage: number, { objective }: Reached): void {
  const { slack, gap } = run.simplex.program.problem.options;
  if (stage === CHURN) return;
  if (stage === 0 && objective < HELD_ROOM) {
    setOverload(run, false);
    return;
  }
  const room = stage === 0 && gap > 0 ? SMALL_OVERLOAD : HELD_ROOM;
  const limit = objective * (1 + slack) + room;
  run.simplex.pricing.hold(stage, limit);
  run.limits[stage] = limit;
}

function isKnown(run: Run, stage: number): boolean {
  return run.guess[stage].some((price) => price !== 0);
}

/** Of a large problem where a gap is allowed; null: the simplex method is to do it. */
function runSmooth(run: Run, stage: number): Reached | 'hopeless' | null {
  const { simplex, smooth, limits, isOver } = run;
  const { program } = simplex;
  if (smooth === null || (isOver() && run.best !== null)) return null;
  if (stage === CHURN && run.best !== null) {
    if (program.items <= SIMPLEX_ITEMS) return null;
    run.best = stayWherePossible(program, run.best, limits);
    return { objective: outcomeOf(program, run.best).objective[CHURN], bound: 0, steps: 0 };
  }
  const { gap } = program.problem.options;
  const result = smooth.run({
    scale: costScale(program, stage),
    from: isKnown(run, stage) ? KNOWN_WARMTH : UNKNOWN_WARMTH,
    gapOf: (objective, bound) => gapOf(stage, objective, bound),
    limits: limits.map((limit, of) => (of === 0 ? Math.max(limit, gap * OVERLOAD_IN_GAP) : limit * (1 + gap))),
    isOver,
  });
  if (result === 'hopeless') return result;
  const mustFind = run.best === null && (stage === 0 || isOver());
  if (result !== null && (result.violation === 0 || mustFind)) {
    run.best = { key: result.key, parts: result.parts };
    return { objective: result.outcome.objective[stage], bound: result.bound, steps: result.steps };
  }
  if (program.items <= SIMPLEX_ITEMS && !isOver()) return null;
  // Without overload, nothing that keeps the limits was found.
  if (run.best === null) return 'hopeless';
  run.isComplete = false;
  const { objective } = outcomeOf(program, run.best!);
  return { objective: objective[stage], bound: result?.bound ?? -Infinity, steps: result?.steps ?? 0 };
}

function runSimplex(run: Run, stage: number): Reached | null {
  const { simplex, isOver } = run;
  const { program, pivots, pricing } = simplex;
  const isFirst = run.best === null;
  const wild = WILD_PRICE * costScale(program, pricing.stage);
  for (let row = 0; row < pricing.prices.length; row++)
    if (!(Math.abs(pricing.prices[row]) < wild)) pricing.prices[row] = 0;
  const reach = isKnown(run, stage) || run.smooth !== null ? KNOWN_REACH : UNKNOWN_REACH;
  const bound = isFirst || !isOver() ? settle(run, costScale(program, stage), reach) : -Infinity;
  if (bound === null) return null;
  const isReached = !simplex.isHeldBack();
  // What is held back keeps no limit.
  if (isFirst || (isReached && Number.isFinite(bound)))
    run.best = { key: simplex.key.slice(), parts: simplex.splits() };
  if (!isReached) run.isComplete = false;
  const objective = isReached ? simplex.objective(stage) : outcomeOf(program, run.best!).objective[stage];
  return { objective, bound, steps: simplex.pivots - pivots };
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
  singles.centreOnPrices(reach * scale);
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
