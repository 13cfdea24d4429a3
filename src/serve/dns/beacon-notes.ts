/**
 * Names that are made for one user each, `NONCE.b.example.test`: whose resolver asked for them. Threads note it in shared memory, the endpoint
 * that the user's browser comes to next takes it out. Of addresses only prefixes are kept, and those for a minute.
 */
import type { Address } from '../../net/address.ts';
import type { Asker } from './exchange.ts';
import type { AskerPrefix } from './kernel/askers.ts';
import { lowerName, parseName, ROOT_NAME } from './wire/name.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import type { Query } from './wire/query.ts';

/** 4 places of 32 bytes: 512 KB, 270 new names a second for a minute. */
const SETS = 4096;
const WAYS = 4;
const PLACE = { lock: 0, high: 1, low: 2, resolverLow: 3, resolverHigh: 4, second: 5, isMixed: 6, words: 8 } as const;
const KEPT_SECONDS = 60;
/** In front: names that took the place of others that were not fetched yet. */
const HEADER_WORDS = 16;
export const NONCE_PATTERN = /^[a-z0-9]{8,32}$/;

export function createBeaconMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer((HEADER_WORDS + SETS * WAYS * PLACE.words) * 4);
}

export class BeaconNotes {
  readonly #words: Int32Array;
  /** Of the label in hand. */
  #high = 0;
  #low = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** Names that were displaced before anybody fetched them, since the beginning. */
  get displaced(): number {
    return this.#words[0] >>> 0;
  }

  /** The label's bytes begin at `start`, in any letter case. */
  note(message: Uint8Array, start: number, length: number, client: Address, nowMs: number): void {
    this.#hash(message, start, length);
    const words = this.#words;
    const { family, bytes } = client;
    const resolverLow = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (family === 6 ? bytes[3] << 24 : 0);
    const resolverHigh = (family << 16) | (family === 6 ? bytes[4] | (bytes[5] << 8) : 0);
    const second = Math.floor(nowMs / 1000) | 0;
    const known = this.#find();
    const at = known >= 0 ? known : this.#oldest();
    if (Atomics.compareExchange(words, at + PLACE.lock, 0, 1) !== 0) return;
    const isSame = words[at + PLACE.resolverLow] === resolverLow && words[at + PLACE.resolverHigh] === resolverHigh;
    if (known < 0 && second - words[at + PLACE.second] < KEPT_SECONDS) words[0]++;
    words[at + PLACE.isMixed] = known >= 0 && (!isSame || words[at + PLACE.isMixed] !== 0) ? 1 : 0;
    words[at + PLACE.high] = this.#high;
    words[at + PLACE.low] = this.#low;
    words[at + PLACE.resolverLow] = resolverLow;
    words[at + PLACE.resolverHigh] = resolverHigh;
    words[at + PLACE.second] = second;
    Atomics.store(words, at + PLACE.lock, 0);
  }

  /** Who asked for the name, once; null: nobody within the last minute, or resolvers of several prefixes. */
  take(nonce: string, nowMs: number): AskerPrefix | null {
    const label = new TextEncoder().encode(nonce);
    this.#hash(label, 0, label.length);
    const at = this.#find();
    const words = this.#words;
    if (at < 0 || Atomics.compareExchange(words, at + PLACE.lock, 0, 1) !== 0) return null;
    const isFresh = Math.floor(nowMs / 1000) - words[at + PLACE.second] <= KEPT_SECONDS;
    const isClear = words[at + PLACE.isMixed] === 0;
    const [low, high] = [words[at + PLACE.resolverLow], words[at + PLACE.resolverHigh]];
    words.fill(0, at + PLACE.high, at + PLACE.words);
    Atomics.store(words, at + PLACE.lock, 0);
    if (!isFresh || !isClear) return null;
    const bytes = new Uint8Array(16);
    bytes.set([low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8]);
    const family = high >>> 16 === 6 ? 6 : 4;
    return { family, length: family === 4 ? 24 : 48, bytes };
  }

  #hash(bytes: Uint8Array, start: number, length: number): void {
    let [high, low] = [0x811c_9dc5, 0x9e37_79b1];
    for (let i = start; i < start + length; i++) {
      const byte = bytes[i] >= 0x41 && bytes[i] <= 0x5a ? bytes[i] | 0x20 : bytes[i];
      high = Math.imul(high ^ byte, 0x0100_0193);
      low = Math.imul(low ^ byte, 0x85eb_ca6b);
      low ^= low >>> 13;
    }
    this.#high = high | 1;
    this.#low = low | 0;
  }

  #set(): number {
    return HEADER_WORDS + ((this.#low ^ (this.#high >>> 16)) & (SETS - 1)) * WAYS * PLACE.words;
  }

  #find(): number {
    const set = this.#set();
    for (let at = set; at < set + WAYS * PLACE.words; at += PLACE.words) {
      if (this.#words[at + PLACE.high] === this.#high && this.#words[at + PLACE.low] === this.#low) return at;
    }
    return -1;
  }

  #oldest(): number {
    const set = this.#set();
    let oldest = set;
    for (let at = set; at < set + WAYS * PLACE.words; at += PLACE.words) {
      if (this.#words[at + PLACE.second] < this.#words[oldest + PLACE.second]) oldest = at;
    }
    return oldest;
  }
}

/** Looks at answered queries for names that were made for one user. */
export class BeaconWatch {
  /** Wire bytes of what stands behind the nonce, in lower case. */
  readonly #suffix: Uint8Array;
  readonly #notes: BeaconNotes;

  constructor(name: string, notes: BeaconNotes) {
    const parsed = parseName(`${name}.`, ROOT_NAME);
    if (!parsed.ok) throw new Error(parsed.reason);
    this.#suffix = lowerName(parsed.name);
    this.#notes = notes;
  }

  look(query: Query, message: Uint8Array, { client, nowMs }: Asker): void {
    if (query.type !== RECORD_TYPE.A && query.type !== RECORD_TYPE.AAAA) return;
    const start = query.labelStart[0];
    const rest = start + 1 + message[start];
    const suffix = this.#suffix;
    if (query.labelCount === 0 || query.nameEnd - rest !== suffix.length) return;
    for (let i = 0; i < suffix.length; i++) {
      const byte = message[rest + i];
      if ((byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte) !== suffix[i]) return;
    }
    this.#notes.note(message, start + 1, message[start], client, nowMs);
  }
}
