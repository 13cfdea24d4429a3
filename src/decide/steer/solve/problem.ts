/**
 * What the solver is asked: which share of each group's demand in each class goes to which site. Loads are linear in it: a unit of demand
 * of a class puts `siteLoad` on its site and `linkLoad` on the links between the group's region and that site.
 *
 * An item is one class of one group: number `group * classes + class`. All arrays are flat, and read only while a solve runs.
 */

/** Objectives of a class; the stage that serves it is named after it. */
export type ClassKind = 'latency' | 'throughput' | 'batch';

export interface ClassSpec {
  readonly kind: ClassKind;
  /** Load on a site by a unit of demand, above 0. */
  readonly siteLoad: number;
  /** Load on each link on the way by a unit of demand, 0 or more, in the unit of the links' capacities. */
  readonly linkLoad: number;
  /** [site]: 0: does not serve this class. Without: all do. */
  readonly allowed?: Uint8Array;
  /**
   * What a unit of demand costs more at another site than the one that has it now, 0 or more, in the unit of the class's stage: milliseconds,
   * cost of a unit of load on links, `batchCost`. Warm caches are worth it. Default 0.
   */
  readonly stickiness?: number;
}

export interface SteeringProblem {
  readonly groups: number;
  /** Below 65,535. */
  readonly sites: number;
  readonly classes: readonly ClassSpec[];
  /** [item], 0 or more, in any unit. */
  readonly demand: Float64Array;
  /** [group * sites + site], milliseconds; Infinity: the site does not serve the group. An item that no site serves gets NO_SITE. */
  readonly rttMs: Float32Array;
  /** [site], in the unit of `siteLoad` times demand; 0: what it gets is overload. */
  readonly siteCapacity: Float64Array;
  /** [site]: 1: serves nobody, not even those who are there. Moving away from it is no churn. Without: none. */
  readonly isDead?: Uint8Array;
  /** [link], in the unit of `linkLoad` times demand, above 0. */
  readonly linkCapacity: Float64Array;
  /** [link]: load by what is not steered, counted against the capacity. Without: none. */
  readonly linkBackground?: Float64Array;
  /** [group], below `regions`. Groups of a region share their paths. */
  readonly region: Int32Array;
  readonly regions: number;
  /** [(region * sites + site) * PATH_LINKS + n]: links on the way; -1: none. Shared links stand in many paths. */
  readonly paths: Int32Array;
  /** [site]: what a unit of demand of class `batch` costs there. */
  readonly batchCost: Float64Array;
  /** [item]: the site that has it now, for churn; -1: none. */
  readonly previous: Int32Array;
  readonly options: SolveOptions;
}

export const PATH_LINKS = 2;

export interface SolveOptions {
  /** Share of each capacity that is left free where possible, 0 to below 1. */
  readonly reserve: number;
  /** What later stages may spend of each stage's objective, as a share of it. */
  readonly slack: number;
  /** Round-trip times above this cost more. */
  readonly thresholdMs: number;
  /** Additional cost of a millisecond above the threshold, in milliseconds. */
  readonly aboveThreshold: number;
  /** Cost of a link's load by its utilisation: slope from each share on, both rising, the first from 0. */
  readonly linkCost: readonly { readonly from: number; readonly slope: number }[];
  /** Of class `throughput`: cost of a millisecond beside a unit of load on an empty link. */
  readonly throughputRtt: number;
  /**
   * Greatest share of all demand that may leave the site that has it now; above 0. 1: all. It comes before everything, overload too. What a
   * site can no longer have (dead, not allowed) moves without being counted.
   */
  readonly maxMoved: number;
  /** A stage may end this share above its optimum; 0: exact. */
  readonly gap: number;
  /** Ends with the best so far and its gap, after this time by `nowMs`. */
  readonly limitMs: number;
  readonly nowMs: () => number;
}

export const DEFAULT_OPTIONS: Omit<SolveOptions, 'nowMs'> = {
  reserve: 0.1,
  slack: 0.01,
  thresholdMs: 100,
  aboveThreshold: 2,
  linkCost: [
    { from: 0, slope: 0.1 },
    { from: 0.3, slope: 0.3 },
    { from: 0.5, slope: 1 },
    { from: 0.7, slope: 3 },
    { from: 0.85, slope: 10 },
  ],
  throughputRtt: 0.0005,
  maxMoved: 1,
  gap: 0.001,
  limitMs: 5000,
};
