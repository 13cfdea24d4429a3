/** What a simulation found: plain values, which are its JSON and of which the page is drawn. */

/** All is counted from the start of the run; times in hours, round trips in milliseconds. */
export interface SimulationResult {
  readonly name: string;
  readonly preset: string;
  readonly seed: number;
  readonly prefixes: number;
  readonly resolvers: number;
  readonly classes: readonly string[];
  readonly hours: number;
  readonly stepSeconds: number;
  readonly decideSeconds: number;
  /** Of the machine, for the whole run, and of decisions. */
  readonly ran: RunCost;
  readonly events: readonly EventResult[];
  readonly rtt: RttResult;
  readonly load: LoadResult;
  readonly churn: ChurnResult;
  readonly moves: MoveResult;
  readonly estimators: readonly EstimatorResult[];
  readonly map: MapResult;
  readonly checks: readonly CheckResult[];
}

export interface RunCost {
  readonly seconds: number;
  readonly decisions: number;
  readonly medianDecisionMs: number;
  readonly longestDecisionMs: number;
}

export interface EventResult {
  readonly hour: number;
  readonly untilHour: number;
  readonly text: string;
  /** Until the users' mean was within 5 % of the best again, for good until the next event; null: it never was. */
  readonly convergedMinutes: number | null;
}

/** Means over all demand whose users wait (class latency); what it is compared with is worked out at fewer times and lies on a straight line between them. */
export interface RttResult {
  /** Ends of steps. */
  readonly hours: readonly number[];
  readonly steered: readonly number[];
  readonly geography: readonly number[];
  readonly nearestToResolver: readonly number[];
  readonly bestOfDns: readonly number[];
  readonly perUser: readonly number[];
  /** The same over all steps after the first hour, weighted by demand. */
  readonly mean: RttMeans;
  /** Means after the first hour of each service, whatever it aims at. */
  readonly byService: readonly (RttMeans & { readonly name: string })[];
  /** Highest share of a baseline's demand above capacity: what ignoring capacity would have cost. */
  readonly overloadOfGeography: number;
  readonly overloadOfNearest: number;
}

/** NaN, in JSON null: it was not worked out for this service. */
export interface RttMeans {
  readonly steered: number;
  readonly geography: number;
  readonly nearestToResolver: number;
  readonly bestOfDns: number;
  readonly perUser: number;
}

export interface ResourceResult {
  readonly name: string;
  /** As configured, in connections a second or bits a second. */
  readonly capacity: number;
  /** One for each of `hours`; null: it was down. */
  readonly utilisation: readonly (number | null)[];
}

export interface LoadResult {
  readonly hours: readonly number[];
  readonly sites: readonly ResourceResult[];
  readonly links: readonly ResourceResult[];
  /** Sum over sites and links of load above capacity, as a share of all demand of its kind, at each of `hours`. */
  readonly overload: readonly number[];
  /** Highest of these outside the decay after any event, and where; before the first hour is over it does not count. */
  readonly outsideDecay: number;
  readonly outsideDecayAt: string;
  /** Seconds after an event in which answers that were given before still send 5 % of the users where they went. */
  readonly decayP95Seconds: number;
  /** Least that any map could have had, at the same times: demand beyond what capacities can carry. */
  readonly unavoidable: number;
  /** Of surges of demand: the highest load over what it would have been had the old answers decayed as predicted; null: no surge. */
  readonly surgeOvershoot: number | null;
}

export interface ChurnResult {
  /** Shares of demand that maps moved, in each hour. */
  readonly perHour: readonly number[];
  /** Mean over hours after the first that no event touches, and over all. */
  readonly quietPerHour: number;
  readonly meanPerHour: number;
}

export interface MoveResult {
  readonly prefixDays: number;
  /** Of these, with a move of over 1,000 km outside events and the hour after them. */
  readonly farUnexplained: number;
  /** Largest streams of moved demand between sites: shares of all demand. */
  readonly streams: readonly { readonly from: number; readonly to: number; readonly share: number }[];
}

export interface EstimatorResult {
  readonly name: string;
  readonly hour: number;
  /** How many it was compared on, and how many of those it gave an answer for. */
  readonly asked: number;
  readonly answered: number;
  /** What `value` is: `median error`, `share within 20 %`. */
  readonly measure: string;
  readonly value: number;
  /** What it has to be; null: nothing is asked. */
  readonly least: number | null;
  readonly most: number | null;
}

export interface MapResult {
  readonly latitude: readonly number[];
  readonly longitude: readonly number[];
  readonly share: readonly number[];
  readonly rttMs: readonly number[];
  readonly sites: readonly { readonly name: string; readonly latitude: number; readonly longitude: number }[];
}

export interface CheckResult {
  readonly claim: string;
  readonly value: number;
  readonly limit: number;
  /** How `value` relates to `limit` if the claim holds. */
  readonly relation: 'at most' | 'at least';
  /** Whether value and limit are shares, shown in percent. */
  readonly isShare: boolean;
  /** Null: nothing in this run tells. */
  readonly holds: boolean | null;
  readonly detail: string;
}
