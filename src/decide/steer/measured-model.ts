/** What measured steering is told once: sites, links, services, limits; and what it hands back. */
import { type ControlLimits, DEFAULT_CONTROL_LIMITS, type SiteDrain } from './control/limits.ts';
import type { MeasuredMap } from './measured.ts';

/** What a class wants: near sites, links with room, or what is cheap. */
export type ClassKind = 'latency' | 'throughput' | 'batch';

export interface SteeringSite {
  readonly name: string;
  /** New connections a second, of all classes together; Infinity: not known, never full. */
  readonly capacity: number;
  /** What a new connection of a class of kind `batch` costs here, in any unit; 0 or more. */
  readonly batchCost: number;
}

export interface SteeringLink {
  readonly name: string;
  /** Bits a second; Infinity: not known, never full. */
  readonly capacity: number;
}

/** Services that want the same and have the same sites. */
export interface SteeringClass {
  readonly name: string;
  readonly kind: ClassKind;
  /** Numbers of the sites that have it, rising, at least one. */
  readonly sites: readonly number[];
  /** Load on links by a connection, until it is measured. */
  readonly bitsPerConnection: number;
  /** Of its answers; without: as the model. */
  readonly ttlSeconds?: number;
}

export interface SteeringService {
  readonly name: string;
  /** Number of its class. */
  readonly class: number;
}

/** Links on the way between a region and a site; most ways have one or two. */
export const PATH_LINKS = 2;

export interface SteeringLimits {
  /** Asking prefixes with an answer of their own; those with the least demand are answered as without measurements. */
  readonly groups: number;
  /** Client prefixes below which all numbers are. */
  readonly prefixes: number;
  /** Resolver prefixes of which users are known, and client prefixes whose resolvers are. */
  readonly resolvers: number;
  readonly users: number;
  /** (prefix, site) pairs with round-trip times of their own. */
  readonly rttPairs: number;
  /** Share of predicted demand that may go elsewhere than to what seems best, so that wrong beliefs are found: 0 to 0.01. */
  readonly explorationShare: number;
  /** Share of capacities that is left free where possible: 0 to below 1. */
  readonly reserve: number;
  /** Of one step from map to map. */
  readonly control: ControlLimits;
  /** Milliseconds of CPU for a solve. */
  readonly solveMs: number;
}

export const DEFAULT_LIMITS: SteeringLimits = {
  groups: 100_000,
  prefixes: 1 << 20,
  resolvers: 100_000,
  users: 262_144,
  rttPairs: 1 << 22,
  explorationShare: 0.01,
  reserve: 0.1,
  control: { ...DEFAULT_CONTROL_LIMITS, minGainMs: 3, minGainShare: 0.05 },
  solveMs: 5000,
};

export interface SteeringModel {
  readonly sites: readonly SteeringSite[];
  readonly links: readonly SteeringLink[];
  readonly classes: readonly SteeringClass[];
  readonly services: readonly SteeringService[];
  readonly regions: number;
  /** Of a client prefix, below `regions`. */
  readonly regionOf: (prefix: number) => number;
  /** [(region * sites + site) * PATH_LINKS + n]: number of a link on the way; -1: none. */
  readonly paths: Int32Array;
  /** Of answers, the longest. */
  readonly ttlSeconds: number;
  readonly limits: SteeringLimits;
}

/** What there is now of each capacity, as a share: 1 all, 0 down. A site that is down gets nobody. */
export interface SteeringHealth {
  readonly sites: Float64Array;
  readonly links: Float64Array;
  /** [class * sites + site]: 0: the class's services are down there. Without: as the site. */
  readonly classes?: Uint8Array;
  /** Sites that the operator empties. Without: none. */
  readonly drains?: ReadonlyMap<number, SiteDrain>;
  /** Ways as they are now, when links are down; as `SteeringModel.paths`. Without: as in the model. */
  readonly paths?: Int32Array;
}

export interface StageSummary {
  readonly stage: string;
  readonly objective: number;
  /** (objective - proven bound) / objective. */
  readonly gap: number;
}

/** What a decision rests on and brings. */
export interface Decision {
  readonly map: MeasuredMap;
  readonly stages: readonly StageSummary[];
  /** False: the time was over; the map is the best so far. */
  readonly isComplete: boolean;
  /** [site]: new connections a second when all have the map's answers. */
  readonly siteLoad: Float64Array;
  /** [link]: bits a second then, with what is not steered. */
  readonly linkLoad: Float64Array;
  /** Milliseconds: over all demand of groups, by estimates. */
  readonly meanRttMs: number;
  /** Share of demand that has another site than in the map before. */
  readonly movedShare: number;
  /** Share of demand that explores. */
  readonly exploredShare: number;
  /** In words, the most important first. */
  readonly reasons: readonly string[];
}

/** Why a candidate is not, or not only, what a group gets. */
export type CandidateNote =
  | 'chosen'
  | 'slower'
  | 'site is full'
  | 'link is full'
  | 'costs more'
  | 'too little gain to move'
  | 'moves later: step is limited'
  | 'moves later: it moved lately'
  | 'site recovers'
  | 'site is down'
  | 'too few data'
  | 'tried, to measure it';

export interface CandidateExplanation {
  readonly site: number;
  readonly rttMs: number;
  readonly lowMs: number;
  readonly highMs: number;
  /** From where most of the estimate is known. */
  readonly source: string;
  readonly share: number;
  /** What the solver saw: milliseconds, with the prices of what is full. */
  readonly cost: number;
  readonly notes: readonly CandidateNote[];
}

export interface GroupExplanation {
  readonly group: number;
  readonly class: number;
  /** New connections a second. */
  readonly demand: number;
  /** Where its users are, the largest shares first, at most 10. */
  readonly places: readonly { readonly prefix: number; readonly share: number }[];
  /** Cheapest first. */
  readonly candidates: readonly CandidateExplanation[];
}
