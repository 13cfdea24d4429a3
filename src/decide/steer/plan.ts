/**
 * Plans: what a policy becomes for one group of clients. A plan says which sites may be told and in which preference; health and capacity of
 * now resolve it to a cycle of choices. The map from prefixes to plans is cut once; health never touches it.
 */
import type { NothingHealthy } from '../../config/steering-model.ts';
import type { SteeringView } from './nearest.ts';

/** Sites are indexes into `ServiceSteering.sites`. */
export type Plan =
  /** The first site that is open. */
  | { readonly kind: 'first'; readonly sites: readonly number[] }
  /** The first part that has an open site. */
  | { readonly kind: 'failover'; readonly parts: readonly Plan[] }
  /** Answers are spread over the parts by their weights. */
  | { readonly kind: 'spread'; readonly parts: readonly WeightedPlan[] }
  /** What all parts choose, in one answer, in rotating order. */
  | { readonly kind: 'together'; readonly parts: readonly Plan[] };

export interface WeightedPlan {
  readonly plan: Plan;
  /** Above 0; only the proportions count. */
  readonly weight: number;
}

/** The sites whose addresses one answer tells, in this order; at least one, and none twice. */
export interface Choice {
  readonly sites: readonly number[];
}

/**
 * `free`: a site that is up and has room. `full`: every site that the plan has and that is up is full. `static`: none is up, so the answer
 * is one that may be wrong - what is measured is then more likely wrong than every site dead.
 */
export type ChoiceReason = 'free' | 'full' | 'static';

export interface Choices {
  /** In the order of answers, over and over; of length 1 where every answer is the same. */
  readonly cycle: readonly Choice[];
  readonly reason: ChoiceReason;
}

/** Of answers that are spread. Shares of three digits fit, and so do the shares of 50 sites to a tenth of a point. */
export const MAX_CYCLE = 1024;
/** Below it, `bestLength` could find no length with a small error for many sites. */
const MIN_CYCLE = 512;

/** What of `ServiceSteering` a plan means something by. */
export interface PlannedService {
  readonly service: string;
  readonly sites: readonly string[];
  readonly nothingHealthy: NothingHealthy;
}

/** What a plan gives as things are. Cost: some microseconds, more for spread plans; `CurrentChoices` keeps it. */
export function choices({ service, sites, nothingHealthy }: PlannedService, plan: Plan, view: SteeringView): Choices {
  const isUp = (site: number) => view.siteUp(service, sites[site]);
  const free = resolve(plan, (site) => isUp(site) && !view.siteFull(service, sites[site]));
  if (free !== null) return { cycle: cycleOf(free), reason: 'free' };
  const full = resolve(plan, isUp);
  if (full !== null) return { cycle: cycleOf(full), reason: 'full' };
  const wasUp = (site: number) => view.siteWasUp?.(service, sites[site]) ?? false;
  const last = nothingHealthy === 'last' ? resolve(plan, wasUp) : null;
  const any = last ?? resolve(plan, () => true);
  if (any === null) throw new Error('a plan has no site');
  return { cycle: cycleOf(any), reason: 'static' };
}

interface WeightedChoice {
  readonly sites: readonly number[];
  readonly weight: number;
}

/** The weights add up to 1. Null: no site of the plan is open. */
function resolve(plan: Plan, isOpen: (site: number) => boolean): WeightedChoice[] | null {
  if (plan.kind === 'first') {
    const site = plan.sites.find(isOpen);
    return site === undefined ? null : [{ sites: [site], weight: 1 }];
  }
  if (plan.kind === 'failover') {
    for (const part of plan.parts) {
      const resolved = resolve(part, isOpen);
      if (resolved !== null) return resolved;
    }
    return null;
  }
  return plan.kind === 'spread' ? resolveSpread(plan.parts, isOpen) : resolveTogether(plan.parts, isOpen);
}

/** The shares of parts without an open site go to the others by their weights. */
function resolveSpread(parts: readonly WeightedPlan[], isOpen: (site: number) => boolean): WeightedChoice[] | null {
  const open = parts.flatMap(({ plan, weight }) => {
    const resolved = resolve(plan, isOpen);
    return resolved === null ? [] : [{ resolved, weight }];
  });
  const sum = open.reduce((total, { weight }) => total + weight, 0);
  if (sum === 0) return null;
  const byKey = new Map<string, WeightedChoice>();
  for (const { resolved, weight } of open) {
    for (const choice of resolved) {
      const key = choice.sites.join();
      const share = (byKey.get(key)?.weight ?? 0) + (choice.weight * weight) / sum;
      byKey.set(key, { sites: choice.sites, weight: share });
    }
  }
  return [...byKey.values()];
}

function resolveTogether(parts: readonly Plan[], isOpen: (site: number) => boolean): WeightedChoice[] | null {
  const open = parts.map((part) => resolve(part, isOpen)).filter((resolved) => resolved !== null);
  if (open.length === 0) return null;
  const sites = [...new Set(open.flatMap(([first]) => first.sites))];
  return sites.map((_, turn) => ({ sites: [...sites.slice(turn), ...sites.slice(0, turn)], weight: 1 / sites.length }));
}

function cycleOf(weighted: readonly WeightedChoice[]): Choice[] {
  if (weighted.length === 1) return [{ sites: weighted[0].sites }];
  const order = spreadOrder(weighted.map(({ weight }) => weight));
  const distinct = weighted.map(({ sites }): Choice => ({ sites }));
  return order.map((index) => distinct[index]);
}

/**
 * Turns of a cycle so that after any number of turns each index had its share to within one turn (error diffusion). The weights add up to 1.
 * R. Tijdeman, "The chairman assignment problem", 1980: of those whose share has come, whose time is up first.
 */
export function spreadOrder(weights: readonly number[]): number[] {
  const counts = bestCounts(weights);
  const length = counts.reduce((sum, count) => sum + count, 0);
  const had = new Int32Array(counts.length);
  const slack = 1 - 1 / (2 * counts.length - 2 || 1);
  const order: number[] = [];
  for (let turn = 0; turn < length; turn++) {
    let best = -1;
    let bestDeadline = Number.POSITIVE_INFINITY;
    for (let index = 0; index < counts.length; index++) {
      const share = counts[index] / length;
      if (had[index] === counts[index] || share * (turn + 1) - had[index] < 1 - slack - 1e-9) continue;
      const deadline = (had[index] + slack) / share;
      if (deadline < bestDeadline) [best, bestDeadline] = [index, deadline];
    }
    if (best < 0) throw new Error('no share has come');
    had[best]++;
    order.push(best);
  }
  return order;
}

/** Turns of each index in the shortest cycle that has the weights exactly, or else in the one that comes nearest to them. */
function bestCounts(weights: readonly number[]): number[] {
  let best: number[] = [];
  let bestError = Number.POSITIVE_INFINITY;
  for (let length = 1; length <= MAX_CYCLE; length++) {
    const counts = apportionTurns(weights, length);
    const error = counts.reduce((most, count, index) => Math.max(most, Math.abs(count / length - weights[index])), 0);
    if (error < 1e-12) return counts;
    if (length >= MIN_CYCLE && error < bestError) [best, bestError] = [counts, error];
  }
  return best;
}

/** By largest remainders. */
function apportionTurns(weights: readonly number[], length: number): number[] {
  const counts = weights.map((weight) => Math.floor(weight * length + 1e-9));
  let left = length - counts.reduce((sum, count) => sum + count, 0);
  const byRemainder = weights.map((weight, index) => [weight * length - counts[index], index] as const);
  byRemainder.sort(([a, i], [b, j]) => b - a || i - j);
  for (const [, index] of byRemainder) if (left-- > 0) counts[index]++;
  return counts;
}
