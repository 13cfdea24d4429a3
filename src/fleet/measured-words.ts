/** What the main thread and the thread of measured steering tell each other. */

import type { ClientPlaces, Config } from '../config/model.ts';
import type { MeasuredAnswers, MeasuredMode } from '../config/steering-model.ts';
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import type { MeasuredChange } from '../decide/steer/forecast/measured.ts';
import type { StageSummary } from '../decide/steer/measured-model.ts';
import type { Address } from '../net/address.ts';
import type { KeyedBeacons } from '../observe/beacon-rows.ts';
import type { KeyedQueries } from '../observe/query-rows.ts';
import type { KeyedRows } from '../observe/steering-rows.ts';
import type { ResolverQuestion, ToldResolvers } from './measured-resolvers.ts';

/** Sites and services are indexes in the lists that came with the last `setup`. */
export interface MeasuredRows {
  readonly nowMs: number;
  readonly intervalMs: number;
  readonly rows: KeyedRows;
  readonly queries: KeyedQueries | null;
  readonly beacons: KeyedBeacons | null;
  /** By name of link: bits a second. */
  readonly linkLoad: ReadonlyMap<string, number>;
}

export interface MeasuredHealth {
  /** By name of site: what there is of its capacity, 0 to 1. */
  readonly sites: ReadonlyMap<string, number>;
}

export interface MeasuredQuestion {
  readonly service: string;
  /** Who asks, or its client subnet. */
  readonly address: Address;
}

/** What a thread begins with; it says nothing in later setups. */
export interface MeasuredStart {
  readonly snapshot: Uint8Array | null;
  readonly seed: number;
  /** Of the newest map that there was: others get higher ones. */
  readonly version: number;
}

/** What a change would do, from now on. */
export interface PlanQuestion {
  readonly change: MeasuredChange;
  readonly minutes: number;
  readonly nowMs: number;
  readonly health: MeasuredHealth;
}

export type ToMeasured =
  | ({ readonly kind: 'setup'; readonly config: Config } & MeasuredStart)
  /** Pins, places of units, what is served: maps are made ahead for it. */
  | { readonly kind: 'state'; readonly state: Config['steeringState'] }
  | ({ readonly kind: 'rows' } & MeasuredRows)
  | { readonly kind: 'decide'; readonly nowMs: number; readonly health: MeasuredHealth }
  | { readonly kind: 'snapshot'; readonly id: number }
  | { readonly kind: 'resolvers'; readonly id: number; readonly question: ResolverQuestion }
  | ({ readonly kind: 'plan'; readonly id: number } & PlanQuestion)
  | { readonly kind: 'explain'; readonly id: number; readonly question: MeasuredQuestion };

export type FromMeasured =
  /** Of a setup. `restored` null: there was no snapshot. */
  | { readonly kind: 'ready'; readonly restored: boolean | null }
  /** So many messages with rows were read. */
  | { readonly kind: 'read'; readonly count: number }
  | { readonly kind: 'decided'; readonly decided: MeasuredDecided }
  | { readonly kind: 'snapshot'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'resolvers'; readonly id: number; readonly told: ToldResolvers }
  | { readonly kind: 'planned'; readonly id: number; readonly forecast: Forecast | null }
  | { readonly kind: 'explained'; readonly id: number; readonly explained: ExplainedGroup | null };

export interface MeasuredDecided {
  /** Null: what is served stays as it is. */
  readonly answers: MeasuredAnswers | null;
  /** Made of them already. */
  readonly maps: ClientPlaces['maps'];
  readonly summary: MeasuredSummary;
}

/** Of a decision, for people. */
export interface MeasuredSummary {
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly groups: number;
  readonly prefixes: number;
  /** Prefixes that got no number since the start. */
  readonly refusedPrefixes: number;
  readonly isComplete: boolean;
  readonly stages: readonly StageSummary[];
  readonly meanRttMs: number;
  /** Of all demand. */
  readonly movedShare: number;
  readonly exploredShare: number;
  readonly reasons: readonly string[];
  /** When all have the answers: new connections a second, bits a second; null: no limit. */
  readonly sites: readonly { readonly site: string; readonly load: number; readonly capacity: number | null }[];
  readonly links: readonly { readonly link: string; readonly load: number; readonly capacity: number | null }[];
  /** Milliseconds of the thread, from the decision to maps that are ready. */
  readonly tookMs: number;
  /** Of class and site: groups that it was given. */
  readonly classes: readonly {
    readonly kind: string;
    readonly services: readonly string[];
    readonly groups: Readonly<Record<string, number>>;
    readonly split: number;
  }[];
  /** Groups whose answer is another than before, the largest first; at most 20. */
  readonly moves: readonly MeasuredMove[];
}

export interface MeasuredMove {
  readonly prefix: string;
  readonly kind: string;
  readonly from: string;
  readonly to: string;
  /** New connections a second. */
  readonly demand: number;
}

/** Why a group of clients gets its site. */
export interface ExplainedGroup {
  readonly group: string;
  readonly kind: string;
  readonly demand: number;
  readonly version: number;
  readonly mode: MeasuredMode;
  /** Where its users are, the largest shares first. */
  readonly places: readonly { readonly prefix: string; readonly share: number }[];
  /** Cheapest first. */
  readonly candidates: readonly ExplainedSite[];
}

export interface ExplainedSite {
  readonly site: string;
  readonly rttMs: number;
  readonly lowMs: number;
  /** Null: not bounded. */
  readonly highMs: number | null;
  readonly source: string;
  readonly share: number;
  readonly cost: number;
  readonly notes: readonly string[];
}
