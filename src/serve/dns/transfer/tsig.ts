/** Signed messages (TSIG, RFC 8945): reading the record, and the sums over messages. */
import { createHmac, type Hmac } from 'node:crypto';
import type { KeyAlgorithm, TransferKey } from '../../../config/transfers.ts';
import { lowerName, type Name, parseName, ROOT_NAME, readName } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { read16, read32 } from '../wire/query.ts';
import { joinBytes } from '../wire/record-data.ts';

/** Errors of the record itself (RFC 8945 section 3), beside NOTAUTH in the header. */
export const TSIG_ERROR = { BADSIG: 16, BADKEY: 17, BADTIME: 18, BADTRUNC: 22 } as const;

const HASHES: Readonly<Record<KeyAlgorithm, { readonly hash: string; readonly bytes: number }>> = {
  'hmac-sha224': { hash: 'sha224', bytes: 28 },
  'hmac-sha256': { hash: 'sha256', bytes: 32 },
  'hmac-sha384': { hash: 'sha384', bytes: 48 },
  'hmac-sha512': { hash: 'sha512', bytes: 64 },
};

/** A key with its names as they stand on the wire. */
export interface SigningKey {
  readonly text: string;
  /** Lower case. */
  readonly name: Name;
  readonly algorithm: Name;
  readonly hash: string;
  readonly macBytes: number;
  readonly secret: Uint8Array;
}

export function createSigningKey({ name, algorithm, secret }: TransferKey): SigningKey {
  const { hash, bytes } = HASHES[algorithm];
  return { text: name, name: wireName(name), algorithm: wireName(algorithm), hash, macBytes: bytes, secret };
}

function wireName(text: string): Name {
  const parsed = parseName(`${text}.`, ROOT_NAME);
  if (!parsed.ok) throw new Error(`"${text}" was taken for a name: ${parsed.reason}`);
  return lowerName(parsed.name);
}

export interface Tsig {
  /** Where the record begins in the message. */
  readonly start: number;
  /** Of the key and algorithm, lower case. */
  readonly name: Name;
  readonly algorithm: Name;
  /** Seconds since 1970, 48 bits. */
  readonly timeSigned: number;
  readonly fudge: number;
  readonly mac: Uint8Array;
  readonly originalId: number;
  readonly error: number;
  readonly other: Uint8Array;
}

/** Reads the record that begins at `start`; null: malformed (RFC 8945 section 4.2). */
export function readTsig(message: Uint8Array, start: number, length: number): Tsig | null {
  const owner = readName(message, start, length);
  if (!owner.ok || owner.next + 10 > length) return null;
  const fields = owner.next;
  const dataStart = fields + 10;
  const end = dataStart + read16(message, fields + 8);
  const isAny = read16(message, fields) === RECORD_TYPE.TSIG && read16(message, fields + 2) === 255;
  if (!isAny || read32(message, fields + 4) !== 0 || end > length) return null;
  const algorithm = readName(message, dataStart, end, false);
  if (!algorithm.ok) return null;
  const at = algorithm.next;
  if (at + 10 > end) return null;
  const macEnd = at + 10 + read16(message, at + 8);
  if (macEnd + 6 > end || macEnd + 6 + read16(message, macEnd + 4) !== end) return null;
  return {
    start,
    name: lowerName(owner.name),
    algorithm: lowerName(algorithm.name),
    timeSigned: read16(message, at) * 2 ** 32 + read32(message, at + 2),
    fudge: read16(message, at + 6),
    mac: copyOf(message, at + 10, macEnd),
    originalId: read16(message, macEnd),
    error: read16(message, macEnd + 2),
    other: copyOf(message, macEnd + 6, end),
  };
}

/** Of a Buffer `slice` would be a view. */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.subarray(start, end));
}

export function write48(value: number): Uint8Array {
  const bytes = new Uint8Array(6);
  new DataView(bytes.buffer).setUint16(0, Math.floor(value / 2 ** 32));
  new DataView(bytes.buffer).setUint32(2, value >>> 0);
  return bytes;
}

function bytes16(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

/** The record's fields that are signed with a message (RFC 8945 section 4.3.3). */
function variables(tsig: Pick<Tsig, 'name' | 'algorithm' | 'timeSigned' | 'fudge' | 'error' | 'other'>): Uint8Array[] {
  const { name, algorithm, timeSigned, fudge, error, other } = tsig;
  const fixed = Uint8Array.of(0, 255, 0, 0, 0, 0); // class ANY, TTL 0
  return [name, fixed, algorithm, write48(timeSigned), bytes16(fudge, error, other.length), other];
}

function hmacOf({ hash, secret }: SigningKey): Hmac {
  return createHmac(hash, secret);
}

/** The MAC that a request with this record should have (RFC 8945 section 4.3): over what stands before the record. */
export function requestMac(key: SigningKey, message: Uint8Array, tsig: Tsig): Uint8Array {
  return macOf(key, null, unsigned(message, tsig), variables(tsig));
}

/** The same of an answer, which covers the request's MAC. */
export function answerMac(key: SigningKey, requested: Uint8Array, message: Uint8Array, tsig: Tsig): Uint8Array {
  return macOf(key, requested, unsigned(message, tsig), variables(tsig));
}

/** As it was before the record was added. */
function unsigned(message: Uint8Array, { start, originalId }: Tsig): Uint8Array {
  const copy = copyOf(message, 0, start);
  copy.set(bytes16(originalId), 0);
  copy.set(bytes16(read16(message, 10) - 1), 10);
  return copy;
}

function macOf(
  key: SigningKey,
  before: Uint8Array | null,
  message: Uint8Array,
  fields: readonly Uint8Array[],
): Uint8Array {
  const hmac = hmacOf(key);
  if (before !== null) hmac.update(bytes16(before.length)).update(before);
  hmac.update(message);
  for (const field of fields) hmac.update(field);
  return hmac.digest();
}

export interface SignParameters {
  readonly timeSigned: number;
  readonly fudge: number;
  readonly error: number;
  readonly other: Uint8Array;
}

/** Bytes that the record takes, without `other`; `macBytes` 0: unsigned. */
export function tsigBytes(name: Name, algorithm: Name, macBytes: number): number {
  return name.length + 10 + algorithm.length + 16 + macBytes;
}

/**
 * Appends a signed record to the message in the first `length` bytes of `out`, which has room. `before`: the MAC that this one
 * covers (of the request, or of the message before); null: none. `isLater`: one of several messages, not the first (RFC 8945 section 5.3.1).
 * Returns the new length and the MAC.
 */
export function sign(
  key: SigningKey,
  before: Uint8Array | null,
  out: Uint8Array,
  length: number,
  { timeSigned, fudge, error, other }: SignParameters,
  isLater = false,
): { readonly length: number; readonly mac: Uint8Array } {
  const { name, algorithm } = key;
  const timers = [write48(timeSigned), bytes16(fudge)];
  const fields = isLater ? timers : variables({ name, algorithm, timeSigned, fudge, error, other });
  const mac = macOf(key, before, out.subarray(0, length), fields);
  return { length: appendTsig(name, algorithm, mac, out, length, { timeSigned, fudge, error, other }), mac };
}

/** The record itself. Returns the new length. */
export function appendTsig(
  name: Name,
  algorithm: Name,
  mac: Uint8Array,
  out: Uint8Array,
  length: number,
  { timeSigned, fudge, error, other }: SignParameters,
): number {
  const head = [algorithm, write48(timeSigned), bytes16(fudge, mac.length), mac];
  const parts = [...head, copyOf(out, 0, 2), bytes16(error, other.length), other];
  const dataBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const record = [name, bytes16(RECORD_TYPE.TSIG, 255, 0, 0, dataBytes), ...parts];
  const bytes = joinBytes(record, name.length + 10 + dataBytes);
  out.set(bytes, length);
  out.set(bytes16(read16(out, 10) + 1), 10);
  return length + bytes.length;
}
