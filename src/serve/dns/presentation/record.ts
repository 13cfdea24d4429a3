/** Record data between presentation format (RFC 1035 5.1, and each type's own RFC) and wire bytes. */
import { formatAddress, parseAddress } from '../../../net/address.ts';
import { formatName, type Name, parseName, readName } from '../wire/name.ts';
import { parseType } from '../wire/numbers.ts';
import { read16, read32 } from '../wire/query.ts';
import {
  type FieldKind,
  joinBytes,
  layoutOf,
  type RecordData,
  type RecordLayout,
  readField,
  readRecordData,
} from '../wire/record-data.ts';
import { formatParameters, parseParameters } from './parameters.ts';
import { type BytesResult, quoteBytes, splitTokens, type Token, tokenBytes } from './tokens.ts';

export type ParseRecordResult =
  | { readonly ok: true; readonly type: number; readonly rdata: RecordData }
  /** `reason`, `remedy`: parts of a sentence for the operator. */
  | { readonly ok: false; readonly reason: string; readonly remedy: string };

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
  SSHFP: '4 2 <64 hexadecimal digits>',
  TLSA: '3 1 1 <64 hexadecimal digits>',
  SVCB: '1 svc.example.net. alpn=h2',
  HTTPS: '1 . alpn=h2,h3',
};

const UNKNOWN_EXAMPLE = '\\# 4 0a000001';

/**
 * Reads the data of a record of `type` (mnemonic or TYPEnnn); relative names get `origin`. Any type may be written as `\# length hex`
 * (RFC 3597 section 5), others than those of `record-data.ts` must be.
 */
export function parseRecordData(type: string, text: string, origin: Name): ParseRecordResult {
  const number = parseType(type);
  if (number === null) {
    const known = Object.keys(EXAMPLES).join(', ');
    return {
      ok: false,
      reason: `record type ${type} is not known`,
      remedy: `use one of ${known}, or TYPEnnn with "\\#" data`,
    };
  }
  const example = EXAMPLES[type.toUpperCase()] ?? UNKNOWN_EXAMPLE;
  const remedy = `write it as in: ${example}`;
  const split = splitTokens(text);
  if (!split.ok) return split;
  const layout = layoutOf(number);
  const isGeneric = split.tokens[0]?.text === '\\#' && !split.tokens[0].isQuoted;
  if (isGeneric) {
    const parsed = parseGeneric(number, split.tokens.slice(1));
    return parsed.ok ? { ok: true, type: number, rdata: parsed.rdata } : { ...parsed, remedy };
  }
  if (layout === null) return { ok: false, reason: `type ${type} has no text form here`, remedy };
  const parsed = parseFields(layout, split.tokens, origin);
  return parsed.ok ? { ok: true, type: number, rdata: parsed.rdata } : { ...parsed, remedy };
}

type DataTextResult =
  | { readonly ok: true; readonly rdata: RecordData }
  | { readonly ok: false; readonly reason: string };

function parseGeneric(type: number, tokens: readonly Token[]): DataTextResult {
  const length = parseNumber(tokens[0], 0xffff);
  if (length === null) return { ok: false, reason: 'after \\# there is no length from 0 to 65535' };
  const hex = parseHex(tokens.slice(1));
  if (!hex.ok) return hex;
  if (hex.bytes.length !== length)
    return { ok: false, reason: `\\# says ${length} bytes, but ${hex.bytes.length} follow` };
  const read = readRecordData(type, hex.bytes, 0, length, false);
  return read.ok ? { ok: true, rdata: read.data } : { ok: false, reason: `${read.reason} (byte ${read.offset})` };
}

function parseFields(layout: RecordLayout, tokens: readonly Token[], origin: Name): DataTextResult {
  const parts: Uint8Array[] = [];
  const names: { start: number; end: number }[] = [];
  let length = 0;
  let used = 0;
  for (const kind of layout.fields) {
    const isOpenEnded = kind === 'strings' || kind === 'hex' || kind === 'parameters';
    const taken = isOpenEnded ? tokens.slice(used) : tokens.slice(used, used + 1);
    if (taken.length === 0 && kind !== 'parameters') {
      return { ok: false, reason: `field ${used + 1} is missing` };
    }
    const field = parseField(kind, taken, origin);
    if (!field.ok) return { ok: false, reason: `field ${used + 1}: ${field.reason}` };
    if (kind === 'name' && layout.isCompressible) names.push({ start: length, end: length + field.bytes.length });
    parts.push(field.bytes);
    length += field.bytes.length;
    used += taken.length;
  }
  if (used < tokens.length) return { ok: false, reason: `"${tokens[used].text}" is too much` };
  if (length > 0xffff) return { ok: false, reason: `${length} bytes of data, at most 65535 are possible` };
  const bytes = joinBytes(parts, length);
  // What only the wire form shows, such as service parameters that do not fit together.
  const check = readRecordData(layout.type, bytes, 0, length, false);
  return check.ok ? { ok: true, rdata: { bytes, names } } : { ok: false, reason: check.reason };
}

function parseField(kind: FieldKind, tokens: readonly Token[], origin: Name): BytesResult {
  const token = tokens[0];
  switch (kind) {
    case 'u8':
      return parseInteger(token, 1);
    case 'u16':
      return parseInteger(token, 2);
    case 'u32':
      return parseInteger(token, 4);
    case 'address4':
    case 'address6':
      return parseAddressField(token, kind === 'address4' ? 4 : 6);
    case 'name': {
      if (token.isQuoted) return { ok: false, reason: 'a name does not stand in quotes' };
      const name = parseName(token.text, origin);
      return name.ok ? { ok: true, bytes: name.name } : name;
    }
    case 'string':
    case 'tag':
      return parseString(token);
    case 'strings':
      return parseStrings(tokens);
    case 'rest':
      return tokenBytes(token.text);
    case 'hex':
      return parseHex(tokens);
    case 'parameters':
      return parseParameters(tokens);
  }
}

function parseNumber(token: Token | undefined, max: number): number | null {
  if (token === undefined || token.isQuoted || !/^[0-9]{1,10}$/.test(token.text)) return null;
  const value = Number(token.text);
  return value <= max ? value : null;
}

function parseInteger(token: Token, sizeBytes: 1 | 2 | 4): BytesResult {
  const max = 256 ** sizeBytes - 1;
  const value = parseNumber(token, max);
  if (value === null) return { ok: false, reason: `"${token.text}" is not a number from 0 to ${max}` };
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = value / 256 ** (sizeBytes - 1 - i);
  return { ok: true, bytes };
}

function parseAddressField(token: Token, family: 4 | 6): BytesResult {
  const address = token.isQuoted ? null : parseAddress(token.text);
  if (address?.family !== family) return { ok: false, reason: `"${token.text}" is not an IPv${family} address` };
  return { ok: true, bytes: address.bytes };
}

function parseString(token: Token): BytesResult {
  const read = tokenBytes(token.text);
  if (!read.ok) return read;
  if (read.bytes.length > 255)
    return { ok: false, reason: `a string has ${read.bytes.length} bytes, at most 255 are possible` };
  return { ok: true, bytes: Uint8Array.of(read.bytes.length, ...read.bytes) };
}

/** Longer strings are cut into several: SPF (RFC 7208 3.3) and DKIM (RFC 6376 3.6.2.2) join them again. */
function parseStrings(tokens: readonly Token[]): BytesResult {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const token of tokens) {
    const read = tokenBytes(token.text);
    if (!read.ok) return read;
    let start = 0;
    do {
      const piece = read.bytes.subarray(start, start + 255);
      parts.push(Uint8Array.of(piece.length), piece);
      length += 1 + piece.length;
      start += 255;
    } while (start < read.bytes.length);
  }
  return { ok: true, bytes: joinBytes(parts, length) };
}

function parseHex(tokens: readonly Token[]): BytesResult {
  const digits = tokens.map((token) => token.text).join('');
  if (!/^([0-9a-fA-F]{2})*$/.test(digits)) return { ok: false, reason: 'not an even number of hexadecimal digits' };
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16);
  return { ok: true, bytes };
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

function formatField(kind: Exclude<FieldKind, 'name'>, bytes: Uint8Array): string | null {
  switch (kind) {
    case 'u8':
      return String(bytes[0]);
    case 'u16':
      return String(read16(bytes, 0));
    case 'u32':
      return String(read32(bytes, 0));
    case 'address4':
      return formatAddress({ family: 4, bytes });
    case 'address6':
      return formatAddress({ family: 6, bytes });
    case 'tag':
      return new TextDecoder().decode(bytes.subarray(1));
    case 'string':
      return quoteBytes(bytes.subarray(1));
    case 'strings':
      return formatStrings(bytes);
    case 'rest':
      return quoteBytes(bytes);
    case 'hex':
      return formatHex(bytes);
    case 'parameters':
      return formatParameters(bytes);
  }
}

function formatStrings(bytes: Uint8Array): string {
  const strings: string[] = [];
  for (let position = 0; position < bytes.length; position += bytes[position] + 1) {
    strings.push(quoteBytes(bytes.subarray(position + 1, position + 1 + bytes[position])));
  }
  return strings.join(' ');
}

/** RFC 3597 section 5. */
function formatGeneric(bytes: Uint8Array): string {
  return bytes.length === 0 ? '\\# 0' : `\\# ${bytes.length} ${formatHex(bytes)}`;
}

function formatHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
