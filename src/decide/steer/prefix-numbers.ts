/**
 * Numbers for client prefixes (/24 of IPv4, /48 of IPv6), below a bound: what columns of observations and estimates are indexed by.
 *
 * A number is one prefix's until it is forgotten, which happens in two steps, since whoever keeps a column by number must let go of it
 * first: `least` names the least important, then `forget` makes their numbers free for others.
 */
import type { Prefix } from '../../net/address.ts';
import { NO_PREFIX } from './measured.ts';

export const PREFIX_BITS = { 4: 24, 6: 48 } as const;

/**
 * A client prefix as the kernel's tables have it. `high`: KEY_IPV6 and the upper 16 bits of a /48, of IPv4 0; `low`: the lower 32, of
 * IPv4 the 24 bits of the /24.
 */
export const KEY_IPV6 = 0x1_0000;
/** In place of `high`: all prefixes that had no place of their own. */
export const KEY_REST = 0xffff_ffff;

const USED = 0x8000_0000;

/** 37 bytes a prefix of the bound. `numberOf` of a known one takes about 0.2 us with a million, whose places are in no cache. */
export class PrefixNumbers {
  readonly bound: number;
  /**
   * [number]: how important, as whoever counts adds to it (say, new connections); the least are forgotten first. A new prefix begins
   * with 0.
   */
  readonly importance: Float64Array;
  /** Prefixes that got no number since the beginning: as often as they were asked for. */
  refused = 0;
  #size = 0;
  /** [number]: USED, family, and the upper 16 bits of the 48 (IPv4: 0); 0: free. */
  readonly #high: Uint32Array;
  /** [number]: the lower 32 bits, of IPv4 all 24. */
  readonly #low: Uint32Array;
  /** Number + 1, at most half full, searched on from the hash; 0: empty. */
  readonly #table: Uint32Array;
  readonly #mask: number;
  readonly #seed: number;
  /** Numbers that were forgotten, the last first. */
  readonly #free: Uint32Array;
  #freeCount = 0;
  /** Numbers from here on were never given out. */
  #next = 0;

  /** `bound` from 1 to 2^30; `seed`: any 32 bits, so that nobody outside can choose prefixes that fall on one place. */
  constructor(bound: number, seed: number) {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 30) throw new RangeError(`a bound of ${bound}`);
    this.bound = bound;
    this.importance = new Float64Array(bound);
    this.#high = new Uint32Array(bound);
    this.#low = new Uint32Array(bound);
    this.#free = new Uint32Array(bound);
    const places = 2 ** Math.ceil(Math.log2(2 * bound));
    this.#table = new Uint32Array(places);
    this.#mask = places - 1;
    this.#seed = seed >>> 0;
  }

  /** How many prefixes have a number. */
  get size(): number {
    return this.#size;
  }

  /** All numbers ever given out are below: how far columns are to be read. */
  get end(): number {
    return this.#next;
  }

  /**
   * The number of the prefix in which the address lies whose bytes, in wire order, begin at `offset`: 3 of IPv4 are read, 6 of IPv6. A
   * prefix that has none gets one; NO_PREFIX, counted: there is no more room.
   */
  numberOf(family: 4 | 6, bytes: Uint8Array, offset: number): number {
    return family === 4
      ? this.numberOfKey(false, 0, (bytes[offset] << 16) | (bytes[offset + 1] << 8) | bytes[offset + 2])
      : this.numberOfKey(true, upperOf(bytes, offset), lowerOf(bytes, offset));
  }

  /** As `numberOf`, of the 24 bits in `low`, or of 16 bits in `high` and 32 in `low`. */
  numberOfKey(isIpv6: boolean, high: number, low: number): number {
    const upper = (USED | (isIpv6 ? KEY_IPV6 : 0) | high) >>> 0;
    const place = this.#placeOf(upper, low >>> 0);
    const found = this.#table[place];
    if (found !== 0) return found - 1;
    const number = this.#freeCount > 0 ? this.#free[--this.#freeCount] : this.#next;
    if (number === this.bound) {
      this.refused++;
      return NO_PREFIX;
    }
    if (number === this.#next) this.#next++;
    this.#high[number] = upper;
    this.#low[number] = low;
    this.importance[number] = 0;
    this.#table[place] = number + 1;
    this.#size++;
    return number;
  }

  /** As `numberOf`, but no prefix gets a number by it: NO_PREFIX, not counted. */
  find(family: 4 | 6, bytes: Uint8Array, offset: number): number {
    const upper = family === 4 ? USED : (USED | KEY_IPV6 | upperOf(bytes, offset)) >>> 0;
    const low =
      family === 4
        ? (bytes[offset] << 16) | (bytes[offset + 1] << 8) | bytes[offset + 2]
        : lowerOf(bytes, offset) >>> 0;
    const found = this.#table[this.#placeOf(upper, low)];
    return found === 0 ? NO_PREFIX : found - 1;
  }

  has(number: number): boolean {
    return number < this.bound && this.#high[number] !== 0;
  }

  /** 4 or 6. Throws for a number that is nobody's, as `prefixOf` does. */
  familyOf(number: number): 4 | 6 {
    if (!this.has(number)) throw new RangeError(`no prefix has the number ${number}`);
    return (this.#high[number] & KEY_IPV6) === 0 ? 4 : 6;
  }

  prefixOf(number: number): Prefix {
    const family = this.familyOf(number);
    const [high, low] = [this.#high[number], this.#low[number]];
    if (family === 4) return { address: { family, bytes: Uint8Array.of(low >>> 16, low >>> 8, low, 0) }, length: 24 };
    const bytes = new Uint8Array(16);
    bytes.set([high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low]);
    return { address: { family, bytes }, length: 48 };
  }

  /** All importance times `factor`: old counts fade. About 1 ns a number. */
  fade(factor: number): void {
    const { importance } = this;
    for (let number = 0; number < this.#next; number++) importance[number] *= factor;
  }

  /** Up to `count` numbers of the least important prefixes, rising; of equals the lower. Sorts: 0.1 s with a million. */
  least(count: number): Uint32Array {
    const wanted = Math.min(count, this.#size);
    if (wanted === 0) return new Uint32Array(0);
    const used = new Float64Array(this.#size);
    for (let number = 0, at = 0; number < this.#next; number++)
      if (this.#high[number] !== 0) used[at++] = this.importance[number];
    used.sort();
    const limit = used[wanted - 1];
    // Of those exactly at the limit as many as are left when all below it have gone.
    let ofLimit = wanted;
    for (let at = 0; used[at] < limit; at++) ofLimit--;
    const numbers = new Uint32Array(wanted);
    for (let number = 0, at = 0; at < wanted; number++) {
      if (this.#high[number] === 0 || this.importance[number] > limit) continue;
      if (this.importance[number] === limit && ofLimit-- <= 0) continue;
      numbers[at++] = number;
    }
    return numbers;
  }

  /** The numbers may be given to other prefixes from now on. Numbers that are nobody's are passed over. */
  forget(numbers: Iterable<number>): void {
    for (const number of numbers) {
      if (!this.has(number)) continue;
      this.#empty(this.#placeOf(this.#high[number], this.#low[number]));
      this.#high[number] = 0;
      this.#low[number] = 0;
      this.importance[number] = 0;
      this.#free[this.#freeCount++] = number;
      this.#size--;
    }
  }

  #hash(high: number, low: number): number {
    // The finaliser of MurmurHash3 (Appleby), over both words.
    let hash = Math.imul(low ^ this.#seed, 0xcc9e2d51);
    hash = (hash << 15) | (hash >>> 17);
    hash ^= Math.imul(high, 0x1b873593);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) & this.#mask;
  }

  /** Where the prefix stands, or the empty place where it would. */
  #placeOf(high: number, low: number): number {
    for (let place = this.#hash(high, low); ; place = (place + 1) & this.#mask) {
      const found = this.#table[place];
      if (found === 0 || (this.#low[found - 1] === low && this.#high[found - 1] === high)) return place;
    }
  }

  /** Those behind it move up as far as they may (Knuth, The Art of Computer Programming 3, 6.4, algorithm R). */
  #empty(place: number): void {
    let hole = place;
    for (let next = (hole + 1) & this.#mask; ; next = (next + 1) & this.#mask) {
      const found = this.#table[next];
      if (found === 0) break;
      const home = this.#hash(this.#high[found - 1], this.#low[found - 1]);
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      this.#table[hole] = found;
      hole = next;
    }
    this.#table[hole] = 0;
  }
}

function upperOf(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

function lowerOf(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + 2] << 24) | (bytes[offset + 3] << 16) | (bytes[offset + 4] << 8) | bytes[offset + 5];
}
