/** DNS over UDP (RFC 1035 4.2.1). */
import { createSocket, type Socket } from 'node:dgram';
import type { DnsCounters } from './counters.ts';
import { type Asker, MAX_UDP_BYTES } from './exchange.ts';
import type { Responder } from './respond.ts';
import { type BoundAddress, clientAddress, isWildcardAddress, nextTurn, type SocketSource } from './sockets.ts';

/** Answers that wait in a blocked socket, per socket; beyond that they are dropped and counted as unsent. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** Asked of the kernel, which gives at most net.core.rmem_max: room for a burst while the process is busy. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** For queries that wait in the socket when it is closed, and answers that it has not taken. */
const FINISH_MS = 1000;

export interface UdpListener {
  readonly bound: BoundAddress;
  /** Answers what has arrived, as far as a second suffices. */
  close(): Promise<void>;
}

/** Binds and serves until closed. Rejects when the socket cannot be bound or is bound to a wildcard address. */
export async function listenUdp(
  source: SocketSource,
  responder: Responder,
  counters: DnsCounters,
  listener = 0,
): Promise<UdpListener> {
  const socket = createUdpSocket(source);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('listening', resolve);
    if ('fd' in source) socket.bind({ fd: source.fd });
    else socket.bind({ address: source.address, port: source.port });
  });
  const { address, port } = socket.address();
  const close = async (): Promise<void> => {
    await finishSocket(socket, counters);
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  };
  if (isWildcardAddress(address)) {
    await close();
    throw new Error(`DNS does not listen on ${address}: replies must leave from the address that was asked`);
  }
  socket.removeAllListeners('error');
  // ICMP errors of earlier answers arrive here; the socket stays good.
  socket.on('error', () => counters.unsent++);
  serveSocket(socket, responder, counters, listener);
  return { bound: { address, port }, close };
}

/** A turn that brings no query shows that none waits; of all sockets together, so this may take one turn more. */
async function finishSocket(socket: Socket, counters: DnsCounters): Promise<void> {
  const deadlineMs = performance.now() + FINISH_MS;
  for (let seen = -1; seen !== counters.queries.udp || socket.getSendQueueCount() > 0; ) {
    if (performance.now() > deadlineMs) return;
    seen = counters.queries.udp;
    await nextTurn();
  }
}

function createUdpSocket(source: SocketSource): Socket {
  const family = source.family;
  return createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ipv6Only: family === 6,
    recvBufferSize: RECEIVE_BUFFER_BYTES,
    // Only addresses are ever sent to; the default would take a turn of the event loop for each.
    lookup: (host, _options, callback) => callback(null, host, family),
  });
}

function serveSocket(socket: Socket, responder: Responder, counters: DnsCounters, listener: number): void {
  const out = new Uint8Array(MAX_UDP_BYTES);
  const onSent = (error: Error | null) => {
    if (error !== null) counters.unsent++;
  };
  socket.on('message', (message, from) => {
    const client = clientAddress(from.address);
    const asker: Asker = { client, transport: 'udp', nowMs: Date.now(), listener, keepaliveTenths: 0 };
    const length = responder.respond(message, message.length, asker, from.port, out);
    if (length === 0) return;
    if (socket.getSendQueueSize() > MAX_QUEUED_BYTES) {
      counters.unsent++;
      return;
    }
    // A copy: the socket may keep it until it can send.
    socket.send(Buffer.from(out.subarray(0, length)), 0, length, from.port, from.address, onSent);
  });
}
