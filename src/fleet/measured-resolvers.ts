/** What the resolver book says, in words of people: prefixes, not numbers; and no client prefix from which too few came. */
import type { DemandEstimate } from '../decide/steer/book/book-model.ts';
import type { ResolverBook } from '../decide/steer/book/resolver-book.ts';
import type { AnswerDecay } from '../decide/steer/measured.ts';
import type { GroupExplanation, SteeringModel } from '../decide/steer/measured-model.ts';
import type { PrefixNumbers } from '../decide/steer/prefix-numbers.ts';
import { type Address, formatPrefix } from '../net/address.ts';

/** Connections an hour from a client prefix, below which it is not named. */
export const LEAST_CROWD_PER_HOUR = 20;
const HOUR_SECONDS = 3600;
const MOST_PLACES = 64;

export interface ResolverQuestion {
  /** Of this resolver alone; null: of the most important. */
  readonly of: Address | null;
  readonly limit: number;
}

/** New connections a second; `high` null: not bounded. */
export interface ToldDemand extends Pick<DemandEstimate, 'value' | 'low' | 'method' | 'isAtLeast'> {
  readonly high: number | null;
}

export interface ToldResolver {
  readonly prefix: string;
  readonly queriesPerSecond: number;
  /** Null: nothing is known of its users. */
  readonly demand: ToldDemand | null;
  readonly classes: readonly { readonly kind: string; readonly demand: number }[];
  /** Of all demand behind resolvers: what an answer to this one moves. */
  readonly share: number;
  /** Milliseconds that its `latency` users would gain at the best site, and that times their demand; null: not known. */
  readonly gainMs: number | null;
  readonly impact: number | null;
  readonly ecsShare: number;
  readonly decay: AnswerDecay;
  readonly places: readonly { readonly prefix: string; readonly share: number }[];
  /** Of its demand, by prefixes that are not named. */
  readonly unnamedShare: number;
}

export interface ToldResolvers {
  readonly resolvers: readonly ToldResolver[];
  readonly known: number;
  /** Resolvers and client prefixes that gave way to more important ones. */
  readonly forgotten: { readonly resolvers: number; readonly clients: number };
}

export interface ResolverSources {
  readonly book: ResolverBook;
  readonly numbers: PrefixNumbers;
  readonly model: SteeringModel;
  readonly explain: (group: number, ofClass: number) => GroupExplanation | null;
}

/** Cost: estimates, if something was measured since, and a sort of all resolvers. */
export function tellResolvers(sources: ResolverSources, { of, limit }: ResolverQuestion): ToldResolvers {
  const { book, numbers } = sources;
  const all = book.list();
  const wanted = of === null ? all.subarray(0, limit) : all.filter((prefix) => prefix === findOf(numbers, of));
  let total = 0;
  for (const prefix of all) total += book.demandOf(prefix)?.value ?? 0;
  return {
    resolvers: [...wanted].filter((prefix) => numbers.has(prefix)).map((prefix) => tell(sources, prefix, total)),
    known: all.length,
    forgotten: { resolvers: book.resolvers.slots.forgotten, clients: book.users.slots.forgotten },
  };
}

function findOf(numbers: PrefixNumbers, { family, bytes }: Address): number {
  return numbers.find(family, bytes, 0);
}

function tell({ book, numbers, model, explain }: ResolverSources, prefix: number, total: number): ToldResolver {
  const demand = book.demandOf(prefix);
  const classes = model.classes.map(({ kind }, c) => ({ kind, demand: book.demandOf(prefix, c)?.value ?? 0 }));
  const latency = model.classes.findIndex(({ kind }) => kind === 'latency');
  const gainMs = latency < 0 ? null : gainOf(explain(prefix, latency));
  return {
    prefix: formatPrefix(numbers.prefixOf(prefix)),
    queriesPerSecond: book.rateOf(prefix),
    demand: demand === null ? null : { ...demand, high: Number.isFinite(demand.high) ? demand.high : null },
    classes,
    share: demand === null || total === 0 ? 0 : demand.value / total,
    gainMs,
    impact: gainMs === null ? null : gainMs * classes[latency].demand,
    ecsShare: book.ecsShareOf(prefix),
    decay: book.decayOf(prefix),
    ...placesOf(book, numbers, prefix),
  };
}

function gainOf(explained: GroupExplanation | null): number | null {
  if (explained === null || explained.candidates.length === 0) return null;
  const now = explained.candidates.reduce((sum, { rttMs, share }) => sum + rttMs * share, 0);
  const shares = explained.candidates.reduce((sum, { share }) => sum + share, 0);
  if (shares === 0) return null;
  return Math.max(0, now / shares - Math.min(...explained.candidates.map(({ rttMs }) => rttMs)));
}

function placesOf(book: ResolverBook, numbers: PrefixNumbers, resolver: number) {
  const least = LEAST_CROWD_PER_HOUR / HOUR_SECONDS;
  const places = book
    .placesOf(resolver, MOST_PLACES)
    .filter(({ prefix }) => numbers.has(prefix) && book.demandOfUser(prefix) >= least)
    .map(({ prefix, share }) => ({ prefix: formatPrefix(numbers.prefixOf(prefix)), share }));
  return { places, unnamedShare: Math.max(0, 1 - places.reduce((sum, { share }) => sum + share, 0)) };
}
