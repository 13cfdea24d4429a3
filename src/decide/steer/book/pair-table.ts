/** Numbers for pairs of numbers, bounded, in columns; the pairs of one first number are chained. */

const EMPTY = -1;

export class PairTable {
  /** Pairs are the numbers from 0 below it. */
  size = 0;
  readonly capacity: number;
  readonly first: Int32Array;
  readonly second: Int32Array;
  /** What was seen of them, fading. */
  readonly mass: Float32Array;
  /** What was concluded about them, each time anew. */
  readonly derived: Float32Array;
  /** [pair]: the next one with the same first number; -1: none. */
  readonly next: Int32Array;
  /** [first]: its newest pair; -1: none. */
  #heads: Int32Array = new Int32Array(1024).fill(EMPTY);
  readonly #slots: Int32Array;
  readonly #mask: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.first = new Int32Array(capacity);
    this.second = new Int32Array(capacity);
    this.mass = new Float32Array(capacity);
    this.derived = new Float32Array(capacity);
    this.next = new Int32Array(capacity);
    let slots = 16;
    while (slots < capacity * 2) slots *= 2;
    this.#slots = new Int32Array(slots).fill(EMPTY);
    this.#mask = slots - 1;
  }

  head(first: number): number {
    return first < this.#heads.length ? this.#heads[first] : EMPTY;
  }

  /** -1: there is none. */
  find(first: number, second: number): number {
    for (let at = this.#hash(first, second); ; at = (at + 1) & this.#mask) {
      const pair = this.#slots[at];
      if (pair === EMPTY || (this.first[pair] === first && this.second[pair] === second)) return pair;
    }
  }

  weight(pair: number): number {
    return this.mass[pair] + this.derived[pair];
  }

  /** Found or made, with mass 0; -1: no room. */
  intern(first: number, second: number): number {
    const found = this.find(first, second);
    if (found !== EMPTY || this.size === this.capacity) return found;
    const pair = this.size++;
    this.first[pair] = first;
    this.second[pair] = second;
    this.mass[pair] = this.derived[pair] = 0;
    this.#link(pair);
    return pair;
  }

  /** Keeps the pairs that weigh at least `least` and whose second number is wanted. */
  prune(least: number, isWanted: (second: number) => boolean): number {
    this.#slots.fill(EMPTY);
    this.#heads.fill(EMPTY);
    const before = this.size;
    this.size = 0;
    for (let pair = 0; pair < before; pair++) {
      if (this.weight(pair) < least || !isWanted(this.second[pair])) continue;
      const to = this.size++;
      this.first[to] = this.first[pair];
      this.second[to] = this.second[pair];
      this.mass[to] = this.mass[pair];
      this.derived[to] = this.derived[pair];
      this.#link(to);
    }
    return before - this.size;
  }

  #link(pair: number): void {
    const first = this.first[pair];
    if (first >= this.#heads.length) {
      const heads = new Int32Array(Math.max(first + 1, this.#heads.length * 2)).fill(EMPTY);
      heads.set(this.#heads);
      this.#heads = heads;
    }
    this.next[pair] = this.#heads[first];
    this.#heads[first] = pair;
    let at = this.#hash(first, this.second[pair]);
    while (this.#slots[at] !== EMPTY) at = (at + 1) & this.#mask;
    this.#slots[at] = pair;
  }

  #hash(first: number, second: number): number {
    let hash = Math.imul(first, 0x9e37_79b1) ^ Math.imul(second, 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
    return (hash ^ (hash >>> 13)) & this.#mask;
  }
}
