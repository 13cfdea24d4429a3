/** Who asked the kernel for what since the last look: queries for A by resolver, client subnet and answer (`bpf/dns-askers.h`). */
import { DNS_ASKER_FAMILY_SHIFT, DNS_ASKER_LENGTH_SHIFT, DNS_ASKER_SET, DNS_ASKER_WAYS } from '../../vip/layout.gen.ts';
import type { RowMeaning } from './tables.ts';

/** Two askers each of 32 bytes: 131,072 in 4 MB, a cache line a set. */
export const ASKER_SETS = 65_536;
const SET_WORDS = DNS_ASKER_SET.sizeBytes / 4;
const TAG = DNS_ASKER_SET.offsets.tag / 4;
const RESOLVER = DNS_ASKER_SET.offsets.resolver / 4;
const SUBNET = DNS_ASKER_SET.offsets.subnet / 4;
const ROW = DNS_ASKER_SET.offsets.row / 4;
const QUERIES = DNS_ASKER_SET.offsets.queries / 4;
/** Looks without a query after which a place is another's. A cache that comes again finds a new one. */
const IDLE_LOOKS = 8;

/** A /24 of IPv4 or a /48 of IPv6, or a subnet that is shorter; read at once: the same object is filled anew for each. */
export interface AskerPrefix {
  family: 4 | 6;
  length: number;
  /** In wire order; 0 behind the length. */
  readonly bytes: Uint8Array;
}

/** `subnet`: null where the resolver told none. */
export type VisitAsker = (
  resolver: AskerPrefix,
  subnet: AskerPrefix | null,
  meaning: RowMeaning,
  queries: number,
) => void;

export class Askers {
  readonly #words: Uint32Array;
  readonly #meanings: readonly (RowMeaning | undefined)[];
  /** By place: queries at the last look, and looks since one came. */
  readonly #seen = new Uint32Array(ASKER_SETS * DNS_ASKER_WAYS);
  readonly #idle = new Uint8Array(ASKER_SETS * DNS_ASKER_WAYS);
  readonly #resolver: AskerPrefix = { family: 4, length: 24, bytes: new Uint8Array(16) };
  readonly #subnet: AskerPrefix = { family: 4, length: 24, bytes: new Uint8Array(16) };

  /** `memory`: of the map `dns_askers`. */
  constructor(memory: ArrayBufferLike, meanings: readonly (RowMeaning | undefined)[]) {
    this.#words = new Uint32Array(memory);
    this.#meanings = meanings;
  }

  /**
   * What came since the last call; the kernel counts on meanwhile. Those who are silent lose their place; a query that comes in that
   * moment is not counted. Cost: some 0.3 ms, and what `visit` takes.
   */
  read(visit: VisitAsker): void {
    const words = this.#words;
    for (let set = 0, place = 0; set < ASKER_SETS; set++) {
      const base = set * SET_WORDS;
      for (let way = 0; way < DNS_ASKER_WAYS; way++, place++) {
        const tag = base + TAG + way * 2;
        if (words[tag] === 0 && words[tag + 1] === 0) continue;
        const now = words[base + QUERIES + way];
        const queries = (now - this.#seen[place]) >>> 0;
        if (queries > 0) {
          if (!this.#tell(base, way, queries, visit)) continue;
          this.#seen[place] = now;
          this.#idle[place] = 0;
        } else if (++this.#idle[place] === IDLE_LOOKS) this.#free(base, way, place);
      }
    }
  }

  /** False: the kernel is about to write it. */
  #tell(base: number, way: number, queries: number, visit: VisitAsker): boolean {
    const words = this.#words;
    if (!readPrefix(words, base + RESOLVER + way * 2, this.#resolver)) return false;
    const hasSubnet = readPrefix(words, base + SUBNET + way * 2, this.#subnet);
    const meaning = this.#meanings[words[base + ROW + way]];
    if (meaning?.isPositive) visit(this.#resolver, hasSubnet ? this.#subnet : null, meaning, queries);
    return true;
  }

  /** The tag last: then the place is anybody's. */
  #free(base: number, way: number, place: number): void {
    const words = this.#words;
    words.fill(0, base + RESOLVER + way * 2, base + RESOLVER + way * 2 + 2);
    words[base + QUERIES + way] = 0;
    this.#seen[place] = 0;
    this.#idle[place] = 0;
    // Its lowest bit is always set: until that is gone, too, nobody takes the place.
    words[base + TAG + way * 2 + 1] = 0;
    words[base + TAG + way * 2] = 0;
  }
}

/** False: there is none. */
function readPrefix(words: Uint32Array, at: number, prefix: AskerPrefix): boolean {
  const [low, high] = [words[at], words[at + 1]];
  if (high === 0) return false;
  prefix.family = high >>> (DNS_ASKER_FAMILY_SHIFT - 32) === 4 ? 4 : 6;
  prefix.length = (high >>> (DNS_ASKER_LENGTH_SHIFT - 32)) & 0xff || (prefix.family === 4 ? 24 : 48);
  for (let i = 0; i < 4; i++) prefix.bytes[i] = low >>> (8 * i);
  prefix.bytes[4] = prefix.family === 4 ? 0 : high;
  prefix.bytes[5] = prefix.family === 4 ? 0 : high >>> 8;
  return true;
}
