/** Places in columns for the prefixes that matter; others' places are given away. */
import { NO_PREFIX } from '../measured.ts';

export class SlotTable {
  readonly capacity: number;
  /** [slot]; NO_PREFIX: free. */
  readonly prefix: Uint32Array;
  /** Slots that were ever taken are below it. */
  end = 0;
  used = 0;
  /** Prefixes that gave way or found no place. */
  forgotten = 0;
  readonly #free: Int32Array;
  #freeCount = 0;
  /** [prefix]: slot + 1. */
  #slots = new Int32Array(1024);

  constructor(capacity: number) {
    this.capacity = capacity;
    this.prefix = new Uint32Array(capacity).fill(NO_PREFIX);
    this.#free = new Int32Array(capacity);
  }

  /** -1: it has none. */
  find(prefix: number): number {
    return prefix < this.#slots.length ? this.#slots[prefix] - 1 : -1;
  }

  /** -1: all are taken. Columns of a slot that is given anew are to be cleared by who has them. */
  take(prefix: number): number {
    let slot = -1;
    if (this.#freeCount > 0) slot = this.#free[--this.#freeCount];
    else if (this.end < this.capacity) slot = this.end++;
    if (slot < 0) {
      this.forgotten++;
      return -1;
    }
    if (prefix >= this.#slots.length) {
      const slots = new Int32Array(Math.max(prefix + 1, this.#slots.length * 2));
      slots.set(this.#slots);
      this.#slots = slots;
    }
    this.#slots[prefix] = slot + 1;
    this.prefix[slot] = prefix;
    this.used++;
    return slot;
  }

  isFree(slot: number): boolean {
    return this.prefix[slot] === NO_PREFIX;
  }

  release(slot: number): void {
    this.#slots[this.prefix[slot]] = 0;
    this.prefix[slot] = NO_PREFIX;
    this.#free[this.#freeCount++] = slot;
    this.used--;
    this.forgotten++;
  }

  /** The importance below which a share of those who have places falls. Cost: a sort of them. */
  quantile(share: number, importance: (slot: number) => number): number {
    const all = new Float64Array(this.used);
    let count = 0;
    for (let slot = 0; slot < this.end; slot++) {
      if (!this.isFree(slot)) all[count++] = importance(slot);
    }
    all.sort();
    return all[Math.min(count - 1, Math.floor(count * share))] ?? 0;
  }
}
