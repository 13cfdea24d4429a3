/**
 * Writes a message into a given buffer, with name compression (RFC 1035 4.1.4) and a size limit. What does not fit leaves no trace:
 * `false` is returned and the message is as before.
 */
import { LOWER_CASE, type Name } from './name.ts';
import type { RecordData } from './record-data.ts';

/** Pointers have 14 bits. */
const POINTER_REACH = 0x4000;
/** Names remembered for compression; later ones are written in full. A question has at most 127 labels. */
const MAX_TARGETS = 256;

export class MessageWriter {
  #buffer: Uint8Array = new Uint8Array(0);
  #limit = 0;
  #position = 0;
  /** Offset of each remembered suffix, and its length uncompressed: equal names have equal length. */
  readonly #targetStart = new Uint16Array(MAX_TARGETS);
  readonly #targetBytes = new Uint16Array(MAX_TARGETS);
  #targets = 0;

  /** Starts a message at offset 0 of `buffer`, at most `limit` bytes long (not above the buffer's length). */
  begin(buffer: Uint8Array, limit: number): void {
    this.#buffer = buffer;
    this.#limit = limit;
    this.#position = 0;
    this.#targets = 0;
  }

  get position(): number {
    return this.#position;
  }

  /** Bytes up to the limit. */
  get room(): number {
    return this.#limit - this.#position;
  }

  /** Raises or lowers the limit, to keep room for what must come last. */
  set limit(bytes: number) {
    this.#limit = bytes;
  }

  /** Forgets what was written from `position` on. */
  rewind(position: number): void {
    this.#position = position;
    while (this.#targets > 0 && this.#targetStart[this.#targets - 1] >= position) this.#targets--;
  }

  copy(source: Uint8Array, start: number, end: number): boolean {
    if (this.#position + end - start > this.#limit) return false;
    for (let i = start; i < end; i++) this.#buffer[this.#position++] = source[i];
    return true;
  }

  /** Leaves room for bytes that the caller sets. */
  skip(bytes: number): void {
    this.#position += bytes;
  }

  write8(value: number): void {
    this.#buffer[this.#position++] = value;
  }

  write16(value: number): void {
    this.#buffer[this.#position++] = value >> 8;
    this.#buffer[this.#position++] = value;
  }

  write32(value: number): void {
    this.write16(value >>> 16);
    this.write16(value & 0xffff);
  }

  /** Sets 16 bits that were written before. */
  set16(offset: number, value: number): void {
    this.#buffer[offset] = value >> 8;
    this.#buffer[offset + 1] = value;
  }

  /** Remembers the uncompressed name that was written at `start` and ends at `end`. */
  rememberName(start: number, end: number): void {
    for (let label = start; this.#buffer[label] !== 0; label += this.#buffer[label] + 1)
      this.#remember(label, end - label);
  }

  #remember(offset: number, bytes: number): void {
    if (offset >= POINTER_REACH || this.#targets === MAX_TARGETS) return;
    this.#targetStart[this.#targets] = offset;
    this.#targetBytes[this.#targets++] = bytes;
  }

  /** Writes the well-formed name at `start` to `end` of `bytes`, ending in a pointer where its suffix was written before. */
  writeName(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    const begin = this.#position;
    let label = start;
    for (; bytes[label] !== 0; label += bytes[label] + 1) {
      const target = this.#findTarget(bytes, label, end - label);
      if (target < 0) continue;
      if (begin + label - start + 2 > this.#limit) return false;
      this.#copyLabels(bytes, start, label, end);
      this.write16(0xc000 | target);
      return true;
    }
    if (begin + end - start > this.#limit) return false;
    this.#copyLabels(bytes, start, label, end);
    this.write8(0);
    return true;
  }

  #copyLabels(bytes: Uint8Array, start: number, stop: number, end: number): void {
    const begin = this.#position;
    for (let label = start; label < stop; label += bytes[label] + 1) this.#remember(begin + label - start, end - label);
    for (let i = start; i < stop; i++) this.#buffer[this.#position++] = bytes[i];
  }

  /** Offset of an equal name that was written before; -1: none. */
  #findTarget(bytes: Uint8Array, start: number, length: number): number {
    for (let i = 0; i < this.#targets; i++) {
      if (this.#targetBytes[i] === length && this.#equals(this.#targetStart[i], bytes, start))
        return this.#targetStart[i];
    }
    return -1;
  }

  /** Compares a written name with one of the same uncompressed length. */
  #equals(offset: number, bytes: Uint8Array, start: number): boolean {
    const buffer = this.#buffer;
    for (;;) {
      while (buffer[offset] >= 0xc0) offset = ((buffer[offset] & 0x3f) << 8) | buffer[offset + 1];
      const length = buffer[offset];
      if (length !== bytes[start]) return false;
      if (length === 0) return true;
      for (let i = 1; i <= length; i++) {
        if (LOWER_CASE[buffer[offset + i]] !== LOWER_CASE[bytes[start + i]]) return false;
      }
      offset += length + 1;
      start += length + 1;
    }
  }

  /** Writes a whole record. `owner`, `data`: uncompressed. */
  writeRecord(owner: Name, type: number, recordClass: number, ttlSeconds: number, data: RecordData): boolean {
    const begin = this.#position;
    if (!this.writeName(owner) || this.#position + 10 > this.#limit) {
      this.rewind(begin);
      return false;
    }
    this.write16(type);
    this.write16(recordClass);
    this.write32(ttlSeconds);
    const lengthAt = this.#position;
    this.write16(0);
    if (!this.#writeData(data)) {
      this.rewind(begin);
      return false;
    }
    this.set16(lengthAt, this.#position - lengthAt - 2);
    return true;
  }

  #writeData(data: RecordData): boolean {
    let from = 0;
    for (const { start, end } of data.names) {
      if (!this.copy(data.bytes, from, start) || !this.writeName(data.bytes, start, end)) return false;
      from = end;
    }
    return this.copy(data.bytes, from, data.bytes.length);
  }
}
