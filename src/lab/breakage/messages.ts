/**
 * What held connections and flows say to each other. Every byte of a message and of its answer follows from who speaks and
 * how often, so that a byte that is lost, doubled or of somebody else is noticed. Pure.
 */

export const TCP_PORT = 7000;
export const QUIC_PORT = 4433;
export const MESSAGE_BYTES = 128;
export const ANSWER_BYTES = 512;
/** Before the body: connection, count, and in answers the backend's number and whether the message was as it should be. */
const MESSAGE_HEAD = 8;
const ANSWER_HEAD = 12;

/** Any bytes without a short period; bodies begin at one of the first 512. */
const PATTERN = Buffer.alloc(1024);
for (let at = 0, state = 0x2545f491; at < PATTERN.length; at++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  PATTERN[at] = state >>> 24;
}

function bodyStart(id: number, count: number): number {
  return (id * 7 + count * 13) & 511;
}

export function writeMessage(id: number, count: number): Buffer {
  const out = Buffer.allocUnsafe(MESSAGE_BYTES);
  out.writeUInt32LE(id, 0);
  out.writeUInt32LE(count, 4);
  const start = bodyStart(id, count);
  PATTERN.copy(out, MESSAGE_HEAD, start, start + MESSAGE_BYTES - MESSAGE_HEAD);
  return out;
}

/** `bytes` has MESSAGE_BYTES from `at` on. */
export function readMessage(bytes: Buffer, at: number): { id: number; count: number; intact: boolean } {
  const id = bytes.readUInt32LE(at);
  const count = bytes.readUInt32LE(at + 4);
  const start = bodyStart(id, count);
  const end = start + MESSAGE_BYTES - MESSAGE_HEAD;
  return { id, count, intact: bytes.compare(PATTERN, start, end, at + MESSAGE_HEAD, at + MESSAGE_BYTES) === 0 };
}

export function writeAnswer(id: number, count: number, backend: number, accepted: boolean): Buffer {
  const out = Buffer.allocUnsafe(ANSWER_BYTES);
  out.writeUInt32LE(id, 0);
  out.writeUInt32LE(count, 4);
  out.writeUInt16LE(backend, 8);
  out.writeUInt16LE(accepted ? 1 : 0, 10);
  const start = bodyStart(id, count + 1);
  PATTERN.copy(out, ANSWER_HEAD, start, start + ANSWER_BYTES - ANSWER_HEAD);
  return out;
}

/** What is wrong with an answer; a backend's number if it is as it should be. `bytes` has ANSWER_BYTES from `at` on. */
export function readAnswer(bytes: Buffer, at: number, id: number, count: number): number | string {
  if (bytes.readUInt32LE(at) !== id || bytes.readUInt32LE(at + 4) !== count) return 'an answer to something else';
  if (bytes.readUInt16LE(at + 10) !== 1) return 'the message did not arrive as it was sent';
  const start = bodyStart(id, count + 1);
  const end = start + ANSWER_BYTES - ANSWER_HEAD;
  if (bytes.compare(PATTERN, start, end, at + ANSWER_HEAD, at + ANSWER_BYTES) !== 0) return 'wrong content';
  return bytes.readUInt16LE(at + 8);
}

/** QUIC's header as far as a balancer looks (RFC 8999, RFC 9000 17.2 and 17.3); behind it the flow and its count. */
const VERSION_1 = 1;
export const ID_BYTES = 8;
const INITIAL_BYTES = 1200;
const SHORT_BYTES = 64;

/** QUIC-LB, plaintext: configuration and length, server ID, then bytes of the server's own choice. */
export function connectionId(configId: number, serverId: Uint8Array, own: number): Buffer {
  const id = Buffer.alloc(ID_BYTES);
  id[0] = (configId << 5) | (ID_BYTES - 1);
  id.set(serverId, 1);
  for (let at = 1 + serverId.length; at < ID_BYTES; at++) id[at] = (own >>> (8 * (at & 3))) ^ (at * 37);
  return id;
}

/** A client's first packet: an Initial whose destination ID is of its own choice. */
export function writeInitial(flow: number): Buffer {
  const out = Buffer.alloc(INITIAL_BYTES);
  out[0] = 0xc3;
  out.writeUInt32BE(VERSION_1, 1);
  out[5] = ID_BYTES;
  // The first three bits are those of "names nobody" (QUIC-LB, config ID 7).
  out.writeUInt32BE(0xe0000000, 6);
  out.writeUInt32BE(flow, 10);
  out[14] = 0; // no source ID
  out.writeUInt32LE(flow, 16);
  return out;
}

export function writeShort(id: Buffer, flow: number, count: number): Buffer {
  const out = Buffer.alloc(SHORT_BYTES);
  out[0] = 0x43;
  id.copy(out, 1);
  out.writeUInt32LE(flow, 16);
  out.writeUInt32LE(count, 20);
  return out;
}

export interface QuicPacket {
  /** Null: an Initial. */
  readonly id: Buffer | null;
  readonly flow: number;
  readonly count: number;
}

export function readQuic(bytes: Buffer): QuicPacket | null {
  if (bytes.length < SHORT_BYTES) return null;
  const flow = bytes.readUInt32LE(16);
  if ((bytes[0] as number) & 0x80) return { id: null, flow, count: 0 };
  return { id: bytes.subarray(1, 1 + ID_BYTES), flow, count: bytes.readUInt32LE(20) };
}

export interface QuicAnswer {
  readonly flow: number;
  readonly count: number;
  readonly backend: number;
  /** The ID that the client shall use from now on. */
  readonly id: Buffer;
}

/** Short header without an ID, as to a client that asked for none. */
export function writeQuicAnswer(flow: number, count: number, backend: number, id: Buffer): Buffer {
  const out = Buffer.alloc(SHORT_BYTES);
  out[0] = 0x43;
  id.copy(out, 1);
  out.writeUInt32LE(flow, 16);
  out.writeUInt32LE(count, 20);
  out.writeUInt16LE(backend, 24);
  return out;
}

export function readQuicAnswer(bytes: Buffer): QuicAnswer | null {
  if (bytes.length < SHORT_BYTES) return null;
  return {
    flow: bytes.readUInt32LE(16),
    count: bytes.readUInt32LE(20),
    backend: bytes.readUInt16LE(24),
    id: Buffer.from(bytes.subarray(1, 1 + ID_BYTES)),
  };
}
