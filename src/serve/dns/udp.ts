/** DNS over UDP (RFC 1035 4.2.1). */
import { createSocket, type Socket } from 'node:dgram';
import { type Address, parseAddress } from '../../net/address.ts';
import { type Answerer, MAX_UDP_BYTES } from './answer.ts';
import type { DnsCounters } from './counters.ts';
import { type BoundAddress, isWildcardAddress, type SocketSource } from './sockets.ts';

/** Answers that wait in a blocked socket, per socket; beyond that they are dropped and counted as unsent. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** Asked of the kernel, which gives at most net.core.rmem_max: room for a burst while the process is busy. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/**
 * Ports whose services answer anything (echo, quotd, chargen) and 0, which cannot be answered: a forged query from there would make a loop
 * or noise. Loops between two DNS servers are cut by not answering answers.
 */
const LOOP_PORTS: ReadonlySet<number> = new Set([0, 7, 17, 19]);

export interface UdpListener {
  readonly bound: BoundAddress;
  close(): Promise<void>;
}

/** Binds and serves until closed. Rejects when the socket cannot be bound or is bound to a wildcard address. */
export async function listenUdp(source: SocketSource, answerer: Answerer, counters: DnsCounters): Promise<UdpListener> {
  const socket = createUdpSocket(source);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('listening', resolve);
    if ('fd' in source) socket.bind({ fd: source.fd });
    else socket.bind({ address: source.address, port: source.port });
  });
  const { address, port } = socket.address();
  const close = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  if (isWildcardAddress(address)) {
    await close();
    throw new Error(`DNS does not listen on ${address}: replies must leave from the address that was asked`);
  }
  socket.removeAllListeners('error');
  // ICMP errors of earlier answers arrive here; the socket stays good.
  socket.on('error', () => counters.unsent++);
  serveSocket(socket, answerer, counters);
  return { bound: { address, port }, close };
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

function serveSocket(socket: Socket, answerer: Answerer, counters: DnsCounters): void {
  const out = new Uint8Array(MAX_UDP_BYTES);
  const onSent = (error: Error | null) => {
    if (error !== null) counters.unsent++;
  };
  socket.on('message', (message, from) => {
    if (LOOP_PORTS.has(from.port)) {
      counters.queries.udp++;
      counters.dropped.port++;
      return;
    }
    const length = answerer.answer(message, message.length, clientAddress(from.address), 'udp', out);
    if (length === 0) return;
    if (socket.getSendQueueSize() > MAX_QUEUED_BYTES) {
      counters.unsent++;
      return;
    }
    // A copy: the socket may keep it until it can send.
    socket.send(Buffer.from(out.subarray(0, length)), 0, length, from.port, from.address, onSent);
  });
}

/** From the system's text, with the zone of a link-local address (`fe80::1%eth0`) cut off. */
export function clientAddress(text: string): Address {
  const zone = text.indexOf('%');
  const address = parseAddress(zone < 0 ? text : text.slice(0, zone));
  if (address === null) throw new Error(`the system named a client ${text}`);
  return address;
}
