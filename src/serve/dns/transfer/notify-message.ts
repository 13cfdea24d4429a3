/** NOTIFY (RFC 1996): what a secondary is told, and whether what comes back answers it. */
import { timingSafeEqual } from 'node:crypto';
import type { Name } from '../wire/name.ts';
import { CLASS, FLAG, RECORD_TYPE } from '../wire/numbers.ts';
import { createQuery, decodeQuery, HEADER_BYTES, read16 } from '../wire/query.ts';
import { FUDGE_SECONDS } from './signed-answers.ts';
import { answerMac, readTsig, type SigningKey, sign, tsigBytes } from './tsig.ts';

const OPCODE_NOTIFY = 4 << 11;

export interface NotifyMessage {
  readonly bytes: Uint8Array;
  /** Null: unsigned. */
  readonly mac: Uint8Array | null;
}

/** `soa`: packed; it tells the serial, so that a secondary that is current need not ask (RFC 1996 section 3.7). */
export function encodeNotify(
  id: number,
  zone: Name,
  soa: Uint8Array,
  key: SigningKey | null,
  nowMs: number,
): NotifyMessage {
  const length = HEADER_BYTES + zone.length + 4 + soa.length;
  const room = key === null ? 0 : tsigBytes(key.name, key.algorithm, key.macBytes);
  const bytes = new Uint8Array(length + room);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of [id, OPCODE_NOTIFY | FLAG.AA, 1, 1, 0, 0].entries()) view.setUint16(index * 2, value);
  bytes.set(zone, HEADER_BYTES);
  view.setUint16(HEADER_BYTES + zone.length, RECORD_TYPE.SOA);
  view.setUint16(HEADER_BYTES + zone.length + 2, CLASS.IN);
  bytes.set(soa, HEADER_BYTES + zone.length + 4);
  if (key === null) return { bytes, mac: null };
  const parameters = {
    timeSigned: Math.floor(nowMs / 1000),
    fudge: FUDGE_SECONDS,
    error: 0,
    other: new Uint8Array(0),
  };
  return { bytes, mac: sign(key, null, bytes, length, parameters).mac };
}

/** The RCODE of the answer to `sent`; null: this is none, or its signature is not good. */
export function readNotifyAnswer(message: Uint8Array, sent: NotifyMessage, key: SigningKey | null): number | null {
  if (message.length < HEADER_BYTES || read16(message, 0) !== read16(sent.bytes, 0)) return null;
  const flags = read16(message, 2);
  if ((flags & FLAG.QR) === 0 || (flags & FLAG.OPCODE) !== OPCODE_NOTIFY) return null;
  if (key !== null && sent.mac !== null && !isSigned(message, sent.mac, key)) return null;
  return flags & 0xf;
}

function isSigned(message: Uint8Array, requested: Uint8Array, key: SigningKey): boolean {
  const query = createQuery();
  if (!decodeQuery(message, message.length, query).ok || query.tsigStart === 0) return false;
  const tsig = readTsig(message, query.tsigStart, message.length);
  if (tsig === null || tsig.mac.length !== key.macBytes) return false;
  return timingSafeEqual(answerMac(key, requested, message, tsig), tsig.mac);
}
