/** One TCP connection: queries out of its bytes, answers into it. */
import type { Socket } from 'node:net';
import { nextTurn } from './sockets.ts';
import type { AnswerStream } from './transfer/zone-transfers.ts';

export class TcpConnection {
  readonly socket: Socket;
  readonly #answer: (message: Uint8Array) => Uint8Array | AnswerStream | null;
  /** Called when a query was answered and when waiting answers were read: bytes alone do not keep a connection. */
  readonly #onProgress: () => void;
  touchedMs = 0;
  isDropped = false;
  /** The client knows how long it may be silent (RFC 7828). */
  isKeptAlive = false;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #neededBytes = 2;
  #hasEnded = false;
  #isBlocked = false;
  /** Several messages that are under way: what was asked after them waits. */
  #stream: AnswerStream | null = null;

  /** `answer`: with the length before it; null: the message deserves none, and the connection is closed. */
  constructor(
    socket: Socket,
    answer: (message: Uint8Array) => Uint8Array | AnswerStream | null,
    onProgress: () => void,
  ) {
    this.socket = socket;
    this.#answer = answer;
    this.#onProgress = onProgress;
    socket.on('error', () => undefined); // 'close' follows
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#chunkBytes += chunk.length;
      if (this.#chunkBytes >= this.#neededBytes) this.#process();
    });
    socket.on('close', () => this.#stream?.end(false));
    socket.on('drain', () => {
      onProgress();
      socket.resume();
      this.#process();
    });
    socket.on('end', () => {
      this.#hasEnded = true;
      this.#process();
    });
  }

  /** Answers every complete query, as far as the answers are being read. */
  #process(): void {
    const { socket } = this;
    // Joined only when something is complete, so that single bytes do not cost a copy of all before them.
    let bytes = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
    this.#isBlocked = false;
    socket.cork();
    for (;;) {
      if (this.#stream !== null && !this.#pump(this.#stream)) {
        this.#isBlocked = true;
        break;
      }
      this.#neededBytes = bytes.length < 2 ? 2 : 2 + bytes.readUInt16BE(0);
      if (bytes.length < this.#neededBytes) break;
      this.#isBlocked = socket.writableNeedDrain; // then 'drain' will come
      if (this.#isBlocked) break;
      const answer = this.#answer(bytes.subarray(2, this.#neededBytes));
      // Neither an answer nor a fragment of a header is a mistake of a client that is worth keeping.
      if (answer === null) {
        socket.destroy();
        return;
      }
      if (answer instanceof Uint8Array) socket.write(answer);
      else this.#stream = answer;
      this.#onProgress();
      bytes = bytes.subarray(this.#neededBytes);
    }
    socket.uncork();
    this.#chunks = bytes.length > 0 ? [bytes] : [];
    this.#chunkBytes = bytes.length;
    if (this.#isBlocked) socket.pause();
    else if (this.#hasEnded) socket.end();
  }

  /** Writes messages until they wait to be read (false; 'drain' will come) or all are written. */
  #pump(stream: AnswerStream): boolean {
    const { socket } = this;
    while (!socket.destroyed && !socket.writableNeedDrain) {
      const message = nextOf(stream);
      if (message === null) {
        this.#stream = null;
        stream.end(true);
        return true;
      }
      if (message === 'broken') socket.destroy();
      else socket.write(message);
    }
    return false;
  }

  /** Answers what has arrived, then closes: resolves when all is sent, and at `deadlineMs` (of `performance.now`) at the latest. */
  async finish(deadlineMs: number): Promise<void> {
    const { socket } = this;
    // What has arrived is read within a turn; a client that goes on asking is stopped by the deadline.
    for (let seen = -1; seen !== socket.bytesRead || this.#isBlocked; ) {
      if (socket.destroyed || performance.now() > deadlineMs) return;
      seen = socket.bytesRead;
      await nextTurn();
    }
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, deadlineMs - performance.now()));
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      socket.once('close', done);
      socket.end(done);
    });
  }
}

/** Where a stream cannot go on, the connection ends: a secondary takes no half of a zone. */
function nextOf(stream: AnswerStream): Uint8Array | null | 'broken' {
  try {
    return stream.next();
  } catch {
    return 'broken';
  }
}
