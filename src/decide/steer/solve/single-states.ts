/** Where the singles of a program stand while the simplex method runs, and what they cost by the prices of now. */
import type { Pricing } from './pricing.ts';
import { OVER, OVERLOAD, type Program, type Singles, STAGE_COUNT, UNDER, USED } from './program.ts';

export const LOWER = 0;
export const UPPER = 1;
export const BASIC = 2;

/** Steps without progress, after which entering variables are drawn. */
const STALLED_STEPS = 300;

export class SingleStates {
  readonly columns: Singles;
  /** [single]. */
  readonly state: Uint8Array;
  /** [single]: those that the stage of now has. */
  readonly isActive: Uint8Array;
  /** [single]: with the prices of stages that are held. */
  readonly cost: Float64Array;
  /** [row]: prices are kept within `reach` of these, so that a good guess is not lost while loads are put right. */
  readonly centre: Float64Array;
  reach = 0;
  stalled = 0;
  readonly #program: Program;
  readonly #pricing: Pricing;
  #seed = 1;

  constructor(program: Program, pricing: Pricing) {
    this.#program = program;
    this.#pricing = pricing;
    this.columns = program.singles;
    const { count } = program.singles;
    this.state = new Uint8Array(count);
    this.isActive = new Uint8Array(count);
    this.cost = new Float64Array(count);
    this.centre = new Float64Array(program.resources + STAGE_COUNT);
  }

  /**
   * Pieces that are worth less than the price of their row are full, those worth more are empty; what of the load is left over is taken up by
   * a piece in between, or at the border of the box. `load`: [row], what the items put there. Returns the basic single of each row.
   */
  start(load: Float64Array): Int32Array {
    const { count, kind, row } = this.columns;
    this.activate();
    this.price();
    const left = load.slice();
    this.state.fill(LOWER);
    const basicOf = new Int32Array(left.length).fill(-1);
    for (let index = 0; index < count; index++) {
      if (this.isActive[index] === 1 && kind[index] <= USED && basicOf[row[index]] < 0)
        this.#place(index, left, basicOf);
    }
    for (let index = 0; index < count; index++) {
      const at = row[index];
      if (kind[index] === USED && this.isActive[index] === 0) basicOf[at] = index;
      if (basicOf[at] >= 0) continue;
      if (kind[index] === OVER ? left[at] >= 0 : kind[index] === UNDER && left[at] < 0) basicOf[at] = index;
    }
    for (const index of basicOf) this.state[index] = BASIC;
    return basicOf;
  }

  /** Finds which ones the stage of now has. */
  activate(): void {
    const { count, row, width } = this.columns;
    const { resources } = this.#program;
    for (let index = 0; index < count; index++) {
      const isOfRow = row[index] < resources || this.#pricing.isHeld[row[index] - resources] === 1;
      this.isActive[index] = isOfRow && width[index] > 0 ? 1 : 0;
    }
  }

  #place(index: number, left: Float64Array, basicOf: Int32Array): void {
    const { width, row } = this.columns;
    const at = row[index];
    const most = width[index];
    const { [index]: cost } = this.cost;
    const isFull = cost < this.centre[at] - this.reach;
    if (!isFull && cost > this.centre[at] + this.reach) return;
    let value = most;
    if ((isFull && most !== Infinity) || left[at] > most) this.state[index] = UPPER;
    else if (left[at] >= 0) {
      basicOf[at] = index;
      value = left[at];
    } else return;
    left[at] -= value;
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (this.#pricing.isHeld[stage] === 1)
        left[this.#program.resources + stage] += value * this.rowCost(index, stage);
    }
  }

  /** The box is around the prices of now, which are lowered to what overload costs: above it, there would be no end. */
  centreOnPrices(reach: number): void {
    const { count, kind, row, width } = this.columns;
    const { prices } = this.#pricing;
    this.reach = reach;
    this.price();
    for (let index = 0; index < count; index++) {
      if (kind[index] === OVERLOAD && width[index] > 0)
        prices[row[index]] = Math.min(prices[row[index]], this.cost[index]);
    }
    this.centre.set(prices);
  }

  /** Costs by the prices of now. */
  price(): void {
    const { count, kind, row, objective } = this.columns;
    const { stage, isHeld, prices, rowScale } = this.#pricing;
    const { resources } = this.#program;
    for (let index = 0; index < count; index++) {
      if (kind[index] === OVER) this.cost[index] = this.centre[row[index]] + this.reach;
      else if (kind[index] === UNDER) this.cost[index] = this.reach - this.centre[row[index]];
      else this.cost[index] = objective[index * STAGE_COUNT + stage];
    }
    for (let held = 0; held < STAGE_COUNT; held++) {
      const price = prices[resources + held] * rowScale[held];
      if (isHeld[held] === 0 || price === 0) continue;
      for (let index = 0; index < count; index++) this.cost[index] += price * objective[index * STAGE_COUNT + held];
    }
  }

  /** What one in the basis costs in the stage of now, without prices. */
  ownCost(index: number): number {
    const { kind, row, objective } = this.columns;
    if (kind[index] === OVER) return this.centre[row[index]] + this.reach;
    if (kind[index] === UNDER) return this.reach - this.centre[row[index]];
    return objective[index * STAGE_COUNT + this.#pricing.stage];
  }

  sign(index: number): 1 | -1 {
    return this.columns.kind[index] === UNDER ? 1 : -1;
  }

  /** In the row of a stage. */
  rowCost(index: number, stage: number): number {
    return this.columns.objective[index * STAGE_COUNT + stage] * this.#pricing.rowScale[stage];
  }

  /** Cost less the worth of what it gives: below 0, more of it improves the objective. */
  reduced(index: number): number {
    return this.cost[index] + this.sign(index) * this.#pricing.prices[this.columns.row[index]];
  }

  /** The one whose entry gains most by unit; -1: none by more than the tolerance. */
  findEntering(tolerance: number): number {
    const { count } = this.columns;
    const isRandom = this.stalled > STALLED_STEPS;
    let entering = -1;
    let worst = tolerance;
    for (let index = 0; index < count; index++) {
      const state = this.state[index];
      if (state === BASIC || this.isActive[index] === 0) continue;
      const reduced = this.reduced(index);
      const gain = state === LOWER ? -reduced : reduced;
      if (gain <= worst) continue;
      entering = index;
      worst = isRandom ? tolerance + this.#random() * (gain - tolerance) : gain;
    }
    return entering;
  }

  /** Park and Miller's: only to leave circles of degenerate steps. */
  #random(): number {
    this.#seed = (this.#seed * 48271) % 2147483647;
    return this.#seed / 2147483647;
  }

  /** What all of them add to the bound. */
  bound(tolerance: number): number {
    const { count, kind, width } = this.columns;
    let sum = 0;
    for (let index = 0; index < count; index++) {
      if (this.isActive[index] === 0 || kind[index] > USED) continue;
      const reduced = this.reduced(index);
      if (reduced >= 0) continue;
      if (width[index] !== Infinity) sum += reduced * width[index];
      else if (reduced < -tolerance) return -Infinity;
    }
    return sum;
  }
}
