/** Round trips from SYN to ACK, as the balancer sees them (bpf/handshake.h), less what the site takes for its part. */
import { RTT_COUNTERS } from './layout.gen.ts';
import type { RttCounters } from './rtt-program.ts';
import { type OnRtt, RttSets } from './rtt-sets.ts';

/** Handshakes of probes that are remembered: each second brings some. */
const REMEMBERED = 32;

export class HandshakeRtts {
  readonly #sets: RttSets;
  readonly #counters: BigUint64Array;
  /** The last ones, in microseconds. */
  readonly #probes: number[] = [];

  /** Of the maps `handshake_rtts` and `handshake_counters`. */
  constructor(sets: ArrayBuffer, counters: ArrayBuffer) {
    this.#sets = new RttSets(sets);
    this.#counters = new BigUint64Array(counters);
    this.#sets.take(() => {});
  }

  /** From balancer to backend and back to the balancer's prober: the median of the last probes in microseconds; 0 before the first. */
  get siteMicroseconds(): number {
    return this.#probes.toSorted((a, b) => a - b)[this.#probes.length >> 1] ?? 0;
  }

  /** Gives those since the last call, of a prefix the last 16 at most. */
  take(each: OnRtt): void {
    const taken: [high: number, low: number, microseconds: number][] = [];
    this.#sets.take(
      (high, low, microseconds) => taken.push([high, low, microseconds]),
      (microseconds) => {
        this.#probes.push(microseconds);
        if (this.#probes.length > REMEMBERED) this.#probes.shift();
      },
    );
    const site = this.siteMicroseconds;
    for (const [high, low, microseconds] of taken) each(high, low, Math.max(1, microseconds - site));
  }

  /** Since the maps were made; `unknown`: handshakes in which somebody repeated a packet. */
  read(): RttCounters {
    const at = (field: keyof typeof RTT_COUNTERS.offsets) => Number(this.#counters[RTT_COUNTERS.offsets[field] / 8]);
    return { taken: at('taken'), full: at('full'), unknown: at('unknown') };
  }
}
