/**
 * Lookup tables by their members: services that have the same backends share one, which is made once. They are never changed, so what follows
 * from them is kept too.
 */
import { populateTable } from '../decide/maglev.ts';
import { distinctIn } from './slot-counts.ts';
import type { TableMember } from './table-target.ts';

/** Sets of members whose tables are kept. */
const KEPT = 64;

interface Kept {
  /** By index. */
  readonly members: readonly TableMember[];
  readonly table: Uint16Array;
}

interface Difference {
  readonly after: Uint16Array;
  readonly slots: Uint32Array;
}

export class SharedTables {
  /** The least recently used first. */
  readonly #kept: Kept[] = [];
  readonly #serving = new WeakMap<Uint16Array, ReadonlySet<number>>();
  /** From a table to the one that came after it last. */
  readonly #differences = new WeakMap<Uint16Array, Difference>();

  /** Every slot's index; without members 0. */
  of(slots: number, members: readonly TableMember[]): Uint16Array {
    const sorted = [...members].sort((a, b) => a.index - b.index);
    const at = this.#kept.findLastIndex((one) => one.table.length === slots && sameMembers(one.members, sorted));
    const known = this.#kept[at];
    if (known !== undefined) {
      this.#kept.splice(at, 1);
      this.#kept.push(known);
      return known.table;
    }
    const table = new Uint16Array(slots);
    if (members.length > 0) populateTable(slots, members, table);
    this.#kept.push({ members: sorted, table });
    if (this.#kept.length > KEPT) this.#kept.shift();
    return table;
  }

  /** Whom one of these tables names. */
  serving(table: Uint16Array): ReadonlySet<number> {
    let serving = this.#serving.get(table);
    if (serving === undefined) {
      serving = distinctIn(table);
      this.#serving.set(table, serving);
    }
    return serving;
  }

  /** Slots in which two of these tables differ, ascending; they have the same length. */
  difference(before: Uint16Array, after: Uint16Array): Uint32Array {
    const known = this.#differences.get(before);
    if (known?.after === after) return known.slots;
    const found: number[] = [];
    for (let slot = 0; slot < after.length; slot++) if (before[slot] !== after[slot]) found.push(slot);
    const slots = Uint32Array.from(found);
    this.#differences.set(before, { after, slots });
    return slots;
  }
}

/** In the same order. */
export function sameMembers(some: readonly TableMember[], others: readonly TableMember[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ name, index, weight }, i) => {
      const other = others[i] as TableMember;
      return other.name === name && other.index === index && other.weight === weight;
    })
  );
}
