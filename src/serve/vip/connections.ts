/** The connection table, mapped: counted and purged here, otherwise the kernel's own business. */

/** Over the map `connections`: words of backend | age << 16 | fingerprint << 28; 0 is empty. */
export class ConnectionView {
  readonly #words: BigUint64Array;
  /** The lowest of each four is the backend's index. */
  readonly #parts: Uint16Array;
  readonly #halves: Uint32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new BigUint64Array(buffer);
    this.#parts = new Uint16Array(buffer);
    this.#halves = new Uint32Array(buffer);
  }

  /** Places for entries. */
  get capacity(): number {
    return this.#words.length;
  }

  /**
   * Removes every entry of a backend; returns how many. Before it, publish whatever keeps new ones from being made, and
   * wait for the kernel's grace period (`waitForPackets`). Compare-and-swap only: an entry that a packet takes over meanwhile
   * stays. 16 million places: about 40 ms (measured), during which nothing else runs.
   */
  purgeBackend(index: number): number {
    const parts = this.#parts;
    let purged = 0;
    for (let at = 0; at < parts.length; at += 4) if (parts[at] === index) purged += this.#purge(at >> 2, index);
    return purged;
  }

  #purge(place: number, index: number): number {
    for (;;) {
      const word = Atomics.load(this.#words, place);
      if (Number(word & 0xffffn) !== index || word === 0n) return 0;
      // Lost when a packet has written the entry's age: look again.
      if (Atomics.compareExchange(this.#words, place, word, 0n) === word) return 1;
    }
  }

  /** Places that hold an entry, live or expired. 16 million places: about 40 ms (measured). */
  countEntries(): number {
    const halves = this.#halves;
    let count = 0;
    for (let at = 0; at < halves.length; at += 2) if (halves[at] !== 0 || halves[at + 1] !== 0) count++;
    return count;
  }

  /** Adds each backend's entries to `counts`, by index (`MAX_BACKENDS` long). */
  countByBackend(counts: Uint32Array): void {
    const parts = this.#parts;
    for (let at = 0; at < parts.length; at += 4) if (parts[at] !== 0) counts[parts[at]]++;
  }
}
