/** New connections and bytes by client prefix and service, as the program gathers them (bpf/demand.h): taken out of the mapped tables. */
import { KEY_REST } from '../../decide/steer/prefix-numbers.ts';
import type { CounterView } from './counters.ts';
import { createTotals, readWide } from './counters.ts';
import { DEMAND_REST, DEMAND_SET, MAX_SUBJECTS, PREFIX_WAYS } from './layout.gen.ts';

const WORDS = DEMAND_SET.sizeBytes / 4;
const KEY = DEMAND_SET.offsets.key / 4;
const BYTES = DEMAND_SET.offsets.bytes / 4;
const CONNECTIONS = DEMAND_SET.offsets.connections / 4;
const REST_WORDS = DEMAND_REST.sizeBytes / 4;
/** Of the upper half of a key: the family, and of IPv6 the first 16 bits; above them the subject. */
const HIGH_MASK = 0x1_ffff;
const SUBJECT_SHIFT = 17;

/** `high`, `low`: as in `KeyedTraffic` (observe/steering-rows.ts); `subject`: of the service. */
export type OnTraffic = (high: number, low: number, subject: number, connections: number, bytes: number) => void;

export interface TrafficMemory {
  /** Of the map `demand_sets`. */
  readonly sets: ArrayBuffer;
  /** Of `demand_rests`. */
  readonly rests: ArrayBuffer;
  readonly counters: CounterView;
}

/** Begins with what comes from now on. */
export class TrafficSets {
  readonly #sets: Uint32Array;
  readonly #rests: Uint32Array;
  readonly #counters: CounterView;
  /** [subject]: the kernel's sums at the last call. */
  readonly #lastBytes = new Float64Array(MAX_SUBJECTS);
  readonly #lastRest = { connections: new Float64Array(MAX_SUBJECTS), bytes: new Float64Array(MAX_SUBJECTS) };
  /** [subject]: bytes that were counted and not yet given, since no packet had been picked. */
  readonly #owed = new Float64Array(MAX_SUBJECTS);
  /** [subject], of this call: of the packets that were picked. */
  readonly #picked = new Float64Array(MAX_SUBJECTS);
  readonly #totals = createTotals();
  /** Of this call: key (low, high), connections, picked bytes, four a place. */
  #found = new Float64Array(4 * 1024);

  constructor({ sets, rests, counters }: TrafficMemory) {
    this.#sets = new Uint32Array(sets);
    this.#rests = new Uint32Array(rests);
    this.#counters = counters;
    this.take([], () => {});
    for (let subject = 1; subject < MAX_SUBJECTS; subject++) this.#begin(subject);
  }

  #begin(subject: number): void {
    this.#lastBytes[subject] = this.#counters.read(subject, this.#totals).bytes;
    this.#owed[subject] = 0;
    const at = subject * REST_WORDS;
    this.#lastRest.connections[subject] = readWide(this.#rests, at);
    this.#lastRest.bytes[subject] = readWide(this.#rests, at + 2);
  }

  /**
   * Gives what came since the last call to services of these subjects (those of others are dropped), and makes room. Bytes are shares of
   * what the service's counters say, by packets that were picked. Some 0.1 ms.
   */
  take(subjects: Iterable<number>, each: OnTraffic): void {
    this.#picked.fill(0);
    const places = this.#takeSets();
    const [rests, lastRest] = [this.#rests, this.#lastRest];
    for (const subject of subjects) {
      const now = this.#counters.read(subject, this.#totals).bytes;
      // Below: the counters were cleared.
      this.#owed[subject] += Math.max(0, now - this.#lastBytes[subject]);
      this.#lastBytes[subject] = now;
      const at = subject * REST_WORDS;
      const connections = readWide(rests, at) - lastRest.connections[subject];
      const bytes = readWide(rests, at + 2) - lastRest.bytes[subject];
      lastRest.connections[subject] += connections;
      lastRest.bytes[subject] += bytes;
      this.#picked[subject] += bytes;
      const factor = this.#factor(subject);
      if (connections > 0 || bytes > 0) each(KEY_REST, 0, subject, connections, bytes * factor);
      this.#give(places, subject, factor, each);
      if (this.#picked[subject] > 0) this.#owed[subject] = 0;
    }
  }

  #factor(subject: number): number {
    return this.#picked[subject] === 0 ? 0 : this.#owed[subject] / this.#picked[subject];
  }

  #give(places: number, subject: number, factor: number, each: OnTraffic): void {
    const found = this.#found;
    for (let at = 0; at < 4 * places; at += 4) {
      const high = found[at + 1];
      if (((high >>> SUBJECT_SHIFT) & (MAX_SUBJECTS - 1)) !== subject) continue;
      each(high & HIGH_MASK, found[at], subject, found[at + 2], found[at + 3] * factor);
    }
  }

  /** How many places were in use. What a CPU writes there meanwhile is lost, or counts for the next call. */
  #takeSets(): number {
    const words = this.#sets;
    let places = 0;
    for (let set = 0; set < words.length; set += WORDS) {
      for (let way = 0; way < PREFIX_WAYS; way++) {
        const key = set + KEY + 2 * way;
        const high = words[key + 1];
        if (high === 0) continue;
        if (4 * places === this.#found.length) this.#grow();
        const bytes = readWide(words, set + BYTES + 2 * way);
        this.#found.set([words[key], high, words[set + CONNECTIONS + way], bytes], 4 * places++);
        this.#picked[(high >>> SUBJECT_SHIFT) & (MAX_SUBJECTS - 1)] += bytes;
        words[set + CONNECTIONS + way] = 0;
        words.fill(0, set + BYTES + 2 * way, set + BYTES + 2 * way + 2);
        words[key + 1] = 0;
        words[key] = 0;
      }
    }
    return places;
  }

  #grow(): void {
    const more = new Float64Array(2 * this.#found.length);
    more.set(this.#found);
    this.#found = more;
  }
}
