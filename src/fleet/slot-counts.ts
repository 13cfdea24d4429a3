/** What a lookup table says of its backends. Cost O(slots) each. */
import { type SlotTable, unsettledSlots } from '../decide/slots.ts';
import { MAX_BACKENDS } from '../serve/vip/layout.gen.ts';

/** Whom a table names. */
export interface TableIndices {
  /** `current` of some slot. */
  readonly serving: ReadonlySet<number>;
  /** In any place of a slot: flows of theirs may be there. */
  readonly named: ReadonlySet<number>;
}

export const NOBODY_NAMED: TableIndices = { serving: new Set(), named: new Set() };

/** `serving`: who is `current` somewhere, where that is known. Settled slots name nobody else. */
export function indicesIn(table: SlotTable, serving: ReadonlySet<number> = distinctIn(table.current)): TableIndices {
  const slots = unsettledSlots(table);
  if (slots.length === 0) return { serving, named: serving };
  const { previous, third } = table;
  const others = new Uint8Array(MAX_BACKENDS);
  for (const slot of slots) {
    others[previous[slot] as number] = 1;
    others[third[slot] as number] = 1;
  }
  const named = new Set(serving);
  for (let index = 1; index < others.length; index++) if (others[index] === 1) named.add(index);
  return { serving, named };
}

/** Indices that are there, ascending, but for 0. */
export function distinctIn(indices: Uint16Array): Set<number> {
  const found = new Uint8Array(MAX_BACKENDS);
  for (let slot = 0; slot < indices.length; slot++) found[indices[slot] as number] = 1;
  const distinct = new Set<number>();
  for (let index = 1; index < found.length; index++) if (found[index] === 1) distinct.add(index);
  return distinct;
}

/** Slots in which flows of the backend may be. */
export function slotsNaming({ current, previous, third }: SlotTable, index: number): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < current.length && index !== 0; slot++)
    if (current[slot] === index || previous[slot] === index || third[slot] === index) slots.push(slot);
  return slots;
}

/** Backends other than `current` that flows of unsettled slots may be on. */
export function otherCandidates({ current, previous, third, unsettled }: SlotTable): Set<number> {
  const found = new Set<number>();
  for (let slot = 0; slot < current.length; slot++) {
    if (unsettled[slot] === 0) continue;
    for (const index of [previous[slot] as number, third[slot] as number])
      if (index !== 0 && index !== current[slot]) found.add(index);
  }
  return found;
}
