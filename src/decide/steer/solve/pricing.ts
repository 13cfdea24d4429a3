/** What options cost once the prices of all that they use are counted in. */
import { PATH_LINKS } from './problem.ts';
import { latencyCost, type Program, STAGE_COUNT } from './program.ts';

export class Pricing {
  readonly program: Program;
  /** [row]: resources, then stages. */
  readonly prices: Float64Array;
  /** [stage]: whether later stages are held to it. Its row is `resources + stage`. */
  readonly isHeld = new Uint8Array(STAGE_COUNT);
  /** [stage]: factor of its row, so that what it may use comes to about 1. */
  readonly rowScale = new Float64Array(STAGE_COUNT).fill(1);
  /** What is minimised. */
  stage = 0;
  /** [class]: weights of costs, those of stages that are held included. */
  readonly pairWeight: Float64Array;
  readonly batchWeight: Float64Array;
  readonly moveWeight: Float64Array;
  /** [(region * classes + class) * sites + site]: prices of resources and costs of sites; Infinity: closed. */
  readonly table: Float64Array;
  readonly #sites: number;
  readonly #classes: number;
  readonly #thresholdMs: number;
  readonly #above: number;

  constructor(program: Program) {
    const { problem, resources } = program;
    this.program = program;
    this.prices = new Float64Array(resources + STAGE_COUNT);
    this.#sites = problem.sites;
    this.#classes = problem.classes.length;
    this.#thresholdMs = problem.options.thresholdMs;
    this.#above = problem.options.aboveThreshold;
    this.pairWeight = new Float64Array(this.#classes);
    this.batchWeight = new Float64Array(this.#classes);
    this.moveWeight = new Float64Array(this.#classes);
    this.table = new Float64Array(problem.regions * this.#classes * problem.sites);
  }

  /** From now on a stage uses at most `most`. */
  hold(stage: number, most: number): void {
    this.isHeld[stage] = 1;
    this.rowScale[stage] = 1 / most;
  }

  /** After a change of prices or stage. */
  update(): void {
    const { pairWeight, batchWeight, moveWeight, resources } = this.program;
    const { stage } = this;
    for (let c = 0; c < this.#classes; c++) {
      this.pairWeight[c] = pairWeight[stage][c];
      this.batchWeight[c] = batchWeight[stage][c];
      this.moveWeight[c] = moveWeight[stage][c];
    }
    for (let held = 0; held < STAGE_COUNT; held++) {
      if (this.isHeld[held] === 0) continue;
      const price = this.prices[resources + held] * this.rowScale[held];
      if (price === 0) continue;
      for (let c = 0; c < this.#classes; c++) {
        this.pairWeight[c] += price * pairWeight[held][c];
        this.batchWeight[c] += price * batchWeight[held][c];
        this.moveWeight[c] += price * moveWeight[held][c];
      }
    }
  }

  /** `update`, and the table: before a pass over many options. */
  tabulate(): void {
    this.update();
    const { problem, isClosed } = this.program;
    let at = 0;
    for (let region = 0; region < problem.regions; region++) {
      for (let c = 0; c < this.#classes; c++) {
        for (let site = 0; site < this.#sites; site++) {
          this.table[at++] = isClosed[c * this.#sites + site] === 1 ? Infinity : this.#shared(region, c, site);
        }
      }
    }
  }

  #shared(region: number, c: number, site: number): number {
    const { problem, siteLoad, linkLoad } = this.program;
    let links = 0;
    const path = (region * this.#sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link >= 0) links += this.prices[this.#sites + link];
    }
    return siteLoad[c] * this.prices[site] + linkLoad[c] * links + this.batchWeight[c] * problem.batchCost[site];
  }

  /**
   * Whether items of a class differ by their regions only, by the prices of now. (That a few groups may not use some site is left out of account;
   * call it where prices are looked for, not where they are proved.)
   */
  isShared(c: number): boolean {
    return this.pairWeight[c] === 0 && this.moveWeight[c] === 0;
  }

  /** Latency cost of a pair (group * sites + site). */
  latencyOf(pair: number): number {
    return latencyCost(this.program.problem.rttMs[pair], this.#thresholdMs, this.#above);
  }

  /** Of one allowed option, by the prices of now; `update` first. */
  effective(item: number, site: number): number {
    const { problem, previous } = this.program;
    const group = Math.floor(item / this.#classes);
    const c = item - group * this.#classes;
    let cost = this.#shared(problem.region[group], c, site);
    const weight = this.pairWeight[c];
    if (weight !== 0) cost += weight * this.latencyOf(group * this.#sites + site);
    return previous[item] >= 0 && previous[item] !== site ? cost + this.moveWeight[c] : cost;
  }

  /** Of an allowed option in one stage, without prices. */
  costOf(stage: number, item: number, site: number): number {
    const { pairWeight, batchWeight, moveWeight, problem, previous } = this.program;
    const group = Math.floor(item / this.#classes);
    const c = item - group * this.#classes;
    let cost = batchWeight[stage][c] * problem.batchCost[site];
    const weight = pairWeight[stage][c];
    if (weight !== 0) cost += weight * this.latencyOf(group * this.#sites + site);
    return previous[item] >= 0 && previous[item] !== site ? cost + moveWeight[stage][c] : cost;
  }
}
