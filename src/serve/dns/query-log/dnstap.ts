/**
 * dnstap messages (https://dnstap.info, dnstap.proto) as data frames of Frame Streams. Protocol Buffers on the wire: a key of field number
 * and kind, then a varint, four bytes, or a length and so many bytes. Few fields and no nesting but one: written by hand.
 */

// Kinds of Protocol Buffers.
const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;

const DNSTAP = { identity: 1, version: 2, message: 14, type: 15 } as const;
const DNSTAP_TYPE_MESSAGE = 1;
const MESSAGE = {
  type: 1,
  socketFamily: 2,
  socketProtocol: 3,
  queryAddress: 4,
  responseAddress: 5,
  queryPort: 6,
  responsePort: 7,
  querySeconds: 8,
  queryNanoseconds: 9,
  queryMessage: 10,
  queryZone: 11,
  responseSeconds: 12,
  responseNanoseconds: 13,
  responseMessage: 14,
} as const;
const FAMILY = { 4: 1, 6: 2 } as const;
const PROTOCOL = { udp: 1, tcp: 2 } as const;

export const TAP_TYPE = { query: 1, response: 2 } as const;

export interface TapTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface TapMessage {
  /** AUTH_QUERY with the query, AUTH_RESPONSE with the answer. */
  readonly kind: keyof typeof TAP_TYPE;
  readonly family: 4 | 6;
  readonly transport: 'udp' | 'tcp';
  readonly clientAddress: Uint8Array;
  readonly clientPort: number;
  /** Of the server; null: not known. */
  readonly serverAddress: Uint8Array | null;
  readonly serverPort: number;
  readonly queryTime: TapTime;
  /** Responses only. */
  readonly responseTime: TapTime;
  /** The query or the answer, on the wire. */
  readonly bytes: Uint8Array;
  /** Of which zone the name is, on the wire; null: of none. */
  readonly zone: Uint8Array | null;
}

/** Who tells. */
export interface TapIdentity {
  readonly identity: Uint8Array;
  readonly version: Uint8Array;
}

/** Bytes that everything but the message itself takes, at most: addresses, zone, times, keys. */
const FIELDS_BYTES = 400;

/** Bytes of a frame, at most. */
export function tapFrameLimit(message: TapMessage, { identity, version }: TapIdentity): number {
  return message.bytes.length + identity.length + version.length + FIELDS_BYTES;
}

/** Writes the frame, with its length, to `at` of `out`, which has room; gives where it ends. */
export function writeTapFrame(
  out: Buffer,
  at: number,
  message: TapMessage,
  { identity, version }: TapIdentity,
): number {
  const writer = new ProtobufWriter(out, at + 4);
  writer.bytes(DNSTAP.identity, identity);
  writer.bytes(DNSTAP.version, version);
  const begin = writer.beginNested(DNSTAP.message);
  writeMessage(writer, message);
  writer.endNested(begin);
  writer.varint(DNSTAP.type, DNSTAP_TYPE_MESSAGE);
  out.writeUInt32BE(writer.position - at - 4, at);
  return writer.position;
}

function writeMessage(writer: ProtobufWriter, message: TapMessage): void {
  writer.varint(MESSAGE.type, TAP_TYPE[message.kind]);
  writer.varint(MESSAGE.socketFamily, FAMILY[message.family]);
  writer.varint(MESSAGE.socketProtocol, PROTOCOL[message.transport]);
  writer.bytes(MESSAGE.queryAddress, message.clientAddress);
  if (message.serverAddress !== null) writer.bytes(MESSAGE.responseAddress, message.serverAddress);
  writer.varint(MESSAGE.queryPort, message.clientPort);
  if (message.serverAddress !== null) writer.varint(MESSAGE.responsePort, message.serverPort);
  writer.varint(MESSAGE.querySeconds, message.queryTime.seconds);
  writer.fixed32(MESSAGE.queryNanoseconds, message.queryTime.nanoseconds);
  if (message.kind === 'query') writer.bytes(MESSAGE.queryMessage, message.bytes);
  if (message.zone !== null) writer.bytes(MESSAGE.queryZone, message.zone);
  if (message.kind === 'query') return;
  writer.varint(MESSAGE.responseSeconds, message.responseTime.seconds);
  writer.fixed32(MESSAGE.responseNanoseconds, message.responseTime.nanoseconds);
  writer.bytes(MESSAGE.responseMessage, message.bytes);
}

/** A varint of this length, whatever its value: groups with the continuation bit and without value are allowed. */
const NESTED_LENGTH_BYTES = 4;

class ProtobufWriter {
  readonly #out: Buffer;
  position: number;

  constructor(out: Buffer, position: number) {
    this.#out = out;
    this.position = position;
  }

  #key(field: number, kind: number): void {
    // Field numbers are below 16: one byte.
    this.#out[this.position++] = (field << 3) | kind;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#out[this.position++] = (rest & 0x7f) | 0x80;
    this.#out[this.position++] = rest;
  }

  varint(field: number, value: number): void {
    this.#key(field, VARINT);
    this.#varint(value);
  }

  fixed32(field: number, value: number): void {
    this.#key(field, FIXED32);
    this.position = this.#out.writeUInt32LE(value, this.position);
  }

  bytes(field: number, value: Uint8Array): void {
    this.#key(field, BYTES);
    this.#varint(value.length);
    this.#out.set(value, this.position);
    this.position += value.length;
  }

  /** Where the nested message begins. */
  beginNested(field: number): number {
    this.#key(field, BYTES);
    this.position += NESTED_LENGTH_BYTES;
    return this.position;
  }

  endNested(begin: number): void {
    let length = this.position - begin;
    for (let i = NESTED_LENGTH_BYTES; i > 0; i--, length >>= 7)
      this.#out[begin - i] = (length & 0x7f) | (i === 1 ? 0 : 0x80);
  }
}
