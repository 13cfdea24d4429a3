/** The part of the configuration that says which sites DNS tells to whom: policies, bounds, and what steering knows besides the file. */
import type { Prefix } from '../net/address.ts';
import type { AddressSegments } from '../net/address-segments.ts';

export const CONTINENTS = ['AF', 'AN', 'AS', 'EU', 'NA', 'OC', 'SA'] as const;
export type Continent = (typeof CONTINENTS)[number];

export const POLICY_KINDS = ['steered', 'weighted', 'failover', 'geo', 'all'] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** Which sites a client is sent to: docs/dns.md. Sites are named; each has addresses of the service. */
export type Policy =
  | { readonly kind: 'site'; readonly site: string }
  /** The nearest of these; null: of all sites of the service. */
  | { readonly kind: 'steered'; readonly sites: readonly string[] | null }
  /** By shares of demand. At least one part. */
  | { readonly kind: 'weighted'; readonly parts: readonly WeightedPolicy[] }
  /** The first part that has a site which is up and not full. */
  | { readonly kind: 'failover'; readonly parts: readonly Policy[] }
  /** The first rule that the client fits; the last fits all. */
  | { readonly kind: 'geo'; readonly rules: readonly GeoRule[] }
  /** Several sites in one answer, in rotating order; null: all sites of the service. */
  | { readonly kind: 'all'; readonly sites: readonly string[] | null };

export interface WeightedPolicy {
  /** Above 0; only the proportions count. */
  readonly weight: number;
  readonly policy: Policy;
}

/** Fits a client that fits every list that is not empty, and the circle if there is one. */
export interface GeoRule {
  readonly continents: readonly Continent[];
  /** ISO 3166-1 alpha-2. */
  readonly countries: readonly string[];
  readonly asns: readonly number[];
  /** Names of entries of `dns.networks`. */
  readonly networks: readonly string[];
  readonly within: {
    readonly center: { readonly latitudeDegrees: number; readonly longitudeDegrees: number };
    readonly radiusKm: number;
  } | null;
  readonly policy: Policy;
}

export const NOTHING_HEALTHY = ['all', 'last'] as const;
/** What is answered when no site that the policy has is up: as if all were, or as before the last one went. */
export type NothingHealthy = (typeof NOTHING_HEALTHY)[number];

/** Bounds of how demand is moved. */
export interface SteeringLimits {
  /** A unit of a weighted policy (a resolver, a prefix) with more than this share of the demand is split. */
  readonly splitShare: number;
  /** Share of the demand of a service that a reload may move at once; 1: no limit. */
  readonly maxMovedShare: number;
  readonly measured: MeasuredSettings;
}

export const MEASURED_MODES = ['off', 'observe', 'on'] as const;
/** What is done with what is measured: nothing is measured; it is told what would be done; DNS answers by it. */
export type MeasuredMode = (typeof MEASURED_MODES)[number];

/** How steering by what is measured may act. Shares are from 0 to 1. */
export interface MeasuredSettings {
  readonly mode: MeasuredMode;
  /** From one decision to the next. */
  readonly intervalMs: number;
  /** Of the demand of a class: more is not moved by one decision. */
  readonly stepShare: number;
  /** Of what it costs now: a smaller gain is not worth a move. */
  readonly deadBandShare: number;
  /** Who was moved stays for so long, unless something is down or full. */
  readonly holdMs: number;
  /** Of each capacity: kept free. */
  readonly reserveShare: number;
  /** Of the predicted demand: may go elsewhere to measure there. */
  readonly exploreShare: number;
  /** What each stage of the solver may give up for the next. */
  readonly slackShare: number;
  readonly maxGroups: number;
  /** Bits a second. */
  readonly sharedLinks: ReadonlyMap<string, number>;
}

/** As in a file that says nothing of it. */
export const UNMEASURED: MeasuredSettings = {
  mode: 'off',
  intervalMs: 30_000,
  stepShare: 0.1,
  deadBandShare: 0.05,
  holdMs: 120_000,
  reserveShare: 0.1,
  exploreShare: 0.01,
  slackShare: 0.01,
  maxGroups: 100_000,
  sharedLinks: new Map(),
};

/** The operator's order that clients of a prefix go to a site as long as it is up. */
export interface SteeringPin {
  /** Null: all clients. */
  readonly prefix: Prefix | null;
  /** Null: of every service that has addresses at the site. */
  readonly service: string | null;
  readonly site: string;
  /** Milliseconds since 1970; null: until it is taken away. */
  readonly untilMs: number | null;
}

/** Which part of a weighted policy each unit was given: service, place of the policy, unit, names of parts. */
export type KeptAssignments = ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>>;

/** What steering knows besides the file: orders of the operator, and where units are, so that they stay there. */
export interface SteeringState {
  readonly pins: readonly SteeringPin[];
  readonly assignments: KeptAssignments;
  /** Null: DNS answers without measurements. */
  readonly measured: MeasuredAnswers | null;
}

export const NO_STEERING_STATE: SteeringState = { pins: [], assignments: new Map(), measured: null };

/** Which sites come first for which clients, by what was measured; the others follow by distance. In memory that threads share. */
export interface MeasuredAnswers {
  /** Rises with each change. */
  readonly version: number;
  /** Names, by the numbers in `orders`. */
  readonly sites: readonly string[];
  /** How many asking prefixes it is for. */
  readonly groups: number;
  /** By name of service. */
  readonly classes: ReadonlyMap<string, number>;
  readonly classCount: number;
  readonly orders: readonly MeasuredOrder[];
  /** [row * classCount + class]: index in `orders`; -1: nothing was measured. */
  readonly rows: Int32Array;
  /** Of those who ask; values are rows. */
  readonly ipv4: AddressSegments;
  readonly ipv6: AddressSegments;
}

/** Parts with their shares, which add up to 1; of each the sites in their preference. Most have one part. */
export type MeasuredOrder = readonly { readonly sites: readonly number[]; readonly share: number }[];
