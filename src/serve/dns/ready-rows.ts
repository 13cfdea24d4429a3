/**
 * Answer sections that stand ready, each a row: its head and its bytes, from one cache line on. Rows are made when they are first needed; those of
 * choices that are no longer made go when the region is full, with all others.
 */
import type { ChoiceReason } from '../../decide/steer/plan.ts';
import type { Section } from './steered-section.ts';

/** Words of a row; the section's bytes follow. */
export const ROW = {
  records: 0,
  /** Of each; of a row that is told as a whole or not at all, of all. */
  recordBytes: 1,
  /** 1: as a whole or not at all. */
  isWhole: 2,
  /** Number of the site that is told first. */
  site: 3,
  /** Index into `REASONS`. */
  reason: 4,
  /** Unix time from which on it is not to be used; 0: there is none. */
  renewSeconds: 5,
} as const;
const HEAD_BYTES = 32;
const LINE_BYTES = 64;
const FIRST_BYTES = 64 * 1024;
const MAX_BYTES = 32 * 1024 * 1024;

export const REASONS: readonly ChoiceReason[] = ['free', 'full', 'static'];

export interface RowFacts {
  readonly site: number;
  readonly reason: ChoiceReason;
  /** Of a signed section, which is told as a whole; 0: it is not signed. */
  readonly renewSeconds: number;
}

export class ReadyRows {
  words = new Int32Array(FIRST_BYTES / 4);
  view = new DataView(this.words.buffer);
  /** A row never begins at 0. */
  #end = LINE_BYTES;

  /** Where the section of the row at `row` (in bytes) begins. */
  static sectionOf(row: number): number {
    return row + HEAD_BYTES;
  }

  /** Gives the row's first byte; null: there is no room, and all rows have to be forgotten by `clear`. */
  add({ bytes, answers }: Section, facts: RowFacts): number | null {
    // To whole words, by which it is copied.
    const room = (HEAD_BYTES + bytes.length + LINE_BYTES - 1) & -LINE_BYTES;
    if (this.#end + room > this.view.byteLength && !this.#grow(room)) return null;
    const row = this.#end;
    this.#end += room;
    const { site, reason, renewSeconds } = facts;
    const isWhole = renewSeconds !== 0;
    // Records of one type and choice are of one length: addresses of a family; HTTPS has one.
    const recordBytes = isWhole ? bytes.length : bytes.length / answers;
    const head = [answers, recordBytes, isWhole ? 1 : 0, site, REASONS.indexOf(reason), renewSeconds];
    this.words.set(head, row >> 2);
    new Uint8Array(this.words.buffer).set(bytes, ReadyRows.sectionOf(row));
    return row;
  }

  #grow(room: number): boolean {
    const bytes = this.view.byteLength * 2 + room;
    if (bytes > MAX_BYTES) return false;
    const words = new Int32Array((bytes + 3) >> 2);
    words.set(this.words);
    this.words = words;
    this.view = new DataView(words.buffer);
    return true;
  }

  clear(): void {
    this.#end = LINE_BYTES;
  }
}
