/** Record data between presentation format (RFC 1035 5.1, and each type's own RFC) and wire bytes. */
import { formatName, type Name, readName } from '../wire/name.ts';
import { formatType, isMetaType, parseType, RECORD_TYPE } from '../wire/numbers.ts';
import {
  joinBytes,
  layoutOf,
  type RecordData,
  type RecordLayout,
  readField,
  readRecordData,
} from '../wire/record-data.ts';
import { formatField, formatHex, isOpenEnded, parseField, parseHex, parseNumber } from './field-values.ts';
import { splitTokens, type Token } from './tokens.ts';

export type ParseRecordResult =
  | { readonly ok: true; readonly type: number; readonly rdata: RecordData }
  | RefusedRecord;

/** `reason`, `remedy`: parts of a sentence for the operator. */
export interface RefusedRecord {
  readonly ok: false;
  readonly reason: string;
  readonly remedy: string;
  /** Index of the one at fault; null: the record as a whole. */
  readonly token: number | null;
}

/** How the data of a type is written; the remedies show it. */
const EXAMPLES: Readonly<Record<string, string>> = {
  A: '192.0.2.1',
  AAAA: '2001:db8::1',
  NS: 'ns1.example.net.',
  CNAME: 'www.example.net.',
  PTR: 'host.example.net.',
  SOA: 'ns1.example.net. hostmaster.example.net. 1 7200 900 1209600 60',
  MX: '10 mail.example.net.',
  TXT: '"v=spf1 -all"',
  HINFO: '"cpu" "os"',
  SRV: '0 5 443 host.example.net.',
  NAPTR: '100 10 "u" "E2U+sip" "!^.*$!sip:info@example.net!" .',
  CAA: '0 issue "ca.example.net"',
  DS: '60485 13 2 <64 hexadecimal digits>',
  CDS: '60485 13 2 <64 hexadecimal digits>',
  DNSKEY: '257 3 13 <base64>',
  CDNSKEY: '257 3 13 <base64>',
  SSHFP: '4 2 <64 hexadecimal digits>',
  TLSA: '3 1 1 <64 hexadecimal digits>',
  SMIMEA: '3 1 1 <64 hexadecimal digits>',
  OPENPGPKEY: '<base64>',
  CERT: 'PKIX 0 0 <base64>',
  DNAME: 'example.net.',
  RP: 'admin.example.net. about.example.net.',
  LOC: '52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m',
  SPF: '"v=spf1 -all"',
  URI: '10 1 "https://www.example.net/"',
  SVCB: '1 svc.example.net. alpn=h2',
  HTTPS: '1 . alpn=h2,h3',
};

const UNKNOWN_EXAMPLE = '\\# 4 0a000001';

/** Records that only a signer can make. */
const SIGNER_TYPES: readonly number[] = [
  RECORD_TYPE.RRSIG,
  RECORD_TYPE.NSEC,
  RECORD_TYPE.NSEC3,
  RECORD_TYPE.NSEC3PARAM,
];

/** A type by its mnemonic or TYPEnnn, or why it is none. */
export function readRecordType(text: string): RefusedRecord | number {
  const number = parseType(text);
  if (number !== null) return number;
  const known = Object.keys(EXAMPLES).join(', ');
  return {
    ok: false,
    reason: `record type ${text} is not known`,
    remedy: `use one of ${known}, or TYPEnnn with "\\#" data`,
    token: null,
  };
}

/**
 * Reads the data of a record of `type` (mnemonic or TYPEnnn); relative names get `origin`. Any type may be written as `\# length hex`
 * (RFC 3597 section 5), others than those of `record-data.ts` must be.
 */
export function parseRecordData(type: string, text: string, origin: Name): ParseRecordResult {
  const number = readRecordType(type);
  if (typeof number !== 'number') return number;
  const split = splitTokens(text);
  return split.ok ? parseRecordTokens(number, split.tokens, origin) : { ...split, token: null };
}

/** As `parseRecordData`, of data that is split already. */
export function parseRecordTokens(type: number, tokens: readonly Token[], origin: Name): ParseRecordResult {
  const layout = layoutOf(type);
  const text = formatType(type);
  if (isMetaType(type)) return { ok: false, reason: `${text} is no type of data`, remedy: 'leave it out', token: null };
  const isGeneric = tokens[0]?.text === '\\#' && !tokens[0].isQuoted;
  if (layout === null && !isGeneric && SIGNER_TYPES.includes(type)) {
    const remedy = 'leave it out: a zone file has the records from before signing';
    return { ok: false, reason: `${text} records are made by a signer`, remedy, token: null };
  }
  const remedy = `write it as in: ${EXAMPLES[text] ?? UNKNOWN_EXAMPLE}`;
  if (layout === null && !isGeneric) {
    return { ok: false, reason: `type ${text} has no text form here`, remedy, token: null };
  }
  const parsed =
    layout === null || isGeneric ? parseGeneric(type, tokens.slice(1)) : parseFields(layout, tokens, origin);
  return parsed.ok ? { ok: true, type, rdata: parsed.rdata } : { ...parsed, remedy };
}

type DataTextResult =
  | { readonly ok: true; readonly rdata: RecordData }
  | { readonly ok: false; readonly reason: string; readonly token: number | null };

function parseGeneric(type: number, tokens: readonly Token[]): DataTextResult {
  const length = parseNumber(tokens[0], 0xffff);
  if (length === null) return { ok: false, reason: 'after \\# there is no length from 0 to 65535', token: 1 };
  const hex = parseHex(tokens.slice(1));
  if (!hex.ok) return { ...hex, token: 2 };
  if (hex.bytes.length !== length)
    return { ok: false, reason: `\\# says ${length} bytes, but ${hex.bytes.length} follow`, token: 1 };
  const read = readRecordData(type, hex.bytes, 0, length, false);
  if (read.ok) return { ok: true, rdata: read.data };
  return { ok: false, reason: `${read.reason} (byte ${read.offset})`, token: 2 };
}

function parseFields(layout: RecordLayout, tokens: readonly Token[], origin: Name): DataTextResult {
  const parts: Uint8Array[] = [];
  const names: { start: number; end: number }[] = [];
  let length = 0;
  let used = 0;
  for (const kind of layout.fields) {
    const taken = isOpenEnded(kind) ? tokens.slice(used) : tokens.slice(used, used + 1);
    if (taken.length === 0 && kind !== 'parameters') {
      return { ok: false, reason: `field ${used + 1} is missing`, token: null };
    }
    const field = parseField(kind, taken, origin);
    if (!field.ok) return { ok: false, reason: `field ${used + 1}: ${field.reason}`, token: used };
    if (kind === 'name' && layout.isCompressible) names.push({ start: length, end: length + field.bytes.length });
    parts.push(field.bytes);
    length += field.bytes.length;
    used += taken.length;
  }
  if (used < tokens.length) return { ok: false, reason: `"${tokens[used].text}" is too much`, token: used };
  if (length > 0xffff) return { ok: false, reason: `${length} bytes of data, at most 65535 are possible`, token: null };
  const bytes = joinBytes(parts, length);
  // What only the wire form shows, such as service parameters that do not fit together.
  const check = readRecordData(layout.type, bytes, 0, length, false);
  return check.ok ? { ok: true, rdata: { bytes, names } } : { ok: false, reason: check.reason, token: null };
}

/** The data in presentation format, names absolute; `data` is well-formed for its type. Reads back to the same bytes. */
export function formatRecordData(type: number, data: RecordData): string {
  const layout = layoutOf(type);
  const { bytes } = data;
  if (layout === null) return formatGeneric(bytes);
  const fields: string[] = [];
  let position = 0;
  for (const kind of layout.fields) {
    let next: number;
    if (kind === 'name') {
      const read = readName(bytes, position, bytes.length);
      if (!read.ok) throw new Error(`record data of type ${type} is malformed: ${read.reason}`);
      fields.push(read.name[0] === 0 ? '.' : `${formatName(read.name)}.`);
      next = read.next;
    } else {
      const read = readField(kind, bytes, position, bytes.length);
      if (!read.ok) throw new Error(`record data of type ${type} is malformed: ${read.reason}`);
      next = read.next;
      const text = formatField(kind, bytes.subarray(position, next));
      if (text === null) return formatGeneric(bytes);
      fields.push(text);
    }
    position = next;
  }
  return fields.filter((field) => field !== '').join(' ');
}

/** RFC 3597 section 5. */
function formatGeneric(bytes: Uint8Array): string {
  return bytes.length === 0 ? '\\# 0' : `\\# ${bytes.length} ${formatHex(bytes)}`;
}
