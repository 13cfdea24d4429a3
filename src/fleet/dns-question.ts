/** Asks another name server or a resolver: by UDP, twice if need be, and by TCP when the answer is truncated. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { Socket } from 'node:net';
import { type Address, formatAddress } from '../net/address.ts';
import { decodeMessage, encodeQuery, type Message, type Question } from '../serve/dns/wire/message.ts';
import { sameName } from '../serve/dns/wire/name.ts';
import { FLAG } from '../serve/dns/wire/numbers.ts';
import { openTcpSocket, openUdpSocket } from '../serve/vip/netns.ts';

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

export type Reply = { readonly ok: true; readonly message: Message } | { readonly ok: false; readonly reason: string };

export interface QuestionOptions {
  /** Namespace to ask from; null: the process's own. */
  readonly netns: string | null;
  /** A resolver is asked to recurse, a name server is not. */
  readonly isRecursive: boolean;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 2_000;
const TRIES = 2;
const PAYLOAD_BYTES = 1232;
/** DO: answers with all that belongs to them. */
const EDNS_FLAGS = 0x8000;

export async function askDns(to: Endpoint, question: Question, options: QuestionOptions): Promise<Reply> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  let last: Reply = { ok: false, reason: 'not asked' };
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const id = randomInt(0x10000);
    const query = queryBytes(id, question, options.isRecursive);
    const isAnswer = (bytes: Uint8Array): Message | null => readAnswer(bytes, id, question);
    last = await askUdp(to, query, isAnswer, options.netns, timeoutMs);
    if (last.ok && (last.message.flags & FLAG.TC) === 0) return last;
    if (last.ok) return askTcp(to, query, isAnswer, options.netns, timeoutMs);
  }
  return last;
}

function queryBytes(id: number, question: Question, isRecursive: boolean): Buffer {
  const bytes = Buffer.from(
    encodeQuery(id, question, { payloadBytes: PAYLOAD_BYTES, flags: EDNS_FLAGS, options: new Uint8Array(0) }),
  );
  if (isRecursive) bytes.writeUInt16BE(FLAG.RD, 2);
  return bytes;
}

/** Null: not an answer to this question. */
function readAnswer(bytes: Uint8Array, id: number, { name, type }: Question): Message | null {
  const decoded = decodeMessage(bytes);
  if (!decoded.ok || decoded.message.id !== id || (decoded.message.flags & FLAG.QR) === 0) return null;
  const [asked] = decoded.message.questions;
  return asked !== undefined && asked.type === type && sameName(asked.name, name) ? decoded.message : null;
}

function unspecified({ family, bytes }: Address): Address {
  return { family, bytes: new Uint8Array(bytes.length) };
}

function askUdp(
  { address, port }: Endpoint,
  query: Buffer,
  read: (bytes: Uint8Array) => Message | null,
  netns: string | null,
  timeoutMs: number,
): Promise<Reply> {
  return new Promise((resolve) => {
    const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6');
    const done = (reply: Reply): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(() => done({ ok: false, reason: `no answer within ${timeoutMs} ms` }), timeoutMs);
    socket.on('error', (error) => done({ ok: false, reason: error.message }));
    socket.on('message', (bytes) => {
      const message = read(bytes);
      if (message !== null) done({ ok: true, message });
    });
    try {
      socket.bind({ fd: openUdpSocket(netns, unspecified(address), 0) }, () => {
        // Connected: nobody else can answer.
        socket.connect(port, formatAddress(address), () => socket.send(query));
      });
    } catch (error) {
      done({ ok: false, reason: (error as Error).message });
    }
  });
}

function askTcp(
  { address, port }: Endpoint,
  query: Buffer,
  read: (bytes: Uint8Array) => Message | null,
  netns: string | null,
  timeoutMs: number,
): Promise<Reply> {
  return new Promise((resolve) => {
    let socket: Socket;
    try {
      socket = new Socket({ fd: openTcpSocket(netns, address, { bind: false }) });
    } catch (error) {
      resolve({ ok: false, reason: (error as Error).message });
      return;
    }
    let received = Buffer.alloc(0);
    const done = (reply: Reply): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reply);
    };
    const timer = setTimeout(() => done({ ok: false, reason: `no answer by TCP within ${timeoutMs} ms` }), timeoutMs);
    socket.on('error', (error) => done({ ok: false, reason: error.message }));
    socket.on('close', () => done({ ok: false, reason: 'the connection was closed' }));
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const message = read(received.subarray(2, 2 + received.readUInt16BE(0)));
      done(message === null ? { ok: false, reason: 'something else was answered' } : { ok: true, message });
    });
    socket.connect({ host: formatAddress(address), port }, () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    });
  });
}
