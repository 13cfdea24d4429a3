/** A TCP connection that is held: a message now and then, each answered by the same backend, byte for byte. */
import { connect, type Socket } from 'node:net';
import type { HeldClientOptions } from './held-report.ts';
import { ANSWER_BYTES, readAnswer, TCP_PORT, writeMessage } from './messages.ts';
import { ownMs } from './own-clock.ts';

export interface HeldEvents {
  opened(): void;
  answered(tookMs: number): void;
  /** Was open. */
  broken(why: string): void;
  /** Never was. */
  refused(why: string): void;
}

export type HeldManner = Pick<HeldClientOptions, 'limitMs' | 'closedLoop'>;

const OPENING_LIMITS = 3;

/** Connections share it: what a read brings is looked at before the next one. */
const shared = Buffer.allocUnsafe(64 * 1024);

export class HeldConnection {
  backend = 0;
  state: 'opening' | 'open' | 'gone' = 'opening';
  readonly #id: number;
  readonly #socket: Socket;
  readonly #events: HeldEvents;
  readonly #manner: HeldManner;
  #count = 0;
  /** 0: nothing is to be answered. */
  #sentAtMs: number;
  readonly #beganMs: number;
  #partial: Buffer | null = null;
  #from: string;

  constructor(id: number, vip: string, source: string, manner: HeldManner, events: HeldEvents) {
    this.#id = id;
    this.#events = events;
    this.#manner = manner;
    this.#beganMs = ownMs();
    this.#sentAtMs = 0;
    this.#from = source;
    this.#socket = connect({
      host: vip,
      port: TCP_PORT,
      localAddress: source,
      noDelay: true,
      onread: { buffer: shared, callback: (length, buffer) => this.#read(length, buffer as Buffer) },
    });
    this.#socket.on('connect', () => {
      this.#from = `${source}:${this.#socket.localPort}`;
      this.#send();
    });
    this.#socket.on('error', (error) => this.#end((error as NodeJS.ErrnoException).code ?? error.message));
    this.#socket.on('close', () => this.#end('closed by the other side'));
  }

  get from(): string {
    return this.#from;
  }

  /** Its turn: asks again, or finds that the answer is overdue. */
  turn(nowMs: number): void {
    if (this.state === 'gone') return;
    const sinceMs = this.#sentAtMs === 0 ? this.#beganMs : this.#sentAtMs;
    if (this.#sentAtMs === 0 && this.state === 'open') this.#send();
    else if (nowMs - sinceMs > this.#patienceMs) this.#end(`no answer within ${this.#patienceMs} ms`);
  }

  /** Thousands are opened at once: that may take longer. */
  get #patienceMs(): number {
    const { limitMs } = this.#manner;
    return this.state === 'opening' ? OPENING_LIMITS * limitMs : limitMs;
  }

  close(): void {
    this.state = 'gone';
    this.#socket.resetAndDestroy();
  }

  #send(): void {
    this.#sentAtMs = ownMs();
    this.#socket.write(writeMessage(this.#id, this.#count));
  }

  #read(length: number, buffer: Buffer): boolean {
    if (this.state === 'gone') return true;
    let bytes = buffer.subarray(0, length);
    if (this.#partial !== null) bytes = Buffer.concat([this.#partial, bytes]);
    let at = 0;
    for (; at + ANSWER_BYTES <= bytes.length && this.#alive; at += ANSWER_BYTES) this.#take(bytes, at);
    this.#partial = at === bytes.length ? null : Buffer.from(bytes.subarray(at));
    return true;
  }

  get #alive(): boolean {
    return this.state !== 'gone';
  }

  #take(bytes: Buffer, at: number): void {
    const answer = readAnswer(bytes, at, this.#id, this.#count);
    const tookMs = ownMs() - this.#sentAtMs;
    const fault = typeof answer === 'string' ? answer : this.#faultOf(answer, tookMs);
    if (fault !== null || typeof answer === 'string') {
      this.#end(fault ?? '');
      return;
    }
    this.#sentAtMs = 0;
    this.#count++;
    if (this.state === 'opening') {
      this.backend = answer;
      this.state = 'open';
      this.#events.opened();
    }
    this.#events.answered(tookMs);
    if (this.#manner.closedLoop) this.#send();
  }

  #faultOf(backend: number, tookMs: number): string | null {
    if (this.#sentAtMs === 0) return 'an answer that nobody asked for';
    if (this.state === 'open' && backend !== this.backend)
      return `answered by backend ${backend} instead of ${this.backend}`;
    return tookMs > this.#patienceMs ? `no answer within ${this.#patienceMs} ms` : null;
  }

  #end(why: string): void {
    if (this.state === 'gone') return;
    const wasOpen = this.state === 'open';
    this.state = 'gone';
    this.#socket.resetAndDestroy();
    if (wasOpen) this.#events.broken(why);
    else this.#events.refused(why);
  }
}
