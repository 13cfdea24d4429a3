/**
 * Queries and answers on their way from who answers (the main thread or a worker) to who writes them down (the main thread): one ring
 * of shared memory for each writer, bounded, without locks and without waiting. What finds no room is dropped and counted.
 *
 *     control words | settings | data: records of whole 8 bytes, never over the end
 *
 * Positions count bytes since the beginning, modulo 2^32, which the size of the data divides.
 */
import type { Address, Prefix } from '../../../net/address.ts';

/** What a record is for: bits. */
export const WANTED = { statistics: 1, dnstap: 2, json: 4 } as const;
export type JsonReason = 'sample' | 'rcode' | 'client';
const REASONS: readonly JsonReason[] = ['sample', 'rcode', 'client'];

/** What is to be recorded; may change at any time. */
export interface RecordingSettings {
  /** One exchange in so many is looked at for statistics. */
  readonly statisticsEvery: number;
  /** One in so many; 0: none. */
  readonly dnstapEvery: number;
  /** One in so many; 0: none but those of `jsonRcodes` and `jsonClients`. */
  readonly jsonEvery: number;
  readonly jsonRcodes: readonly number[];
  /** At most `MAX_LOGGED_PREFIXES`. */
  readonly jsonClients: readonly Prefix[];
}

export const MAX_LOGGED_PREFIXES = 16;
export const NOTHING_RECORDED: RecordingSettings = {
  statisticsEvery: 1,
  dnstapEvery: 0,
  jsonEvery: 0,
  jsonRcodes: [],
  jsonClients: [],
};

const WRITTEN = 0;
const READ = 1;
const DROPPED = 2;
const DROPPED_STATISTICS = 3;
const STATISTICS_EVERY = 4;
const DNSTAP_EVERY = 5;
const JSON_EVERY = 6;
const JSON_RCODES = 7;
const PREFIX_COUNT = 8;
/** Not 0: there are codes or prefixes to look for. */
const FILTERS = 9;
const PREFIXES = 16;
/** Family, length, four words of address. */
const PREFIX_WORDS = 6;
const CONTROL_WORDS = 128;
const CONTROL_BYTES = CONTROL_WORDS * 4;

export const RING_BYTES = 4 * 1024 * 1024;

// Words of a record's head.
const LENGTH = 0;
const KIND = 1;
const WEIGHT = 2;
const PORTS = 3;
const QUERY_BYTES = 4;
const ANSWER_BYTES = 5;
const SECONDS = 6;
const MICROSECONDS = 7;
const TOOK = 8;
const ADDRESS = 10;
const HEAD_BYTES = 56;

// Fields of KIND. Zero: nothing but the way to the end of the data.
const TCP_BIT = 1 << 3;
const IPV6_BIT = 1 << 4;
const REASON_SHIFT = 5;
const RCODE_SHIFT = 8;

/** Some 600 exchanges between two looks of the reader. */
const STATISTICS_ROOM_BYTES = 64 * 1024;
/** Without room, so many are not looked at before there is the next try. */
const BURST_SKIP = 64;

/** For statistics name, type and client subnet are of interest: nearly always in the first bytes. */
const STATISTICS_BYTES = 512;
/** Longer ones are copied by the engine, which costs an object but then less a byte. */
const COPY_BY_HAND_BYTES = 256;

export function createRing(bytes = RING_BYTES): SharedArrayBuffer {
  if ((bytes & (bytes - 1)) !== 0 || bytes < 4096) throw new Error('the size of a ring is a power of two');
  return new SharedArrayBuffer(CONTROL_BYTES + bytes);
}

/** By the main thread, before and while others record. */
export function setRecording(ring: SharedArrayBuffer, settings: RecordingSettings): void {
  const control = new Int32Array(ring, 0, CONTROL_WORDS);
  const prefixes = settings.jsonClients.slice(0, MAX_LOGGED_PREFIXES);
  // None while they change: a record too few is no harm, one of somebody else might be.
  Atomics.store(control, PREFIX_COUNT, 0);
  for (const [index, { address, length }] of prefixes.entries()) {
    const start = PREFIXES + index * PREFIX_WORDS;
    control[start] = address.family;
    control[start + 1] = length;
    new Uint8Array(ring, (start + 2) * 4, 16).set(address.bytes);
  }
  Atomics.store(control, PREFIX_COUNT, prefixes.length);
  Atomics.store(control, FILTERS, prefixes.length + settings.jsonRcodes.length);
  Atomics.store(control, STATISTICS_EVERY, settings.statisticsEvery);
  Atomics.store(control, DNSTAP_EVERY, settings.dnstapEvery);
  Atomics.store(control, JSON_EVERY, settings.jsonEvery);
  Atomics.store(
    control,
    JSON_RCODES,
    settings.jsonRcodes.reduce((mask, rcode) => mask | (rcode < 32 ? 1 << rcode : 0), 0),
  );
}

/** The writing end: one for each ring, on the thread that answers. Allocates nothing for messages of up to 256 bytes. */
export class QueryRecorder {
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #mask: number;
  /** The ring's own address bytes of prefixes. */
  readonly #settings: Uint8Array;
  #written: number;
  /** As it was when it was last looked at, which is when there is no room by the one before. */
  #read: number;
  #statisticsIn = 1;
  #dnstapIn = 1;
  #jsonIn = 1;
  /** Queries until one is looked at, counted from `#step`. With filters each is. */
  #untilNext = 1;
  #step = 1;
  #weight = 1;

  constructor(ring: SharedArrayBuffer) {
    this.#control = new Int32Array(ring, 0, CONTROL_WORDS);
    this.#words = new Int32Array(ring, CONTROL_BYTES);
    this.#bytes = new Uint8Array(ring, CONTROL_BYTES);
    this.#settings = new Uint8Array(ring, 0, CONTROL_BYTES);
    this.#mask = this.#bytes.length - 1;
    this.#written = Atomics.load(this.#control, WRITTEN);
    this.#read = Atomics.load(this.#control, READ);
  }

  /**
   * Notes one query and its answer, if it is one of those that are noted. Both lie in the first bytes from the given offsets; `answerBytes` 0:
   * not answered. `rcode` with its upper bits. `listener`: index of the socket. `nowMs`: Unix time of the query, fractions as known.
   */
  record(
    query: Uint8Array,
    queryStart: number,
    queryBytes: number,
    answer: Uint8Array,
    answerStart: number,
    answerBytes: number,
    client: Address,
    port: number,
    isTcp: boolean,
    listener: number,
    rcode: number,
    nowMs: number,
  ): void {
    if (--this.#untilNext > 0 && this.#control[FILTERS] === 0) return;
    const reason = this.#jsonReason(client, rcode);
    const wanted = this.#choose() | (reason >= 0 ? WANTED.json : 0);
    if (wanted === 0) return;
    if (wanted === WANTED.statistics) {
      queryBytes = Math.min(queryBytes, STATISTICS_BYTES);
      answerBytes = 0;
    }
    const at = this.#reserve((HEAD_BYTES + queryBytes + answerBytes + 7) & ~7, wanted);
    if (at < 0) return;
    const kind =
      wanted |
      (isTcp ? TCP_BIT : 0) |
      (client.family === 6 ? IPV6_BIT : 0) |
      (Math.max(reason, 0) << REASON_SHIFT) |
      (rcode << RCODE_SHIFT);
    this.#writeHead(at, kind, this.#weight, client, port, listener, nowMs);
    const word = at >> 2;
    this.#words[word + QUERY_BYTES] = queryBytes;
    this.#words[word + ANSWER_BYTES] = answerBytes;
    this.#copy(query, queryStart, queryBytes, at + HEAD_BYTES);
    this.#copy(answer, answerStart, answerBytes, at + HEAD_BYTES + queryBytes);
    this.#written = (this.#written + this.#words[word + LENGTH]) | 0;
    Atomics.store(this.#control, WRITTEN, this.#written);
  }

  /** Whose turn it is to see this one, but for the log of JSON lines, whose own count is brought forward only. */
  #choose(): number {
    const control = this.#control;
    const passed = this.#step - this.#untilNext;
    this.#weight = 1;
    let wanted = 0;
    this.#statisticsIn -= passed;
    if (this.#statisticsIn <= 0) {
      this.#weight = this.#statisticsIn = Math.max(1, control[STATISTICS_EVERY]);
      // Beyond a small part of the room logs only: a burst after silence must not be looked at as closely as what was before.
      if (this.#hasRoom(this.#mask + 1 - STATISTICS_ROOM_BYTES)) wanted = WANTED.statistics;
      else {
        Atomics.add(control, DROPPED_STATISTICS, BURST_SKIP);
        this.#statisticsIn *= BURST_SKIP;
      }
    }
    let next = this.#statisticsIn;
    if (control[DNSTAP_EVERY] !== 0) {
      this.#dnstapIn -= passed;
      if (this.#dnstapIn <= 0) {
        this.#dnstapIn = control[DNSTAP_EVERY];
        wanted |= WANTED.dnstap;
      }
      next = Math.min(next, this.#dnstapIn);
    }
    if (control[JSON_EVERY] !== 0) next = Math.min(next, this.#jsonIn);
    this.#step = this.#untilNext = next;
    return wanted;
  }

  /** For so many bytes more. */
  #hasRoom(bytes: number): boolean {
    const limit = this.#mask + 1 - bytes;
    if ((this.#written - this.#read) >>> 0 <= limit) return true;
    this.#read = Atomics.load(this.#control, READ);
    return (this.#written - this.#read) >>> 0 <= limit;
  }

  /** Index of the reason; -1: none. */
  #jsonReason(client: Address, rcode: number): number {
    const control = this.#control;
    let isSampled = false;
    if (control[JSON_EVERY] !== 0) {
      this.#jsonIn -= this.#step - this.#untilNext;
      isSampled = this.#jsonIn <= 0;
      if (isSampled) this.#jsonIn = control[JSON_EVERY];
    }
    if (rcode < 32 && (control[JSON_RCODES] & (1 << rcode)) !== 0) return 1;
    if (control[PREFIX_COUNT] !== 0 && this.#isLoggedClient(client)) return 2;
    return isSampled ? 0 : -1;
  }

  #isLoggedClient({ family, bytes }: Address): boolean {
    const control = this.#control;
    for (let i = 0; i < control[PREFIX_COUNT]; i++) {
      const start = PREFIXES + i * PREFIX_WORDS;
      if (control[start] !== family) continue;
      const length = control[start + 1];
      const address = (start + 2) * 4;
      let byte = 0;
      while (byte < length >> 3 && bytes[byte] === this.#settings[address + byte]) byte++;
      if (byte < length >> 3) continue;
      const rest = length & 7;
      if (rest === 0 || (bytes[byte] ^ this.#settings[address + byte]) >> (8 - rest) === 0) return true;
    }
    return false;
  }

  /** Place for so many bytes, with the length written; -1: there is none. */
  #reserve(bytes: number, wanted: number): number {
    const size = this.#mask + 1;
    const at = this.#written & this.#mask;
    const skipped = at + bytes > size ? size - at : 0;
    if (!this.#hasRoom(skipped + bytes)) {
      Atomics.add(this.#control, wanted === WANTED.statistics ? DROPPED_STATISTICS : DROPPED, 1);
      return -1;
    }
    if (skipped > 0) {
      this.#words[(at >> 2) + LENGTH] = skipped;
      this.#words[(at >> 2) + KIND] = 0;
      this.#written = (this.#written + skipped) | 0;
    }
    const start = skipped > 0 ? 0 : at;
    this.#words[(start >> 2) + LENGTH] = bytes;
    return start;
  }

  #writeHead(
    at: number,
    kind: number,
    weight: number,
    client: Address,
    port: number,
    listener: number,
    nowMs: number,
  ): void {
    const words = this.#words;
    const word = at >> 2;
    const seconds = Math.floor(nowMs / 1000);
    words[word + KIND] = kind;
    words[word + WEIGHT] = weight;
    words[word + PORTS] = port | (listener << 16);
    words[word + SECONDS] = seconds;
    words[word + MICROSECONDS] = (nowMs - seconds * 1000) * 1000;
    words[word + TOOK] = (kind & (WANTED.dnstap | WANTED.json)) === 0 ? 0 : Math.max(0, (Date.now() - nowMs) * 1000);
    const { bytes } = client;
    for (let i = 0; i < bytes.length; i++) this.#bytes[at + ADDRESS * 4 + i] = bytes[i];
  }

  #copy(from: Uint8Array, start: number, count: number, to: number): void {
    if (count > COPY_BY_HAND_BYTES) {
      this.#bytes.set(from.subarray(start, start + count), to);
      return;
    }
    for (let i = 0; i < count; i++) this.#bytes[to + i] = from[start + i];
  }
}

/** One exchange as it was noted. The view is of use until the next one is read. */
export interface RecordedQuery {
  /** Bits of `WANTED`. */
  wanted: number;
  reason: JsonReason;
  isTcp: boolean;
  family: 4 | 6;
  rcode: number;
  /** Exchanges that it stands for in statistics. */
  weight: number;
  port: number;
  listener: number;
  seconds: number;
  microseconds: number;
  tookMicroseconds: number;
  /** 4 or 16 bytes of it. */
  readonly address: Uint8Array;
  /** The ring: queries and answers lie in it. */
  readonly bytes: Uint8Array;
  queryStart: number;
  queryBytes: number;
  /** 0: not answered, or for statistics only. */
  answerBytes: number;
}

/** The reading end: one for each ring, on the main thread. */
export class RingReader {
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #record: RecordedQuery;

  constructor(ring: SharedArrayBuffer) {
    this.#control = new Int32Array(ring, 0, CONTROL_WORDS);
    this.#words = new Int32Array(ring, CONTROL_BYTES);
    this.#record = {
      wanted: 0,
      reason: 'sample',
      isTcp: false,
      family: 4,
      rcode: 0,
      weight: 1,
      port: 0,
      listener: 0,
      seconds: 0,
      microseconds: 0,
      tookMicroseconds: 0,
      address: new Uint8Array(16),
      bytes: new Uint8Array(ring, CONTROL_BYTES),
      queryStart: 0,
      queryBytes: 0,
      answerBytes: 0,
    };
  }

  /** Exchanges that found no room, since the beginning. */
  get dropped(): { readonly log: number; readonly statistics: number } {
    return {
      log: Atomics.load(this.#control, DROPPED) >>> 0,
      statistics: Atomics.load(this.#control, DROPPED_STATISTICS) >>> 0,
    };
  }

  /** Hands over what is there, of at most about `maxBytes`; true: there is more. */
  drain(maxBytes: number, take: (record: RecordedQuery) => void): boolean {
    const control = this.#control;
    const mask = this.#record.bytes.length - 1;
    const written = Atomics.load(control, WRITTEN);
    let read = Atomics.load(control, READ);
    const end = (read + maxBytes) | 0;
    while (read !== written) {
      if (((read - end) | 0) >= 0) return true;
      const at = read & mask;
      if (this.#words[(at >> 2) + KIND] !== 0) take(this.#decode(at));
      read = (read + this.#words[(at >> 2) + LENGTH]) | 0;
      Atomics.store(control, READ, read);
    }
    return false;
  }

  #decode(at: number): RecordedQuery {
    const words = this.#words;
    const word = at >> 2;
    const record = this.#record;
    const kind = words[word + KIND];
    record.wanted = kind & 7;
    record.isTcp = (kind & TCP_BIT) !== 0;
    record.family = (kind & IPV6_BIT) !== 0 ? 6 : 4;
    record.reason = REASONS[(kind >> REASON_SHIFT) & 3];
    record.rcode = (kind >> RCODE_SHIFT) & 0xfff;
    record.weight = words[word + WEIGHT];
    record.port = words[word + PORTS] & 0xffff;
    record.listener = words[word + PORTS] >>> 16;
    record.seconds = words[word + SECONDS] >>> 0;
    record.microseconds = words[word + MICROSECONDS];
    record.tookMicroseconds = words[word + TOOK];
    record.queryStart = at + HEAD_BYTES;
    record.queryBytes = words[word + QUERY_BYTES];
    record.answerBytes = words[word + ANSWER_BYTES];
    const address = at + ADDRESS * 4;
    for (let i = 0; i < 16; i++) record.address[i] = record.bytes[address + i];
    return record;
  }
}
