/**
 * Datagrams in batches: one call receives what waits in a socket, one sends all answers (recvmmsg(2), sendmmsg(2)). Headers, vectors, addresses
 * and slots stand in one region that is prepared once, for sockets of one family. Nothing is allocated for a datagram.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';
import type { Address } from '../../net/address.ts';
import { systemError } from '../vip/errno.ts';
import { allocateMemory, type MappedMemory } from '../vip/libc.ts';
import { MAX_UDP_BYTES } from './exchange.ts';
import { read16 } from './wire/query.ts';

const libc = koffi.load('libc.so.6');
const cRecvmmsg = libc.func('int recvmmsg(int fd, void *headers, unsigned int count, int flags, void *timeout)');
const cSendmmsg = libc.func('int sendmmsg(int fd, void *headers, unsigned int count, int flags)');
const cPoll = libc.func('int poll(void *entries, unsigned long count, int timeoutMs)');

const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const EAGAIN = 11;
const ENOBUFS = 105;
export const POLLIN = 1;
const POLLOUT = 4;

export const BATCH = 64;
/** Longer queries are cut off, and so malformed. Not a multiple of a page, so that slots do not share cache sets. */
const MESSAGE_BYTES = 4160;
const ANSWER_BYTES = 1280;
/** `struct sockaddr_in6` is the longer one: 28 bytes. */
const NAME_BYTES = 32;
/** `struct mmsghdr`: msghdr of 56 bytes (name, its length at 8, vectors at 16 and 24, control, flags at 48), then the length. */
const HEADER_BYTES = 64;
const VECTOR_BYTES = 16;

const RECEIVED_AT = 0;
const SENT_AT = RECEIVED_AT + BATCH * HEADER_BYTES;
const RECEIVED_VECTORS_AT = SENT_AT + BATCH * HEADER_BYTES;
const SENT_VECTORS_AT = RECEIVED_VECTORS_AT + BATCH * VECTOR_BYTES;
const NAMES_AT = SENT_VECTORS_AT + BATCH * VECTOR_BYTES;
const ANSWERS_AT = NAMES_AT + BATCH * NAME_BYTES;
const MESSAGES_AT = ANSWERS_AT + BATCH * ANSWER_BYTES;
const REGION_BYTES = MESSAGES_AT + BATCH * MESSAGE_BYTES;

/** How long answers wait for a socket that takes no more, before they are dropped. */
const FULL_MS = 20;

if (endianness() !== 'LE' || MAX_UDP_BYTES > ANSWER_BYTES) throw new Error('datagram batches are laid out otherwise');

export class DatagramBatch {
  /** The region. Message `i` starts at `startOf(i)`, its answer at `answerOf(i)`: behind it, and behind a message of 4,156 bytes, are bytes to spare. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The slots as views. */
  readonly messages: readonly Uint8Array[];
  readonly answers: readonly Uint8Array[];
  /** Who sent the message; the bytes are those in the region. */
  readonly clients: readonly Address[];
  readonly #memory: MappedMemory;
  readonly #words: Uint32Array;
  readonly #address: bigint;
  readonly #nameBytes: number;
  /** Low and high word of addresses in the region, by slot. */
  readonly #nameWords = new Uint32Array(BATCH * 2);
  readonly #answerWords = new Uint32Array(BATCH * 2);
  readonly #pollEntry = new Int32Array(2);
  #replies = 0;

  constructor(family: 4 | 6) {
    this.#memory = allocateMemory(REGION_BYTES, 'datagrams');
    const { buffer, address } = this.#memory;
    this.#address = address;
    this.#nameBytes = family === 4 ? 16 : 28;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#words = new Uint32Array(buffer, 0, ANSWERS_AT / 4);
    const slots = Array.from({ length: BATCH }, (_, i) => i);
    this.messages = slots.map((i) => new Uint8Array(buffer, MESSAGES_AT + i * MESSAGE_BYTES, MESSAGE_BYTES));
    this.answers = slots.map((i) => new Uint8Array(buffer, ANSWERS_AT + i * ANSWER_BYTES, MAX_UDP_BYTES));
    this.clients = slots.map((i) => {
      const [start, length] = family === 4 ? [4, 4] : [8, 16];
      return { family, bytes: new Uint8Array(buffer, NAMES_AT + i * NAME_BYTES + start, length) };
    });
    for (const i of slots) this.#prepare(i);
  }

  /** Gives the memory back: nothing may be called afterwards. */
  close(): void {
    this.#memory.unmap();
  }

  startOf(i: number): number {
    return MESSAGES_AT + i * MESSAGE_BYTES;
  }

  answerOf(i: number): number {
    return ANSWERS_AT + i * ANSWER_BYTES;
  }

  #prepare(i: number): void {
    setAddress(this.#nameWords, i, this.#address + BigInt(NAMES_AT + i * NAME_BYTES));
    setAddress(this.#answerWords, i, this.#address + BigInt(ANSWERS_AT + i * ANSWER_BYTES));
    for (const [headers, vectors] of [
      [RECEIVED_AT, RECEIVED_VECTORS_AT],
      [SENT_AT, SENT_VECTORS_AT],
    ]) {
      const header = (headers + i * HEADER_BYTES) / 4;
      const vector = vectors + i * VECTOR_BYTES;
      this.#words[header] = this.#nameWords[i * 2];
      this.#words[header + 1] = this.#nameWords[i * 2 + 1];
      this.#words[header + 2] = this.#nameBytes;
      setAddress(this.#words, header / 2 + 2, this.#address + BigInt(vector));
      this.#words[header + 6] = 1;
      setAddress(this.#words, vector / 8, this.#address + BigInt(MESSAGES_AT + i * MESSAGE_BYTES));
      this.#words[vector / 4 + 2] = MESSAGE_BYTES;
    }
  }

  /** Receives what waits, at most `BATCH` messages; gives their number. Throws when the socket is of no use any more. */
  receive(fd: number): number {
    this.#replies = 0;
    const received: number = cRecvmmsg(fd, this.#address, BATCH, MSG_DONTWAIT, null);
    if (received >= 0) return received;
    const errno = koffi.errno();
    if (errno === EAGAIN || errno === EINTR) return 0;
    throw systemError('receive datagrams', errno);
  }

  lengthOf(i: number): number {
    return this.#words[(RECEIVED_AT + i * HEADER_BYTES + 56) >> 2];
  }

  /** Source port. */
  portOf(i: number): number {
    return read16(this.bytes, NAMES_AT + i * NAME_BYTES + 2);
  }

  /** The first `length` bytes of `answers[i]` go to who sent message `i`. */
  reply(i: number, length: number): void {
    const reply = this.#replies++;
    const header = (SENT_AT + reply * HEADER_BYTES) >> 2;
    const vector = (SENT_VECTORS_AT + reply * VECTOR_BYTES) >> 2;
    const words = this.#words;
    words[header] = this.#nameWords[i * 2];
    words[header + 1] = this.#nameWords[i * 2 + 1];
    words[vector] = this.#answerWords[i * 2];
    words[vector + 1] = this.#answerWords[i * 2 + 1];
    words[vector + 2] = length;
  }

  /** Sends the replies; gives how many the socket did not take. One that fails does not keep the others. */
  send(fd: number): number {
    let unsent = 0;
    let hasWaited = false;
    for (let at = 0; at < this.#replies; ) {
      const sent: number = cSendmmsg(
        fd,
        this.#address + BigInt(SENT_AT + at * HEADER_BYTES),
        this.#replies - at,
        MSG_DONTWAIT,
      );
      if (sent > 0) {
        at += sent;
        continue;
      }
      const errno = koffi.errno();
      if (errno === EINTR) continue;
      if ((errno === EAGAIN || errno === ENOBUFS) && !hasWaited) {
        hasWaited = true;
        this.#waitForRoom(fd);
        continue;
      }
      at++;
      unsent++;
    }
    this.#replies = 0;
    return unsent;
  }

  #waitForRoom(fd: number): void {
    this.#pollEntry[0] = fd;
    this.#pollEntry[1] = POLLOUT;
    cPoll(this.#pollEntry, 1, FULL_MS);
  }
}

/** The 64-bit word number `index`. */
function setAddress(words: Uint32Array, index: number, address: bigint): void {
  words[index * 2] = Number(address & 0xffffffffn);
  words[index * 2 + 1] = Number(address >> 32n);
}

/** Waits until one of the descriptors can be read, or the time is over. */
export class Waiter {
  readonly #entries: Int32Array;

  constructor(fds: readonly number[]) {
    this.#entries = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN]));
  }

  wait(timeoutMs: number): void {
    cPoll(this.#entries, this.#entries.length / 2, timeoutMs);
  }
}
