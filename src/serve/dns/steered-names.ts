/** Steered names by their wire bytes in flat arrays, for one look a query. Wildcards are not in it. */
import { hashName, type NameTable } from './name-table.ts';
import { isWildcard, LOWER_CASE, type Name } from './wire/name.ts';
import type { CompiledZone, SteeredName, ZoneNode } from './zones.ts';

export interface SteeredEntry {
  readonly name: Name;
  readonly steered: SteeredName;
  readonly zone: CompiledZone;
  /** In rate limits, as `AnswerFacts.subject`. */
  readonly subject: number;
}

/** Hash, first byte of the name, its length, index of the entry + 1. */
const SLOT_WORDS = 4;
/** Sets the letters' case, and makes some other bytes alike: the comparison tells those apart. */
const CASE_BITS = 0x20202020;

export class SteeredNames {
  readonly entries: readonly SteeredEntry[];
  /** Open addressing; at most half full. */
  readonly #slots: Int32Array;
  readonly #mask: number;
  /** Each name from a whole word on, zeros behind. */
  readonly #names: Uint8Array;
  readonly #words: DataView;

  constructor(names: NameTable<ZoneNode>) {
    const entries: SteeredEntry[] = [];
    for (const { name, steered, zone, cut } of names.values()) {
      if (steered === null || cut !== null || isWildcard(name)) continue;
      entries.push({ name, steered, zone, subject: hashName(name).hashes[0] | 0 });
    }
    this.entries = entries;
    const slots = 2 ** Math.ceil(Math.log2(Math.max(2, entries.length * 2)));
    this.#mask = slots - 1;
    this.#slots = new Int32Array(slots * SLOT_WORDS);
    this.#names = new Uint8Array(entries.reduce((sum, { name }) => sum + wordsOf(name.length) * 4, 0));
    this.#words = new DataView(this.#names.buffer);
    let start = 0;
    for (const [index, { name }] of entries.entries()) {
      this.#names.set(name, start);
      this.#enter(hashWords(this.#words, start, name.length), start, name.length, index);
      start += wordsOf(name.length) * 4;
    }
  }

  #enter(hash: number, start: number, length: number, index: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot * SLOT_WORDS + 3] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots.set([hash, start, length, index + 1], slot * SLOT_WORDS);
  }

  /** Index of the entry of the name of `length` bytes at `start`; -1: none. `view` is over `bytes`, which go on for 3 bytes behind the name. */
  find(bytes: Uint8Array, view: DataView, start: number, length: number): number {
    const slots = this.#slots;
    const hash = hashWords(view, start, length);
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * SLOT_WORDS;
      const entry = slots[at + 3];
      if (entry === 0) return -1;
      if (slots[at] === hash && slots[at + 2] === length && this.#equals(slots[at + 1], bytes, view, start, length)) {
        return entry - 1;
      }
    }
  }

  #equals(own: number, bytes: Uint8Array, view: DataView, start: number, length: number): boolean {
    const words = this.#words;
    const whole = length & ~3;
    let i = 0;
    // Nearly all ask in lower case.
    while (i < whole && words.getUint32(own + i) === view.getUint32(start + i)) i += 4;
    for (; i < length; i++) if (this.#names[own + i] !== LOWER_CASE[bytes[start + i]]) return false;
    return true;
  }
}

function wordsOf(bytes: number): number {
  return (bytes + 3) >> 2;
}

/** Of the bytes in the machine's favourite words; those behind the name do not count. */
function hashWords(view: DataView, start: number, length: number): number {
  let hash = length;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) hash = mix(hash, view.getUint32(start + i) | CASE_BITS);
  const rest = length & 3;
  if (rest !== 0) hash = mix(hash, (view.getUint32(start + whole) >>> (32 - rest * 8)) | CASE_BITS);
  return hash ^ (hash >>> 15);
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
