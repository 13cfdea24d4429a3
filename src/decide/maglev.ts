/**
 * Lookup tables: weighted Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
 * NSDI 2016, section 3.4).
 *
 * Every member has a permutation of the slots, (offset + j x skip) mod slots, from a hash of its name. Members take turns,
 * sorted by name; at its turn a member takes the next slot of its permutation that is free. Weights change how often a member
 * has its turn. What holds:
 * - The same set of members, in any order, gives the same table on every machine.
 * - Every slot is filled. A member of weight w gets floor or ceil of (slots x w / sum of weights): less than one slot from its
 *   due, whatever the weights. With equal weights counts differ by at most one, and turns go exactly as in the paper.
 *   (The paper only says that weights alter the frequency of turns; the counts are fixed first, see `apportion.ts`, and the
 *   turns are spread evenly so that they end in these counts.)
 * - A member that leaves gives its slots to the others; few other slots change (`portico bench tables` measures how few).
 */
import { apportionSlots } from './apportion.ts';
import { hashName } from './name-hash.ts';

export interface TableMember {
  /** The identity: unique in the set. Decides offset and skip. */
  readonly name: string;
  /** What stands in the table: 1 to 65,535. */
  readonly index: number;
  /** 0 to 1e9. 0: has no slots. */
  readonly weight: number;
}

/** Seeds of the two halves of a name's hash: the fractions of the square roots of 2 and 3, for want of a reason for others. */
const OFFSET_SEED = 0x6a09e667;
const SKIP_SEED = 0xbb67ae85;

/** So that a product of two slot numbers is exact in a double. */
const MAX_SLOTS = 2 ** 26;

/** Kept between calls, grown when needed: what a call works with beside the table. */
let turnOrder = new Uint16Array(0);
let roundStart = new Int32Array(0);

/**
 * Fills `table` (length `slots`, made when absent) with the indices of `members`; without a member of weight above 0 every slot
 * is 0, nobody. `slots`: a prime, 3 to 2^26; at least 100 for each member keeps disruption low. Allocates for each member, not for each slot.
 * Throws RangeError on what breaks these bounds. Cost: 1,000 members, 65,537 slots: about 1 ms.
 */
export function populateTable(
  slots: number,
  members: readonly TableMember[],
  table = new Uint16Array(slots),
): Uint16Array {
  if (!isPrime(slots) || slots < 3 || slots > MAX_SLOTS)
    throw new RangeError(`${slots} slots: must be a prime from 3 to 2^26`);
  if (table.length !== slots) throw new RangeError(`a table of ${table.length} for ${slots} slots`);
  const sorted = sortMembers(members);
  if (sorted.length === 0) return table.fill(0);
  fillSlots(table, preferencesOf(slots, sorted));
  return table;
}

/** Members that get slots, by name in UTF-16 code units (no locale), checked. */
function sortMembers(members: readonly TableMember[]): TableMember[] {
  for (const { name, index, weight } of members) {
    if (!Number.isInteger(index) || index < 1 || index > 0xffff) throw new RangeError(`${name}: index ${index}`);
    if (!(weight >= 0 && weight <= 1e9)) throw new RangeError(`${name}: weight ${weight}`);
  }
  const sorted = members.filter((member) => member.weight > 0).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (let i = 1; i < sorted.length; i++) {
    const name = (sorted[i] as TableMember).name;
    if (name === (sorted[i - 1] as TableMember).name) throw new RangeError(`${name}: twice in one table`);
  }
  return sorted;
}

function preferencesOf(slots: number, sorted: readonly TableMember[]): Preferences {
  const weights = new Float64Array(sorted.length);
  const counts = new Uint32Array(sorted.length);
  const offsets = new Int32Array(sorted.length);
  const skips = new Int32Array(sorted.length);
  const indices = new Uint16Array(sorted.length);
  for (let i = 0; i < sorted.length; i++) {
    const { name, index, weight } = sorted[i] as TableMember;
    weights[i] = weight;
    offsets[i] = hashName(name, OFFSET_SEED) % slots;
    skips[i] = (hashName(name, SKIP_SEED) % (slots - 1)) + 1;
    indices[i] = index;
  }
  apportionSlots(slots, weights, counts);
  return { offsets, skips, counts, indices };
}

/** By member, in the order of turns. */
export interface Preferences {
  /** 0 to slots - 1. Changed: the position in the permutation. */
  readonly offsets: Int32Array;
  /** 1 to slots - 1. */
  readonly skips: Int32Array;
  /** Turns that each has; they add up to the slots. */
  readonly counts: Uint32Array;
  readonly indices: Uint16Array;
}

/** The slots get their members by turns. `table.length`: a prime. */
export function fillSlots(table: Uint16Array, preferences: Preferences): void {
  table.fill(0);
  const order = orderTurns(table.length, preferences.counts);
  // A random walk looks at slots / free places before it meets a free one: half of all the looking is for the last few slots.
  // For these it is cheaper to compute which of them comes first in the permutation.
  const last = Math.min(table.length, Math.round(Math.sqrt(table.length) / 2));
  walkPermutations(table, preferences, order.subarray(0, table.length - last));
  takeNearest(table, preferences, order.subarray(table.length - last));
}

/**
 * Who has the turn, from first to last. There are R rounds, R being the largest count; turn k (from 0) of a member with count c is
 * in round floor(k x R / c), and in a round members go in order: a counting sort by round.
 */
function orderTurns(slots: number, counts: Uint32Array): Uint16Array {
  if (turnOrder.length < slots) turnOrder = new Uint16Array(slots);
  let rounds = 0;
  for (let i = 0; i < counts.length; i++) rounds = Math.max(rounds, counts[i] as number);
  if (roundStart.length < rounds + 1) roundStart = new Int32Array(rounds + 1);
  const start = roundStart.fill(0, 0, rounds + 1);
  const order = turnOrder;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number;
    for (let k = 0, turn = 0; k < count; k++, turn += rounds) {
      const round = Math.floor(turn / count);
      start[round + 1] = (start[round + 1] as number) + 1;
    }
  }
  for (let r = 0; r < rounds; r++) start[r + 1] = (start[r + 1] as number) + (start[r] as number);
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number;
    for (let k = 0, turn = 0; k < count; k++, turn += rounds) {
      const round = Math.floor(turn / count);
      const place = start[round] as number;
      order[place] = i;
      start[round] = place + 1;
    }
  }
  return order.subarray(0, slots);
}

/** The paper's loop: each turn walks the member's permutation to the next free slot. */
function walkPermutations(table: Uint16Array, preferences: Preferences, order: Uint16Array): void {
  const slots = table.length;
  const { offsets: positions, skips, indices } = preferences;
  for (let turn = 0; turn < order.length; turn++) {
    const i = order[turn] as number;
    const skip = skips[i] as number;
    let position = positions[i] as number;
    while (table[position] !== 0) {
      // Modulo without a branch: whether it wraps is random, and a wrong guess of the processor costs more than the sum.
      position += skip - slots;
      position += slots & (position >> 31);
    }
    table[position] = indices[i] as number;
    positions[i] = position;
  }
}

/**
 * The same for the last turns: of the free slots the one that the member's walk would meet first, which is the least
 * (slot - position) / skip modulo slots.
 */
function takeNearest(table: Uint16Array, preferences: Preferences, order: Uint16Array): void {
  const slots = table.length;
  const { offsets: positions, skips, indices } = preferences;
  const free = new Int32Array(order.length);
  let left = 0;
  for (let slot = 0; left < free.length; slot++) if (table[slot] === 0) free[left++] = slot;
  const perSlot = 1 / slots;
  for (let turn = 0; turn < order.length; turn++) {
    const i = order[turn] as number;
    const inverse = invert(skips[i] as number, slots);
    const position = positions[i] as number;
    let nearest = 0;
    let nearestSteps = slots;
    for (let j = 0; j < left; j++) {
      const ahead = (free[j] as number) - position;
      const product = (ahead < 0 ? ahead + slots : ahead) * inverse;
      // product mod slots: the quotient from the reciprocal is off by one at most.
      let steps = product - Math.floor(product * perSlot) * slots;
      if (steps < 0) steps += slots;
      else if (steps >= slots) steps -= slots;
      if (steps < nearestSteps) {
        nearestSteps = steps;
        nearest = j;
      }
    }
    const slot = free[nearest] as number;
    table[slot] = indices[i] as number;
    positions[i] = slot;
    free[nearest] = free[--left] as number;
  }
}

/** x with value x x = 1 modulo the prime `slots` (extended Euclid). */
function invert(value: number, slots: number): number {
  let a = slots;
  let b = value;
  let x = 0;
  let y = 1;
  while (b > 1) {
    const quotient = (a / b) | 0;
    const rest = a - quotient * b;
    a = b;
    b = rest;
    const next = x - quotient * y;
    x = y;
    y = next;
  }
  return y < 0 ? y + slots : y;
}

/** Trial division: for 655,373 about 400 divisions. */
export function isPrime(value: number): boolean {
  if (!Number.isInteger(value) || value < 2) return false;
  if (value % 2 === 0) return value === 2;
  for (let divisor = 3; divisor * divisor <= value; divisor += 2) if (value % divisor === 0) return false;
  return true;
}
