/**
 * The client of `dns.ts`, a thread with a CPU of its own: sends prepared queries in batches and compares every answer with the prepared one. One
 * call sends a batch as one packet that the kernel cuts (UDP_SEGMENT), so that the client costs less than any server: it is not what is
 * measured. Queries have all one length, and their number in the list as ID.
 */
import { parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';
import {
  allocateMemory,
  bindSocket,
  check,
  closeFd,
  makeSocket,
  pinToCpu,
  setSocketOption,
} from '../src/serve/vip/libc.ts';

export interface GeneratorStart {
  readonly cpu: number;
}

/** What is asked, and what is to be answered. */
export interface QueryList {
  readonly count: number;
  readonly queryBytes: number;
  /** `count` messages of `queryBytes`. */
  readonly queries: Uint8Array;
  /** The first answer record of each, 16 bytes: pointer to the question, A, IN, TTL, length, address. */
  readonly answers: Uint8Array;
  /** Where the client subnet's data stands in a query, and its bytes; null: there is none. It comes back as it was but for its scope. */
  readonly subnet: { readonly start: number; readonly bytes: number } | null;
}

export interface GeneratorTask {
  readonly port: number;
  readonly list: QueryList;
  readonly seconds: number;
  /** Queries a second; null: as many as are answered. */
  readonly rateQps: number | null;
}

export interface GeneratorResult {
  readonly sent: number;
  /** Right ones. */
  readonly answers: number;
  readonly wrong: number;
  /** Hexadecimal, query and answer. */
  readonly firstWrong: string | null;
  readonly lost: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const libc = koffi.load('libc.so.6');
const cConnect = libc.func('int connect(int fd, void *address, uint32_t length)');
const cSendmsg = libc.func('long sendmsg(int fd, void *header, int flags)');
const cRecvmmsg = libc.func('int recvmmsg(int fd, void *headers, unsigned int count, int flags, void *timeout)');

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const MSG_DONTWAIT = 0x40;

const SOCKETS = 4;
/** Under way on each socket: all together fit into the receive buffer that a server has by default. */
const WINDOW = 64;
const BATCH = 32;
const SLOT_BYTES = 576;
/** After such a silence what is under way is no longer waited for; if it comes after all it counts. */
const SILENCE_MS = 20;
/** For answers after the last query. */
const LAST_MS = 500;
const LATENCY_BUCKETS = 100_000;

function socketAddress(port: number): Uint8Array {
  return Uint8Array.of(AF_INET, 0, port >> 8, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
}

/** Memory with headers for both ways. */
class Batches {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #memory;
  readonly #list: QueryList;
  readonly #words: Uint32Array;
  /** Offsets in the memory. */
  readonly #receiveAt: number;
  readonly slotsAt: number;

  constructor(list: QueryList) {
    this.#list = list;
    const queriesAt = 64;
    const vectorsAt = align(queriesAt + list.queries.length);
    this.#receiveAt = align(vectorsAt + list.count * 16);
    const receiveVectorsAt = this.#receiveAt + BATCH * 64;
    this.slotsAt = receiveVectorsAt + BATCH * 16;
    this.#memory = allocateMemory(this.slotsAt + BATCH * SLOT_BYTES + 64, 'queries');
    const { buffer, address } = this.#memory;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#words = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
    this.bytes.set(list.queries, queriesAt);
    const long = (at: number, value: bigint) => this.view.setBigUint64(at, value, true);
    for (let i = 0; i < list.count; i++) {
      long(vectorsAt + i * 16, address + BigInt(queriesAt + i * list.queryBytes));
      long(vectorsAt + i * 16 + 8, BigInt(list.queryBytes));
    }
    // The header at 0 is that of what is sent: no name, vectors, their number.
    this.#vectors = address + BigInt(vectorsAt);
    for (let i = 0; i < BATCH; i++) {
      long(this.#receiveAt + i * 64 + 16, address + BigInt(receiveVectorsAt + i * 16));
      long(this.#receiveAt + i * 64 + 24, 1n);
      long(receiveVectorsAt + i * 16, address + BigInt(this.slotsAt + i * SLOT_BYTES));
      long(receiveVectorsAt + i * 16 + 8, BigInt(SLOT_BYTES));
    }
  }
  readonly #vectors: bigint;

  /** Sends `count` queries from number `first` on. */
  send(fd: number, first: number, count: number): boolean {
    this.view.setBigUint64(16, this.#vectors + BigInt(first * 16), true);
    this.#words[6] = count;
    return cSendmsg(fd, this.#memory.address, MSG_DONTWAIT) === count * this.#list.queryBytes;
  }

  /** Number of messages. */
  receive(fd: number): number {
    return cRecvmmsg(fd, this.#memory.address + BigInt(this.#receiveAt), BATCH, MSG_DONTWAIT, null);
  }

  lengthOf(i: number): number {
    return this.#words[(this.#receiveAt + i * 64 + 56) >> 2];
  }

  close(): void {
    this.#memory.unmap();
  }
}

function align(bytes: number): number {
  return (bytes + 63) & ~63;
}

class Generator {
  readonly #list: QueryList;
  readonly #task: GeneratorTask;
  readonly #batches: Batches;
  readonly #answers: DataView;
  readonly #queries: DataView;
  readonly #sentAtUs: Float64Array;
  /** By microsecond. */
  readonly #latency = new Uint32Array(LATENCY_BUCKETS);
  readonly #sockets: number[] = [];
  readonly #underWay = new Int32Array(SOCKETS);
  #next = 0;
  #sent = 0;
  #right = 0;
  #wrong = 0;
  #firstWrong: string | null = null;

  constructor(task: GeneratorTask) {
    this.#task = task;
    const { list } = task;
    this.#list = list;
    this.#batches = new Batches(list);
    this.#answers = new DataView(list.answers.buffer, list.answers.byteOffset);
    this.#queries = new DataView(list.queries.buffer, list.queries.byteOffset);
    this.#sentAtUs = new Float64Array(list.count);
    const address = socketAddress(task.port);
    for (let i = 0; i < SOCKETS; i++) {
      const fd = makeSocket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
      this.#sockets.push(fd);
      bindSocket(fd, socketAddress(0), 'a client');
      setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, 4 * 1024 * 1024, 'SO_RCVBUF');
      setSocketOption(fd, SOL_UDP, UDP_SEGMENT, list.queryBytes, 'UDP_SEGMENT');
      check(cConnect(fd, address, address.length), 'connect a client');
    }
  }

  run(): GeneratorResult {
    const { seconds, rateQps } = this.#task;
    const beginMs = performance.now();
    const endMs = beginMs + seconds * 1000;
    let heardMs = beginMs;
    let nowMs = beginMs;
    for (; nowMs < endMs; nowMs = performance.now()) {
      const heard = this.#right + this.#wrong;
      if (rateQps === null) for (let socket = 0; socket < SOCKETS; socket++) this.#fill(socket, nowMs);
      else this.#keepPace(Math.floor(((nowMs - beginMs) / 1000) * rateQps), nowMs);
      for (let socket = 0; socket < SOCKETS; socket++) this.#receive(socket);
      if (this.#right + this.#wrong > heard) heardMs = nowMs;
      else if (nowMs - heardMs > SILENCE_MS) {
        this.#giveUp();
        heardMs = nowMs;
      }
    }
    const lastMs = performance.now() + LAST_MS;
    while (performance.now() < lastMs && this.#right + this.#wrong < this.#sent)
      for (let socket = 0; socket < SOCKETS; socket++) this.#receive(socket);
    for (const fd of this.#sockets) closeFd(fd);
    this.#batches.close();
    return {
      sent: this.#sent,
      answers: this.#right,
      wrong: this.#wrong,
      firstWrong: this.#firstWrong,
      lost: this.#sent - this.#right - this.#wrong,
      seconds: (nowMs - beginMs) / 1000,
      p50Us: this.#percentile(0.5),
      p99Us: this.#percentile(0.99),
    };
  }

  #giveUp(): void {
    this.#underWay.fill(0);
  }

  #fill(socket: number, nowMs: number): void {
    while (this.#underWay[socket] + BATCH <= WINDOW) if (!this.#send(socket, BATCH, nowMs)) return;
  }

  /** What is due by now, one socket after the other; what is late is sent late, and counts as late. */
  #keepPace(due: number, nowMs: number): void {
    const count = Math.min(BATCH, due - this.#sent);
    if (count > 0) this.#send(Math.floor(this.#sent / BATCH) % SOCKETS, count, nowMs);
  }

  #send(socket: number, count: number, nowMs: number): boolean {
    const first = this.#next + count > this.#list.count ? 0 : this.#next;
    if (!this.#batches.send(this.#sockets[socket], first, count)) return false;
    for (let i = first; i < first + count; i++) this.#sentAtUs[i] = nowMs * 1000;
    this.#next = first + count;
    this.#sent += count;
    this.#underWay[socket] += count;
    return true;
  }

  #receive(socket: number): void {
    const received = this.#batches.receive(this.#sockets[socket]);
    if (received <= 0) return;
    this.#underWay[socket] = Math.max(0, this.#underWay[socket] - received);
    const nowUs = performance.now() * 1000;
    for (let i = 0; i < received; i++) {
      const start = this.#batches.slotsAt + i * SLOT_BYTES;
      const number = this.#batches.view.getUint16(start);
      if (number >= this.#list.count || !this.#isRight(number, start, this.#batches.lengthOf(i))) {
        this.#wrong++;
        this.#firstWrong ??= this.#describe(number, start, this.#batches.lengthOf(i));
        continue;
      }
      this.#right++;
      const us = (nowUs - this.#sentAtUs[number]) | 0;
      this.#latency[us < LATENCY_BUCKETS ? us : LATENCY_BUCKETS - 1]++;
    }
  }

  /** The question, NOERROR with authority, the record, and the client subnet. */
  #isRight(number: number, start: number, length: number): boolean {
    const { queryBytes, subnet } = this.#list;
    const view = this.#batches.view;
    const query = number * queryBytes;
    // OPT, if there is one, stands behind the question.
    const questionEnd = subnet === null ? queryBytes : subnet.start - 15;
    if (length < questionEnd + 16) return false;
    // QR, AA, whether RD, no error; one question, one answer.
    if ((view.getUint16(start + 2) & 0xfe0f) !== 0x8400 || view.getUint32(start + 4) !== 0x0001_0001) return false;
    for (let i = 12; i + 1 < questionEnd; i += 2)
      if (view.getUint16(start + i) !== this.#queries.getUint16(query + i)) return false;
    for (let i = 0; i < 16; i += 4)
      if (view.getUint32(start + questionEnd + i) !== this.#answers.getUint32(number * 16 + i)) return false;
    return subnet === null || this.#hasSubnet(query + subnet.start, start + length - subnet.bytes, subnet.bytes);
  }

  /** As it was but for the scope, at the end of the answer. */
  #hasSubnet(query: number, at: number, bytes: number): boolean {
    const view = this.#batches.view;
    for (let i = 0; i < bytes; i++)
      if (i !== 3 && view.getUint8(at + i) !== this.#queries.getUint8(query + i)) return false;
    return true;
  }

  #describe(number: number, start: number, length: number): string {
    const { queries, queryBytes } = this.#list;
    const query = queries.subarray(number * queryBytes, (number + 1) * queryBytes);
    return `${Buffer.from(query).toString('hex')} ${Buffer.from(this.#batches.bytes.subarray(start, start + length)).toString('hex')}`;
  }

  #percentile(share: number): number {
    const all = this.#latency.reduce((sum, count) => sum + count, 0);
    let seen = 0;
    for (let us = 0; us < LATENCY_BUCKETS; us++) {
      seen += this.#latency[us];
      if (seen >= all * share) return us;
    }
    return LATENCY_BUCKETS;
  }
}

pinToCpu((workerData as GeneratorStart).cpu);
parentPort?.on('message', (task: GeneratorTask) => {
  parentPort?.postMessage(new Generator(task).run());
});
