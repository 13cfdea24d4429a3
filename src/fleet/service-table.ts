/** One service's lookup table at a site, with what is known of it; what can be read from it. Changes go through `site-tables.ts`. */
import { markResult, type SlotTable, type WeightLimit } from '../decide/slots.ts';
import { indicesIn, type TableIndices } from './slot-counts.ts';
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
  /** 1: a change of weights made the slot unsettled; means nothing once it is settled. */
  readonly movedByWeight: Uint8Array;
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

export function indicesOf(entry: ServiceTable): TableIndices {
  entry.indices ??= indicesIn(entry.table);
  return entry.indices;
}

export function sameMembers(some: readonly TableMember[], others: readonly TableMember[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ name, index, weight }, i) => {
      const other = others[i] as TableMember;
      return other.name === name && other.index === index && other.weight === weight;
    })
  );
}

/** What a change of weights may still make unsettled. */
export function weightLimit({ table, members, movedByWeight }: ServiceTable): WeightLimit {
  let moved = 0;
  for (let slot = 0; slot < movedByWeight.length; slot++)
    if (movedByWeight[slot] !== 0 && table.unsettled[slot] !== 0) moved++;
  const serving = new Set(members.map(({ index }) => index));
  return {
    room: Math.floor(UNSETTLED_BY_WEIGHT * movedByWeight.length) - moved,
    serves: (index) => serving.has(index),
  };
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
