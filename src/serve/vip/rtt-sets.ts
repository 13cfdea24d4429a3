/** Round trips by client prefix, as the programs gather them (bpf/rtt-sets.h): taken out of the mapped table. */
import { RTT_SAMPLES, RTT_SET, RTT_WAYS } from './layout.gen.ts';

const WORDS = RTT_SET.sizeBytes / 4;
const KEY = RTT_SET.offsets.key / 4;
const COUNT = RTT_SET.offsets.count / 4;
const SAMPLE = RTT_SET.offsets.sample / 4;
/** Of the upper half of a key: the family, and of IPv6 the first 16 bits. */
const HIGH_MASK = 0x1_ffff;
/** In the upper half of a key: the balancer's prober. */
const PROBE = 0x1000_0000;

/** `high` and `low`: the prefix, as `KeyedRows` have it (observe/steering-rows.ts). */
export type OnRtt = (high: number, low: number, microseconds: number) => void;

/** Over the map `rtt_sets`. */
export class RttSets {
  readonly #words: Uint32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Uint32Array(buffer);
  }

  /** Gives what was gathered since the last call, of a prefix the last 16 at most, and makes room. Some 20 us if that is little. */
  take(each: OnRtt, onProbe: (microseconds: number) => void = () => {}): void {
    const words = this.#words;
    for (let set = 0; set < words.length; set += WORDS) {
      for (let way = 0; way < RTT_WAYS; way++) {
        const key = set + KEY + 2 * way;
        const high = words[key + 1] as number;
        if (high === 0) continue;
        const isProbe = (high & PROBE) !== 0;
        this.#takeOne(
          set,
          way,
          high & HIGH_MASK,
          words[key] as number,
          isProbe ? (_high, _low, us) => onProbe(us) : each,
        );
      }
    }
  }

  /** What a CPU writes here meanwhile is lost, or counts for the next. */
  #takeOne(set: number, way: number, high: number, low: number, each: OnRtt): void {
    const words = this.#words;
    const samples = Math.min(words[set + COUNT + way] as number, RTT_SAMPLES);
    words[set + COUNT + way] = 0;
    for (let at = set + SAMPLE + way * RTT_SAMPLES, end = at + samples; at < end; at++) {
      const microseconds = words[at] as number;
      words[at] = 0;
      if (microseconds !== 0) each(high, low, microseconds);
    }
    words[set + KEY + 2 * way + 1] = 0;
    words[set + KEY + 2 * way] = 0;
  }
}
