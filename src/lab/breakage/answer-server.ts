/**
 * The server on every backend of the breakage lab: one process with sockets in all their namespaces, because many processes
 * on few cores measure the scheduler. A backend that is killed loses its links, so nothing of it is heard. Its options are its
 * first argument, as JSON; says "ready"; ends when its standard input is closed.
 */
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { parseAddress } from '../../net/address.ts';
import { openTcpListener, openUdpSocket } from '../../serve/vip/netns.ts';
import {
  ANSWER_BYTES,
  connectionId,
  MESSAGE_BYTES,
  QUIC_PORT,
  readMessage,
  readQuic,
  TCP_PORT,
  writeAnswer,
  writeQuicAnswer,
} from './messages.ts';

export interface AnswerServerOptions {
  readonly backends: readonly {
    readonly number: number;
    readonly netns: string;
    /** Hexadecimal. */
    readonly serverId: string;
  }[];
  readonly vips: readonly string[];
  readonly quicConfigId: number;
}

const BACKLOG = 4096;
const RECEIVE_BYTES = 1 << 20;

const options = JSON.parse(process.argv[2] as string) as AnswerServerOptions;

/** Answers each message; one that is not the next of its connection, or damaged, is answered so and ends it. */
function serve(socket: Socket, backend: number): void {
  let rest: Buffer | null = null;
  let expected = 0;
  socket.setNoDelay(true);
  socket.on('error', () => {}); // its end is the client's to tell
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (; at + MESSAGE_BYTES <= bytes.length; at += MESSAGE_BYTES) {
      const { id, count, intact } = readMessage(bytes, at);
      socket.write(writeAnswer(id, count, backend, intact && count === expected));
      expected++;
    }
    rest = at === bytes.length ? null : bytes.subarray(at);
  });
}

function listen(netns: string, address: string, backend: number): void {
  const fd = openTcpListener(netns, parseAddress(address)!, TCP_PORT, { backlog: BACKLOG });
  createServer({ highWaterMark: ANSWER_BYTES * 4 }, (socket) => serve(socket, backend)).listen({ fd });
}

/** Each VIP has a socket of its own, so that answers leave with its address. */
function answerQuic(netns: string, vip: string, backend: number, serverId: Uint8Array): void {
  const address = parseAddress(vip)!;
  const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6');
  socket.on('error', () => {});
  socket.on('message', (bytes, from) => {
    const packet = readQuic(bytes);
    if (packet === null) return;
    const id = connectionId(options.quicConfigId, serverId, packet.flow);
    socket.send(writeQuicAnswer(packet.flow, packet.count, backend, id), from.port, from.address, () => {});
  });
  socket.bind({
    fd: openUdpSocket(netns, address, QUIC_PORT, { freeBind: true, receiveBufferBytes: RECEIVE_BYTES }),
  });
}

for (const { number, netns, serverId } of options.backends) {
  for (const any of ['0.0.0.0', '::']) listen(netns, any, number);
  for (const vip of options.vips) answerQuic(netns, vip, number, Buffer.from(serverId, 'hex'));
}
process.stdout.write('ready\n');

process.stdin.on('end', () => process.exit(0)).resume();
