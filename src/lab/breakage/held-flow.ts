/** A flow that looks like QUIC: an Initial, then packets with the connection ID that the server gave, perhaps from another address. */
import { createSocket, type Socket } from 'node:dgram';
import type { HeldEvents } from './held-connection.ts';
import { QUIC_PORT, readQuicAnswer, writeInitial, writeShort } from './messages.ts';
import { ownMs } from './own-clock.ts';

/** UDP repeats nothing by itself: here after so long, then after twice as long, and so on. */
const FIRST_REPEAT_MS = 500;

export class HeldFlow {
  backend = 0;
  migrated = false;
  state: 'opening' | 'open' | 'gone' = 'opening';
  readonly #number: number;
  readonly #vip: string;
  readonly #events: HeldEvents;
  readonly #limitMs: number;
  #source: string;
  #socket: Socket;
  #id: Buffer | null = null;
  #count = 0;
  #askedAtMs = 0;
  #sentAtMs = 0;
  #repeatMs = FIRST_REPEAT_MS;

  constructor(number: number, vip: string, source: string, limitMs: number, events: HeldEvents) {
    this.#number = number;
    this.#vip = vip;
    this.#events = events;
    this.#limitMs = limitMs;
    this.#source = source;
    this.#socket = this.#open(source);
    this.#ask();
  }

  get from(): string {
    return this.#source;
  }

  /** Call it often: it asks when `due`, and repeats what is not answered. */
  turn(nowMs: number, due: boolean): void {
    if (this.state === 'gone') return;
    if (this.#askedAtMs === 0) {
      if (due) this.#ask();
    } else if (nowMs - this.#askedAtMs > this.#limitMs) this.#end(`no answer within ${this.#limitMs} ms`);
    else if (nowMs - this.#sentAtMs > this.#repeatMs) {
      this.#repeatMs *= 2;
      this.#send();
    }
  }

  /** Goes on from another address and port, as a telephone that leaves the house. */
  migrate(source: string): void {
    if (this.state !== 'open') return;
    this.migrated = true;
    this.#socket.close();
    this.#source = source;
    this.#socket = this.#open(source);
    if (this.#askedAtMs !== 0) this.#send();
  }

  close(): void {
    if (this.state !== 'gone') this.#socket.close();
    this.state = 'gone';
  }

  #open(source: string): Socket {
    const socket = createSocket(source.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', () => {}); // an ICMP error is no end: the answer is what counts
    socket.on('message', (bytes) => this.#take(bytes));
    socket.bind(0, source);
    return socket;
  }

  #ask(): void {
    this.#repeatMs = FIRST_REPEAT_MS;
    this.#askedAtMs = ownMs();
    this.#send();
  }

  #send(): void {
    this.#sentAtMs = ownMs();
    const bytes = this.#id === null ? writeInitial(this.#number) : writeShort(this.#id, this.#number, this.#count);
    this.#socket.send(bytes, QUIC_PORT, this.#vip, () => {});
  }

  #take(bytes: Buffer): void {
    const answer = readQuicAnswer(bytes);
    if (this.state === 'gone') return;
    if (answer === null || answer.flow !== this.#number) {
      this.#end('wrong content');
      return;
    }
    if (this.state === 'open' && answer.backend !== this.backend) {
      this.#end(`answered by backend ${answer.backend} instead of ${this.backend}`);
      return;
    }
    if (answer.count !== this.#count || this.#askedAtMs === 0) return; // of a packet that was repeated
    const tookMs = ownMs() - this.#askedAtMs;
    this.#askedAtMs = 0;
    this.#count++;
    this.#id = answer.id;
    if (this.state === 'opening') {
      this.backend = answer.backend;
      this.state = 'open';
      this.#events.opened();
    }
    this.#events.answered(tookMs);
  }

  #end(why: string): void {
    const wasOpen = this.state === 'open';
    this.close();
    if (wasOpen) this.#events.broken(why);
    else this.#events.refused(why);
  }
}
