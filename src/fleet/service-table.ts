/** One service's lookup table at a site, with what is known of it; what can be read from it. Changes go through `site-tables.ts`. */
import { markResult, type SlotTable, unsettledSlots, type WeightLimit } from '../decide/slots.ts';
import type { TableIndices } from './slot-counts.ts';
import type { TableMember } from './table-target.ts';

/** Share of a service's slots that may be unsettled because weights changed. */
const UNSETTLED_BY_WEIGHT = 0.1;

export interface ServiceTable {
  readonly name: string;
  readonly subject: number;
  readonly table: SlotTable;
  /** Shared with other services: never written. */
  desired: Uint16Array;
  members: readonly TableMember[];
  /** Every slot stands as the members want it. */
  isDone: boolean;
  /** Slots, ascending, beside which `current` is what is desired in all; null: that is not known. */
  differing: ArrayLike<number> | null;
  /** Null: to be found out anew. */
  indices: TableIndices | null;
  settleAfterMs: number;
  settlesByReports: boolean;
  othersUnheard: boolean;
  /** What happened before does not show in the ticks of its slots. */
  doubtedMs: number;
  /** When the last change of its slots was acknowledged by all. */
  publishedMs: number;
  /** Slots whose planned change would need a fourth candidate. */
  waiting: number;
  weightsOnly: boolean;
  immediate: boolean;
  picks: Uint16Array | null;
  /** Slots that a change of weights alone waits for. */
  held: number;
  /** 1: a change of weights made the slot unsettled; means nothing once it is settled. Null: there was none yet. */
  movedByWeight: Uint8Array | null;
  /** Slots in the closing step, with the balancers that have not taken it yet: nothing else is done with them until then. */
  readonly closing: Map<number, Set<string>>;
}

/** Packets with a key, which a second chance needs, come by unsettled slots alone. */
export function mayHaveKeyed({ table }: ServiceTable, index: number): boolean {
  const { current, previous, third } = table;
  return table.unsettled.some(
    (is, slot) => is !== 0 && (current[slot] === index || previous[slot] === index || third[slot] === index),
  );
}

/** 1 for each slot whose change waits for room for another candidate. */
export function waitingSlots({ table, desired }: ServiceTable): Uint8Array {
  return table.unsettled.map((_, slot) => {
    const want = desired[slot] as number;
    return want !== 0 && markResult(table, slot, want) === 'waits' ? 1 : 0;
  });
}

/** What a change of weights may still make unsettled. */
export function weightLimit({ table, members, movedByWeight }: ServiceTable): WeightLimit {
  const moved = movedByWeight === null ? 0 : unsettledSlots(table).filter((slot) => movedByWeight[slot] !== 0).length;
  const serving = new Set(members.map(({ index }) => index));
  return {
    room: Math.floor(UNSETTLED_BY_WEIGHT * table.unsettled.length) - moved,
    serves: (index) => serving.has(index),
  };
}

/** Notes why the slot becomes unsettled. */
export function noteMarked(entry: ServiceTable, slot: number, limit: WeightLimit | null): void {
  const isByWeight = limit?.serves(entry.table.current[slot] as number) === true;
  if (isByWeight) entry.movedByWeight ??= new Uint8Array(entry.table.unsettled.length);
  if (entry.movedByWeight !== null) entry.movedByWeight[slot] = isByWeight ? 1 : 0;
}

/** Slots, ascending, beside which none can name a backend that nobody wants; null: any may. */
export function slotsToBury({ table, differing }: ServiceTable): ArrayLike<number> | null {
  return differing === null ? null : mergeSlots(differing, unsettledSlots(table));
}

/** Both ascending, and so is what is in either. */
function mergeSlots(some: ArrayLike<number>, others: ArrayLike<number>): ArrayLike<number> {
  if (some.length === 0 || others.length === 0) return some.length === 0 ? others : some;
  const merged: number[] = [];
  let [i, j] = [0, 0];
  while (i < some.length || j < others.length) {
    const a = some[i] ?? Number.POSITIVE_INFINITY;
    const b = others[j] ?? Number.POSITIVE_INFINITY;
    merged.push(Math.min(a, b));
    if (a <= b) i++;
    if (b <= a) j++;
  }
  return merged;
}

/** Kept by size: services mostly have the same. */
const ALL_SLOTS = new Map<number, Uint32Array>();

/** 0 to `count` - 1. */
export function allSlots(count: number): Uint32Array {
  let all = ALL_SLOTS.get(count);
  if (all === undefined) {
    all = Uint32Array.from({ length: count }, (_, slot) => slot);
    ALL_SLOTS.set(count, all);
  }
  return all;
}
