/** The messages of a transfer by TCP (RFC 5936 section 2.2, RFC 1995 section 4), each with its length before it, made when they are asked for. */
import type { Name } from '../wire/name.ts';
import { FLAG, RECORD_TYPE } from '../wire/numbers.ts';
import { HEADER_BYTES, read16 } from '../wire/query.ts';
import type { Signer } from './access.ts';
import { FUDGE_SECONDS } from './signed-answers.ts';
import { sign, tsigBytes } from './tsig.ts';
import { FIXED_BYTES, nameEnd, recordEnd } from './zone-image.ts';

/** What a pointer reaches (14 bits): so every record of a message may point at its names. */
const MESSAGE_BYTES = 0x4000;
const MAX_MESSAGE_BYTES = 65_535;
const LENGTH_BYTES = 2;

export interface StreamedZone {
  readonly id: number;
  /** RD of the query, which is copied. */
  readonly flags: number;
  /** Name, type and class. */
  readonly question: Uint8Array;
  /** In lower case. */
  readonly name: Name;
  /** Packed records in the order in which they are sent, SOA records too. */
  readonly parts: readonly Uint8Array[];
  readonly signer: Signer | null;
}

/** Offsets of names in the data that may be compressed (RFC 3597 section 4). */
function nameOffset(type: number): number {
  if (type === RECORD_TYPE.MX) return 2;
  return type === RECORD_TYPE.NS || type === RECORD_TYPE.CNAME || type === RECORD_TYPE.PTR ? 0 : -1;
}

export class MessageStream {
  readonly #zone: StreamedZone;
  readonly #out = new Uint8Array(LENGTH_BYTES + MAX_MESSAGE_BYTES);
  readonly #message = this.#out.subarray(LENGTH_BYTES);
  #length = 0;
  #part = 0;
  #position = 0;
  #hasBegun = false;
  /** Of the message before. */
  #mac: Uint8Array | null;
  /** Where in the message the zone's name stands, for pointers; 0: nowhere. */
  #apexAt = 0;
  /** The last owner: where it is in its part, and in the message. */
  #owner: Uint8Array | null = null;
  #ownerAt = 0;
  sentRecords = 0;
  sentBytes = 0;
  sentMessages = 0;

  constructor(zone: StreamedZone) {
    this.#zone = zone;
    this.#mac = zone.signer?.mac ?? null;
  }

  /** A copy that the caller may keep; null: all were made. Throws for a record that no message can hold. */
  next(nowMs: number): Uint8Array | null {
    if (this.#part === this.#zone.parts.length) return null;
    this.#begin();
    const signedBytes = this.#signedBytes();
    let records = 0;
    for (; this.#part < this.#zone.parts.length; records++) {
      // One record alone may be longer than what pointers reach.
      const room = (records === 0 ? MAX_MESSAGE_BYTES : MESSAGE_BYTES) - signedBytes;
      if (!this.#writeRecord(room)) break;
    }
    if (records === 0) throw new Error('a record has no room in a message');
    this.#message[6] = records >> 8;
    this.#message[7] = records;
    this.sentRecords += records;
    this.sentMessages++;
    this.#sign(nowMs);
    this.#hasBegun = true;
    this.#out[0] = this.#length >> 8;
    this.#out[1] = this.#length;
    this.sentBytes += LENGTH_BYTES + this.#length;
    return this.#out.slice(0, LENGTH_BYTES + this.#length);
  }

  #signedBytes(): number {
    const key = this.#zone.signer?.key;
    return key === undefined ? 0 : tsigBytes(key.name, key.algorithm, key.macBytes);
  }

  /** Header, and in the first message the question (RFC 5936 section 2.2.2). */
  #begin(): void {
    const { id, flags, question } = this.#zone;
    this.#message.fill(0, 0, HEADER_BYTES);
    this.#length = HEADER_BYTES;
    this.#apexAt = 0;
    this.#owner = null;
    const words = FLAG.QR | FLAG.AA | (flags & FLAG.RD);
    this.#message[0] = id >> 8;
    this.#message[1] = id;
    this.#message[2] = words >> 8;
    this.#message[3] = words;
    if (this.#hasBegun) return;
    this.#message[5] = 1;
    this.#message.set(question, this.#length);
    // A question in other letters is no name to point at: secondaries keep what they get.
    if (this.#apexStart(question, 0, question.length - 4) === 0) this.#apexAt = this.#length;
    this.#length += question.length;
  }

  /** False: it has no room in the first `room` bytes, and the message is as before. */
  #writeRecord(room: number): boolean {
    const part = this.#zone.parts[this.#part];
    const begin = this.#position;
    const end = recordEnd(part, begin);
    const fixed = nameEnd(part, begin);
    // Compression only makes it shorter.
    if (this.#length + end - begin > room) return false;
    this.#writeOwner(part, begin, fixed);
    const lengthAt = this.#length + FIXED_BYTES - 2;
    this.#copy(part, fixed, fixed + FIXED_BYTES);
    this.#writeData(part, fixed + FIXED_BYTES, end, read16(part, fixed));
    const dataBytes = this.#length - lengthAt - 2;
    this.#message[lengthAt] = dataBytes >> 8;
    this.#message[lengthAt + 1] = dataBytes;
    this.#position = end;
    if (end === part.length) {
      this.#part++;
      this.#position = 0;
    }
    return true;
  }

  #copy(bytes: Uint8Array, start: number, end: number): void {
    for (let i = start; i < end; i++) this.#message[this.#length++] = bytes[i];
  }

  #writeOwner(part: Uint8Array, begin: number, end: number): void {
    if (this.#isLastOwner(part, begin, end)) {
      this.#point(this.#ownerAt);
      return;
    }
    const at = this.#length;
    this.#owner = part.subarray(begin, end);
    // A zone's own name is one pointer.
    this.#ownerAt = end - begin === this.#zone.name.length && this.#apexAt > 0 ? this.#apexAt : at;
    this.#writeName(part, begin, end);
  }

  #isLastOwner(part: Uint8Array, begin: number, end: number): boolean {
    const owner = this.#owner;
    if (owner === null || owner.length !== end - begin || this.#ownerAt >= MESSAGE_BYTES) return false;
    for (let i = 0; i < owner.length; i++) if (owner[i] !== part[begin + i]) return false;
    return true;
  }

  #point(at: number): void {
    this.#message[this.#length++] = 0xc0 | (at >> 8);
    this.#message[this.#length++] = at;
  }

  /** Ends in a pointer to the zone's name where it is of the zone. */
  #writeName(bytes: Uint8Array, start: number, end: number): void {
    const apex = this.#apexStart(bytes, start, end);
    if (apex < 0 || this.#apexAt === 0) {
      if (apex >= 0) this.#apexAt = this.#length + apex - start;
      if (this.#apexAt >= MESSAGE_BYTES) this.#apexAt = 0;
      this.#copy(bytes, start, end);
      return;
    }
    this.#copy(bytes, start, apex);
    this.#point(this.#apexAt);
  }

  /** Where in the name that of the zone begins; -1: it is of another zone. Names of zones are in lower case. */
  #apexStart(bytes: Uint8Array, start: number, end: number): number {
    const { name } = this.#zone;
    const apex = end - name.length;
    let label = start;
    while (label < apex) label += bytes[label] + 1;
    if (label !== apex) return -1;
    for (let i = 0; i < name.length; i++) if (bytes[apex + i] !== name[i]) return -1;
    return apex;
  }

  #writeData(part: Uint8Array, start: number, end: number, type: number): void {
    const offset = nameOffset(type);
    if (offset < 0) {
      this.#copy(part, start, end);
      return;
    }
    this.#copy(part, start, start + offset);
    this.#writeName(part, start + offset, end);
  }

  /** The first message covers the query's MAC, each later one that of the message before (RFC 8945 section 5.3.1). */
  #sign(nowMs: number): void {
    const key = this.#zone.signer?.key;
    if (key === undefined) return;
    const parameters = {
      timeSigned: Math.floor(nowMs / 1000),
      fudge: FUDGE_SECONDS,
      error: 0,
      other: new Uint8Array(0),
    };
    const signed = sign(key, this.#mac, this.#message, this.#length, parameters, this.#hasBegun);
    this.#length = signed.length;
    this.#mac = signed.mac;
  }
}
