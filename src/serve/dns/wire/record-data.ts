/**
 * What a record's data is made of, one list of fields a type. Decoding, the reader of presentation format and its writer all
 * follow this table, so that a type is added in one place. Types that are not listed are opaque bytes (RFC 3597).
 */
import { type Name, readName } from './name.ts';
import { RECORD_TYPE } from './numbers.ts';

export type FieldKind =
  | 'u8'
  | 'u16'
  | 'u32'
  | 'address4'
  | 'address6'
  | 'name'
  /** One string of at most 255 bytes, with a length byte. */
  | 'string'
  /** One or more strings up to the end. */
  | 'strings'
  /** CAA's tag: as `string`, letters and digits only (RFC 8659 4.1). */
  | 'tag'
  /** Text up to the end, without a length byte (CAA's value). */
  | 'rest'
  /** The same, at least one byte (RFC 7553 4.4). */
  | 'target'
  /** One or more bytes up to the end, in text as hexadecimal digits. */
  | 'hex'
  /** One or more bytes up to the end, in text as base64. */
  | 'base64'
  /** As `u32`, in text also with units: `1h30m`. */
  | 'period'
  /** As `u8`, in text also a mnemonic of DNSSEC (RFC 4034 appendix A.1). */
  | 'algorithm'
  /** As `u16`, in text also a mnemonic (RFC 4398 2.1). */
  | 'certificate'
  /** The whole of LOC (RFC 1876 section 2). */
  | 'location'
  /** SvcParams up to the end (RFC 9460 2.2). */
  | 'parameters';

export interface RecordLayout {
  readonly type: number;
  readonly fields: readonly FieldKind[];
  /** Names may be compressed when sent: types of RFC 1035 only (RFC 3597 section 4). */
  readonly isCompressible: boolean;
}

const layouts = new Map<number, RecordLayout>();
function define(type: number, fields: readonly FieldKind[], isCompressible = false): void {
  layouts.set(type, { type, fields, isCompressible });
}
define(RECORD_TYPE.A, ['address4']);
define(RECORD_TYPE.AAAA, ['address6']); // RFC 3596
define(RECORD_TYPE.NS, ['name'], true);
define(RECORD_TYPE.CNAME, ['name'], true);
define(RECORD_TYPE.PTR, ['name'], true);
define(RECORD_TYPE.SOA, ['name', 'name', 'u32', 'period', 'period', 'period', 'period'], true);
define(RECORD_TYPE.MX, ['u16', 'name'], true);
define(RECORD_TYPE.TXT, ['strings']);
define(RECORD_TYPE.HINFO, ['string', 'string']);
define(RECORD_TYPE.SRV, ['u16', 'u16', 'u16', 'name']); // RFC 2782
define(RECORD_TYPE.NAPTR, ['u16', 'u16', 'string', 'string', 'string', 'name']); // RFC 3403
define(RECORD_TYPE.CAA, ['u8', 'tag', 'rest']); // RFC 8659
define(RECORD_TYPE.DS, ['u16', 'algorithm', 'u8', 'hex']); // RFC 4034
define(RECORD_TYPE.CDS, ['u16', 'algorithm', 'u8', 'hex']); // RFC 7344
define(RECORD_TYPE.DNSKEY, ['u16', 'u8', 'algorithm', 'base64']); // RFC 4034
define(RECORD_TYPE.CDNSKEY, ['u16', 'u8', 'algorithm', 'base64']); // RFC 7344
define(RECORD_TYPE.SSHFP, ['u8', 'u8', 'hex']); // RFC 4255
define(RECORD_TYPE.TLSA, ['u8', 'u8', 'u8', 'hex']); // RFC 6698
define(RECORD_TYPE.SMIMEA, ['u8', 'u8', 'u8', 'hex']); // RFC 8162
define(RECORD_TYPE.OPENPGPKEY, ['base64']); // RFC 7929
define(RECORD_TYPE.CERT, ['certificate', 'u16', 'algorithm', 'base64']); // RFC 4398
define(RECORD_TYPE.DNAME, ['name']); // RFC 6672
define(RECORD_TYPE.RP, ['name', 'name']); // RFC 1183
define(RECORD_TYPE.LOC, ['location']); // RFC 1876
define(RECORD_TYPE.SPF, ['strings']); // RFC 4408, obsolete
define(RECORD_TYPE.URI, ['u16', 'u16', 'target']); // RFC 7553
define(RECORD_TYPE.SVCB, ['u16', 'name', 'parameters']); // RFC 9460
define(RECORD_TYPE.HTTPS, ['u16', 'name', 'parameters']);

/** Null: a type without a known layout. */
export function layoutOf(type: number): RecordLayout | null {
  return layouts.get(type) ?? null;
}

const FIXED_BYTES: Partial<Record<FieldKind, number>> = {
  u8: 1,
  algorithm: 1,
  u16: 2,
  certificate: 2,
  u32: 4,
  period: 4,
  address4: 4,
  address6: 16,
  location: 16,
};

/** A record's data, uncompressed; at most 65,535 bytes. */
export interface RecordData {
  readonly bytes: Uint8Array;
  /** Names in `bytes` that may be compressed when sent, ascending: start and end (after the root byte). */
  readonly names: readonly { readonly start: number; readonly end: number }[];
}

export type RecordDataResult =
  | { readonly ok: true; readonly data: RecordData }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

/**
 * Reads and checks the data of a record of `type` at `start` to `end` of a message. Compressed names are expanded, wherever they
 * stand (RFC 3597 section 4 asks receivers for that with SRV and others), or refused without `allowPointers`. The result is a copy.
 */
export function readRecordData(
  type: number,
  message: Uint8Array,
  start: number,
  end: number,
  allowPointers = true,
): RecordDataResult {
  const layout = layoutOf(type);
  if (layout === null) return { ok: true, data: { bytes: message.slice(start, end), names: [] } };
  const parts: Uint8Array[] = [];
  const names: { start: number; end: number }[] = [];
  let length = 0;
  let position = start;
  for (const kind of layout.fields) {
    if (kind === 'name') {
      const read = readName(message, position, end, allowPointers);
      if (!read.ok) return read;
      if (layout.isCompressible) names.push({ start: length, end: length + read.name.length });
      parts.push(read.name);
      length += read.name.length;
      position = read.next;
      continue;
    }
    const read = readField(kind, message, position, end);
    if (!read.ok) return read;
    parts.push(message.subarray(position, read.next));
    length += read.next - position;
    position = read.next;
  }
  if (position !== end) return { ok: false, reason: 'record data is longer than its type allows', offset: position };
  return { ok: true, data: { bytes: joinBytes(parts, length), names } };
}

type FieldResult =
  | { readonly ok: true; readonly next: number }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

/** Checks a field that is not a name; `next`: the offset after it. */
export function readField(kind: FieldKind, message: Uint8Array, position: number, end: number): FieldResult {
  const tooShort: FieldResult = { ok: false, reason: 'record data is shorter than its type asks', offset: position };
  const fixed = FIXED_BYTES[kind];
  if (fixed !== undefined) return position + fixed <= end ? { ok: true, next: position + fixed } : tooShort;
  if (kind === 'hex' || kind === 'base64' || kind === 'target')
    return position < end ? { ok: true, next: end } : tooShort;
  if (kind === 'rest') return { ok: true, next: end };
  if (kind === 'parameters') return checkParameters(message, position, end);
  let next = position;
  do {
    if (next >= end || next + 1 + message[next] > end) return tooShort;
    next += 1 + message[next];
  } while (kind === 'strings' && next < end);
  if (kind === 'tag') {
    if (next === position + 1) return { ok: false, reason: 'CAA tag is empty', offset: position };
    for (let i = position + 1; i < next; i++) {
      if (!isLetterOrDigit(message[i])) return { ok: false, reason: 'CAA tag is not of letters and digits', offset: i };
    }
  }
  return { ok: true, next };
}

function isLetterOrDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/** RFC 9460 2.2: keys strictly ascending, lengths exact. */
function checkParameters(message: Uint8Array, start: number, end: number): FieldResult {
  let previous = -1;
  let position = start;
  while (position < end) {
    if (position + 4 > end) return { ok: false, reason: 'service parameter is cut off', offset: position };
    const key = (message[position] << 8) | message[position + 1];
    if (key <= previous) return { ok: false, reason: 'service parameters are not ascending', offset: position };
    const next = position + 4 + ((message[position + 2] << 8) | message[position + 3]);
    if (next > end) return { ok: false, reason: 'service parameter is cut off', offset: position };
    previous = key;
    position = next;
  }
  return { ok: true, next: end };
}

export function joinBytes(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let position = 0;
  for (const part of parts) {
    bytes.set(part, position);
    position += part.length;
  }
  return bytes;
}

/** The data of a record that is one name: NS, CNAME, PTR. */
export function nameData(name: Name): RecordData {
  return { bytes: name, names: [{ start: 0, end: name.length }] };
}
