/** Makes the flat array of `prefix-map.ts`: segments are cut at prefixes that have one value throughout, the widest there are. */
import type { Prefix } from './address.ts';
import { type AddressSegments, flattenPrefixes, PrefixColumns, wordsOf } from './address-segments.ts';
import { CHILD_BIT, NARROW_BIT, NARROW_WORDS, NO_VALUE, type PrefixMap, ROOT_WORD, WIDE_WORDS } from './prefix-map.ts';

/** Of the 16 narrow nodes that a byte may take beneath its first, with so many a wide one is not much larger. */
const WIDE_FROM = 6;
/** Segments in a node that are surely worth a wide one: 21 bytes each. */
const WIDE_FROM_SEGMENTS = 48;
/** Of `words`: what can be addressed by a signed number. */
const MAX_WORDS = 2 ** 31 - 1;

export interface PrefixEntry {
  readonly prefix: Prefix;
  /** Below `NO_VALUE`. */
  readonly value: number;
  /** See `PrefixColumns.add`. */
  readonly weight?: number;
}

/** From a list of prefixes, nested ones and both families in any order; of two with the same prefix the later counts. */
export function buildPrefixMap(entries: Iterable<PrefixEntry>): PrefixMap {
  const lists = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };
  for (const { prefix, value, weight } of entries) {
    const { family, bytes } = prefix.address;
    lists[family].add(bytes, 0, prefix.length, value, weight);
  }
  return compilePrefixMap(flattenPrefixes(lists[4]), flattenPrefixes(lists[6]));
}

/**
 * From segments. `renamed`: the map's value for each value of the segments (those that it gives `NO_VALUE` count as uncovered); without it
 * they are the same. Cost: for each segment one step for each bit in which it differs from its neighbours, and a list of the values
 * beneath at each bit.
 */
export function compilePrefixMap(ipv4: AddressSegments, ipv6: AddressSegments, renamed?: Uint32Array): PrefixMap {
  const builder = new MapBuilder();
  builder.addFamily(ipv4, renamed);
  builder.addFamily(ipv6, renamed);
  return builder.finish();
}

class MapBuilder {
  #words = new Uint32Array(4096);
  #dominants = new Uint32Array(4096);
  #used = 2 * WIDE_WORDS;
  #largestValue = 0;
  // Of the family in work: segments in which value or density change.
  #wordsOfAddress: 1 | 4 = 1;
  #starts = new Uint32Array(0);
  #values = new Uint32Array(0);
  #densities = new Float64Array(0);
  /** How often the value changed up to a segment: segments with the same number side by side have the same value. */
  #changes = new Uint32Array(0);
  /** A stack of weights by value, of what was placed but not yet joined with its other half: the values of each ascend. */
  #summedValues = new Uint32Array(1024);
  #summedWeights = new Float64Array(1024);
  #top = 0;
  #leftValues = new Uint32Array(1024);
  #leftWeights = new Float64Array(1024);

  addFamily(segments: AddressSegments, renamed: Uint32Array | undefined): void {
    const count = this.#take(segments, renamed);
    this.#top = 0;
    this.#place(ROOT_WORD[segments.family], 8, 1, 0, 0, 1, count);
  }

  finish(): PrefixMap {
    const words = new Uint32Array(new SharedArrayBuffer(this.#used * 4));
    words.set(this.#words.subarray(0, this.#used));
    const isSmall = this.#largestValue <= 0xffff;
    const dominants = isSmall
      ? new Uint16Array(new SharedArrayBuffer(this.#used * 2))
      : new Uint32Array(new SharedArrayBuffer(this.#used * 4));
    dominants.set(this.#dominants.subarray(0, this.#used));
    return { words, dominants };
  }

  #take({ family, count, starts, values, densities }: AddressSegments, renamed: Uint32Array | undefined): number {
    const words = wordsOf(family);
    this.#wordsOfAddress = words;
    this.#starts = new Uint32Array(count * words);
    this.#values = new Uint32Array(count);
    this.#densities = new Float64Array(count);
    this.#changes = new Uint32Array(count);
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const value = renamed === undefined || values[i] === NO_VALUE ? values[i] : renamed[values[i]];
      if (value > NO_VALUE) throw new Error(`a prefix map has no room for the value ${value}`);
      if (value !== NO_VALUE && value > this.#largestValue) this.#largestValue = value;
      const isNew = kept === 0 || value !== this.#values[kept - 1];
      if (!isNew && (value === NO_VALUE || densities[i] === this.#densities[kept - 1])) continue;
      for (let word = 0; word < words; word++) this.#starts[kept * words + word] = starts[i * words + word];
      this.#values[kept] = value;
      this.#densities[kept] = densities[i];
      this.#changes[kept] = kept === 0 ? 0 : this.#changes[kept - 1] + (isNew ? 1 : 0);
      kept++;
    }
    return kept;
  }

  /**
   * Writes what stands under one prefix, and pushes its weights. `heap`: the place of the prefix among those that end in the node at `base`:
   * 1 is the node's own, 2 and 3 its halves and so on; `level` bits of the node's `width` are used. The segments from `low` to
   * before `high` begin inside, after its first address, and `low - 1` is the one that this address is in.
   */
  #place(base: number, width: number, heap: number, level: number, depth: number, low: number, high: number): void {
    if (this.#changes[high - 1] === this.#changes[low - 1]) {
      const value = this.#values[low - 1];
      const first = base + (heap << (width - level)) - (1 << width);
      this.#words.fill((value << 8) | depth, first, first + (1 << (width - level)));
      if (value !== NO_VALUE) this.#push(value, this.#weigh(depth, low, high));
      return;
    }
    if (level === width) {
      const child = this.#addNode(depth, low, high);
      this.#words[base + heap - (1 << width)] = child;
      return;
    }
    const middle = this.#split(depth, low, high);
    const begin = this.#top;
    this.#place(base, width, heap * 2, level + 1, depth + 1, low, middle);
    const between = this.#top;
    const isStart = middle < high && this.#isZeroFrom(middle, depth + 1);
    this.#place(base, width, heap * 2 + 1, level + 1, depth + 1, isStart ? middle + 1 : middle, high);
    this.#join(begin, between);
    this.#dominants[base + heap] = this.#dominant(begin);
  }

  /** The word that leads to it. */
  #addNode(depth: number, low: number, high: number): number {
    const isWide = depth % 8 === 0 && this.#deservesWide(depth, low, high);
    const size = isWide ? WIDE_WORDS : NARROW_WORDS;
    const base = this.#used;
    if (base + size > MAX_WORDS) throw new Error('a prefix map has no room for more prefixes');
    if (base + size > this.#words.length) {
      const [words, dominants] = [this.#words, this.#dominants];
      this.#words = new Uint32Array(words.length * 2);
      this.#words.set(words);
      this.#dominants = new Uint32Array(words.length * 2);
      this.#dominants.set(dominants);
    }
    this.#used += size;
    this.#place(base, isWide ? 8 : 4, 1, 0, depth, low, high);
    return (CHILD_BIT | (isWide ? 0 : NARROW_BIT) | (base / NARROW_WORDS)) >>> 0;
  }

  /** By how many of its halves of a byte have segments that begin inside. */
  #deservesWide(depth: number, low: number, high: number): boolean {
    if (high - low >= WIDE_FROM_SEGMENTS) return true;
    let found = 0;
    for (let i = low; i < high; i++) {
      const word = this.#starts[i * this.#wordsOfAddress + (depth >> 5)];
      const half = (word >>> (28 - (depth & 31))) & 15;
      if (!this.#isZeroFrom(i, depth + 4)) found |= 1 << half;
    }
    let halves = 0;
    for (; found !== 0; found &= found - 1) halves++;
    return halves >= WIDE_FROM;
  }

  #bit(segment: number, position: number): number {
    return (this.#starts[segment * this.#wordsOfAddress + (position >> 5)] >>> (31 - (position & 31))) & 1;
  }

  /** The first segment of a range with bit `position` set; before it all addresses are the same up to there. */
  #split(position: number, low: number, high: number): number {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#bit(middle, position) === 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether a segment's first address has no bit set from `position` on. */
  #isZeroFrom(segment: number, position: number): boolean {
    const words = this.#wordsOfAddress;
    let word = position >> 5;
    if (word === words) return true;
    const at = segment * words;
    // The shift moves the bits before it out.
    if (this.#starts[at + word] << (position & 31) !== 0) return false;
    for (word++; word < words; word++) if (this.#starts[at + word] !== 0) return false;
    return true;
  }

  /** Weight of what is under a prefix of one value: see `#place`. */
  #weigh(depth: number, low: number, high: number): number {
    let begin = 0;
    let weight = 0;
    for (let i = low; i < high; i++) {
      const end = this.#offset(i, depth);
      weight += (end - begin) * this.#densities[i - 1];
      begin = end;
    }
    return weight + (2 ** -depth - begin) * this.#densities[high - 1];
  }

  /** Where a segment begins under its prefix of `depth` bits, as a share of the family's addresses. */
  #offset(segment: number, depth: number): number {
    let share = 0;
    for (let word = depth >> 5; word < this.#wordsOfAddress; word++) {
      const bits = this.#starts[segment * this.#wordsOfAddress + word];
      share += (word === depth >> 5 ? (bits & (0xffff_ffff >>> (depth & 31))) >>> 0 : bits) * 2 ** (-32 * (word + 1));
    }
    return share;
  }

  #push(value: number, weight: number): void {
    if (this.#top === this.#summedValues.length) {
      this.#summedValues = doubled(this.#summedValues, Uint32Array);
      this.#summedWeights = doubled(this.#summedWeights, Float64Array);
    }
    this.#summedValues[this.#top] = value;
    this.#summedWeights[this.#top++] = weight;
  }

  /** Makes one list of the two that begin at `begin` and `between`. */
  #join(begin: number, between: number): void {
    const lefts = between - begin;
    const end = this.#top;
    if (lefts === 0 || between === end) return;
    while (lefts > this.#leftValues.length) {
      this.#leftValues = doubled(this.#leftValues, Uint32Array);
      this.#leftWeights = doubled(this.#leftWeights, Float64Array);
    }
    const [values, weights] = [this.#summedValues, this.#summedWeights];
    const [leftValues, leftWeights] = [this.#leftValues, this.#leftWeights];
    for (let i = 0; i < lefts; i++) {
      leftValues[i] = values[begin + i];
      leftWeights[i] = weights[begin + i];
    }
    let [left, right, out] = [0, between, begin];
    // Never writes where the right list was not read yet: `out` is at most `begin + left + (right - between)`.
    while (left < lefts || right < end) {
      const takesLeft = right === end || (left < lefts && leftValues[left] <= values[right]);
      const isBoth = takesLeft && right < end && leftValues[left] === values[right];
      const value = takesLeft ? leftValues[left] : values[right];
      let weight = takesLeft ? leftWeights[left++] : weights[right++];
      if (isBoth) weight += weights[right++];
      values[out] = value;
      weights[out++] = weight;
    }
    this.#top = out;
  }

  /** Of the list from `begin`: of equals the least value. */
  #dominant(begin: number): number {
    let best = begin;
    for (let i = begin + 1; i < this.#top; i++) if (this.#summedWeights[i] > this.#summedWeights[best]) best = i;
    return this.#summedValues[best];
  }
}

function doubled<T extends Uint32Array | Float64Array>(from: T, Kind: new (length: number) => T): T {
  const larger = new Kind(from.length * 2);
  larger.set(from);
  return larger;
}
