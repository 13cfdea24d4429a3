/** Prices near those of the optimum, from samples of the groups: few of them tell as much of the prices as all. */
import { OptionSweep } from './option-sweep.ts';
import { Pricing } from './pricing.ts';
import type { SteeringProblem } from './problem.ts';
import { allowOverload, CHURN, createProgram, type Program, STAGE_COUNT } from './program.ts';
import { sampleGroups } from './sample.ts';
import { SmoothDual } from './smooth-dual.ts';

/** Beside the slack, so that a stage held to its optimum leaves room for rounding. */
export const HELD_ROOM = 1e-9;
/** Overload above this share of all demand is real. */
const SOME_OVERLOAD = 1e-6;
/** Temperatures in cost scales. */
const SAMPLE_GROUPS = 2000;
const FIRST_WARMTH = 0.03;
const LAST_WARMTH = 1e-3;
const COOLING = 3;
const MAX_STEPS = 25;
const HOPELESS = 1e3;

export interface Guess {
  /** [stage][row]. */
  readonly prices: Float64Array[];
  readonly needsOverload: boolean;
}

/** Those in which anything costs; overload always. */
export function stagesOf(program: Program): number[] {
  const { problem, previous } = program;
  const kinds = new Set(problem.classes.map(({ kind }) => kind));
  const has = [
    true,
    kinds.has('latency'),
    kinds.has('throughput'),
    kinds.has('batch') && problem.batchCost.some((cost) => cost !== 0),
    previous.some((site) => site >= 0),
  ];
  return has.flatMap((is, stage) => (is ? [stage] : []));
}

/** What a unit of demand costs, roughly: prices and tolerances are measured by it. */
export function costScale({ problem }: Program, stage: number): number {
  if (stage === 1) return problem.options.thresholdMs;
  return stage === 3 ? problem.batchCost.reduce((most, cost) => Math.max(most, cost), 0) : 1;
}

/** The bound on moves holds in all stages. */
export function holdMoves(pricing: Pricing): void {
  const { maxMoved } = pricing.program.problem.options;
  if (maxMoved < 1) pricing.hold(CHURN, maxMoved);
}

export function noPrices(rows: number): Float64Array[] {
  return Array.from({ length: STAGE_COUNT }, () => new Float64Array(rows));
}

/** By a sample. Stages are held to the values of the smoothed dual, which are near to what will be reached. */
export function guessPrices(problem: SteeringProblem, isOver: () => boolean): Guess {
  const program = createProgram(problem.groups <= SAMPLE_GROUPS ? problem : sampleGroups(problem, SAMPLE_GROUPS));
  const pricing = new Pricing(program);
  const dual = new SmoothDual(pricing, new OptionSweep(pricing, new Uint16Array(0)));
  const prices = noPrices(pricing.prices.length);
  let needsOverload = true;
  holdMoves(pricing);
  for (const stage of stagesOf(program)) {
    const scale = costScale(program, stage);
    pricing.stage = stage;
    pricing.prices.fill(0);
    for (let warmth = FIRST_WARMTH; warmth > LAST_WARMTH; warmth /= COOLING) {
      const question = {
        temperature: warmth * scale,
        steps: MAX_STEPS,
        least: 0.003,
        few: false,
        hopeless: HOPELESS * scale,
      };
      dual.settle(question, isOver);
    }
    prices[stage].set(pricing.prices);
    if (stage === 0 && dual.hard < SOME_OVERLOAD) {
      needsOverload = false;
      allowOverload(program, false);
    } else if (stage !== CHURN)
      pricing.hold(stage, Math.max(dual.hard + dual.waste, 0) * (1 + problem.options.slack) + HELD_ROOM);
  }
  return { prices, needsOverload };
}
