/**
 * What steering is told of the world and what it concludes: the words that estimators, solver, control, production and simulation share.
 *
 * Client prefixes (/24 of IPv4, /48 of IPv6) are numbers below a bound; so are sites and services, by their places in lists. One space of
 * numbers serves users' prefixes, the prefixes that resolvers ask from, and those of client subnets (RFC 7871).
 */

/** No prefix, no site: as a number in columns. */
export const NO_PREFIX = 0xffff_ffff;
export const NO_SITE = 0xffff;

/** Rows of a batch, in columns of which the first `length` entries count. Who is handed one reads it at once: columns are used again. */
export interface Rows {
  readonly length: number;
}

/** Round trips, one a row: of connections picked at random. */
export interface RttRows extends Rows {
  /** Of the user. */
  readonly prefix: Uint32Array;
  readonly site: Uint16Array;
  readonly ms: Float32Array;
}

/** What arrived at VIPs in the interval. */
export interface TrafficRows extends Rows {
  /** Of the user; NO_PREFIX: all prefixes that had no place of their own. */
  readonly prefix: Uint32Array;
  readonly site: Uint16Array;
  readonly service: Uint16Array;
  /** New ones. */
  readonly connections: Float64Array;
  /** Both ways where both are seen, else those of the users. */
  readonly bytes: Float64Array;
}

/** What name servers answered in the interval, address queries only. */
export interface QueryRows extends Rows {
  /** Of the resolver. */
  readonly resolver: Uint32Array;
  /** Of the users, where the resolver told (RFC 7871); else NO_PREFIX. */
  readonly subnet: Uint32Array;
  readonly service: Uint16Array;
  /** Whose address was answered. */
  readonly site: Uint16Array;
  readonly queries: Float64Array;
}

/** Users who fetched a name made for them alone: whose resolver asked for it. */
export interface BeaconRows extends Rows {
  readonly resolver: Uint32Array;
  /** Of the user. */
  readonly prefix: Uint32Array;
}

/** All that was measured in an interval. */
export interface Observations {
  /** End of the interval, on a clock that only goes forward. */
  readonly nowMs: number;
  readonly intervalMs: number;
  readonly rtt: RttRows;
  readonly traffic: TrafficRows;
  readonly queries: QueryRows;
  readonly beacons: BeaconRows;
  /** [link]: bits a second; NaN: not measured. */
  readonly linkLoad: Float64Array;
}

/** Where a prefix is known to be, before anything is measured. */
export interface PrefixFacts {
  /** 0: unknown. */
  asn(prefix: number): number;
  /** A number for each country; -1: unknown. */
  country(prefix: number): number;
  /** Kilometres from the prefix to the site; NaN: unknown. */
  distanceKm(prefix: number, site: number): number;
}

/** An estimate; `low` and `high` hold the truth with 90 % probability. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** From where a round-trip time is known, the best first. */
export type RttSource = 'measured' | 'as' | 'country' | 'distance';

export interface RttEstimate extends Estimate {
  readonly source: RttSource;
}

/** Answers to a question by way of caches: which share of the users still goes where the answer before sent them. */
export interface AnswerDecay {
  readonly ttlSeconds: number;
  /** Share of the traffic that goes on after the TTL; 0: the resolver obeys it. */
  readonly lateShare: number;
  /** Of the late share, the time in which it falls to 1/e. */
  readonly lateSeconds: number;
}

/** Which shares of a group's demand go to which sites; most go to one. */
export interface SiteShare {
  readonly site: number;
  /** Above 0, at most 1. */
  readonly share: number;
}

/**
 * What DNS answers from: for each asking prefix (a resolver's, or a client subnet's) and class the site, or several with shares.
 * Prefixes that are not in it are answered as without measurements.
 */
export interface MeasuredMap {
  /** Rises with each change. */
  readonly version: number;
  /** Asking prefixes, rising. */
  readonly groups: Uint32Array;
  /** Number of classes; item = index of the group * classes + class. */
  readonly classes: number;
  /** [item]; NO_SITE: no opinion. */
  readonly site: Uint16Array;
  /** [item]: all shares, of items that are split. */
  readonly splits: ReadonlyMap<number, readonly SiteShare[]>;
}
