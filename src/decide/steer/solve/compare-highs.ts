/** Compares solves of random problems with HiGHS, stage by stage; for tests. */

import { STAGES } from './program.ts';
import { randomProblem } from './random-problem.ts';
import { writeProgram } from './reference.ts';
import { solveSteering } from './solve.ts';

/** What is used of package highs. */
export interface LinearSolver {
  solve(
    text: string,
    options: { readonly primal_feasibility_tolerance: number; readonly dual_feasibility_tolerance: number },
  ): { readonly Status: string; readonly ObjectiveValue: number };
}

/** Limits of later stages leave as much for rounding as the solver's. */
const ROOM = 1e-9;
const TIGHT = { primal_feasibility_tolerance: 1e-10, dual_feasibility_tolerance: 1e-10 };

export interface Comparison {
  readonly stages: number;
  /** Greatest of all stages, relative. */
  readonly difference: number;
  readonly text: string;
  /** What the solver says of itself. */
  readonly isComplete: boolean;
}

/** `random`: as of `randomProblem`. */
export function compareWithHighs(highs: LinearSolver, random: () => number): Comparison {
  const problem = randomProblem(random);
  const solution = solveSteering(problem);
  const limits: (number | undefined)[] = [];
  let worst = 0;
  let text = '';
  for (const { stage, objective, bound } of solution.stages) {
    const place = STAGES.indexOf(stage);
    const { Status, ObjectiveValue } = highs.solve(writeProgram(problem, place, limits), TIGHT);
    const isSame = Status === 'Optimal';
    const difference = isSame
      ? Math.abs(objective - ObjectiveValue) / Math.max(1e-3, Math.abs(ObjectiveValue))
      : Infinity;
    if (difference > worst) text = `${stage}: ${objective} (bound ${bound}), HiGHS ${Status} ${ObjectiveValue}`;
    worst = Math.max(worst, difference);
    limits[place] = Math.max(0, objective, ObjectiveValue) * (1 + problem.options.slack) + ROOM;
  }
  return { stages: solution.stages.length, difference: worst, text, isComplete: solution.isComplete };
}
