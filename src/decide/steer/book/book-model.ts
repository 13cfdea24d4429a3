/** What a resolver book is told once, and what it says. */
import type { Estimate } from '../measured.ts';

export interface BookModel {
  /** [service]: number of its class. */
  readonly classOf: readonly number[];
  readonly classes: number;
  readonly sites: number;
  /** Of answers. */
  readonly ttlSeconds: number;
  /** [service], where it is not the same for all. */
  readonly serviceTtlSeconds?: readonly number[];
}

export interface BookBounds {
  /** Resolver prefixes; those with the fewest queries are forgotten first. */
  readonly resolvers: number;
  /** Client prefixes with shares of their own; those with the least demand are forgotten first. */
  readonly users: number;
  /** Pairs of (network, resolver). */
  readonly pairs: number;
}

/** 260 bytes a client prefix, about 70 and 60 a service for a resolver, 32 a pair: 110 MB with three services when all is full. */
export const DEFAULT_BOUNDS: BookBounds = { resolvers: 100_000, users: 262_144, pairs: 500_000 };

/** How the demand behind a resolver is known, the best first. */
export const DEMAND_METHODS = ['traffic', 'beacons', 'ecs', 'gaps'] as const;
export type DemandMethod = (typeof DEMAND_METHODS)[number];

/** New connections a second. */
export interface DemandEstimate extends Estimate {
  /** From where most of it is known. */
  readonly method: DemandMethod;
  /** At least `low`: the resolver's caches are saturated, and nothing else is known. `value` is `low`, `high` Infinity then. */
  readonly isAtLeast: boolean;
}

/** Where the users behind a resolver are. */
export interface UserPlace {
  readonly prefix: number;
  /** Of the resolver's demand. */
  readonly share: number;
}

export function ttlOf({ ttlSeconds, serviceTtlSeconds }: BookModel, service: number): number {
  return serviceTtlSeconds?.[service] ?? ttlSeconds;
}

/** Resolvers that a client prefix may use, at most. */
export const CANDIDATES = 8;
/** Quantile of the normal distribution: 90 % lie between -Z90 and Z90. */
export const Z90 = 1.645;
