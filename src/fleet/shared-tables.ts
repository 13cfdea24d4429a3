/**
 * Lookup tables by their members: services that have the same backends share one, which is made once. They are never changed.
 */
import { populateTable } from '../decide/maglev.ts';
import type { TableMember } from './table-target.ts';

/** Sets of members whose tables are kept. */
const KEPT = 64;

export class SharedTables {
  readonly #kept = new Map<string, Uint16Array>();

  /** Every slot's index; without members 0. */
  of(slots: number, members: readonly TableMember[]): Uint16Array {
    const key = `${slots} ${members.map(({ name, index, weight }) => `${name} ${index} ${weight}`).sort()}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const table = new Uint16Array(slots);
    if (members.length > 0) populateTable(slots, members, table);
    this.#kept.set(key, table);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(oldest);
    }
    return table;
  }
}
