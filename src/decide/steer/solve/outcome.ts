/** What a map means: loads and objectives, from where the items are alone. */
import type { Part } from './group-simplex.ts';
import { PATH_LINKS } from './problem.ts';
import { CHURN, latencyCost, OVERLOAD, PIECE, type Program, STAGE_COUNT } from './program.ts';

/** Where all items are: the rest of each is at its key. Scaled. */
export interface Assignment {
  readonly key: Uint16Array;
  readonly parts: ReadonlyMap<number, readonly Part[]>;
}

export interface Outcome {
  /** [resource], scaled, without background. */
  readonly load: Float64Array;
  /** [stage]. */
  readonly objective: Float64Array;
}

/** Loads and objectives from the map alone. Cost: one pass over the items. */
export function outcomeOf(program: Program, { key, parts }: Assignment): Outcome {
  const load = new Float64Array(program.resources);
  const objective = new Float64Array(STAGE_COUNT);
  const add = adder(program, load, objective);
  for (let item = 0; item < program.items; item++)
    if (program.demand[item] !== 0) add(item, key[item], program.demand[item]);
  for (const [item, list] of parts) {
    for (const { site, amount } of list) {
      add(item, key[item], -amount);
      add(item, site, amount);
    }
  }
  addPieces(program, load, objective);
  return { load, objective };
}

function adder({ problem, ...program }: Program, load: Float64Array, objective: Float64Array) {
  const { sites, region, paths, rttMs, batchCost, options } = problem;
  const classes = problem.classes.length;
  const { pairWeight, batchWeight, siteLoad, linkLoad, previous } = program;
  return (item: number, site: number, amount: number): void => {
    const group = Math.floor(item / classes);
    const c = item - group * classes;
    load[site] += amount * siteLoad[c];
    const path = (region[group] * sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++)
      if (paths[path + n] >= 0) load[sites + paths[path + n]] += amount * linkLoad[c];
    const latency = latencyCost(rttMs[group * sites + site], options.thresholdMs, options.aboveThreshold);
    const isMove = previous[item] >= 0 && previous[item] !== site;
    for (let stage = 1; stage < CHURN; stage++) {
      let cost = pairWeight[stage][c] === 0 ? 0 : pairWeight[stage][c] * latency;
      cost += batchWeight[stage][c] * batchCost[site];
      if (isMove) cost += program.moveWeight[stage][c];
      objective[stage] += amount * cost;
    }
    if (isMove) objective[CHURN] += amount;
  };
}

/** Pieces are filled in their order: they cost more and more. */
function addPieces({ singles, resources }: Program, load: Float64Array, objective: Float64Array): void {
  const left = load.slice();
  for (let index = 0; index < singles.count; index++) {
    const row = singles.row[index];
    if (singles.kind[index] > OVERLOAD || row >= resources) continue;
    const value = singles.kind[index] === PIECE ? Math.min(left[row], singles.width[index]) : left[row];
    left[row] -= value;
    for (let stage = 0; stage < STAGE_COUNT; stage++)
      objective[stage] += value * singles.objective[index * STAGE_COUNT + stage];
  }
}
