/**
 * Frames to a receiver at a unix socket, with the handshake of both sides (READY, ACCEPT, START; STOP, FINISH). A receiver that is not there, or leaves,
 * is sought again; meanwhile frames wait, up to a limit.
 */
import { createConnection, type Socket } from 'node:net';
import { CONTROL, ControlReader, controlFrame, DNSTAP_CONTENT } from './frame-stream.ts';
import { CLOSE_LIMIT_MS, type LogSink, type SinkLog, type SinkStatus, WaitingChunks } from './sink.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;
const HANDSHAKE_LIMIT_MS = 5_000;

export class FrameSocket implements LogSink {
  readonly #path: string;
  readonly #log: SinkLog;
  readonly #waiting = new WaitingChunks();
  #socket: Socket | null = null;
  /** The receiver has accepted. */
  #isOpen = false;
  /** A write is on its way. */
  #isWriting = false;
  #isClosing = false;
  #onFinished: (() => void) | null = null;
  #reason: string | null = null;
  #isTold = false;
  #written = 0;
  #lost = 0;
  #retryMs = FIRST_RETRY_MS;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, log: SinkLog) {
    this.#path = path;
    this.#log = log;
    this.#connect();
  }

  get status(): SinkStatus {
    return {
      target: this.#path,
      isOpen: this.#isOpen,
      reason: this.#reason,
      written: this.#written,
      dropped: this.#waiting.dropped + this.#lost,
    };
  }

  write(chunk: Buffer, records: number): void {
    this.#waiting.add(chunk, records);
    this.#pump();
  }

  #connect(): void {
    const socket = createConnection(this.#path);
    const reader = new ControlReader();
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.destroy(new Error('no handshake')), HANDSHAKE_LIMIT_MS);
    this.#timer.unref();
    socket.unref();
    socket.on('connect', () => socket.write(controlFrame(CONTROL.ready, DNSTAP_CONTENT)));
    socket.on('data', (bytes) => {
      try {
        for (const { type, contents } of reader.feed(bytes)) this.#take(socket, type, contents);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    let why = 'the receiver has closed the connection';
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('close', () => this.#lostConnection(why));
  }

  #take(socket: Socket, type: number, contents: readonly string[]): void {
    if (type === CONTROL.finish) {
      socket.end();
      this.#onFinished?.();
    } else if (type === CONTROL.accept && !this.#isOpen) {
      if (contents.length > 0 && !contents.includes(DNSTAP_CONTENT))
        throw new Error(`the receiver takes ${contents.join(', ')} and not ${DNSTAP_CONTENT}`);
      clearTimeout(this.#timer);
      socket.write(controlFrame(CONTROL.start, DNSTAP_CONTENT));
      this.#isOpen = true;
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#isTold) this.#log.info({ socket: this.#path }, 'dnstap: the receiver is there');
      this.#isTold = false;
      this.#pump();
    }
  }

  #lostConnection(why: string): void {
    clearTimeout(this.#timer);
    this.#socket = null;
    this.#isOpen = false;
    this.#onFinished?.();
    if (this.#isClosing) return;
    this.#reason = why;
    if (!this.#isTold) this.#log.warn({ socket: this.#path, reason: why }, 'dnstap: there is no receiver');
    this.#isTold = true;
    this.#timer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#timer.unref();
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
  }

  /** One write at a time, so that what waits in the process is all here. */
  #pump(): void {
    const socket = this.#socket;
    if (socket === null || !this.#isOpen || this.#isWriting) return;
    const all = this.#waiting.takeAll();
    if (all === null) return;
    this.#isWriting = true;
    socket.write(all.chunk, (error) => {
      this.#isWriting = false;
      if (error) this.#lost += all.records;
      else this.#written += all.records;
      this.#pump();
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    const socket = this.#socket;
    if (socket !== null && this.#isOpen) {
      this.#pump();
      await new Promise<void>((resolve) => {
        const limit = setTimeout(resolve, CLOSE_LIMIT_MS);
        this.#onFinished = () => {
          clearTimeout(limit);
          resolve();
        };
        const stop = (): void => {
          if (this.#isWriting) return void setImmediate(stop);
          socket.write(controlFrame(CONTROL.stop, null));
        };
        stop();
      });
    }
    clearTimeout(this.#timer);
    this.#waiting.dropAll();
    this.#socket?.destroy();
  }
}
