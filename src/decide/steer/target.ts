/** Where each group should be, by estimates, capacities and what classes want: the question to the solver and what its answer means. */
import type { SteeredGroups } from './demand/groups.ts';
import { NO_SITE, type SiteShare } from './measured.ts';
import { PATH_LINKS, type StageSummary, type SteeringModel } from './measured-model.ts';
import { type ClassSpec, DEFAULT_OPTIONS, type SteeringProblem } from './solve/problem.ts';
import { latencyCost, STAGES } from './solve/program.ts';
import { solveSteering } from './solve/solve.ts';

export interface TargetInput {
  readonly model: SteeringModel;
  readonly groups: SteeredGroups;
  /** [group * sites + site]. */
  readonly rttMs: Float32Array;
  /** [class * sites + site]: 0: down, or does not serve. */
  readonly up: Uint8Array;
  /** [site], [link]: as they are now. */
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly linkBackground: Float64Array;
  readonly paths: Int32Array;
  /** [class]. */
  readonly bitsPerConnection: Float64Array;
  /** [item]: site that has it; from 0xfffe on: none, or several. */
  readonly previous: Uint16Array;
  /** Prices of the last solve; empty: none. */
  readonly warm: readonly Float64Array[];
  /** Of CPU, for the limit of a solve. */
  readonly clock: () => number;
}

export interface Target {
  /** [item]; NO_SITE: none serves it. */
  readonly site: Uint16Array;
  readonly splits: ReadonlyMap<number, readonly SiteShare[]>;
  readonly stages: readonly StageSummary[];
  readonly isComplete: boolean;
  readonly prices: readonly Float64Array[];
  /** [(region * classes + class) * sites + site]: milliseconds that the scarcity of sites and links adds for class `latency`. */
  readonly scarcityMs: Float64Array;
  /** The same of each class by the prices of its own stage, in that stage's unit: `placedCost`. */
  readonly placedScarcity: Float64Array;
  /** [site], [link]: the same of each alone, by a connection of class 0. */
  readonly sitePriceMs: Float64Array;
  readonly linkPriceMs: Float64Array;
  /** In words. */
  readonly overloads: readonly string[];
}

/** Warm caches: what a move has to gain, in milliseconds. */
const STICKY_MS = 0.5;
/** Of batch costs, of link costs. */
const STICKY_COST = 0.01;
const LATENCY = STAGES.indexOf('latency');

/** What a millisecond costs a user of class `latency`. */
export function waitCost(ms: number): number {
  return latencyCost(ms, DEFAULT_OPTIONS.thresholdMs, DEFAULT_OPTIONS.aboveThreshold);
}

/** What a unit of demand of a class that wants no nearness costs at a site, in the unit of its stage: `scarcity` of `placedScarcity`. */
export function placedCost(kind: 'throughput' | 'batch', ms: number, batchCost: number, scarcity: number): number {
  return scarcity + (kind === 'batch' ? batchCost : DEFAULT_OPTIONS.throughputRtt * ms);
}

/** Cost: see `solve/`; some 1 to 3 us a group, site and class when prices are known. */
export function solveTarget(input: TargetInput): Target {
  const problem = problemOf(input);
  const solution = solveSteering(problem, input.warm);
  const latency = solution.prices[LATENCY] ?? new Float64Array(0);
  const { model, paths } = input;
  const [sites, classes] = [model.sites.length, model.classes.length];
  const meanBits = input.bitsPerConnection.reduce((sum, bits) => sum + bits, 0) / classes || 1;
  const sitePriceMs = Float64Array.from({ length: sites }, (_, s) => Math.max(0, latency[s] ?? 0));
  const linkPriceMs = Float64Array.from(model.links, (_, l) => Math.max(0, latency[sites + l] ?? 0));
  const scarcityMs = new Float64Array(model.regions * classes * sites);
  const placedScarcity = new Float64Array(scarcityMs.length);
  const own = model.classes.map(({ kind }) => solution.prices[STAGES.indexOf(kind)] ?? latency);
  for (let region = 0, at = 0; region < model.regions; region++) {
    for (let c = 0; c < classes; c++) {
      const load = input.bitsPerConnection[c] / meanBits;
      for (let s = 0; s < sites; s++, at++) {
        scarcityMs[at] = sitePriceMs[s];
        placedScarcity[at] = Math.max(0, own[c][s] ?? 0);
        for (let n = 0; n < PATH_LINKS; n++) {
          const link = paths[(region * sites + s) * PATH_LINKS + n];
          if (link < 0) continue;
          scarcityMs[at] += load * linkPriceMs[link];
          placedScarcity[at] += load * Math.max(0, own[c][sites + link] ?? 0);
        }
      }
    }
  }
  placeIdle(input, solution.site, scarcityMs);
  return {
    site: solution.site,
    splits: solution.splits,
    stages: solution.stages.map(({ stage, objective, gap }) => ({ stage, objective, gap })),
    isComplete: solution.isComplete,
    prices: solution.prices,
    scarcityMs,
    placedScarcity,
    sitePriceMs,
    linkPriceMs: linkPriceMs.map((price) => (price * (input.bitsPerConnection[0] ?? 0)) / meanBits),
    overloads: solution.overloads.map(
      ({ kind, index, load, room }) =>
        `${kind} ${(kind === 'site' ? model.sites : model.links)[index].name} is to carry ${share(load, room)} % of what it should`,
    ),
  };
}

/** Groups without demand cost the solver nothing wherever they are: they get the cheapest. */
function placeIdle({ groups, model, rttMs, up }: TargetInput, site: Uint16Array, scarcityMs: Float64Array): void {
  const [sites, classes] = [model.sites.length, model.classes.length];
  for (let item = 0; item < site.length; item++) {
    if (groups.demand[item] > 0) continue;
    const c = item % classes;
    const group = (item - c) / classes;
    let least = Infinity;
    for (let s = 0; s < sites; s++) {
      if (up[c * sites + s] === 0) continue;
      const cost = rttMs[group * sites + s] + scarcityMs[(groups.region[group] * classes + c) * sites + s];
      if (cost >= least) continue;
      least = cost;
      site[item] = s;
    }
  }
}

function share(load: number, room: number): string {
  return room > 0 ? ((100 * load) / room).toFixed(0) : 'over 1000';
}

function problemOf(input: TargetInput): SteeringProblem {
  const { model, groups, rttMs, up, linkBackground, paths, bitsPerConnection } = input;
  const sites = model.sites.length;
  const most = groups.demand.reduce((sum, demand) => sum + demand, 1);
  const mostBits = bitsPerConnection.reduce((bits, its) => Math.max(bits, its), 1) * most;
  const classes = model.classes.map(
    ({ kind }, c): ClassSpec => ({
      kind,
      siteLoad: 1,
      linkLoad: bitsPerConnection[c],
      allowed: up.slice(c * sites, (c + 1) * sites),
      stickiness: kind === 'latency' ? STICKY_MS : STICKY_COST,
    }),
  );
  return {
    groups: groups.ids.length,
    sites,
    classes,
    demand: groups.demand,
    rttMs,
    // More than all demand is no limit: the solver wants numbers.
    siteCapacity: input.siteCapacity.map((capacity) => Math.min(capacity, 10 * most)),
    linkCapacity: input.linkCapacity.map((capacity, l) =>
      Math.max(1, Math.min(capacity, 10 * mostBits + linkBackground[l])),
    ),
    linkBackground,
    region: groups.region,
    regions: model.regions,
    paths,
    batchCost: Float64Array.from(model.sites, ({ batchCost }) => batchCost),
    previous: Int32Array.from(input.previous, (site) => (site >= NO_SITE - 1 ? -1 : site)),
    options: { ...DEFAULT_OPTIONS, reserve: model.limits.reserve, limitMs: model.limits.solveMs, nowMs: input.clock },
  };
}
