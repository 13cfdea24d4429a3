/** Round robin: backend indices in the order of their turns, in the kernel, mapped. How many there are stands in `pressures`. */
import { BPF_F_INNER_MAP, BPF_F_MMAPABLE, createMap, deleteElement, MAP_TYPE_ARRAY } from './bpf.ts';
import { MAX_PICKS } from './layout.gen.ts';
import { closeFd, type MappedMemory, mapMemory } from './libc.ts';
import { openInner, putInner } from './slot-table.ts';

const PICK_BYTES = 8;

export class PickTable {
  readonly #memory: MappedMemory;
  readonly #words: Uint32Array;

  constructor(memory: MappedMemory) {
    this.#memory = memory;
    this.#words = new Uint32Array(memory.buffer);
  }

  /**
   * At most `MAX_PICKS`. Turns that are taken meanwhile go by the old order or the new, each pick whole; the number of picks is to be
   * written afterwards where it grows, before where it shrinks.
   */
  write(picks: ArrayLike<number>): void {
    if (picks.length > MAX_PICKS) throw new RangeError(`${picks.length} picks: at most ${MAX_PICKS}`);
    for (let i = 0; i < picks.length; i++) this.#words[2 * i] = picks[i];
    for (let i = picks.length; i < MAX_PICKS; i++) this.#words[2 * i] = 0;
  }

  /** Unmaps. The table stays where it is. */
  close(): void {
    this.#memory.unmap();
  }
}

/** Opens a subject's pick table, or makes one of nobody, for which the kernel waits 9 ms. */
export function openPickTable(pickTables: number, subject: number): PickTable {
  const flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
  const found = openInner(pickTables, subject);
  const fd =
    found ??
    createMap({
      name: `picks_${subject}`,
      type: MAP_TYPE_ARRAY,
      keySizeBytes: 4,
      valueSizeBytes: PICK_BYTES,
      maxEntries: MAX_PICKS,
      flags,
    });
  try {
    const memory = mapMemory(fd, MAX_PICKS * PICK_BYTES, `picks of subject ${subject}`);
    if (found === null) putInner(pickTables, subject, fd);
    return new PickTable(memory);
  } finally {
    closeFd(fd); // memory and outer map keep it
  }
}

/** False: there was none. */
export function removePickTable(pickTables: number, subject: number): boolean {
  return deleteElement(pickTables, new Uint8Array(new Uint32Array([subject]).buffer));
}
