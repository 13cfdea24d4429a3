/** The data section of an MMDB file: values behind control bytes, with pointers to values that stand elsewhere. */

export type MmdbMap = ReadonlyMap<string, MmdbValue>;
/** Integers above 2^53 lose their last bits; bytes are left out. */
export type MmdbValue = string | number | boolean | null | MmdbMap | readonly MmdbValue[];

export type MmdbRead =
  | { readonly ok: true; readonly value: MmdbValue; readonly next: number }
  | { readonly ok: false; readonly reason: string };

const TYPE = {
  pointer: 1,
  text: 2,
  double: 3,
  bytes: 4,
  uint16: 5,
  uint32: 6,
  map: 7,
  int32: 8,
  uint64: 9,
  uint128: 10,
  list: 11,
  boolean: 14,
  float: 15,
} as const;

/** Maps in maps; real files have four. */
const MAX_DEPTH = 16;
/** Values of one record; real ones have a few hundred. */
const MAX_VALUES = 10_000;

export class MmdbData {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #start: number;
  readonly #end: number;
  readonly #decoder = new TextDecoder();
  #values = 0;

  /** The section is what is from `start` to before `end`; pointers count from `start`. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#start = start;
    this.#end = end;
  }

  /** The value at `offset` of the file. */
  read(offset: number): MmdbRead {
    this.#values = 0;
    return this.#read(offset, 0);
  }

  #read(offset: number, depth: number): MmdbRead {
    if (offset < this.#start || offset >= this.#end) return bad(`data at ${offset} are outside of its data section`);
    if (depth > MAX_DEPTH || ++this.#values > MAX_VALUES) return bad(`data at ${offset} are nested too deeply`);
    const control = this.#bytes[offset];
    if (control >> 5 === TYPE.pointer) return this.#follow(offset, control, depth);
    let next = offset + 1;
    const type = control >> 5 === 0 ? 7 + this.#bytes[next++] : control >> 5;
    let size = control & 31;
    if (size >= 29) {
      const extra = size - 28;
      const base = [29, 285, 65_821][extra - 1];
      size = base + this.#integer(next, extra);
      next += extra;
    }
    if (type === TYPE.map || type === TYPE.list) return this.#readMany(type === TYPE.map, next, size, depth);
    if (type === TYPE.boolean) return { ok: true, value: size !== 0, next };
    if (next + size > this.#end) return bad(`data at ${offset} are cut off`);
    return this.#readPlain(type, next, size);
  }

  #readPlain(type: number, next: number, size: number): MmdbRead {
    const end = next + size;
    if (type === TYPE.text) {
      return { ok: true, value: this.#decoder.decode(this.#bytes.subarray(next, end)), next: end };
    }
    if (type === TYPE.double && size === 8) return { ok: true, value: this.#view.getFloat64(next), next: end };
    if (type === TYPE.float && size === 4) return { ok: true, value: this.#view.getFloat32(next), next: end };
    if (type === TYPE.bytes) return { ok: true, value: null, next: end };
    if (type === TYPE.int32 && size <= 4) return { ok: true, value: this.#integer(next, size) | 0, next: end };
    const limits: Readonly<Record<number, number>> = {
      [TYPE.uint16]: 2,
      [TYPE.uint32]: 4,
      [TYPE.uint64]: 8,
      [TYPE.uint128]: 16,
    };
    if (size <= (limits[type] ?? -1)) return { ok: true, value: this.#integer(next, size), next: end };
    return bad(`data at ${next} have type ${type} and ${size} bytes`);
  }

  #readMany(isMap: boolean, start: number, size: number, depth: number): MmdbRead {
    let next = start;
    const map = new Map<string, MmdbValue>();
    const list: MmdbValue[] = [];
    for (let i = 0; i < size; i++) {
      let key = '';
      if (isMap) {
        const read = this.#read(next, depth + 1);
        if (!read.ok) return read;
        if (typeof read.value !== 'string') return bad(`a key at ${next} is no text`);
        key = read.value;
        next = read.next;
      }
      const read = this.#read(next, depth + 1);
      if (!read.ok) return read;
      if (isMap) map.set(key, read.value);
      else list.push(read.value);
      next = read.next;
    }
    return { ok: true, value: isMap ? map : list, next };
  }

  #follow(offset: number, control: number, depth: number): MmdbRead {
    const more = ((control >> 3) & 3) + 1;
    const upper = more === 4 ? 0 : control & 7;
    const base = [0, 2048, 526_336, 0][more - 1];
    const target = this.#start + base + upper * 2 ** (8 * more) + this.#integer(offset + 1, more);
    // A pointer never leads to a pointer.
    if (target < this.#end && this.#bytes[target] >> 5 === TYPE.pointer)
      return bad(`the pointer at ${offset} leads to another`);
    const read = this.#read(target, depth + 1);
    return read.ok ? { ...read, next: offset + 1 + more } : read;
  }

  #integer(offset: number, bytes: number): number {
    let value = 0;
    for (let i = 0; i < bytes; i++) value = value * 256 + (this.#bytes[offset + i] ?? 0);
    return value;
  }
}

function bad(reason: string): MmdbRead {
  return { ok: false, reason };
}
