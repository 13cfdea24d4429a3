/** Who opens the most flows: client prefixes (/24, /48) as the balancer's program counts them (bpf/prefixes.h). */
import { formatAddress } from '../../net/address.ts';
import { PREFIX_SET, PREFIX_WAYS } from './layout.gen.ts';

/** Nanoseconds of the program's second, by which rates are counted. */
const SECOND_NS = 2 ** 30;
const PER_SECOND = 1e9 / SECOND_NS;

export interface PrefixCount {
  /** `203.0.113.0/24`, `2001:db8::/48`. */
  readonly prefix: string;
  /** New flows a second, those refused too: of the last seconds, each of which counts half as much as the one after it. */
  readonly newPerSecond: number;
  /** By so much it may be too high: what was counted for others before, in the same place. */
  readonly errorPerSecond: number;
  /** For so long the prefix has been among the counted. */
  readonly seconds: number;
  /** New flows over the limit of the prefix since then. */
  readonly refused: number;
}

const WORDS = PREFIX_SET.sizeBytes / 4;
const at = (field: keyof typeof PREFIX_SET.offsets) => PREFIX_SET.offsets[field] / 4;
const [KEY, WINDOW, WEIGHT, ERROR, SINCE, REFUSED] = [
  at('key'),
  at('window'),
  at('weight'),
  at('error'),
  at('since'),
  at('refused'),
];

/** Over the map `prefixes`. */
export class PrefixReader {
  readonly #words: Uint32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Uint32Array(buffer);
  }

  /** By subject of the service, the busiest first, at most `count` each. `nowNs` by the programs' clock. About 0.3 ms. */
  top(count: number, nowNs: bigint): Map<number, PrefixCount[]> {
    const found = new Map<number, PrefixCount[]>();
    const second = Number((nowNs >> 30n) & 0xffffffffn);
    for (let set = 0; set < this.#words.length; set += WORDS) {
      for (let way = 0; way < PREFIX_WAYS; way++) {
        const high = this.#words[set + KEY + 2 * way + 1] as number;
        const subject = (high >>> 17) & 0x7ff;
        if (subject === 0) continue;
        const one = this.#read(set, way, second);
        if (one.newPerSecond === 0) continue;
        const list = found.get(subject);
        if (list === undefined) found.set(subject, [one]);
        else list.push(one);
      }
    }
    for (const [subject, list] of found) {
      list.sort((a, b) => b.newPerSecond - a.newPerSecond);
      found.set(subject, list.slice(0, count));
    }
    return found;
  }

  /** The second that is not over yet does not count, or rates would rise and fall within it. */
  #read(set: number, way: number, second: number): PrefixCount {
    const words = this.#words;
    const [low, high] = [words[set + KEY + 2 * way] as number, words[set + KEY + 2 * way + 1] as number];
    const passed = Math.min(31, Math.max(0, (second - (words[set + WINDOW + 2 * way + 1] as number)) | 0));
    const weight = words[set + WEIGHT + way] as number;
    const current = passed === 0 ? 0 : (words[set + WINDOW + 2 * way] as number);
    return {
      prefix: prefixText(low, high),
      newPerSecond: ((weight + current) / 2 ** passed) * PER_SECOND,
      errorPerSecond: ((words[set + ERROR + way] as number) / 2 ** passed) * PER_SECOND,
      seconds: Math.max(0, (second - (words[set + SINCE + way] as number)) | 0) / PER_SECOND,
      refused: words[set + REFUSED + way] as number,
    };
  }

  /** What is counted for a subject is forgotten. */
  clear(subject: number): void {
    for (let set = 0; set < this.#words.length; set += WORDS) {
      for (let way = 0; way < PREFIX_WAYS; way++) {
        const key = set + KEY + 2 * way;
        if ((((this.#words[key + 1] as number) >>> 17) & 0x7ff) !== subject) continue;
        this.#words[set + WEIGHT + way] = 0;
        this.#words[set + WINDOW + 2 * way] = 0;
        this.#words[key] = 0;
        this.#words[key + 1] = 0;
      }
    }
  }
}

function prefixText(low: number, high: number): string {
  if ((high & 0x10000) === 0) {
    const bytes = Uint8Array.of(low >>> 16, low >>> 8, low, 0);
    return `${formatAddress({ family: 4, bytes })}/24`;
  }
  const bytes = new Uint8Array(16);
  bytes.set([high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low]);
  return `${formatAddress({ family: 6, bytes })}/48`;
}
