/** What a lookup table says of its backends. Cost O(slots) each. */
import type { SlotTable } from '../decide/slots.ts';
import { MAX_BACKENDS } from '../serve/vip/layout.gen.ts';

/** Whom a table names. */
export interface TableIndices {
  /** `current` of some slot. */
  readonly serving: ReadonlySet<number>;
  /** In any place of a slot: flows of theirs may be there. */
  readonly named: ReadonlySet<number>;
}

export const NOBODY_NAMED: TableIndices = { serving: new Set(), named: new Set() };

export function indicesIn({ current, previous, third }: SlotTable): TableIndices {
  const [serves, others] = [new Uint8Array(MAX_BACKENDS), new Uint8Array(MAX_BACKENDS + 1)];
  for (let slot = 0; slot < current.length; slot++) {
    serves[current[slot] as number] = 1;
    others[previous[slot] as number] = 1;
    others[third[slot] as number] = 1;
  }
  const [serving, named] = [new Set<number>(), new Set<number>()];
  for (let index = 1; index < serves.length; index++) {
    if (serves[index] === 1) serving.add(index);
    if (serves[index] === 1 || others[index] === 1) named.add(index);
  }
  return { serving, named };
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
