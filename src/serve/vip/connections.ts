/** The connection table, mapped: counted and purged here, otherwise the kernel's own business. */

import type { FlowPlaces } from '../../model/connections.ts';
import {
  AGE_MASK,
  BUCKET_ENTRIES,
  ENTRY_AGE_SHIFT,
  ENTRY_FINGERPRINT_SHIFT,
  ENTRY_STATE_SHIFT,
  INDEX_MASK,
  STATE_PHASE,
} from './layout.gen.ts';

/** Over the map `connections`: words of backend | state << 12 | age << 16 | fingerprint << 28; 0 is empty. */
export class ConnectionView {
  readonly #words: BigUint64Array;
  /** The lowest of each four has the backend's index in its lower 12 bits. */
  readonly #parts: Uint16Array;
  readonly #halves: Uint32Array;

  /** By backend index: counted entries. */
  readonly #active: BigInt64Array;

  constructor(buffer: ArrayBuffer, active: ArrayBuffer) {
    this.#active = new BigInt64Array(active);
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
   * stays. 16 million places: 30 to 60 ms (measured), during which nothing else runs.
   */
  purgeBackend(index: number): number {
    if (index < 1) throw new RangeError('backend index 0 has no entries');
    const parts = this.#parts;
    let purged = 0;
    for (let at = 0; at < parts.length; at += 4)
      if ((parts[at] & INDEX_MASK) === index) purged += this.#purge(at >> 2, index);
    // Nobody adds to it any more.
    Atomics.store(this.#active, index, 0n);
    return purged;
  }

  /** Connections of a backend by least-connections, as this balancer counts them. */
  activeOf(index: number): number {
    return Math.max(0, Number(Atomics.load(this.#active, index)));
  }

  /** 1 for each backend that entries of services that track every flow name, be they expired. 16 million places: 15 ms. */
  followed(): Uint8Array {
    const found = new Uint8Array(INDEX_MASK + 1);
    const parts = this.#parts;
    for (let at = 0; at < parts.length; at += 4)
      if (((parts[at] >> ENTRY_STATE_SHIFT) & STATE_PHASE) !== 0) found[parts[at] & INDEX_MASK] = 1;
    return found;
  }

  #purge(place: number, index: number): number {
    for (;;) {
      const word = Atomics.load(this.#words, place);
      if (Number(word & BigInt(INDEX_MASK)) !== index) return 0;
      // Lost when a packet has written the entry's age: look again.
      if (Atomics.compareExchange(this.#words, place, word, 0n) === word) return 1;
    }
  }

  /**
   * The entry of a flow whose places and fingerprint are known (`placesOf` in the model), live or expired: its backend and age field;
   * null: it has none. The lower place of the first bucket wins, as in the kernel.
   */
  find(flow: FlowPlaces): { readonly backend: number; readonly age: number } | null {
    for (const bucket of [flow.firstBucket, flow.secondBucket])
      for (let place = bucket * BUCKET_ENTRIES; place < (bucket + 1) * BUCKET_ENTRIES; place++) {
        const low = this.#halves[2 * place];
        if (low >>> ENTRY_FINGERPRINT_SHIFT !== flow.fingerprintLow) continue;
        if (this.#halves[2 * place + 1] !== flow.fingerprintHigh || low === 0) continue;
        return { backend: low & INDEX_MASK, age: (low >>> ENTRY_AGE_SHIFT) & AGE_MASK };
      }
    return null;
  }

  /** Places that hold an entry, live or expired. 16 million places: about 15 ms (measured). */
  countEntries(): number {
    const halves = this.#halves;
    let count = 0;
    for (let at = 0; at < halves.length; at += 2) if (halves[at] !== 0 || halves[at + 1] !== 0) count++;
    return count;
  }

  /** Adds each backend's entries to `counts`, by index (`MAX_BACKENDS` long). */
  countByBackend(counts: Uint32Array): void {
    const parts = this.#parts;
    for (let at = 0; at < parts.length; at += 4) if (parts[at] !== 0) counts[parts[at] & INDEX_MASK]++;
  }
}
