/**
 * The connection table as the kernel keeps it (bpf/connections.h): buckets of eight 64-bit entries of backend (12 bits), state (4 bits),
 * age (12 bits, in ticks) and fingerprint (36 bits). Here a word is two 32-bit halves, low first, so that the memory of
 * a table is, on a little-endian machine, the memory of the kernel's map. A place is the index of an entry.
 */
import {
  AGE_MASK,
  BUCKET_ENTRIES,
  CLOSING_TICKS,
  ENDED_TICKS,
  INDEX_MASK,
  MAX_BACKENDS,
  OPENING_TICKS,
  STATE_CLOSING,
  STATE_COUNTED,
  STATE_ENDED,
  STATE_OPENING,
  STATE_PHASE,
  YOUNG_TICKS,
} from './layout.ts';

export interface ConnectionTable {
  /** By backend index: entries that are counted, which are the active connections of least-connections. */
  readonly active: Int32Array;
  /** Two for each entry: `backend | state << 12 | age << 16 | fingerprint << 28`, and the upper 32 bits of the fingerprint. */
  readonly words: Uint32Array;
}

/** Where a flow's entry may lie, and what marks it. */
export interface FlowPlaces {
  firstBucket: number;
  secondBucket: number;
  /** The lowest 4 bits of the fingerprint. */
  fingerprintLow: number;
  /** The other 32. */
  fingerprintHigh: number;
}

/** `buckets`: a power of two, at least 2. */
export function createConnectionTable(buckets: number): ConnectionTable {
  return { active: new Int32Array(MAX_BACKENDS), words: new Uint32Array(buckets * BUCKET_ENTRIES * 2) };
}

/** The flow's entry: the lowest of the first bucket, then of the second. -1: none. */
export function findEntry(table: ConnectionTable, flow: FlowPlaces): number {
  const place = findIn(table, flow.firstBucket, flow);
  return place >= 0 ? place : findIn(table, flow.secondBucket, flow);
}

function findIn(table: ConnectionTable, bucket: number, flow: FlowPlaces): number {
  const { words } = table;
  const begin = bucket * BUCKET_ENTRIES;
  for (let place = begin; place < begin + BUCKET_ENTRIES; place++) {
    const low = words[2 * place];
    const high = words[2 * place + 1];
    // The empty word is no entry of fingerprint 0.
    if (high === flow.fingerprintHigh && low >>> 28 === flow.fingerprintLow) return (low | high) === 0 ? -1 : place;
  }
  return -1;
}

/** Buckets fill from below: one whose lowest empty place is less than this has room. */
const ROOM_ENOUGH = 6;

/**
 * A place for a new entry: the lowest empty one, else an expired one, of the first bucket; of the second where that has more room and the
 * first little. -1: none. `reclaimTicks`: the longest lifetime of any service, since all share the buckets.
 */
export function findRoom(table: ConnectionTable, flow: FlowPlaces, ticks: number, reclaimTicks: number): number {
  const first = findRoomIn(table, flow.firstBucket, ticks, reclaimTicks);
  const room = roomOf(table, first);
  if (room < ROOM_ENOUGH) return first;
  const second = findRoomIn(table, flow.secondBucket, ticks, reclaimTicks);
  return roomOf(table, second) < room ? second : first;
}

/** The number of an empty place in its bucket, 8 for an expired one, 9 for none. */
function roomOf({ words }: ConnectionTable, place: number): number {
  if (place < 0) return BUCKET_ENTRIES + 1;
  return (words[2 * place] | words[2 * place + 1]) === 0 ? place % BUCKET_ENTRIES : BUCKET_ENTRIES;
}

function findRoomIn(table: ConnectionTable, bucket: number, ticks: number, reclaimTicks: number): number {
  const begin = bucket * BUCKET_ENTRIES;
  let expired = -1;
  for (let place = begin; place < begin + BUCKET_ENTRIES; place++) {
    if ((table.words[2 * place] | table.words[2 * place + 1]) === 0) return place;
    if (expired < 0 && entryAge(table, place, ticks) > entryLimit(table, place, reclaimTicks)) expired = place;
  }
  return expired;
}

export function entryBackend(table: ConnectionTable, place: number): number {
  return table.words[2 * place] & INDEX_MASK;
}

/**
 * Ticks since the entry was touched, modulo 4096. One tick in the future counts as now: another CPU's clock is up to a
 * jiffy ahead. (No entry really gets as old: the sweeper clears it long before.)
 */
export function entryAge(table: ConnectionTable, place: number, ticks: number): number {
  const age = (ticks - (table.words[2 * place] >>> 16)) & AGE_MASK;
  return age === AGE_MASK ? 0 : age;
}

/** STATE_*: the phase, and whether the entry is counted. */
export function entryState(table: ConnectionTable, place: number): number {
  return (table.words[2 * place] >>> 12) & 0xf;
}

/** The age above which the entry is expired. */
export function entryLimit(table: ConnectionTable, place: number, lifetimeTicks: number): number {
  const state = entryState(table, place);
  const phase = state & STATE_PHASE;
  if (phase === STATE_OPENING) return OPENING_TICKS;
  if (phase === STATE_CLOSING) return CLOSING_TICKS;
  return (state & STATE_ENDED) !== 0 ? Math.min(lifetimeTicks, ENDED_TICKS) : lifetimeTicks;
}

function countActive(table: ConnectionTable, place: number, change: 1 | -1): void {
  if ((entryState(table, place) & STATE_COUNTED) !== 0) table.active[entryBackend(table, place)] += change;
}

export function writeEntry(
  table: ConnectionTable,
  place: number,
  flow: FlowPlaces,
  backend: number,
  ticks: number,
  state = 0,
): void {
  countActive(table, place, -1);
  table.words[2 * place] = backend | (state << 12) | ((ticks & AGE_MASK) << 16) | (flow.fingerprintLow << 28);
  table.words[2 * place + 1] = flow.fingerprintHigh;
  countActive(table, place, 1);
}

/** Ages as `touchEntry`, in any state; `ages`: also where the entry would not be touched for its age. */
export function setState(
  table: ConnectionTable,
  place: number,
  state: number,
  ticks: number,
  isNew: boolean,
  ages: boolean,
): void {
  const age = isNew ? 0 : YOUNG_TICKS + 1;
  const isAging = ages || entryAge(table, place, ticks) > age;
  countActive(table, place, -1);
  table.words[2 * place] = (table.words[2 * place] & 0xffff0fff) | (state << 12);
  if (isAging) setAge(table, place, ticks - age);
  countActive(table, place, 1);
}

/**
 * Keeps an entry from expiring. A SYN makes it new; everything else makes it just not young, so that an entry is young
 * by its last SYN only: a SYN that meets a young entry is taken for a retransmission.
 */
export function touchEntry(table: ConnectionTable, place: number, ticks: number, isSyn: boolean): void {
  const age = isSyn ? 0 : YOUNG_TICKS + 1;
  if (entryAge(table, place, ticks) > age) setAge(table, place, ticks - age);
}

function setAge(table: ConnectionTable, place: number, ticks: number): void {
  table.words[2 * place] = (table.words[2 * place] & 0xf000ffff) | ((ticks & AGE_MASK) << 16);
}

/** Makes the entry the age of which counts from `ticks`: what a touch by data would do if it made entries young (a mutant). */
export function touchEntryFully(table: ConnectionTable, place: number, ticks: number): void {
  setAge(table, place, ticks);
}

/** Clears every entry of `backend`: before its index is given to another machine. Returns how many. Cost O(table). */
export function purgeBackend(table: ConnectionTable, backend: number): number {
  let purged = 0;
  for (let place = 0; place * 2 < table.words.length; place++) {
    if ((table.words[2 * place] | table.words[2 * place + 1]) === 0) continue;
    if (entryBackend(table, place) !== backend) continue;
    countActive(table, place, -1);
    table.words[2 * place] = 0;
    table.words[2 * place + 1] = 0;
    purged++;
  }
  return purged;
}
