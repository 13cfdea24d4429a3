/**
 * The synthetic internet in words: what a world is made of, what may happen to it, and the truth that a simulation is scored by.
 *
 * Numbers of prefixes: users have 0 to `users - 1`; resolver r asks from prefix `users + r`; a client subnet (RFC 7871) is the number of
 * the user's prefix. So all of them go into the same columns as in production.
 */
import type { Location } from '../config/model.ts';
import type { AnswerDecay, Observations, PrefixFacts } from '../decide/steer/measured.ts';

export type ServiceClass = 'latency' | 'throughput' | 'batch';

/** How resolvers behave. Shares are of resolvers unless they say otherwise; all between 0 and 1. */
export interface ResolverParameters {
  /** Of the demand of an AS, on average: by way of public resolvers. */
  readonly publicShare: number;
  /** Of user prefixes: companies with a resolver of their own. */
  readonly companyShare: number;
  /** Of company resolvers: in another city than the users. */
  readonly companyFarShare: number;
  /** Of ASes: all resolvers in one city, for users everywhere. */
  readonly centralShare: number;
  /** Of (city, AS) pairs: the public resolver's anycast leads elsewhere than to the nearest of its places. */
  readonly anycastMissShare: number;
  /** Of public operators that send client subnets: the first of these in order of size; of others the share that does. */
  readonly ecsPublicOperators: number;
  readonly ecsShare: number;
  /** Refresh answers that are asked for in the last tenth of their TTL. */
  readonly prefetchShare: number;
  /** Raise TTLs to at least `clampMinSeconds`. */
  readonly clampMinShare: number;
  readonly clampMinSeconds: number;
  /** Lower TTLs to at most `clampMaxSeconds`. */
  readonly clampMaxShare: number;
  readonly clampMaxSeconds: number;
  /** Answer the first question after expiry with the old answer and ask then; and keep old answers while nobody answers. */
  readonly serveStaleShare: number;
  /** Behind them a large share of users holds answers far longer than the TTL. */
  readonly violatorShare: number;
  /** Of the users of a violator, the late share; between both. */
  readonly violatorLate: readonly [number, number];
  /** The time in which that falls to 1/e; between both. */
  readonly violatorSeconds: readonly [number, number];
  /** Of the users of any other resolver, the late share, up to this (browsers, long-lived programs), and its time. */
  readonly lateShare: number;
  readonly lateSeconds: number;
  /** Caches behind the prefix of the largest resolver; smaller ones have fewer, down to one. */
  readonly largestPool: number;
  /** Lookups at the resolver by connection: median and spread (standard deviation of the logarithm). */
  readonly lookupsByConnection: number;
  readonly lookupSpread: number;
}

/** How packets travel. */
export interface NetworkParameters {
  /** Way through fibre over distance: median and spread (standard deviation of the logarithm) between an AS in a region and a site. */
  readonly stretch: number;
  readonly stretchSpread: number;
  /** Of (place, site) pairs: a way far longer than geography says, and by how much; between both. */
  readonly detourShare: number;
  readonly detourMs: readonly [number, number];
  /** Of (place, site) pairs: slower in the evening of the place, by up to this at its peak. */
  readonly congestedShare: number;
  readonly congestedMs: number;
  /** Slow drift of a (place, site) pair, at most, up and down, over hours. */
  readonly driftMs: number;
  /** Access delay of a prefix: median and spread (standard deviation of the logarithm). */
  readonly accessMs: number;
  readonly accessSpread: number;
  /** Of prefixes: databases of places have them in another city of the country. */
  readonly misplacedShare: number;
  /** Mean of what one connection's round trip is above the prefix's: exponential. */
  readonly jitterMs: number;
}

export interface DemandParameters {
  /** New connections a second, mean over the day, all services. */
  readonly connectionsPerSecond: number;
  /** Standard deviation of the logarithm of the weight of a prefix. */
  readonly prefixSpread: number;
  /** Demand at the peak of the day over the mean; 1: flat. */
  readonly dayPeak: number;
  /** Standard deviation of a place's demand about its curve, as a share, from minute to minute. */
  readonly noise: number;
}

export interface ServiceParameters {
  readonly name: string;
  readonly class: ServiceClass;
  /** Of all connections; the shares of all services add up to 1. */
  readonly share: number;
  readonly ttlSeconds: number;
  /** Both ways, bits. */
  readonly bitsPerConnection: number;
}

export interface ObservationParameters {
  /** Rows of round trips in a step, at most: of connections picked at random. */
  readonly rttRows: number;
  /** Rows of traffic in a step, at most: the largest; all others are added up by site and service. */
  readonly trafficRows: number;
  /** Share of connections of the first service whose page asks for a name made for it alone; 0: no beacons. */
  readonly beaconShare: number;
}

export interface WorldParameters {
  /** Of users: 10 to 1,000,000. */
  readonly prefixes: number;
  /** Of resolvers: 1 to 100,000. */
  readonly resolvers: number;
  /** 1 to 100. */
  readonly sites: number;
  /** Of user prefixes: /48 of IPv6, the rest /24 of IPv4. */
  readonly ipv6Share: number;
  /** Capacity of all sites together over the peak of all demand. */
  readonly headroom: number;
  /** The same of the links of a site, over the site's own share. */
  readonly linkHeadroom: number;
  readonly linksPerSite: number;
  readonly resolver: ResolverParameters;
  readonly network: NetworkParameters;
  readonly demand: DemandParameters;
  readonly services: readonly ServiceParameters[];
  readonly observation: ObservationParameters;
}

/** Of an AS for its users, open to all, or of a company. */
export type ResolverKind = 'isp' | 'public' | 'company';

export interface City {
  readonly name: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly location: Location;
  readonly population: number;
}

export interface SimulatedSite {
  readonly name: string;
  readonly city: number;
  readonly location: Location;
  /** New connections a second, all services. */
  readonly capacity: number;
  /** Of a connection of class `batch`, in any unit. */
  readonly batchCost: number;
}

export interface SimulatedLink {
  readonly name: string;
  /** The site that it belongs to; -1: shared by the sites of a region, for users of another. */
  readonly site: number;
  readonly capacityBps: number;
}

/** Links on the way between a region and a site, at most: the first is the site's own, the second shared. */
export const LINKS_ON_PATH = 2;

/**
 * The world as it begins. A *place* is an AS in a city (large ones are several): all of its prefixes share ways to the sites and the hour
 * of the day. A *pair* is a user prefix at one of its resolvers.
 */
export interface World {
  readonly parameters: WorldParameters;
  readonly seed: number;
  readonly cities: readonly City[];
  readonly sites: readonly SimulatedSite[];
  readonly links: readonly SimulatedLink[];
  readonly regions: readonly string[];
  /** [(region * sites + site) * LINKS_ON_PATH + n]: links on the way; -1: none. */
  readonly paths: Int32Array;

  readonly users: number;
  readonly resolvers: number;
  /** [prefix], users first, then resolvers. */
  readonly placeOf: Uint32Array;
  /** [place]. */
  readonly places: {
    readonly count: number;
    readonly city: Uint32Array;
    readonly asn: Uint32Array;
    /** Number of the country by its first appearance among cities. */
    readonly country: Uint16Array;
    readonly region: Uint8Array;
  };
  /** [place * sites + site]: round-trip times without the prefix's own part, and what the evening adds at most. */
  readonly ways: { readonly baseMs: Float32Array; readonly congestionMs: Float32Array };
  /** [user prefix]: share of all demand; they add up to 1. */
  readonly weight: Float64Array;
  /** [user prefix]: 4 or 6. */
  readonly family: Uint8Array;
  /** [user prefix]: part of its round-trip times, whatever the site. */
  readonly accessMs: Float32Array;

  /** Pairs in order of their prefix; those of prefix p begin at `pairsOf[p]` and end before `pairsOf[p + 1]`. */
  readonly pairsOf: Uint32Array;
  /** [pair]. */
  readonly pairPrefix: Uint32Array;
  /** [pair]: number of a resolver, below `resolvers`. */
  readonly pairResolver: Uint32Array;
  /** [pair]: of the prefix's demand; those of a prefix add up to 1. */
  readonly pairShare: Float32Array;

  /** [resolver]. */
  readonly resolver: {
    readonly kind: readonly ResolverKind[];
    /** Caches behind its prefix. */
    readonly pool: Uint16Array;
    /** 1: sends client subnets. */
    readonly ecs: Uint8Array;
    readonly prefetch: Uint8Array;
    readonly serveStale: Uint8Array;
    /** Seconds; 0: none. */
    readonly clampMin: Uint32Array;
    readonly clampMax: Uint32Array;
    readonly lookupsByConnection: Float32Array;
    readonly lateShare: Float32Array;
    readonly lateSeconds: Float32Array;
    /** 1: of its users so many go on after the TTL, or for so long, that it violates it. What detectors are scored by. */
    readonly violator: Uint8Array;
  };
  /** What an operator may know before anything is measured: AS, country and distance of every prefix. */
  readonly facts: PrefixFacts;
}

/** What happens, and when on the internet's clock. */
export type WorldEvent = { readonly atMs: number } & (
  | { readonly kind: 'site-down' | 'site-up'; readonly site: number }
  /** Factor on the capacity that it began with. */
  | { readonly kind: 'site-capacity'; readonly site: number; readonly factor: number }
  /** The site's other links take over, or the long way round for a shared one. */
  | { readonly kind: 'link-down' | 'link-up'; readonly link: number }
  | { readonly kind: 'link-capacity'; readonly link: number; readonly factor: number }
  | {
      readonly kind: 'flash-crowd';
      /** -1: all. */
      readonly service: number;
      /** -1: everywhere. */
      readonly region: number;
      readonly factor: number;
      readonly seconds: number;
    }
  | { readonly kind: 'ttl'; readonly service: number; readonly ttlSeconds: number }
  /** The ways from an AS (0: all) to a site (-1: all) get longer or, below 0, shorter. */
  | { readonly kind: 'path-shift'; readonly asn: number; readonly site: number; readonly ms: number }
);

/** What DNS says now: `resolver` and `subnet` are prefixes (NO_PREFIX: no subnet sent). NO_SITE: no answer. Called once a lookup. */
export type Answer = (resolver: number, subnet: number, service: number) => number;

/** What really happened in a step. Columns are used again by the next one. */
export interface Truth {
  /** Connections that users wanted; those at sites and those lost add up to it. */
  readonly wanted: number;
  /** No answer, or the site was down. */
  readonly lost: number;
  /** [service * sites + site]: connections. */
  readonly arrived: Float64Array;
  /** [service]: sum over arrived connections of their round trips without jitter, milliseconds. */
  readonly rttSumMs: Float64Array;
  /** [link]: bits a second that were offered; observed is no more than the capacity. */
  readonly offeredBps: Float64Array;
  /** Lookups that were answered. */
  readonly lookups: number;
}

export interface StepResult {
  readonly observations: Observations;
  readonly truth: Truth;
}

/** What holds at the clock's present; by methods of the internet. For scoring and optima. */
export interface TrueState {
  readonly nowMs: number;
  /** [site]: 1: up. */
  readonly siteUp: Uint8Array;
  /** [site]: new connections a second; 0 while it is down. */
  readonly siteCapacity: Float64Array;
  /** [link]: bits a second; 0 while it is down. */
  readonly linkCapacity: Float64Array;
  /** As `World.paths`, after links went down. */
  readonly paths: Int32Array;
  /** Without jitter. */
  rttMs(prefix: number, site: number): number;
  /** New connections a second that the users of a prefix want. */
  demandOfPrefix(prefix: number, service: number): number;
  /** The same behind a resolver, by way of all its caches. */
  demandOfResolver(resolver: number, service: number): number;
  /** Of a change of the answer: the share of users who still go where they went, `seconds` after, on average over its caches' phases. */
  remaining(resolver: number, service: number, seconds: number): number;
  decayOf(resolver: number, service: number): AnswerDecay;
}
