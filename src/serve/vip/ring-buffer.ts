/**
 * Reads a ring buffer of the kernel (BPF_MAP_TYPE_RINGBUF, kernel/bpf/ringbuf.c) through mapped memory, without libbpf.
 *
 * The consumer's page is ours to write: how far we have read. Behind it, read-only, the producer's page and then the data,
 * which the kernel maps twice in a row, so that a record that passes the end lies in one piece. Positions are 64-bit numbers
 * that only grow. A record is a word of its length, with one bit for "still being written" and one for "thrown away", a word that
 * is the kernel's, and the bytes; the next begins at a multiple of 8.
 */
import { setImmediate } from 'node:timers';
import { mapInfo } from './bpf.ts';
import { type MappedMemory, mapMemory, PAGE_BYTES } from './libc.ts';

export const MAP_TYPE_RINGBUF = 27;

const BUSY = 0x80000000;
const DISCARDED = 0x40000000;
const LENGTH_MASK = 0x3fffffff;
const HEADER_BYTES = 8;

/** Called with each record, which is only valid until it returns: copy what is kept. */
export type OnRecord = (bytes: Uint8Array) => void;

/** A ring in memory: of a map (`openRing`), or made by a test. */
export class Ring {
  readonly sizeBytes: number;
  readonly #consumer: BigInt64Array;
  readonly #producer: BigInt64Array;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #mask: number;
  /** As in the consumer's page. Exact up to 2^53 bytes: 285 years at 1 MB/s. */
  #position: number;

  /** `consumer`: a page. `producer`: a page, and the data twice. */
  constructor(consumer: ArrayBuffer, producer: ArrayBuffer) {
    this.sizeBytes = (producer.byteLength - PAGE_BYTES) / 2;
    if (!Number.isInteger(Math.log2(this.sizeBytes))) throw new RangeError(`a ring of ${this.sizeBytes} bytes`);
    this.#mask = this.sizeBytes - 1;
    this.#consumer = new BigInt64Array(consumer, 0, 1);
    this.#producer = new BigInt64Array(producer, 0, 1);
    this.#words = new Uint32Array(producer, PAGE_BYTES);
    this.#bytes = new Uint8Array(producer, PAGE_BYTES);
    // Of an earlier process too: reading goes on where that one stopped.
    this.#position = Number(Atomics.load(this.#consumer, 0));
  }

  /** Bytes that wait to be read, headers and unfinished records among them. About 100 ns. */
  get waitingBytes(): number {
    return Number(Atomics.load(this.#producer, 0)) - this.#position;
  }

  /**
   * Hands on at most `limit` records and makes room for new ones, also when `onRecord` throws. Returns how many there were.
   * Stops at a record that is still being written: the kernel finishes it within microseconds, and order stays.
   */
  read(limit: number, onRecord: OnRecord): number {
    const end = Number(Atomics.load(this.#producer, 0));
    let count = 0;
    while (this.#position < end && count < limit) {
      const at = this.#position & this.#mask;
      // Also orders the reads of the bytes behind it after this one.
      const header = Atomics.load(this.#words, at / 4);
      if ((header & BUSY) !== 0) break;
      const length = header & LENGTH_MASK;
      const next = this.#position + HEADER_BYTES + ((length + 7) & ~7);
      try {
        if ((header & DISCARDED) === 0) {
          count++;
          onRecord(this.#bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
        }
      } finally {
        this.#position = next;
        Atomics.store(this.#consumer, 0, BigInt(next));
      }
    }
    return count;
  }
}

export interface OpenRing {
  readonly ring: Ring;
  /** Of the mappings, not of the map: reading can go on by another process where this one stopped. */
  unmap(): void;
}

/** Maps the ring of the map `fd`. */
export function openRing(fd: number, what: string): OpenRing {
  const { type, maxEntries } = mapInfo(fd);
  if (type !== MAP_TYPE_RINGBUF) throw new Error(`${what} is a map of type ${type} and no ring buffer`);
  const memories: MappedMemory[] = [];
  const unmap = () => {
    for (const memory of memories) memory.unmap();
  };
  try {
    memories.push(mapMemory(fd, PAGE_BYTES, `${what}, the consumer's page`));
    memories.push(mapMemory(fd, PAGE_BYTES + 2 * maxEntries, `${what}, its data`, true, PAGE_BYTES));
    return { ring: new Ring(memories[0].buffer, memories[1].buffer), unmap };
  } catch (error) {
    unmap();
    throw error;
  }
}

export interface RingReaderOptions {
  readonly onRecord: OnRecord;
  /** After the records of each turn. True: something waits that the next turn may bring on, so it comes soon. */
  readonly onTurn: () => boolean;
  /** Of `onRecord` and `onTurn`: the reader goes on with the next record. */
  readonly onError: (error: Error) => void;
}

/** From a turn that found something, or that has something held, to the next: its timer is at most 1 ms late on an idle loop. */
const BUSY_MS = 2;
/** From an idle turn to the next. */
const IDLE_MS = 20;
/** Quiet turns before the reader falls idle: traffic that comes in bursts is met awake. */
const AWAKE_TURNS = 50;
const RECORDS_A_TURN = 64;
/** Turns that may follow each other at once while records wait, before the reader lets the ring fill. */
const TURNS_IN_A_ROW = 4;

/**
 * Reads a ring for as long as the process lives. It looks every 20 ms while nothing happens, every 2 ms while something does.
 *
 * Why it looks and does not wait to be woken: Node watches only descriptors that it knows the type of, and a ring's is not among
 * them; waiting in `epoll_wait` would take one of the four threads that also open files and resolve names, for each balancer
 * of the process. Looking costs 1 us, or 50 us of each idle second, and the kernel program is spared the wake-up.
 *
 * A turn handles at most 64 records. At most four turns follow each other at once, other work of the process between them; then
 * the ring waits for the next look, and what does not fit into it is counted by the kernel. So a flood takes a bounded share of
 * the process.
 */
export class RingReader {
  readonly #ring: Ring;
  readonly #options: RingReaderOptions;
  #timer: NodeJS.Timeout | null = null;
  #quietTurns = AWAKE_TURNS;
  #turnsInARow = 0;
  #stopped = false;

  constructor(ring: Ring, options: RingReaderOptions) {
    this.#ring = ring;
    this.#options = options;
    this.#wait(IDLE_MS);
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => this.#turn(), ms);
    this.#timer.unref();
  }

  #turn(): void {
    if (this.#stopped) return;
    let count = RECORDS_A_TURN;
    let isHolding = false;
    try {
      count = this.#ring.read(RECORDS_A_TURN, this.#options.onRecord);
      isHolding = this.#options.onTurn();
    } catch (error) {
      this.#options.onError(error as Error);
    }
    if (count === RECORDS_A_TURN && ++this.#turnsInARow < TURNS_IN_A_ROW) {
      setImmediate(() => this.#turn()).unref();
      return;
    }
    this.#turnsInARow = 0;
    this.#quietTurns = count > 0 || isHolding ? 0 : this.#quietTurns + 1;
    this.#wait(this.#quietTurns < AWAKE_TURNS ? BUSY_MS : IDLE_MS);
  }

  /** No callback is called afterwards. What is left in the ring stays for the next reader. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
