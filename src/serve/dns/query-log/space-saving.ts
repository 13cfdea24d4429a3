/**
 * The keys that come most, in bounded memory: the space-saving algorithm (Metwally, Agrawal, El Abbadi 2005). A key that finds no place takes
 * that of the smallest and its count, as what it may be too much by. Every key with more than total / capacity is there.
 */

export interface KeyCount {
  readonly key: string;
  /** Never less than the truth. */
  readonly count: number;
  /** At most so much too high. */
  readonly error: number;
}

interface Entry {
  key: string;
  count: number;
  error: number;
  /** Place in the heap. */
  place: number;
}

/** A heap with the smallest on top: adding costs the logarithm of the capacity. */
export class SpaceSaving {
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry>();
  readonly #heap: Entry[] = [];
  total = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(key: string, count: number): void {
    this.total += count;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#heap.length < this.#capacity) {
        entry = { key, count: 0, error: 0, place: this.#heap.length };
        this.#heap.push(entry);
        this.#rise(entry);
      } else {
        entry = this.#heap[0] as Entry;
        this.#entries.delete(entry.key);
        entry.key = key;
        entry.error = entry.count;
      }
      this.#entries.set(key, entry);
    }
    entry.count += count;
    this.#sink(entry);
  }

  /** Most first. */
  top(count: number): KeyCount[] {
    return [...this.#heap]
      .sort((a, b) => b.count - a.count)
      .slice(0, count)
      .map(({ key, count: its, error }) => ({ key, count: its, error }));
  }

  #rise(entry: Entry): void {
    const heap = this.#heap;
    while (entry.place > 0) {
      const above = heap[(entry.place - 1) >> 1] as Entry;
      if (above.count <= entry.count) return;
      this.#swap(entry, above);
    }
  }

  #sink(entry: Entry): void {
    const heap = this.#heap;
    for (;;) {
      const left = heap[2 * entry.place + 1];
      const right = heap[2 * entry.place + 2];
      const least = right !== undefined && right.count < (left as Entry).count ? right : left;
      if (least === undefined || least.count >= entry.count) return;
      this.#swap(entry, least);
    }
  }

  #swap(a: Entry, b: Entry): void {
    [a.place, b.place] = [b.place, a.place];
    this.#heap[a.place] = a;
    this.#heap[b.place] = b;
  }
}
