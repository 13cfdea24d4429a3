/**
 * Steered names by their wire bytes in flat arrays: a look at one cache line of slots, and at one or two of the record, in which the name
 * stands behind what is to be known of it. Wildcards are not in it.
 */
import { hashName, type NameTable } from './name-table.ts';
import { isWildcard, LOWER_CASE, type Name } from './wire/name.ts';
import type { CompiledZone, SteeredName, ZoneNode } from './zones.ts';

export interface SteeredEntry {
  readonly name: Name;
  readonly steered: SteeredName;
  readonly zone: CompiledZone;
}

/** Words of a record; `find` gives where it begins. What is not named here is for `SteeredAnswers` to fill. */
export const RECORD = { length: 0, subject: 1, entry: 2, map: 3, current: 4, isSigned: 5 } as const;
const NAME_WORD = 8;
/** Records begin at cache lines. */
const LINE_WORDS = 16;
/** Sets the letters' case, and makes some other bytes alike: the comparison tells those apart. */
const CASE_BITS = 0x20202020;

export class SteeredNames {
  readonly entries: readonly SteeredEntry[];
  readonly words: Int32Array;
  /** Two words each: hash, and where the record begins + 1. Open addressing; at most half full. */
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(names: NameTable<ZoneNode>) {
    const entries: SteeredEntry[] = [];
    for (const { name, steered, zone, cut } of names.values()) {
      if (steered !== null && cut === null && !isWildcard(name)) entries.push({ name, steered, zone });
    }
    this.entries = entries;
    const slots = 2 ** Math.ceil(Math.log2(Math.max(2, entries.length * 2)));
    this.#mask = slots - 1;
    this.#slots = new Int32Array(slots * 2);
    this.words = new Int32Array(entries.reduce((sum, { name }) => sum + wordsOf(name), 0));
    this.#bytes = new Uint8Array(this.words.buffer);
    this.#view = new DataView(this.words.buffer);
    let record = 0;
    for (const [index, { name }] of entries.entries()) {
      this.words[record + RECORD.length] = name.length;
      // As `AnswerFacts.subject`.
      this.words[record + RECORD.subject] = hashName(name).hashes[0] | 0;
      this.words[record + RECORD.entry] = index;
      const start = (record + NAME_WORD) * 4;
      this.#bytes.set(name, start);
      this.#enter(hashWords(this.#view, start, name.length), record);
      record += wordsOf(name);
    }
  }

  #enter(hash: number, record: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot * 2 + 1] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots.set([hash, record + 1], slot * 2);
  }

  /** Where the records of `entries` begin, in their order. */
  *records(): Generator<number> {
    let record = 0;
    for (const { name } of this.entries) {
      yield record;
      record += wordsOf(name);
    }
  }

  /** The record of the name of `length` bytes at `start`; -1: none. `view` is over `bytes`, which go on for 3 bytes behind the name. */
  find(bytes: Uint8Array, view: DataView, start: number, length: number): number {
    const slots = this.#slots;
    const hash = hashWords(view, start, length);
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const record = slots[slot * 2 + 1] - 1;
      if (record < 0) return -1;
      if (slots[slot * 2] === hash && this.words[record] === length && this.#equals(record, bytes, view, start, length))
        return record;
    }
  }

  #equals(record: number, bytes: Uint8Array, view: DataView, start: number, length: number): boolean {
    const own = (record + NAME_WORD) * 4;
    const names = this.#view;
    const whole = length & ~3;
    let i = 0;
    // Nearly all ask in lower case.
    while (i < whole && names.getInt32(own + i) === view.getInt32(start + i)) i += 4;
    for (; i < length; i++) if (this.#bytes[own + i] !== LOWER_CASE[bytes[start + i]]) return false;
    return true;
  }
}

function wordsOf(name: Name): number {
  return (NAME_WORD + ((name.length + 3) >> 2) + LINE_WORDS - 1) & -LINE_WORDS;
}

/** Of the bytes by words; those behind the name do not count. */
function hashWords(view: DataView, start: number, length: number): number {
  let hash = length;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) hash = mix(hash, view.getInt32(start + i) | CASE_BITS);
  const rest = length & 3;
  if (rest !== 0) hash = mix(hash, (view.getInt32(start + whole) >>> (32 - rest * 8)) | CASE_BITS);
  return hash ^ (hash >>> 15);
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
