/** What the resolver book says, held against the truth. */
import type { ResolverBook } from '../decide/steer/book/resolver-book.ts';
import type { EstimatorResult } from './report/result.ts';
import type { TrueState, World } from './types.ts';

/** Resolvers that are looked at, those with most demand. */
const TOP = 500;
/** Share of the resolvers that have to be within a target. */
const MOST = 0.9;
/** Fewer tell nothing of a share. */
const LEAST_COUNT = 20;
/** Late shares after the TTL above which a resolver is said to violate it, and for how long at least. */
const LATE_SHARE = 0.1;
const LATE_SECONDS = 600;

export interface EstimatorTargets {
  /** Largest relative error of demand. */
  readonly demandError: number | null;
  readonly withPlaces: boolean;
  readonly withViolators: boolean;
}

export function compareEstimates(
  world: World,
  book: ResolverBook,
  state: TrueState,
  { demandError, withPlaces, withViolators }: EstimatorTargets,
): EstimatorResult[] {
  const truth = trueDemand(world, state);
  const top = largest(truth, TOP);
  const hour = state.nowMs / 3_600_000;
  return [
    ...compareDemand(world, book, truth, top, hour, demandError),
    ...compareGaps(world, book, truth, hour),
    ...(withPlaces ? comparePlaces(world, book, state, top, hour) : []),
    ...(withViolators ? compareViolators(world, book, truth, hour) : []),
  ];
}

/** [resolver]: new connections a second behind it. */
function trueDemand({ resolvers, parameters }: World, state: TrueState): Float64Array {
  return Float64Array.from({ length: resolvers }, (_, resolver) => {
    let sum = 0;
    for (let service = 0; service < parameters.services.length; service++)
      sum += state.demandOfResolver(resolver, service);
    return sum;
  });
}

function largest(values: Float64Array, count: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b] - values[a])
    .slice(0, count)
    .filter((at) => values[at] > 0);
}

function compareDemand(
  { users }: World,
  book: ResolverBook,
  truth: Float64Array,
  top: readonly number[],
  hour: number,
  target: number | null,
): EstimatorResult[] {
  const errors: number[] = [];
  let covered = 0;
  for (const resolver of top) {
    const estimate = book.demandOf(users + resolver);
    if (estimate === null || estimate.isAtLeast) continue;
    errors.push(Math.abs(estimate.value - truth[resolver]) / truth[resolver]);
    if (estimate.low <= truth[resolver] && truth[resolver] <= estimate.high) covered++;
  }
  errors.sort((a, b) => a - b);
  const within = (limit: number) => errors.filter((error) => error <= limit).length / (top.length || 1);
  const base = {
    name: `demand behind the ${top.length} largest resolvers`,
    hour,
    asked: top.length,
    answered: errors.length,
    least: null,
    most: null,
  };
  const limit = target ?? 0.2;
  return [
    {
      ...base,
      measure: `share within ${Math.round(limit * 100)} %`,
      value: within(limit),
      least: target === null ? null : MOST,
    },
    { ...base, measure: 'median error', value: errors[Math.floor(errors.length / 2)] ?? Number.NaN },
    { ...base, measure: 'intervals that hold the truth', value: covered / (errors.length || 1) },
  ];
}

/** Of all resolvers of which gaps between queries tell most. */
function compareGaps(
  { users, resolvers }: World,
  book: ResolverBook,
  truth: Float64Array,
  hour: number,
): EstimatorResult[] {
  let [asked, answered, covered] = [0, 0, 0];
  for (let resolver = 0; resolver < resolvers; resolver++) {
    const estimate = book.demandOf(users + resolver);
    if (estimate === null || estimate.method !== 'gaps') continue;
    asked++;
    if (estimate.isAtLeast) continue;
    answered++;
    if (estimate.low <= truth[resolver] && truth[resolver] <= estimate.high) covered++;
  }
  const isEnough = answered >= LEAST_COUNT;
  return [
    {
      name: 'demand by gaps between queries',
      hour,
      asked,
      answered,
      measure: 'intervals that hold the truth',
      value: isEnough ? covered / answered : Number.NaN,
      least: isEnough ? 0.85 : null,
      most: isEnough ? 0.95 : null,
    },
  ];
}

/** Users by the site that is nearest to them: largest difference of a share, in points. */
function comparePlaces(
  world: World,
  book: ResolverBook,
  state: TrueState,
  top: readonly number[],
  hour: number,
): EstimatorResult[] {
  const area = Uint16Array.from({ length: world.users }, (_, prefix) => nearestSite(world, prefix));
  const shares = trueShares(world, state, top, area);
  const errors: number[] = [];
  for (const [at, resolver] of top.entries()) {
    const { prefix, demand } = book.placeColumns(world.users + resolver);
    const estimated = new Float64Array(world.sites.length);
    let sum = 0;
    for (let place = 0; place < prefix.length; place++) {
      if (prefix[place] >= world.users) continue;
      estimated[area[prefix[place]]] += demand[place];
      sum += demand[place];
    }
    if (sum === 0) continue;
    let worst = 0;
    for (const [site, value] of estimated.entries()) worst = Math.max(worst, Math.abs(value / sum - shares[at][site]));
    errors.push(worst);
  }
  errors.sort((a, b) => a - b);
  const base = {
    name: 'where the users are, by nearest site',
    hour,
    asked: top.length,
    answered: errors.length,
    most: null,
  };
  const within = errors.filter((error) => error <= 0.05).length / (top.length || 1);
  return [
    { ...base, measure: 'share of resolvers with no share off by more than 5 points', value: within, least: MOST },
    {
      ...base,
      measure: 'median of the largest error of a share',
      value: errors[Math.floor(errors.length / 2)] ?? Number.NaN,
      least: null,
    },
  ];
}

function nearestSite({ facts, sites }: World, prefix: number): number {
  let best = 0;
  for (let site = 1; site < sites.length; site++)
    if (facts.distanceKm(prefix, site) < facts.distanceKm(prefix, best)) best = site;
  return best;
}

/** [place in `top`][site]. */
function trueShares(world: World, state: TrueState, top: readonly number[], area: Uint16Array): Float64Array[] {
  const placeOf = new Map(top.map((resolver, at) => [resolver, at]));
  const shares = top.map(() => new Float64Array(world.sites.length));
  const sums = new Float64Array(top.length);
  for (let prefix = 0; prefix < world.users; prefix++) {
    for (let pair = world.pairsOf[prefix]; pair < world.pairsOf[prefix + 1]; pair++) {
      const at = placeOf.get(world.pairResolver[pair]);
      if (at === undefined) continue;
      let wanted = 0;
      for (let service = 0; service < world.parameters.services.length; service++)
        wanted += state.demandOfPrefix(prefix, service) * world.pairShare[pair];
      shares[at][area[prefix]] += wanted;
      sums[at] += wanted;
    }
  }
  for (const [at, share] of shares.entries()) for (const site of share.keys()) share[site] /= sums[at] || 1;
  return shares;
}

/** Among resolvers with some demand: of the smallest no traffic tells anything. */
function compareViolators(
  { users, resolver }: World,
  book: ResolverBook,
  truth: Float64Array,
  hour: number,
): EstimatorResult[] {
  let [found, right, real] = [0, 0, 0];
  const asked = largest(truth, TOP);
  for (const number of asked) {
    const { lateShare, lateSeconds } = book.decayOf(users + number);
    const isFound = lateShare >= LATE_SHARE && lateSeconds >= LATE_SECONDS;
    if (isFound) found++;
    if (resolver.violator[number] === 1) real++;
    if (isFound && resolver.violator[number] === 1) right++;
  }
  const base = {
    name: `resolvers that keep answers too long, among the ${asked.length} largest`,
    hour,
    asked: real,
    answered: found,
    most: null,
  };
  return [
    { ...base, measure: 'precision', value: found > 0 ? right / found : Number.NaN, least: MOST },
    { ...base, measure: 'recall', value: real > 0 ? right / real : Number.NaN, least: MOST },
  ];
}
