/**
 * One service's lookup table in the kernel, mapped: the slots that packets read, and the notes beside them.
 *
 * Who writes what: packets change nothing but a slot's tick, and only while it is unsettled; everything else is written here,
 * one compare-and-swap of the whole word a slot, so a packet sees the old slot or the new one.
 *
 * A slot's generation is raised when a settled slot becomes unsettled, before its word is written; not when it settles.
 * Entries of the last unsettled time carry the old generation and never match again. A packet that still holds the word
 * of the last unsettled time while the slot settles inserts under the old generation too, which does no harm; were the
 * generation raised on settling, such an entry would have the new one and could match, out of date, in the next change.
 * A packet that sees the new word and still the old generation (processors may reorder two reads) inserts an entry
 * that is never found: its flow is untracked then and goes to `previous`, which in the first phase is the same backend.
 */
import {
  BPF_F_INNER_MAP,
  BPF_F_MMAPABLE,
  createMap,
  deleteElement,
  lookupElement,
  MAP_TYPE_ARRAY,
  mapFdById,
  mapInfo,
  updateElement,
} from './bpf.ts';
import { FINE_SHIFT, SLOT_TICK_SHIFT, TICK_SHIFT } from './layout.gen.ts';
import { closeFd, type MappedMemory, mapMemory } from './libc.ts';

const SLOT_BYTES = 8;
const NOTE_BYTES = 8;

/** What a slot table looks like to the deciding side (`decide/slots.ts`); arrays of the table's length. */
export interface SlotArrays {
  readonly current: Uint16Array;
  readonly previous: Uint16Array;
  readonly third: Uint16Array;
  /** 1: unsettled. */
  readonly unsettled: Uint8Array;
}

function innerDefinition(name: string, entries: number, valueSizeBytes: number) {
  const flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
  return { name, type: MAP_TYPE_ARRAY, keySizeBytes: 4, valueSizeBytes, maxEntries: entries, flags };
}

/** Inner map of `outer` for a subject; null: there is none. The descriptor is the caller's. */
function openInner(outer: number, subject: number): number | null {
  const id = new Uint32Array(1);
  const key = new Uint8Array(new Uint32Array([subject]).buffer);
  return lookupElement(outer, key, new Uint8Array(id.buffer)) ? mapFdById(id[0]) : null;
}

function putInner(outer: number, subject: number, fd: number): void {
  const bytes = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
  updateElement(outer, bytes(subject), bytes(fd));
}

/** Number of slots of a subject's table in the outer map `slotTables`; 0: it has none. */
export function tableSize(slotTables: number, subject: number): number {
  const fd = openInner(slotTables, subject);
  if (fd === null) return 0;
  try {
    return mapInfo(fd).maxEntries;
  } finally {
    closeFd(fd);
  }
}

/** Takes a subject's table and notes away; each waits for a grace period. False: there was no table. */
export function removeSlotTable(slotTables: number, slotNotes: number, subject: number): boolean {
  const key = new Uint8Array(new Uint32Array([subject]).buffer);
  const had = deleteElement(slotTables, key);
  deleteElement(slotNotes, key);
  return had;
}

/** Differences of ticks from which on a slot has surely been silent for so long. */
function silentTicks(silenceMs: number): number {
  return Math.ceil((silenceMs * 1e6) / 2 ** TICK_SHIFT) + 1;
}

export interface SlotTableOptions {
  readonly subject: number;
  readonly slots: number;
  /** Descriptors of the outer maps. */
  readonly slotTables: number;
  readonly slotNotes: number;
  /** UDP: how long after a change unknown flows count as old. */
  readonly adoptionMs: number;
  /** The clock of the kernel programs, in ns. */
  readonly clockNs: () => bigint;
}

/**
 * Opens a subject's table, or makes one of settled slots that name nobody. A new one waits for two of the kernel's grace
 * periods (about 9 ms each). A table of another size is an error: remove it first.
 */
export function openSlotTable(options: SlotTableOptions): SlotTable {
  const { subject, slots, slotTables, slotNotes } = options;
  const fds: number[] = [];
  const open = (outer: number, name: string, valueSizeBytes: number): { fd: number; isNew: boolean } => {
    const found = openInner(outer, subject);
    const fd = found ?? createMap(innerDefinition(`${name}_${subject}`, slots, valueSizeBytes));
    fds.push(fd);
    return { fd, isNew: found === null };
  };
  try {
    const notes = open(slotNotes, 'notes', NOTE_BYTES);
    const words = open(slotTables, 'slots', SLOT_BYTES);
    for (const { fd } of [notes, words]) {
      const size = mapInfo(fd).maxEntries;
      if (size !== slots) throw new Error(`the table of subject ${subject} has ${size} slots, not ${slots}`);
    }
    const noteMemory = mapMemory(notes.fd, slots * NOTE_BYTES, `notes of subject ${subject}`);
    const wordMemory = mapMemory(words.fd, slots * SLOT_BYTES, `slots of subject ${subject}`);
    // Notes first: a packet looks for them after it has seen a slot.
    if (notes.isNew) putInner(slotNotes, subject, notes.fd);
    if (words.isNew) putInner(slotTables, subject, words.fd);
    return new SlotTable(options, wordMemory, noteMemory, !words.isNew);
  } finally {
    for (const fd of fds) closeFd(fd); // memory and outer maps keep them
  }
}

export class SlotTable {
  readonly subject: number;
  readonly slots: number;
  /** It was there already. */
  readonly adopted: boolean;
  /** A word a slot: current | previous << 16 | third << 32 | tick << 48. Write by compare-and-swap only, best by `write`. */
  readonly words: BigUint64Array;
  /** The same memory: slot `i` has current, previous, third, tick at 4 * i and on. For reading. */
  readonly parts: Uint16Array;
  /** Generation and adoption deadline of slot `i` at 2 * i and 2 * i + 1. */
  readonly notes: Uint32Array;
  /** UDP: how long after a change unknown flows count as old; may be changed. */
  adoptionMs: number;
  readonly #clockNs: () => bigint;
  readonly #memories: readonly MappedMemory[];

  constructor(options: SlotTableOptions, words: MappedMemory, notes: MappedMemory, adopted: boolean) {
    this.subject = options.subject;
    this.slots = options.slots;
    this.adoptionMs = options.adoptionMs;
    this.adopted = adopted;
    this.words = new BigUint64Array(words.buffer);
    this.parts = new Uint16Array(words.buffer);
    this.notes = new Uint32Array(notes.buffer);
    this.#clockNs = options.clockNs;
    this.#memories = [words, notes];
  }

  /** What a packet would write now: the low 16 bits of the clock in ticks, never 0. */
  #tickNow(): number {
    return Number((this.#clockNs() >> BigInt(TICK_SHIFT)) & 0xffffn) || 1;
  }

  #deadline(): number {
    const fine = this.#clockNs() + BigInt(Math.round(this.adoptionMs * 1e6));
    return Number((fine >> BigInt(FINE_SHIFT)) & 0xffffffffn);
  }

  /**
   * Writes one slot. Settling writes tick 0. A slot that becomes unsettled, or whose `current` changes while it is, gets
   * the tick of now and a new adoption deadline; else the kernel's tick stays. 0.15 us, with a new tick
   * 1 us.
   */
  write(i: number, current: number, previous: number, third: number, unsettled: boolean): void {
    if (i < 0 || i >= this.slots) throw new RangeError(`slot ${i} of ${this.slots}`);
    const candidates = BigInt(current) | (BigInt(previous) << 16n) | (BigInt(third) << 32n);
    let noted = false;
    for (;;) {
      const old = Atomics.load(this.words, i);
      const oldTick = Number(old >> BigInt(SLOT_TICK_SHIFT));
      const changes = unsettled && (oldTick === 0 || Number(old & 0xffffn) !== current);
      if (changes && !noted) {
        this.#note(i, oldTick === 0);
        noted = true;
      }
      const tick = !unsettled ? 0 : changes ? this.#tickNow() : oldTick;
      const word = candidates | (BigInt(tick) << BigInt(SLOT_TICK_SHIFT));
      // A packet may have written its tick in between: then look again.
      if (word === old || Atomics.compareExchange(this.words, i, old, word) === old) return;
    }
  }

  /**
   * The closing step of settling (`settleSlot` in decide/slots.ts): writes an unsettled slot's candidates and keeps the tick, but
   * only if the slot is silent at this very moment. False: it is not, and nothing was written.
   */
  closeIfSilent(i: number, current: number, previous: number, third: number, silenceMs: number): boolean {
    const old = Atomics.load(this.words, i);
    const tick = Number(old >> BigInt(SLOT_TICK_SHIFT));
    if (tick !== 0 && ((this.#tickNow() - tick) & 0xffff) < silentTicks(silenceMs)) return false;
    const candidates = BigInt(current) | (BigInt(previous) << 16n) | (BigInt(third) << 32n);
    const word = candidates | (BigInt(tick) << BigInt(SLOT_TICK_SHIFT));
    return Atomics.compareExchange(this.words, i, old, word) === old;
  }

  #note(i: number, wasSettled: boolean): void {
    if (wasSettled) Atomics.add(this.notes, 2 * i, 1);
    Atomics.store(this.notes, 2 * i + 1, this.#deadline());
  }

  /** Writes the slots of `indices` (default: all) as they are in `table`. */
  writeFrom(table: SlotArrays, indices?: Iterable<number>): void {
    const write = (i: number) =>
      this.write(i, table.current[i], table.previous[i], table.third[i], table.unsettled[i] !== 0);
    if (indices === undefined) for (let i = 0; i < this.slots; i++) write(i);
    else for (const i of indices) write(i);
  }

  /** Reads all slots, as they are at one moment each. 65,537 slots: 0.12 ms. */
  readInto(table: SlotArrays): void {
    for (let i = 0, at = 0; i < this.slots; i++, at += 4) {
      table.current[i] = this.parts[at];
      table.previous[i] = this.parts[at + 1];
      table.third[i] = this.parts[at + 2];
      table.unsettled[i] = this.parts[at + 3] === 0 ? 0 : 1;
    }
  }

  countUnsettled(): number {
    let count = 0;
    for (let at = 3; at < this.parts.length; at += 4) if (this.parts[at] !== 0) count++;
    return count;
  }

  /**
   * Clears `may[i]` for each unsettled slot whose last packet to elsewhere than `current` is less than `silenceMs` ago. A
   * tick is 4.29 s, so a slot counts as silent up to one tick too late; ticks wrap after 78 h.
   */
  vetoSettling(silenceMs: number, may: Uint8Array): void {
    const now = this.#tickNow();
    const limit = silentTicks(silenceMs);
    for (let i = 0, at = 3; i < this.slots; i++, at += 4) {
      const tick = this.parts[at];
      if (tick !== 0 && ((now - tick) & 0xffff) < limit) may[i] = 0;
    }
  }

  get isClosed(): boolean {
    return this.words.length === 0;
  }

  /** Unmaps. The table stays where it is. */
  close(): void {
    for (const memory of this.#memories) memory.unmap();
  }
}
