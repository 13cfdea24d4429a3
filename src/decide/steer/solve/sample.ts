/** A smaller problem with nearly the same prices. */
import type { SteeringProblem } from './problem.ts';

/**
 * `size` groups, drawn in even steps along the sum of demand, so that large groups are surely in it; each then has the same share of all
 * demand, spread over its classes as it was. Groups that are drawn several times come once, with so much more.
 */
export function sampleGroups(problem: SteeringProblem, size: number): SteeringProblem {
  const { groups, sites, classes } = problem;
  const count = classes.length;
  const sums = new Float64Array(groups);
  for (let item = 0; item < problem.demand.length; item++) sums[Math.floor(item / count)] += problem.demand[item];
  const total = sums.reduce((sum, value) => sum + value, 0);
  const picked: { group: number; times: number }[] = [];
  let reached = 0;
  let next = 0.5;
  for (let group = 0; group < groups; group++) {
    reached += (sums[group] / total) * size;
    if (next >= reached) continue;
    const times = Math.ceil(reached - next);
    next += times;
    picked.push({ group, times });
  }
  const demand = new Float64Array(picked.length * count);
  const previous = new Int32Array(picked.length * count);
  const rttMs = new Float32Array(picked.length * sites);
  const region = new Int32Array(picked.length);
  for (const [n, { group, times }] of picked.entries()) {
    region[n] = problem.region[group];
    rttMs.set(problem.rttMs.subarray(group * sites, (group + 1) * sites), n * sites);
    for (let c = 0; c < count; c++) {
      demand[n * count + c] = (problem.demand[group * count + c] / sums[group]) * (total / size) * times;
      previous[n * count + c] = problem.previous[group * count + c];
    }
  }
  levelClasses(problem, demand);
  return { ...problem, groups: picked.length, demand, previous, rttMs, region };
}

/** So that each class has all of its demand. */
function levelClasses(problem: SteeringProblem, demand: Float64Array): void {
  const count = problem.classes.length;
  const wanted = new Float64Array(count);
  const given = new Float64Array(count);
  for (let item = 0; item < problem.demand.length; item++) wanted[item % count] += problem.demand[item];
  for (let item = 0; item < demand.length; item++) given[item % count] += demand[item];
  for (let item = 0; item < demand.length; item++) {
    const c = item % count;
    if (given[c] > 0) demand[item] *= wanted[c] / given[c];
  }
}
