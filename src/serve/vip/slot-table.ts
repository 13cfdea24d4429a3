/**
 * One service's lookup table in the kernel, mapped.
 *
 * Who writes what: packets change nothing but a slot's tick, and only while it is unsettled; everything else is written here,
 * one compare-and-swap of the whole word a slot, so a packet sees the old slot or the new one.
 *
 * A slot's generation is raised with the write that makes a settled slot unsettled; not when it settles. Entries of the last
 * unsettled time carry the old generation and never match again. A packet that still holds the word of the last unsettled
 * time while the slot settles inserts under the old generation too, which does no harm; were the generation raised on
 * settling, such an entry would have the new one and could match, out of date, in the next change.
 *
 * The generation has 16 bits. It comes round only after the slot has become unsettled 65,536 times, and no entry lives as long: a slot
 * gets the tick of now when it becomes unsettled and does not settle before it has been silent for two ticks more, so that is 6
 * days at least, and an entry that does not match is cleared after 4 hours.
 */
import {
  GENERATION_MASK,
  INDEX_MASK,
  type SlotFields,
  silenceTicks,
  slotFields,
  slotHigh,
  slotLow,
  tickOf,
} from '../../decide/slot-word.ts';
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
import { FINE_SHIFT, TICK_SHIFT } from './layout.gen.ts';
import { closeFd, type MappedMemory, mapMemory } from './libc.ts';

const SLOT_BYTES = 8;

/** What a slot table looks like to the deciding side (`decide/slots.ts`); arrays of the table's length. */
export interface SlotArrays {
  readonly current: Uint16Array;
  readonly previous: Uint16Array;
  readonly third: Uint16Array;
  /** 1: unsettled. */
  readonly unsettled: Uint8Array;
}

function innerDefinition(name: string, entries: number) {
  const flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
  return { name, type: MAP_TYPE_ARRAY, keySizeBytes: 4, valueSizeBytes: SLOT_BYTES, maxEntries: entries, flags };
}

/** Inner map of `outer` for a subject; null: there is none. The descriptor is the caller's. */
export function openInner(outer: number, subject: number): number | null {
  const id = new Uint32Array(1);
  const key = new Uint8Array(new Uint32Array([subject]).buffer);
  return lookupElement(outer, key, new Uint8Array(id.buffer)) ? mapFdById(id[0]) : null;
}

export function putInner(outer: number, subject: number, fd: number): void {
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

/** Takes a subject's table away; waits for a grace period. False: there was no table. */
export function removeSlotTable(slotTables: number, subject: number): boolean {
  return deleteElement(slotTables, new Uint8Array(new Uint32Array([subject]).buffer));
}

/** Ticks from which on a slot has surely been silent for so long. */
function silentTicks(silenceMs: number): number {
  return Math.ceil((silenceMs * 1e6) / 2 ** TICK_SHIFT) + 1;
}

export interface SlotTableOptions {
  readonly subject: number;
  readonly slots: number;
  /** Descriptor of the outer map. */
  readonly slotTables: number;
  /** UDP: how long after a change unknown flows count as old. */
  readonly adoptionMs: number;
  /** The clock of the kernel programs, in ns. */
  readonly clockNs: () => bigint;
  /** Writes the end of the service's adoption time, `clock >> FINE_SHIFT`. */
  readonly setAdoptUntil: (deadline: number) => void;
}

/**
 * Opens a subject's table, or makes one of settled slots that name nobody. A new one waits for one of the kernel's grace
 * periods (about 9 ms). A table of another size is an error: remove it first.
 */
export function openSlotTable(options: SlotTableOptions): SlotTable {
  const { subject, slots, slotTables } = options;
  const found = openInner(slotTables, subject);
  const fd = found ?? createMap(innerDefinition(`slots_${subject}`, slots));
  try {
    const size = mapInfo(fd).maxEntries;
    if (size !== slots) throw new Error(`the table of subject ${subject} has ${size} slots, not ${slots}`);
    const memory = mapMemory(fd, slots * SLOT_BYTES, `slots of subject ${subject}`);
    if (found === null) putInner(slotTables, subject, fd);
    return new SlotTable(options, memory, found !== null);
  } finally {
    closeFd(fd); // memory and outer map keep it
  }
}

export class SlotTable {
  readonly subject: number;
  readonly slots: number;
  /** It was there already. */
  readonly adopted: boolean;
  /** A word a slot (decide/slot-word.ts). Write by compare-and-swap only, best by `write`. */
  readonly words: BigUint64Array;
  /** UDP: how long after a change unknown flows count as old; may be changed. */
  adoptionMs: number;
  /** The same memory: the low half of slot `i` at 2 * i, the high one behind it. Only packets write besides us, and only ticks, so halves fit together. */
  readonly #halves: Uint32Array;
  readonly #clockNs: () => bigint;
  readonly #setAdoptUntil: (deadline: number) => void;
  readonly #memory: MappedMemory;
  /** A word in the making: halves to a bigint without arithmetic on bigints. */
  readonly #scratch = new BigUint64Array(1);
  readonly #scratchHalves = new Uint32Array(this.#scratch.buffer);

  constructor(options: SlotTableOptions, memory: MappedMemory, adopted: boolean) {
    this.subject = options.subject;
    this.slots = options.slots;
    this.adoptionMs = options.adoptionMs;
    this.adopted = adopted;
    this.words = new BigUint64Array(memory.buffer);
    this.#halves = new Uint32Array(memory.buffer);
    this.#clockNs = options.clockNs;
    this.#setAdoptUntil = options.setAdoptUntil;
    this.#memory = memory;
  }

  #ticksNow(): number {
    return Number((this.#clockNs() >> BigInt(TICK_SHIFT)) & 0xffffffffn);
  }

  #adopt(): void {
    const until = this.#clockNs() + BigInt(Math.round(this.adoptionMs * 1e6));
    this.#setAdoptUntil(Number((until >> BigInt(FINE_SHIFT)) & 0xffffffffn));
  }

  #word(low: number, high: number): bigint {
    this.#scratchHalves[0] = low;
    this.#scratchHalves[1] = high;
    return this.#scratch[0];
  }

  /** As it is at this moment. */
  read(i: number): SlotFields {
    if (i < 0 || i >= this.slots) throw new RangeError(`slot ${i} of ${this.slots}`);
    return slotFields(this.#halves[2 * i], this.#halves[2 * i + 1]);
  }

  /**
   * Writes one slot. Settling writes tick 0. A slot that becomes unsettled, or whose `current` changes while it is, gets
   * the tick of now, and the service a new adoption time; else the kernel's tick stays. 0.2 us.
   */
  write(i: number, current: number, previous: number, third: number, unsettled: boolean): void {
    if (i < 0 || i >= this.slots) throw new RangeError(`slot ${i} of ${this.slots}`);
    if (this.#changes(i, current, unsettled)) this.#adopt();
    this.#write(i, current, previous, third, unsettled, tickOf(this.#ticksNow()));
  }

  /** Flows of the slot must be told apart by when they began, from now on. */
  #changes(i: number, current: number, unsettled: boolean): boolean {
    if (!unsettled) return false;
    return this.#halves[2 * i + 1] >>> 20 === 0 || (this.#halves[2 * i] & INDEX_MASK) !== current;
  }

  #write(i: number, current: number, previous: number, third: number, unsettled: boolean, tickNow: number): void {
    const low = slotLow(current, previous, third);
    for (;;) {
      const oldLow = this.#halves[2 * i];
      const oldHigh = this.#halves[2 * i + 1];
      const oldTick = oldHigh >>> 20;
      const oldGeneration = (oldHigh >>> 4) & GENERATION_MASK;
      const isMarked = unsettled && oldTick === 0;
      const tick = !unsettled ? 0 : isMarked || (oldLow & INDEX_MASK) !== current ? tickNow : oldTick;
      const high = slotHigh(third, isMarked ? (oldGeneration + 1) & GENERATION_MASK : oldGeneration, tick);
      if (low === oldLow && high === oldHigh) return;
      if (oldTick === 0) {
        // Packets write no settled slot.
        Atomics.store(this.words, i, this.#word(low, high));
        return;
      }
      const old = this.#word(oldLow, oldHigh);
      // A packet may have written its tick in between: then look again.
      if (Atomics.compareExchange(this.words, i, old, this.#word(low, high)) === old) return;
    }
  }

  /**
   * The closing step of settling (`settleSlot` in decide/slots.ts): writes an unsettled slot's candidates and keeps the tick, but
   * only if the slot is silent at this very moment. False: it is not, and nothing was written.
   */
  closeIfSilent(i: number, current: number, previous: number, third: number, silenceMs: number): boolean {
    const oldLow = this.#halves[2 * i];
    const oldHigh = this.#halves[2 * i + 1];
    const tick = oldHigh >>> 20;
    if (tick !== 0 && silenceTicks(this.#ticksNow(), tick) < silentTicks(silenceMs)) return false;
    const old = this.#word(oldLow, oldHigh);
    const high = slotHigh(third, (oldHigh >>> 4) & GENERATION_MASK, tick);
    return Atomics.compareExchange(this.words, i, old, this.#word(slotLow(current, previous, third), high)) === old;
  }

  /** Writes the slots of `indices` (default: all) as they are in `table`. */
  writeFrom(table: SlotArrays, indices?: ArrayLike<number>): void {
    const { current, previous, third, unsettled } = table;
    const count = indices === undefined ? this.slots : indices.length;
    const slotAt = (n: number): number => (indices === undefined ? n : indices[n]);
    let changes = false;
    for (let n = 0; n < count && !changes; n++) {
      const i = slotAt(n);
      changes = this.#changes(i, current[i], unsettled[i] !== 0);
    }
    // Before the slots: a packet asks for it after it has seen one unsettled.
    if (changes) this.#adopt();
    const tickNow = tickOf(this.#ticksNow());
    for (let n = 0; n < count; n++) {
      const i = slotAt(n);
      if (i >= this.slots) throw new RangeError(`slot ${i} of ${this.slots}`);
      this.#write(i, current[i], previous[i], third[i], unsettled[i] !== 0, tickNow);
    }
  }

  /** Reads all slots, as they are at one moment each. 65,537 slots: 0.2 ms. */
  readInto(table: SlotArrays): void {
    const halves = this.#halves;
    for (let i = 0; i < this.slots; i++) {
      const low = halves[2 * i];
      const high = halves[2 * i + 1];
      table.current[i] = low & INDEX_MASK;
      table.previous[i] = (low >>> 12) & INDEX_MASK;
      table.third[i] = (low >>> 24) | ((high & 0xf) << 8);
      table.unsettled[i] = high >>> 20 === 0 ? 0 : 1;
    }
  }

  /** Since the last packet of an unsettled slot that went elsewhere than to `current`, to a tick (4.29 s); null: the slot is settled. */
  silenceMs(i: number): number | null {
    const tick = this.#halves[2 * i + 1] >>> 20;
    return tick === 0 ? null : (silenceTicks(this.#ticksNow(), tick) * 2 ** TICK_SHIFT) / 1e6;
  }

  countUnsettled(): number {
    let count = 0;
    for (let at = 1; at < this.#halves.length; at += 2) if (this.#halves[at] >>> 20 !== 0) count++;
    return count;
  }

  /**
   * Clears `may[i]` for each unsettled slot whose last packet to elsewhere than `current` is less than `silenceMs` ago. A
   * tick is 4.29 s, so a slot counts as silent up to two ticks too late, and one that nobody looked at for 4.9 h starts anew.
   */
  vetoSettling(silenceMs: number, may: Uint8Array): void {
    const now = this.#ticksNow();
    const limit = silentTicks(silenceMs);
    for (let i = 0, at = 1; i < this.slots; i++, at += 2) {
      const tick = this.#halves[at] >>> 20;
      if (tick !== 0 && silenceTicks(now, tick) < limit) may[i] = 0;
    }
  }

  get isClosed(): boolean {
    return this.words.length === 0;
  }

  /** Unmaps. The table stays where it is. */
  close(): void {
    this.#memory.unmap();
  }
}
