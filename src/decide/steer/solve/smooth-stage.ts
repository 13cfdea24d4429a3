/**
 * A stage of a large problem: prices by the smoothed dual at a falling temperature, until its shares waste less than the wanted gap; then each item
 * to one site, and a look at what that map really gives. The bound is the hard minimum over all sites.
 */
import type { GroupSimplex, Part } from './group-simplex.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import { STAGE_COUNT } from './program.ts';
import { Rounding } from './rounding.ts';
import { type Settling, SmoothDual } from './smooth-dual.ts';

/** In cost scales. */
const LEAST_WARMTH = 1e-6;
const COOLING = 3;
const MAX_STEPS = 25;
const COARSE = 0.003;
const FINE = 1e-4;
const FINE_STEPS = 8;
/** Part of the wanted gap that the shares may waste. */
const WASTE = 0.5;
/** Share of the room that rounding gets, and more after it was not enough. */
const MARGIN = 5e-5;
const MARGIN_GROWTH = 2.5;
const TRIES = 6;
const HOPELESS = 1e3;
/** Candidates are found anew until less demand than this lacks its best one, but not more often than that. */
const STALE = 1e-4;
const MOST_REFRESHED = 5;

export interface SmoothResult {
  readonly key: Uint16Array;
  readonly parts: ReadonlyMap<number, readonly Part[]>;
  readonly outcome: Outcome;
  readonly bound: number;
  readonly steps: number;
  /** Greatest share by which a limit is broken; overload as a share of all demand. */
  readonly violation: number;
}

export interface SmoothQuestion {
  /** What a unit of demand costs, roughly. */
  readonly scale: number;
  /** Temperature to begin with, in scales. */
  readonly from: number;
  /** How far `objective` is above `bound`. */
  readonly gapOf: (objective: number, bound: number) => number;
  /** [stage]: what those before may use. */
  readonly limits: Float64Array;
  readonly isOver: () => boolean;
}

export class SmoothStage {
  readonly #simplex: GroupSimplex;
  readonly #dual: SmoothDual;
  readonly #rounding: Rounding;

  set mayOverload(may: boolean) {
    this.#dual.mayOverload = may;
  }

  constructor(simplex: GroupSimplex) {
    this.#simplex = simplex;
    this.#dual = new SmoothDual(simplex.pricing, simplex.sweep);
    this.#rounding = new Rounding(simplex.pricing, simplex.sweep);
  }

  /**
   * From the prices of `pricing`, which it leaves near the optimum. Returns the best map that was found; `hopeless`: no map can keep the limits; null: the
   * time was over before.
   */
  run({ scale, from, gapOf, limits, isOver }: SmoothQuestion): SmoothResult | 'hopeless' | null {
    const { pricing, program, sweep } = this.#simplex;
    const { gap } = program.problem.options;
    const dual = this.#dual;
    const before = dual.steps;
    let found: SmoothResult | null = null;
    let bound = -Infinity;
    dual.margin = MARGIN;
    dual.limitMargin = MARGIN;
    pricing.tabulate();
    sweep.full(0, 'candidates');
    let warmth = from;
    for (let tries = 0; warmth > LEAST_WARMTH && tries < TRIES && !isOver(); ) {
      const question = { temperature: warmth * scale, steps: MAX_STEPS, few: true, hopeless: HOPELESS * scale };
      if (!this.#cool(question, isOver)) return 'hopeless';
      if (gapOf(dual.hard + dual.waste, dual.hard) > WASTE * gap) {
        warmth /= COOLING;
        continue;
      }
      dual.settle({ ...question, steps: FINE_STEPS, least: FINE }, isOver);
      tries++;
      const { key, parts, least } = this.#round(warmth * scale);
      bound = Math.max(bound, this.#simplex.boundOf(least, scale * 1e-9));
      const outcome = outcomeOf(program, { key, parts });
      const { [pricing.stage]: objective } = outcome.objective;
      const violation = this.#widen(outcome.objective, limits);
      const next = { key, parts, outcome, bound, steps: 0, violation };
      if (found === null || isBetter(next, found, pricing.stage)) found = next;
      if (violation > 0) continue;
      if (gapOf(objective, bound) <= gap) break;
      warmth /= COOLING;
    }
    return found === null ? null : { ...found, bound, steps: dual.steps - before };
  }

  /** To the prices of a temperature, with candidates by these prices. False: there is no end. */
  #cool(question: Omit<Settling, 'least'>, isOver: () => boolean): boolean {
    const { pricing, sweep } = this.#simplex;
    for (let refresh = 0; refresh < MOST_REFRESHED; refresh++) {
      if (this.#dual.settle({ ...question, least: COARSE }, isOver) > question.hopeless) return false;
      pricing.tabulate();
      sweep.full(0, 'candidates');
      if (sweep.stale < STALE || isOver()) break;
    }
    return true;
  }

  #round(temperature: number) {
    const { pricing, program } = this.#simplex;
    const key = new Uint16Array(program.items);
    const parts = new Map<number, Part[]>();
    pricing.tabulate();
    const { excess, fill, hard, waste } = this.#dual;
    const least = this.#rounding.round(key, parts, { temperature, excess, fill, value: hard + waste });
    return { key, parts, least };
  }

  /** By how much a map breaks the limits, as a share of them; if it does, there is more room for rounding the next time. */
  #widen(objective: Float64Array, limits: Float64Array): number {
    let violation = 0;
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (objective[stage] <= limits[stage]) continue;
      violation = Math.max(violation, stage === 0 ? objective[0] : objective[stage] / limits[stage] - 1);
      if (stage === 0) this.#dual.margin *= MARGIN_GROWTH;
      else this.#dual.limitMargin *= MARGIN_GROWTH;
    }
    return violation;
  }
}

function isBetter(one: SmoothResult, other: SmoothResult, stage: number): boolean {
  if (one.violation !== other.violation) return one.violation < other.violation;
  return one.outcome.objective[stage] < other.outcome.objective[stage];
}
