/**
 * A steering problem as a linear program with one convexity row an item ("generalised upper bounds"):
 *
 *     minimise   sum of cost * y
 *     where      sum over sites of y[item, site] = demand[item]                        for each item
 *                sum of load * y - sum of pieces of resource r = 0                     for each site and link r
 *                sum of objective k * y + ... - used[k] = 0, used[k] <= its best and slack   for each stage k that is done
 *
 * Pieces are variables with bounds: a resource's load up to its first breakpoint, from there to the next, and so on; the last is overload, without
 * end. Demand is scaled to 1 in all, so that numbers of any unit come out alike.
 */
import type { ClassKind, SteeringProblem } from './problem.ts';

export const STAGES = ['overload', 'latency', 'throughput', 'batch', 'churn'] as const;
export type Stage = (typeof STAGES)[number];
export const STAGE_COUNT = STAGES.length;
export const CHURN = 4;

/**
 * Variables that belong to no item ("singles"). A piece is load of a resource between two breakpoints, overload that beyond the last; `USED` is what
 * a finished stage uses. `OVER` and `UNDER` are load that is not there or is not taken away, at the borders of the box that prices are kept
 * in; both end at 0.
 */
export const PIECE = 0;
export const OVERLOAD = 1;
export const USED = 2;
export const OVER = 3;
export const UNDER = 4;

/** Columns, one entry a single. */
export interface Singles {
  readonly count: number;
  readonly kind: Uint8Array;
  /** Row in which it stands with -1 (`UNDER`: with 1): a resource's, or `resources + stage`. */
  readonly row: Int32Array;
  /** Upper bound; the lower is 0. */
  readonly width: Float64Array;
  /** [single * STAGE_COUNT + stage]: coefficient in its objective. */
  readonly objective: Float64Array;
}

export interface Program {
  readonly problem: SteeringProblem;
  readonly items: number;
  readonly resources: number;
  /** [item], sum 1; those that no site serves have 0. */
  readonly demand: Float64Array;
  /** Of sites, from the problem's unit; of links, whose load by a unit of demand comes to about 1. */
  readonly scale: number;
  readonly linkScale: number;
  /** [class], scaled. */
  readonly siteLoad: Float64Array;
  readonly linkLoad: Float64Array;
  /** [resource], scaled. */
  readonly capacity: Float64Array;
  readonly background: Float64Array;
  /** [class * sites + site]: 1: not served there. */
  readonly isClosed: Uint8Array;
  /** [item]: the site that has it and can go on to; -1: none. */
  readonly previous: Int32Array;
  readonly unserved: number;
  /** [stage][class]: weight of the latency cost. */
  readonly pairWeight: readonly Float64Array[];
  /** [stage][class]: weight of `batchCost`. */
  readonly batchWeight: readonly Float64Array[];
  /** [stage][class]: cost of a unit of demand that leaves its site. */
  readonly moveWeight: readonly Float64Array[];
  readonly singles: Singles;
}

/** What latency costs (milliseconds): convex, so that small far groups are not sacrificed. */
export function latencyCost(rttMs: number, thresholdMs: number, aboveThreshold: number): number {
  return rttMs > thresholdMs ? rttMs + aboveThreshold * (rttMs - thresholdMs) : rttMs;
}

/** Cost: one pass over the items; over the pairs only where items have no site to stay at. */
export function createProgram(problem: SteeringProblem): Program {
  const { classes, groups, sites, options } = problem;
  const isClosed = closedSites(problem);
  const served = serveItems(problem, isClosed);
  let total = 0;
  for (const value of served.demand) total += value;
  const scale = total > 0 ? 1 / total : 1;
  for (let item = 0; item < served.demand.length; item++) served.demand[item] *= scale;
  const meanLink = classes.reduce((sum, each) => sum + each.linkLoad, 0) / classes.length || 1;
  const linkScale = scale / meanLink;
  const links = problem.linkCapacity.length;
  const capacity = new Float64Array(sites + links);
  const background = new Float64Array(sites + links);
  for (let s = 0; s < sites; s++) capacity[s] = problem.siteCapacity[s] * scale;
  for (let l = 0; l < links; l++) {
    capacity[sites + l] = problem.linkCapacity[l] * linkScale;
    background[sites + l] = (problem.linkBackground?.[l] ?? 0) * linkScale;
  }
  const weightsOf = (kind: ClassKind, of: (index: number) => number) =>
    Float64Array.from(classes, (each, index) => (each.kind === kind ? of(index) : 0));
  const none = new Float64Array(classes.length);
  const stick = (index: number) => classes[index].stickiness ?? 0;
  return {
    problem,
    items: groups * classes.length,
    resources: sites + links,
    ...served,
    isClosed,
    scale,
    linkScale,
    siteLoad: Float64Array.from(classes, ({ siteLoad }) => siteLoad),
    linkLoad: Float64Array.from(classes, ({ linkLoad }) => linkLoad / meanLink),
    capacity,
    background,
    pairWeight: [none, weightsOf('latency', () => 1), weightsOf('throughput', () => options.throughputRtt), none, none],
    batchWeight: [none, none, none, weightsOf('batch', () => 1), none],
    moveWeight: [
      none,
      weightsOf('latency', stick),
      weightsOf('throughput', stick),
      weightsOf('batch', stick),
      none.map(() => 1),
    ],
    singles: createSingles(capacity, background, sites, options),
  };
}

function closedSites({ classes, sites, isDead }: SteeringProblem): Uint8Array {
  const isClosed = new Uint8Array(classes.length * sites);
  for (const [c, { allowed }] of classes.entries()) {
    for (let site = 0; site < sites; site++) {
      isClosed[c * sites + site] = isDead?.[site] === 1 || allowed?.[site] === 0 ? 1 : 0;
    }
  }
  return isClosed;
}

/** Demand of the items that some site serves, and where they can stay. */
function serveItems(problem: SteeringProblem, isClosed: Uint8Array) {
  const { groups, sites, rttMs } = problem;
  const classes = problem.classes.length;
  const demand = problem.demand.slice();
  const previous = problem.previous.slice();
  let unserved = 0;
  for (let group = 0, item = 0; group < groups; group++) {
    for (let c = 0; c < classes; c++, item++) {
      const at = previous[item];
      if (at >= 0 && isClosed[c * sites + at] === 0 && rttMs[group * sites + at] !== Infinity) continue;
      previous[item] = -1;
      let site = 0;
      while (site < sites && (isClosed[c * sites + site] === 1 || rttMs[group * sites + site] === Infinity)) site++;
      if (site < sites) continue;
      demand[item] = 0;
      unserved++;
    }
  }
  return { demand, previous, unserved };
}

function createSingles(
  capacity: Float64Array,
  background: Float64Array,
  sites: number,
  options: SteeringProblem['options'],
): Singles {
  const list: { kind: number; row: number; width: number; overload: number; slope: number }[] = [];
  for (let row = 0; row < capacity.length; row++) {
    const room = capacity[row] * (1 - options.reserve);
    const cuts =
      row < sites ? [{ from: 0, slope: 0 }] : options.linkCost.filter(({ from }) => from < 1 - options.reserve);
    for (const [index, { from, slope }] of cuts.entries()) {
      const end = index + 1 < cuts.length ? cuts[index + 1].from * capacity[row] : room;
      const width = Math.max(0, end - Math.max(from * capacity[row], background[row]));
      list.push({ kind: PIECE, row, width, overload: 0, slope });
    }
    list.push({ kind: OVERLOAD, row, width: Infinity, overload: 1, slope: cuts.at(-1)?.slope ?? 0 });
  }
  for (let stage = 0; stage < STAGE_COUNT; stage++) {
    list.push({ kind: USED, row: capacity.length + stage, width: 1, overload: 0, slope: 0 });
  }
  for (let row = 0; row < capacity.length + STAGE_COUNT; row++) {
    list.push({ kind: OVER, row, width: Infinity, overload: 0, slope: 0 });
    list.push({ kind: UNDER, row, width: Infinity, overload: 0, slope: 0 });
  }
  const objective = new Float64Array(list.length * STAGE_COUNT);
  for (const [index, { overload, slope }] of list.entries()) {
    objective[index * STAGE_COUNT] = overload;
    objective[index * STAGE_COUNT + 2] = slope;
  }
  return {
    count: list.length,
    kind: Uint8Array.from(list, ({ kind }) => kind),
    row: Int32Array.from(list, ({ row }) => row),
    width: Float64Array.from(list, ({ width }) => width),
    objective,
  };
}

/** Whether resources may be overloaded from now on. */
export function allowOverload({ singles: { count, kind, width } }: Program, may: boolean): void {
  for (let index = 0; index < count; index++) if (kind[index] === OVERLOAD) width[index] = may ? Infinity : 0;
}
