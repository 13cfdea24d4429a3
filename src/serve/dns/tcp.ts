/**
 * DNS over TCP (RFC 7766): queries in a row on one connection, each answered as soon as it is complete. Bounded in connections (in all and
 * per client), silence, and answers that are not read.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { type Answerer, MAX_TCP_BYTES } from './answer.ts';
import type { DnsCounters } from './counters.ts';
import { type BoundAddress, isWildcardAddress, type SocketSource } from './sockets.ts';
import { clientAddress } from './udp.ts';

export interface TcpLimits {
  /** Per listener. One more closes the connection that has been silent the longest. */
  readonly maxConnections: number;
  /** Per IPv4 address or IPv6 /64. One more is turned away. */
  readonly maxPerClient: number;
  /** Silence, and time that answers may wait to be read, before a connection is closed. Checked four times in this time. */
  readonly idleMs: number;
  /** Answers that wait to be read; beyond that no further query of the connection is looked at. */
  readonly maxUnreadBytes: number;
}

export const DEFAULT_TCP_LIMITS: TcpLimits = {
  maxConnections: 1000,
  maxPerClient: 50,
  idleMs: 10_000,
  maxUnreadBytes: 128 * 1024,
};

export interface TcpListener {
  readonly bound: BoundAddress;
  close(): Promise<void>;
}

/** Binds and serves until closed. Rejects when the socket cannot be bound or is bound to a wildcard address. */
export async function listenTcp(
  source: SocketSource,
  answerer: Answerer,
  counters: DnsCounters,
  limits: TcpLimits,
): Promise<TcpListener> {
  const table = new ConnectionTable(answerer, counters, limits);
  const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: limits.maxUnreadBytes }, (socket) =>
    table.accept(socket),
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
  const close = () => {
    table.close();
    return new Promise<void>((resolve) => server.close(() => resolve()));
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

/** The connections of one listener, the longest silent first. */
class ConnectionTable {
  readonly #answerer: Answerer;
  readonly #counters: DnsCounters;
  readonly #limits: TcpLimits;
  readonly #connections = new Set<Connection>();
  readonly #perClient = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  /** One answer with its length before it; copied out at once. */
  readonly #out = new Uint8Array(2 + MAX_TCP_BYTES);

  constructor(answerer: Answerer, counters: DnsCounters, limits: TcpLimits) {
    this.#answerer = answerer;
    this.#counters = counters;
    this.#limits = limits;
    this.#timer = setInterval(() => this.#closeSilent(), Math.max(1, limits.idleMs / 4));
    this.#timer.unref();
  }

  accept(socket: Socket): void {
    // Gone already.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const client = clientAddress(socket.remoteAddress);
    const key = client.bytes.subarray(0, client.family === 4 ? 4 : 8).join();
    const open = this.#perClient.get(key) ?? 0;
    if (open >= this.#limits.maxPerClient) {
      this.#counters.tcp.refusedPerClient++;
      socket.destroy();
      return;
    }
    if (this.#connections.size >= this.#limits.maxConnections) {
      const [oldest] = this.#connections;
      this.#counters.tcp.evicted++;
      this.#drop(oldest);
    }
    this.#counters.tcp.accepted++;
    this.#perClient.set(key, open + 1);
    const answer = (message: Uint8Array): Uint8Array | null => {
      const length = this.#answerer.answer(message, message.length, client, 'tcp', this.#out.subarray(2));
      if (length === 0) return null;
      this.#out[0] = length >> 8;
      this.#out[1] = length;
      return Buffer.from(this.#out.subarray(0, length + 2));
    };
    const connection = new Connection(socket, key, answer, () => this.#touch(connection));
    this.#touch(connection);
    socket.on('close', () => this.#drop(connection));
  }

  #touch(connection: Connection): void {
    connection.touchedMs = performance.now();
    this.#connections.delete(connection);
    if (!connection.socket.destroyed) this.#connections.add(connection);
  }

  #drop(connection: Connection): void {
    connection.socket.destroy();
    this.#connections.delete(connection);
    if (connection.isDropped) return;
    connection.isDropped = true;
    this.#counters.tcp.closed++;
    const open = (this.#perClient.get(connection.clientKey) ?? 1) - 1;
    if (open === 0) this.#perClient.delete(connection.clientKey);
    else this.#perClient.set(connection.clientKey, open);
  }

  #closeSilent(): void {
    const before = performance.now() - this.#limits.idleMs;
    for (const connection of this.#connections) {
      if (connection.touchedMs > before) return;
      this.#counters.tcp.timedOut++;
      this.#drop(connection);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    for (const connection of this.#connections) this.#drop(connection);
  }
}

class Connection {
  readonly socket: Socket;
  readonly clientKey: string;
  readonly #answer: (message: Uint8Array) => Uint8Array | null;
  /** Called when a query was answered and when waiting answers were read: bytes alone do not keep a connection. */
  readonly #onProgress: () => void;
  touchedMs = 0;
  isDropped = false;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #neededBytes = 2;
  #hasEnded = false;

  constructor(
    socket: Socket,
    clientKey: string,
    answer: (message: Uint8Array) => Uint8Array | null,
    onProgress: () => void,
  ) {
    this.socket = socket;
    this.clientKey = clientKey;
    this.#answer = answer;
    this.#onProgress = onProgress;
    socket.on('error', () => undefined); // 'close' follows
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#chunkBytes += chunk.length;
      if (this.#chunkBytes >= this.#neededBytes) this.#process();
    });
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
    let isBlocked = false;
    socket.cork();
    for (;;) {
      this.#neededBytes = bytes.length < 2 ? 2 : 2 + bytes.readUInt16BE(0);
      if (bytes.length < this.#neededBytes) break;
      isBlocked = socket.writableNeedDrain; // then 'drain' will come
      if (isBlocked) break;
      const answer = this.#answer(bytes.subarray(2, this.#neededBytes));
      // Neither an answer nor a fragment of a header is a mistake of a client that is worth keeping.
      if (answer === null) {
        socket.destroy();
        return;
      }
      socket.write(answer);
      this.#onProgress();
      bytes = bytes.subarray(this.#neededBytes);
    }
    socket.uncork();
    this.#chunks = bytes.length > 0 ? [bytes] : [];
    this.#chunkBytes = bytes.length;
    if (isBlocked) socket.pause();
    else if (this.#hasEnded) socket.end();
  }
}
