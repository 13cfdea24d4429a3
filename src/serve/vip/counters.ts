/** Counters of the kernel programs, read from mapped memory: no call, no allocation. */
import { AGENT_COUNTERS, AGENT_OUTCOME_COUNT, COUNTERS, EVENT_COUNT, OUTCOME_COUNT } from './layout.gen.ts';

/** Sums over all CPUs since the instance was made. Exact up to 2^53. */
export interface Totals {
  /** By `OUTCOME`: packets. */
  readonly outcome: Float64Array;
  /** By `EVENT`. */
  readonly event: Float64Array;
  /** Of IP packets as they arrived. */
  bytes: number;
  /** TCP SYNs that open a connection, probes' too. */
  newConnections: number;
}

export function createTotals(): Totals {
  return {
    outcome: new Float64Array(OUTCOME_COUNT),
    event: new Float64Array(EVENT_COUNT),
    bytes: 0,
    newConnections: 0,
  };
}

/** Sum of all outcomes: the packets of a subject. */
export function countPackets(totals: Totals): number {
  let packets = 0;
  for (let i = 0; i < OUTCOME_COUNT; i++) packets += totals.outcome[i];
  return packets;
}

/**
 * The 64-bit number in words `at` and `at + 1`. The kernel writes it in one piece, we read it in two: again, when the
 * upper half has changed in between.
 */
export function readWide(words: Uint32Array, at: number): number {
  for (;;) {
    const high = words[at + 1];
    const low = words[at];
    if (words[at + 1] === high) return high * 0x1_0000_0000 + low;
  }
}

const WORDS = COUNTERS.sizeBytes / 4;
const EVENT_WORD = COUNTERS.offsets.event / 4;
const BYTES_WORD = COUNTERS.offsets.bytes / 4;
const NEW_CONNECTIONS_WORD = COUNTERS.offsets.newConnections / 4;

/** Over the map `counters`: element `subject * cpus + cpu`. */
export class CounterView {
  readonly #words: Uint32Array;
  readonly #cpus: number;

  constructor(buffer: ArrayBuffer, cpus: number) {
    this.#words = new Uint32Array(buffer);
    this.#cpus = cpus;
  }

  /** Sums of a subject, into `totals`, which is returned. About 100 ns a CPU. */
  read(subject: number, totals: Totals = createTotals()): Totals {
    const { outcome, event } = totals;
    outcome.fill(0);
    event.fill(0);
    totals.bytes = 0;
    totals.newConnections = 0;
    const words = this.#words;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      const base = (subject * this.#cpus + cpu) * WORDS;
      for (let i = 0; i < OUTCOME_COUNT; i++) outcome[i] += readWide(words, base + 2 * i);
      for (let i = 0; i < EVENT_COUNT; i++) event[i] += readWide(words, base + EVENT_WORD + 2 * i);
      totals.bytes += readWide(words, base + BYTES_WORD);
      totals.newConnections += readWide(words, base + NEW_CONNECTIONS_WORD);
    }
    return totals;
  }

  /** Sets a subject's counters to zero; only while no packet meets the subject, or some of its counts survive. */
  clear(subject: number): void {
    const start = subject * this.#cpus * WORDS;
    this.#words.fill(0, start, start + this.#cpus * WORDS);
  }
}

const AGENT_WORDS = AGENT_COUNTERS.sizeBytes / 4;

/** Over the map `agent_counters`: element `cpu`. */
export class AgentCounterView {
  readonly #words: Uint32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Uint32Array(buffer);
  }

  /** Packets by `AGENT_OUTCOME`, summed over all CPUs, into `outcome`, which is returned. */
  read(outcome: Float64Array = new Float64Array(AGENT_OUTCOME_COUNT)): Float64Array {
    outcome.fill(0);
    for (let base = 0; base < this.#words.length; base += AGENT_WORDS) {
      for (let i = 0; i < AGENT_OUTCOME_COUNT; i++) outcome[i] += readWide(this.#words, base + 2 * i);
    }
    return outcome;
  }
}
