/**
 * The addresses of a family as a row of segments, each with a value: what a list of nested prefixes comes to. Made from prefixes
 * (`flattenPrefixes`), in columns of numbers, so that a million of them cost neither objects nor seconds.
 */
import type { Prefix } from './address.ts';
import { NO_VALUE } from './prefix-map.ts';

/** Of what has no weight of its own, for the family's whole space: any weight that was given is above it. */
export const UNWEIGHTED_DENSITY = 2 ** -200;

export interface AddressSegments {
  readonly family: 4 | 6;
  readonly count: number;
  /** First addresses, ascending, the first 0: one word of 32 bits each for IPv4, four for IPv6, the highest first. */
  readonly starts: Uint32Array;
  readonly values: Uint32Array;
  /** Weight of a segment divided by its share of the family's addresses. */
  readonly densities: Float64Array;
}

/** Words of an address. */
export function wordsOf(family: 4 | 6): 1 | 4 {
  return family === 4 ? 1 : 4;
}

/** Prefixes of one family, in any order, in columns that grow. */
export class PrefixColumns {
  readonly family: 4 | 6;
  count = 0;
  addresses: Uint32Array;
  lengths = new Uint8Array(16);
  values = new Uint32Array(16);
  /** NaN: none was given. */
  weights = new Float64Array(16);

  constructor(family: 4 | 6) {
    this.family = family;
    this.addresses = new Uint32Array(16 * wordsOf(family));
  }

  /**
   * The prefix of `length` bits of the address at `start` in `bytes`; bits beyond it are not looked at. Of two with the same prefix the
   * later counts. `weight`: of all addresses under it that no longer prefix of the list covers; without one they are
   * weighed by their number, and are less than any weight that was given, but 0.
   */
  add(bytes: Uint8Array, start: number, length: number, value: number, weight = Number.NaN): void {
    if (this.count === this.lengths.length) this.#grow();
    const words = wordsOf(this.family);
    for (let i = 0; i < words; i++) {
      const at = start + i * 4;
      const word = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
      const kept = Math.min(32, Math.max(0, length - i * 32));
      // A shift by 32 would be one by 0.
      this.addresses[this.count * words + i] = kept === 0 ? 0 : word & (-1 << (32 - kept));
    }
    this.lengths[this.count] = length;
    this.values[this.count] = value;
    this.weights[this.count] = weight;
    this.count++;
  }

  #grow(): void {
    const capacity = this.lengths.length * 2;
    const copied = <T extends Uint32Array | Uint8Array | Float64Array>(larger: T, from: T) => {
      larger.set(from);
      return larger;
    };
    this.addresses = copied(new Uint32Array(capacity * wordsOf(this.family)), this.addresses);
    this.lengths = copied(new Uint8Array(capacity), this.lengths);
    this.values = copied(new Uint32Array(capacity), this.values);
    this.weights = copied(new Float64Array(capacity), this.weights);
  }
}

/** A prefix of the list. */
export function prefixAt({ family, addresses, lengths }: PrefixColumns, entry: number): Prefix {
  const words = wordsOf(family);
  const bytes = new Uint8Array(words * 4);
  for (let i = 0; i < bytes.length; i++) bytes[i] = addresses[entry * words + (i >> 2)] >>> (24 - (i & 3) * 8);
  return { address: { family, bytes }, length: lengths[entry] };
}

/**
 * Segments of the longest prefixes; `NO_VALUE` where there is none. `onTwin` is told entries of the list with the prefix of an `earlier`
 * one. Cost: a few passes over the list.
 */
export function flattenPrefixes(
  list: PrefixColumns,
  onTwin: (entry: number, earlier: number) => void = () => undefined,
): AddressSegments {
  const row = new SegmentRow(list.family, list.count * 2 + 1);
  const order = sortPrefixes(list);
  row.push(new Uint32Array(4), 0, NO_ENTRY);
  // Prefixes that are open here, the longest last.
  const open: number[] = [];
  const end = new Uint32Array(4);
  const close = () => {
    const closed = open.pop() as number;
    const isLast = !firstAfter(list, closed, end);
    if (!isLast) row.push(end, 0, open.length > 0 ? open[open.length - 1] : NO_ENTRY);
  };
  for (const entry of order) {
    while (open.length > 0 && !covers(list, open[open.length - 1], entry)) close();
    const outer = open.at(-1);
    if (outer !== undefined && list.lengths[outer] === list.lengths[entry]) onTwin(entry, outer);
    row.push(list.addresses, entry * wordsOf(list.family), entry);
    open.push(entry);
  }
  while (open.length > 0) close();
  return weighSegments(list, row);
}

const NO_ENTRY = 0xffff_ffff;

/** First addresses and entries of the list, in order. */
class SegmentRow {
  readonly family: 4 | 6;
  readonly starts: Uint32Array;
  readonly entries: Uint32Array;
  count = 0;

  constructor(family: 4 | 6, capacity: number) {
    this.family = family;
    this.starts = new Uint32Array(capacity * wordsOf(family));
    this.entries = new Uint32Array(capacity);
  }

  /** `address` at `at` is not before the last; where it is the same, it takes its place. */
  push(address: Uint32Array, at: number, entry: number): void {
    const words = wordsOf(this.family);
    let place = this.count;
    if (place > 0) {
      let same = true;
      for (let i = 0; i < words; i++) same &&= this.starts[(place - 1) * words + i] === address[at + i];
      if (same) place--;
    }
    for (let i = 0; i < words; i++) this.starts[place * words + i] = address[at + i];
    this.entries[place] = entry;
    this.count = place + 1;
  }
}

function weighSegments(list: PrefixColumns, row: SegmentRow): AddressSegments {
  const { family, count } = row;
  const shares = new Float64Array(list.count);
  for (let i = 0; i < count; i++) {
    if (row.entries[i] !== NO_ENTRY) shares[row.entries[i]] += shareBetween(row, i);
  }
  const values = new Uint32Array(count);
  const densities = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const entry = row.entries[i];
    const weight = entry === NO_ENTRY ? Number.NaN : list.weights[entry];
    values[i] = entry === NO_ENTRY ? NO_VALUE : list.values[entry];
    densities[i] = Number.isNaN(weight) ? UNWEIGHTED_DENSITY : weight / shares[entry];
  }
  return { family, count, starts: row.starts.slice(0, count * wordsOf(family)), values, densities };
}

/** Share of the family's addresses that segment `index` has. */
function shareBetween({ family, starts, count }: SegmentRow, index: number): number {
  const words = wordsOf(family);
  let share = index + 1 < count ? 0 : 1;
  let unit = 1;
  for (let i = 0; i < words; i++) {
    unit *= 2 ** -32;
    const next = index + 1 < count ? starts[(index + 1) * words + i] : 0;
    share += (next - starts[index * words + i]) * unit;
  }
  return share;
}

/** Whether prefix `outer` holds all of `inner`, which begins at the same place or later. */
function covers({ family, addresses, lengths }: PrefixColumns, outer: number, inner: number): boolean {
  const words = wordsOf(family);
  if (lengths[inner] < lengths[outer]) return false;
  for (let i = 0, left = lengths[outer]; left > 0; i++, left -= 32) {
    const differs = addresses[outer * words + i] ^ addresses[inner * words + i];
    if (left >= 32 ? differs !== 0 : differs >>> (32 - left) !== 0) return false;
  }
  return true;
}

/** Writes the address after the last of a prefix; false: there is none. */
function firstAfter({ family, addresses, lengths }: PrefixColumns, entry: number, out: Uint32Array): boolean {
  const words = wordsOf(family);
  const length = lengths[entry];
  if (length === 0) return false;
  for (let i = 0; i < words; i++) out[i] = addresses[entry * words + i];
  let carry = 2 ** (31 - ((length - 1) & 31));
  for (let i = (length - 1) >> 5; i >= 0; i--) {
    const sum = out[i] + carry;
    out[i] = sum;
    if (sum < 2 ** 32) return true;
    carry = 1;
  }
  return false;
}

/** By address, then the shorter first, then as listed: a radix sort from the last byte to the first. */
function sortPrefixes({ family, count, addresses, lengths }: PrefixColumns): Uint32Array {
  const words = wordsOf(family);
  let order = Uint32Array.from({ length: count }, (_, index) => index);
  let other = new Uint32Array(count);
  const places = new Uint32Array(256);
  const pass = (digitOf: (entry: number) => number) => {
    places.fill(0);
    for (let i = 0; i < count; i++) places[digitOf(order[i])]++;
    // Most bytes of IPv6 prefixes are 0 in all of them.
    if (count > 0 && places[digitOf(order[0])] === count) return;
    for (let digit = 0, place = 0; digit < 256; digit++) {
      const many = places[digit];
      places[digit] = place;
      place += many;
    }
    for (let i = 0; i < count; i++) other[places[digitOf(order[i])]++] = order[i];
    [order, other] = [other, order];
  };
  pass((entry) => lengths[entry]);
  for (let word = words - 1; word >= 0; word--) {
    for (let shift = 0; shift < 32; shift += 8) pass((entry) => (addresses[entry * words + word] >>> shift) & 0xff);
  }
  return order;
}
