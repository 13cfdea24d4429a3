/** What a lookup table says of its backends. Cost O(slots) each. */
import type { SlotTable } from '../decide/slots.ts';

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
