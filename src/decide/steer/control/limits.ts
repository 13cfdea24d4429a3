/** How far and how fast control may go, and what it says about what it did. */

export interface ControlLimits {
  /** Share of all demand that moves for a better place in one decision. */
  readonly stepShare: number;
  /** The same in any hour. */
  readonly hourShare: number;
  /** Share of all demand that one decision takes off sites and links that would be overloaded. */
  readonly reliefShare: number;
  /** Gains below it, in milliseconds and as a share of the cost now, are not worth a move. */
  readonly minGainMs: number;
  readonly minGainShare: number;
  /** Who was moved stays at least so long, in seconds and in TTLs, unless something is overloaded or down. */
  readonly holdSeconds: number;
  readonly holdTtls: number;
  /** [class]: so many times `holdSeconds`; absent: once. */
  readonly holdTimes?: readonly number[];
  /** Shares of capacity: to which moves fill a site or link, from which it is relieved, and down to which. */
  readonly fillShare: number;
  readonly reliefFrom: number;
  readonly reliefTo: number;
  /** A site that comes back has this share of its capacity at once, and so much more each minute. */
  readonly recoverAtOnce: number;
  readonly recoverPerMinute: number;
}

export const DEFAULT_CONTROL_LIMITS: ControlLimits = {
  stepShare: 0.05,
  hourShare: 0.5,
  reliefShare: 0.25,
  minGainMs: 2,
  minGainShare: 0.05,
  holdSeconds: 120,
  holdTtls: 2,
  fillShare: 0.92,
  reliefFrom: 0.97,
  reliefTo: 0.92,
  recoverAtOnce: 0.1,
  recoverPerMinute: 0.1,
};

/** The operator empties a site: what is answered with it falls evenly to nothing in this time; 0: at once. */
export interface SiteDrain {
  readonly sinceMs: number;
  readonly overMs: number;
}

export interface SiteHealth {
  /** [class * sites + site]: 0 is down, or does not serve the class. */
  readonly up: Uint8Array;
  /** [site]: when it came back; -Infinity: it was never gone. */
  readonly upSinceMs: Float64Array;
  /** Site -> its drain. */
  readonly drains: ReadonlyMap<number, SiteDrain>;
}

/** Why an item was moved. */
export const MOVE_REASONS = ['first answer', 'site is down', 'drain', 'overload', 'better'] as const;
export type MoveReason = (typeof MOVE_REASONS)[number];

/** What became of an item in a decision: moved for a reason, or not, and why. */
export const ITEM_STATES = [
  'at its target',
  ...MOVE_REASONS,
  'too little gain',
  'moved lately',
  'step is full',
  'hour is full',
  'no room at the site',
  'no room on a link',
  'site recovers',
  'nowhere to go',
] as const;
export type ItemState = (typeof ITEM_STATES)[number];

export function stateNumber(state: ItemState): number {
  return ITEM_STATES.indexOf(state);
}

/** What was moved in the last hour, by minutes. */
export class MoveBudget {
  readonly #minutes = new Float64Array(60);
  #minute = Number.NaN;

  takeFrom(other: MoveBudget): void {
    this.#minutes.set(other.#minutes);
    this.#minute = other.#minute;
  }

  /** Demand moved in the hour before. */
  movedLastHour(nowMs: number): number {
    this.#advance(nowMs);
    return this.#minutes.reduce((sum, moved) => sum + moved, 0);
  }

  moved(demand: number, nowMs: number): void {
    this.#advance(nowMs);
    this.#minutes[this.#minute % 60] += demand;
  }

  #advance(nowMs: number): void {
    const minute = Math.floor(nowMs / 60_000);
    if (Number.isNaN(this.#minute) || minute - this.#minute >= 60) this.#minutes.fill(0);
    else for (let passed = this.#minute + 1; passed <= minute; passed++) this.#minutes[passed % 60] = 0;
    this.#minute = minute;
  }
}
