/**
 * Numbers for names: the 16-bit index of a backend machine, the subject of a VIP or service. A number stays with its
 * name while the name exists; a number that was given up is not given out again before `release` (for backends:
 * after the connection table has been purged of it), so that nothing old is taken for something new.
 */
export class Allocation {
  readonly #byName = new Map<string, number>();
  readonly #byNumber = new Map<number, string>();
  readonly #retired = new Set<number>();
  readonly #limit: number;

  /** Numbers run from 1 to `limit - 1`; 0 means none. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The number of `name`; a new one if it has none. Null: all numbers are taken. Cost O(limit) for a new name. */
  allocate(name: string): number | null {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    for (let number = 1; number < this.#limit; number++) {
      if (this.#byNumber.has(number) || this.#retired.has(number)) continue;
      this.#take(name, number);
      return number;
    }
    return null;
  }

  /** Takes over what a former process gave out. False: the name or the number is in use otherwise. */
  adopt(name: string, number: number): boolean {
    if (number < 1 || number >= this.#limit) return false;
    const known = this.#byName.get(name);
    if (known !== undefined || this.#byNumber.has(number)) return known === number;
    this.#retired.delete(number);
    this.#take(name, number);
    return true;
  }

  #take(name: string, number: number): void {
    this.#byName.set(name, number);
    this.#byNumber.set(number, name);
  }

  /** The number goes on under another name. False: `from` has none, or `to` has one already. */
  rename(from: string, to: string): boolean {
    const number = this.#byName.get(from);
    if (number === undefined || this.#byName.has(to)) return false;
    this.#byName.delete(from);
    this.#take(to, number);
    return true;
  }

  numberOf(name: string): number | undefined {
    return this.#byName.get(name);
  }

  nameOf(number: number): string | undefined {
    return this.#byNumber.get(number);
  }

  names(): IterableIterator<string> {
    return this.#byName.keys();
  }

  /** The name is gone; its number waits for `release`. Returns the number, or undefined. */
  retire(name: string): number | undefined {
    const number = this.#byName.get(name);
    if (number === undefined) return undefined;
    this.#byName.delete(name);
    this.#byNumber.delete(number);
    this.#retired.add(number);
    return number;
  }

  /** Nothing refers to the retired number any more: it may be given out again. */
  release(number: number): void {
    this.#retired.delete(number);
  }

  get free(): number {
    return this.#limit - 1 - this.#byNumber.size - this.#retired.size;
  }
}
