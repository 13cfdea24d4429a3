/** From scaled numbers to those of the problem. */
import type { SiteShare } from '../measured.ts';
import { type Assignment, outcomeOf } from './outcome.ts';
import { CHURN, type Program, STAGES } from './program.ts';
import type { Overload, Relief, Solution, StageResult } from './solution.ts';

/** Shares below this are rounding. */
const LEAST_SHARE = 1e-9;
/** As shares of all demand. */
const LEAST_OVERLOAD = 1e-7;
const LEAST_RELIEF = 1e-6;

interface Reached {
  readonly results: readonly Omit<StageResult, 'final'>[];
  readonly prices: readonly Float64Array[];
  readonly limits: Float64Array;
  readonly isComplete: boolean;
}

export function describe(program: Program, assignment: Assignment, reached: Reached): Solution {
  const { load, objective } = outcomeOf(program, assignment);
  const { results, prices, limits, isComplete } = reached;
  const site = assignment.key.slice();
  const splits = splitsOf(program, assignment);
  for (const [item, shares] of splits) {
    site[item] = shares[0].site;
    if (shares.length === 1) splits.delete(item);
  }
  return {
    site,
    splits,
    stages: results.map((each) => ({ ...each, final: objective[STAGES.indexOf(each.stage)] })),
    prices,
    limits,
    ...loadsOf(program, load),
    reliefs: reliefsOf(program, prices[0]),
    moved: objective[CHURN],
    unserved: program.unserved,
    isComplete,
  };
}

/** The largest share first; what is left of an item may be all at one site. */
function splitsOf({ demand }: Program, { key, parts }: Assignment): Map<number, SiteShare[]> {
  const splits = new Map<number, SiteShare[]>();
  for (const [item, list] of parts) {
    const shares = list.map(({ site, amount }) => ({ site, share: amount / demand[item] }));
    const elsewhere = shares.reduce((sum, { share }) => sum + share, 0);
    const all = [...shares, { site: key[item], share: 1 - elsewhere }].filter(({ share }) => share > LEAST_SHARE);
    all.sort((a, b) => b.share - a.share);
    splits.set(item, all);
  }
  return splits;
}

function loadsOf(program: Program, scaled: Float64Array): Pick<Solution, 'siteLoad' | 'linkLoad' | 'overloads'> {
  const { problem, capacity, background, resources, scale, linkScale } = program;
  const load = new Float64Array(resources);
  const overloads: Overload[] = [];
  for (let row = 0; row < resources; row++) {
    const isSite = row < problem.sites;
    const unit = isSite ? scale : linkScale;
    const all = scaled[row] + background[row];
    const room = capacity[row] * (1 - problem.options.reserve);
    load[row] = all / unit;
    if (all <= room + Math.max(LEAST_OVERLOAD, problem.options.gap * capacity[row]) || scaled[row] === 0) continue;
    overloads.push({ ...resourceAt(program, row), load: load[row], room: room / unit });
  }
  return { siteLoad: load.slice(0, problem.sites), linkLoad: load.slice(problem.sites), overloads };
}

/** Those with a price in the first stage: at it, more capacity pays. */
function reliefsOf(program: Program, prices: Float64Array): Relief[] {
  const reliefs: Relief[] = [];
  for (let row = 0; row < program.resources; row++) {
    if (prices[row] > LEAST_RELIEF) reliefs.push({ ...resourceAt(program, row), relief: prices[row] });
  }
  return reliefs.sort((a, b) => b.relief - a.relief);
}

export function resourceAt({ problem: { sites } }: Program, row: number): { kind: 'site' | 'link'; index: number } {
  return row < sites ? { kind: 'site', index: row } : { kind: 'link', index: row - sites };
}
