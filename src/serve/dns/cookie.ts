/**
 * Server cookies that any server with the same secret makes and knows (RFC 9018): version 1, three reserved bytes, the time of making, and
 * SipHash-2-4 of the client's cookie, these, and the client's address. They prove that a client gets what is sent to its address.
 */
import { type SipHashVariant, sipHash } from '../../model/siphash.ts';
import type { Address } from '../../net/address.ts';
import { CLIENT_COOKIE_BYTES, read32 } from './wire/query.ts';

export const SERVER_COOKIE_BYTES = 16;
export const COOKIE_BYTES = CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES;
/** Version, reserved bytes and time: what stands before the hash. */
const HEAD_BYTES = 8;
const VERSION = 1;

/** RFC 9018 section 4.3. Clocks of servers may differ so far. */
const MAX_AGE_SECONDS = 3600;
const MAX_AHEAD_SECONDS = 300;
const RENEW_AGE_SECONDS = 1800;

const SIPHASH_2_4: SipHashVariant = { compressionRounds: 2, finalRounds: 4, outputBytes: 8 };

const input = new Uint8Array(CLIENT_COOKIE_BYTES + HEAD_BYTES + 16);
const hash = new Uint32Array(2);

/** `good`: ours, for this client and address, and not too old. `client`: without a server's part. */
export type CookieState = 'none' | 'client' | 'good' | 'bad';

/**
 * Judges the well-formed cookie of `bytes` bytes at `start` of `message`. `keys`, from `sipHashKey`: all may have made it. `nowSeconds`: of
 * Unix time.
 */
export function judgeCookie(
  keys: readonly Uint32Array[],
  message: Uint8Array,
  start: number,
  bytes: number,
  client: Address,
  nowSeconds: number,
): CookieState {
  if (bytes === CLIENT_COOKIE_BYTES) return 'client';
  const server = start + CLIENT_COOKIE_BYTES;
  if (bytes !== COOKIE_BYTES || message[server] !== VERSION) return 'bad';
  // The time is of 32 bits and wraps (RFC 1982).
  const age = (nowSeconds - read32(message, server + 4)) | 0;
  if (age > MAX_AGE_SECONDS || age < -MAX_AHEAD_SECONDS) return 'bad';
  for (let i = 0; i < keys.length; i++) if (isMadeWith(keys[i], message, start, client)) return 'good';
  return 'bad';
}

function isMadeWith(key: Uint32Array, message: Uint8Array, start: number, client: Address): boolean {
  hashCookie(key, message, start, client);
  const at = start + CLIENT_COOKIE_BYTES + HEAD_BYTES;
  // No early end: the time taken must not tell how much was right.
  let difference = 0;
  for (let i = 0; i < 8; i++) difference |= message[at + i] ^ hashByte(i);
  return difference === 0;
}

/**
 * Writes the cookie of 24 bytes that answers the one at `start` of `message` to `at` of `out`: the same if it is good and young and made
 * with the first key, else a new one, made with that key.
 */
export function writeCookie(
  keys: readonly Uint32Array[],
  message: Uint8Array,
  start: number,
  state: CookieState,
  client: Address,
  nowSeconds: number,
  out: Uint8Array,
  at: number,
): void {
  const server = start + CLIENT_COOKIE_BYTES;
  const isYoung = state === 'good' && ((nowSeconds - read32(message, server + 4)) | 0) < RENEW_AGE_SECONDS;
  if (isYoung && isMadeWith(keys[0], message, start, client)) {
    for (let i = 0; i < COOKIE_BYTES; i++) out[at + i] = message[start + i];
    return;
  }
  for (let i = 0; i < CLIENT_COOKIE_BYTES; i++) out[at + i] = message[start + i];
  const made = at + CLIENT_COOKIE_BYTES;
  out[made] = VERSION;
  out[made + 1] = 0;
  out[made + 2] = 0;
  out[made + 3] = 0;
  for (let i = 0; i < 4; i++) out[made + 4 + i] = nowSeconds >>> (24 - 8 * i);
  hashCookie(keys[0], out, at, client);
  for (let i = 0; i < 8; i++) out[made + HEAD_BYTES + i] = hashByte(i);
}

/** Of the client's cookie and the head at `start`, and the address, into `hash`. */
function hashCookie(key: Uint32Array, bytes: Uint8Array, start: number, client: Address): void {
  const length = CLIENT_COOKIE_BYTES + HEAD_BYTES;
  for (let i = 0; i < length; i++) input[i] = bytes[start + i];
  input.set(client.bytes, length);
  sipHash(key, input, hash, SIPHASH_2_4, length + client.bytes.length);
}

/** The hash goes over the wire with its lowest byte first. */
function hashByte(index: number): number {
  return (hash[index >> 2] >>> (8 * (index & 3))) & 0xff;
}
