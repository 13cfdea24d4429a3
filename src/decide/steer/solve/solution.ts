/** What a solve gives. */
import type { SiteShare } from '../measured.ts';
import type { Stage } from './program.ts';

export interface StageResult {
  readonly stage: Stage;
  /**
   * What the stage reached, and the least that is possible while the stages before it keep within their slack. All demand is 1: overload in
   * units of load by unit of demand, latency and batch as a mean over all demand, churn as a share of it.
   */
  readonly objective: number;
  readonly bound: number;
  /** (objective - bound) / objective, of churn objective - bound; 0: the optimum. 1: nothing is known. */
  readonly gap: number;
  /** In the map that is given, after later stages spent their slack. */
  readonly final: number;
  /** Of the simplex method, or of Newton's. */
  readonly steps: number;
  readonly milliseconds: number;
}

/** Load above what a site or link is to carry, in the problem's units. */
export interface Overload {
  readonly kind: 'site' | 'link';
  readonly index: number;
  readonly load: number;
  /** Capacity less the reserve. */
  readonly room: number;
}

/** A site or link of which more capacity would lessen the overload: by `relief` units of load for each unit. */
export interface Relief {
  readonly kind: 'site' | 'link';
  readonly index: number;
  readonly relief: number;
}

export interface Solution {
  /** [item]: the site that gets all, or the most; NO_SITE: none serves it. */
  readonly site: Uint16Array;
  /** [item]: all shares, of items that are split: at most as many as there are sites and links. */
  readonly splits: ReadonlyMap<number, readonly SiteShare[]>;
  readonly stages: readonly StageResult[];
  /** [stage][row]: a start for the next solve. */
  readonly prices: readonly Float64Array[];
  /** [stage]: what later stages were held to; Infinity: nothing. */
  readonly limits: Float64Array;
  readonly siteLoad: Float64Array;
  /** With the background. */
  readonly linkLoad: Float64Array;
  /** Least overload, and what would lessen it; empty: none is needed. */
  readonly overloads: readonly Overload[];
  readonly reliefs: readonly Relief[];
  /** Share of all demand that leaves where it was, though it could stay. */
  readonly moved: number;
  /** Items that no site serves. */
  readonly unserved: number;
  /** False: the time was over before every stage was done. */
  readonly isComplete: boolean;
}
