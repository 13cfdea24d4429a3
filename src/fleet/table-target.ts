/** What a site's lookup tables are made for, and who holds copies of them: what goes in and out of `site-tables.ts`. */
import type { SlotTable } from '../decide/slots.ts';

export interface TableMember {
  readonly name: string;
  readonly index: number;
  /** Above 0: what counts now, see `service-weights.ts`. */
  readonly weight: number;
}

export interface TableOptions {
  readonly subject: number;
  readonly slots: number;
  readonly settleAfterMs: number;
  /** What an earlier process left in the kernel. */
  readonly adopted: SlotTable | null;
  /** Every flow has an entry, or none has: what the slots say matters to new flows alone, so they change at once. */
  readonly immediate?: boolean;
  /** Round robin: by `weight`, or each in turn. Absent: no pick table. */
  readonly turns?: 'weighted' | 'equal' | null;
  /** Only weights differ from the last members, by a controller or slow start: the change may wait, and moves few slots at a time. */
  readonly weightsOnly?: boolean;
  /**
   * True if agents' listings may settle slots: every packet of the service is of TCP and carries the other candidates, and agents can tell
   * of every connection (docs/vip.md).
   */
  readonly settlesByReports?: boolean;
  /**
   * Other processes run balancers of the site, and nobody knows what those have seen: only a slot that a change waits for settles by
   * silence here, as a drain would else never come to its end.
   */
  readonly othersUnheard?: boolean;
}

/** What `settleNow` has found and done. */
export interface SettleAnswer {
  readonly unsettled: number;
  /** Unsettled slots that every balancer that was asked has seen silent. */
  readonly silent: number;
  readonly settled: number;
  /** Balancers that were not asked: nothing settles without them. */
  readonly notAsked: readonly string[];
}

/** Whether two listings of the backend's agent, both begun at `sinceMs` or later, have no connection of the slot. */
export type IsReportedEmpty = (service: string, index: number, slot: number, sinceMs: number) => boolean;

export type SlotChange = 'load' | 'mark' | 'switch' | 'death' | 'settle';

/** Whoever holds a copy of the tables: a balancer. */
export interface TableTarget {
  readonly name: string;
  /** Resolves when the slots (indices in `slots`) stand in the kernel as in `table`: the acknowledgement. */
  writeSlots(subject: number, table: SlotTable, slots: ArrayLike<number>, change: SlotChange): Promise<void>;
  /**
   * The closing step of settling, for slots that are silent at the moment of the write; resolves with those that were not and stay as they are.
   */
  closeSlots(subject: number, table: SlotTable, slots: readonly number[], silenceMs: number): Promise<number[]>;
  /** Round robin: who gets the next new flows, in order. Resolves when it stands in the kernel. */
  writePicks(subject: number, picks: Uint16Array): Promise<void>;
  /** Clears `may[i]` for every slot that must not settle: a packet went elsewhere than to `current` within `silenceMs`. */
  vetoSettling(subject: number, silenceMs: number, may: Uint8Array): Promise<void>;
}

export interface TableSummary {
  readonly subject: number;
  readonly slots: number;
  readonly unsettled: number;
  readonly waiting: number;
  /** Slots that a change of weights alone waits for. */
  readonly held: number;
  /** Slots of each backend index, as `current`. */
  readonly slotsByIndex: ReadonlyMap<number, number>;
}
