/**
 * DNS over TCP (RFC 7766, 9210): queries in a row on one connection, each answered as soon as it is complete. Bounded in connections (in
 * all, per address and per prefix), silence, and answers that are not read.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { DnsProtocol } from '../../config/model.ts';
import type { Address } from '../../net/address.ts';
import type { DnsCounters } from './counters.ts';
import { type Asker, MAX_TCP_BYTES } from './exchange.ts';
import type { Responder } from './respond.ts';
import { type BoundAddress, clientAddress, isWildcardAddress, nextTurn, type SocketSource } from './sockets.ts';
import { TcpConnection } from './tcp-connection.ts';
import { signAnswer } from './transfer/signed-answers.ts';
import type { AnswerStream, ZoneTransfers } from './transfer/zone-transfers.ts';
import { RCODE } from './wire/numbers.ts';
import type { CompiledZone } from './zones.ts';

export type TcpLimits = DnsProtocol['tcp'] & {
  /** Answers that wait to be read; beyond that no further query of the connection is looked at. */
  readonly maxUnreadBytes: number;
};

export const MAX_UNREAD_BYTES = 128 * 1024;

/** From this share of the places on, silence is borne for a quarter of the time only. */
const CROWDED_SHARE = 0.75;
const CROWDED_IDLE_SHARE = 0.25;
/** Silence is looked at four times in it. */
const CHECKS_AN_IDLE = 4;
/** For answers to be read when the server stops. */
const FINISH_MS = 2000;

export interface TcpListener {
  readonly bound: BoundAddress;
  /** Takes in who waits at the door, and no more. */
  close(): Promise<void>;
}

/** Binds and serves until closed. Rejects when the socket cannot be bound or is bound to a wildcard address. */
export async function listenTcp(source: SocketSource, connections: TcpConnections, listener = 0): Promise<TcpListener> {
  const highWaterMark = connections.limits.maxUnreadBytes;
  const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark }, (socket) =>
    connections.accept(socket, listener),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', resolve);
    if ('fd' in source) server.listen({ fd: source.fd });
    else server.listen({ host: source.address, port: source.port, ipv6Only: source.family === 6 });
  });
  server.removeAllListeners('error');
  // Running out of descriptors: the connection is lost, the server is not.
  server.on('error', () => undefined);
  const bound = boundAddress(server);
  const close = async (): Promise<void> => {
    await nextTurn();
    // Its end is that of its last connection, which others wait for.
    server.close();
  };
  if (isWildcardAddress(bound.address)) {
    await close();
    throw new Error(`DNS does not listen on ${bound.address}: replies must leave from the address that was asked`);
  }
  return { bound, close };
}

function boundAddress(server: Server): BoundAddress {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the TCP socket has no address');
  return { address: bound.address, port: bound.port };
}

/** The connections of all listeners of a server, the longest silent first. */
export class TcpConnections {
  /** May be replaced at any time; open connections are not closed for being too many. */
  limits: TcpLimits;
  readonly #transfers: ZoneTransfers;
  readonly #responder: Responder;
  readonly #counters: DnsCounters;
  readonly #connections = new Set<TcpConnection>();
  readonly #perAddress = new Tally();
  readonly #perPrefix = new Tally();
  #timer: NodeJS.Timeout | null = null;
  #isStopping = false;
  /** One answer with its length before it; copied out at once. */
  readonly #out = new Uint8Array(2 + MAX_TCP_BYTES);
  readonly #answerOut = this.#out.subarray(2);

  constructor(responder: Responder, counters: DnsCounters, limits: TcpLimits, transfers: ZoneTransfers) {
    this.#transfers = transfers;
    this.#responder = responder;
    this.#counters = counters;
    this.limits = limits;
  }

  start(): void {
    this.#isStopping = false;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = setTimeout(
      () => {
        this.#closeSilent();
        this.#schedule();
      },
      Math.max(1, this.limits.idleMs / CHECKS_AN_IDLE),
    );
    this.#timer.unref();
  }

  accept(socket: Socket, listener = 0): void {
    const { remoteAddress, remotePort } = socket;
    // Gone already.
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.destroy();
      return;
    }
    const client = clientAddress(remoteAddress);
    const address = prefixKey(client, 4, 8);
    const prefix = prefixKey(client, 3, 6);
    const { limits } = this;
    if (this.#perAddress.of(address) >= limits.maxPerAddress || this.#perPrefix.of(prefix) >= limits.maxPerPrefix) {
      this.#counters.tcp.refusedPerClient++;
      socket.destroy();
      return;
    }
    if (this.#connections.size >= limits.maxConnections) {
      const [oldest] = this.#connections;
      this.#counters.tcp.evicted++;
      this.#drop(oldest);
    }
    this.#counters.tcp.accepted++;
    this.#perAddress.add(address, 1);
    this.#perPrefix.add(prefix, 1);
    const connection = new TcpConnection(
      socket,
      (message) => this.#answer(message, client, remotePort, listener, connection),
      () => this.#touch(connection),
    );
    this.#touch(connection);
    socket.on('close', () => {
      this.#drop(connection);
      this.#perAddress.add(address, -1);
      this.#perPrefix.add(prefix, -1);
    });
  }

  #answer(
    message: Uint8Array,
    client: Address,
    port: number,
    listener: number,
    connection: TcpConnection,
  ): Uint8Array | AnswerStream | null {
    const keepaliveMs = this.#isStopping ? 0 : this.#idleMs(this.limits.keepaliveMs);
    const keepaliveTenths = Math.min(0xffff, Math.floor(keepaliveMs / 100));
    const asker: Asker = { client, transport: 'tcp', nowMs: Date.now(), listener, keepaliveTenths };
    const length = this.#responder.respond(message, message.length, asker, port, this.#answerOut);
    if (length === 0) return null;
    const { answerer } = this.#responder;
    const { query, transfer } = answerer.facts;
    if (transfer !== null) return this.#transfer(message, asker, transfer);
    if (query.hasEdns && query.wantsKeepalive) connection.isKeptAlive = true;
    return this.#framed(length);
  }

  #framed(length: number): Uint8Array {
    this.#out[0] = length >> 8;
    this.#out[1] = length;
    return Buffer.from(this.#out.subarray(0, length + 2));
  }

  #transfer(message: Uint8Array, asker: Asker, zone: CompiledZone): Uint8Array | AnswerStream {
    const { answerer } = this.#responder;
    const { signer, facts } = answerer;
    const stream = this.#transfers.begin(message, facts.query, zone, asker, signer);
    if (stream !== null) return stream;
    const length = answerer.fail(RCODE.FORMERR, this.#answerOut);
    const isSigned = signer !== null;
    return this.#framed(isSigned ? signAnswer(signer, this.#answerOut, length, asker.nowMs) : length);
  }

  #idleMs(fullMs: number): number {
    const isCrowded = this.#connections.size >= this.limits.maxConnections * CROWDED_SHARE;
    return isCrowded ? fullMs * CROWDED_IDLE_SHARE : fullMs;
  }

  #touch(connection: TcpConnection): void {
    connection.touchedMs = performance.now();
    this.#connections.delete(connection);
    if (!connection.socket.destroyed) this.#connections.add(connection);
  }

  #drop(connection: TcpConnection): void {
    connection.socket.destroy();
    this.#connections.delete(connection);
    if (connection.isDropped) return;
    connection.isDropped = true;
    this.#counters.tcp.closed++;
  }

  #closeSilent(): void {
    const now = performance.now();
    const [idleMs, keepaliveMs] = [this.#idleMs(this.limits.idleMs), this.#idleMs(this.limits.keepaliveMs)];
    for (const connection of this.#connections) {
      if (now - connection.touchedMs < (connection.isKeptAlive ? keepaliveMs : idleMs)) continue;
      this.#counters.tcp.timedOut++;
      this.#drop(connection);
    }
  }

  /** Answers what was asked up to now and closes; those whose answers are not read within two seconds are cut. */
  async finish(): Promise<void> {
    this.#isStopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const deadlineMs = performance.now() + FINISH_MS;
    await Promise.all([...this.#connections].map((connection) => connection.finish(deadlineMs)));
    for (const connection of this.#connections) this.#drop(connection);
  }
}

/** Of its first bytes. */
function prefixKey({ family, bytes }: Address, ipv4Bytes: number, ipv6Bytes: number): string {
  return bytes.subarray(0, family === 4 ? ipv4Bytes : ipv6Bytes).join();
}

/** Counts by key; keys with 0 take no room. */
class Tally {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, count: number): void {
    const sum = this.of(key) + count;
    if (sum === 0) this.#counts.delete(key);
    else this.#counts.set(key, sum);
  }
}
