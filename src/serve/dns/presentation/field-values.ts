/** One field of record data, between text and wire bytes. Which fields a type has stands in `wire/record-data.ts`. */
import { formatAddress, parseAddress } from '../../../net/address.ts';
import { type Name, parseName } from '../wire/name.ts';
import { read16, read32 } from '../wire/query.ts';
import { type FieldKind, joinBytes } from '../wire/record-data.ts';
import { formatLocation, parseLocation } from './location.ts';
import { formatParameters, parseParameters } from './parameters.ts';
import { parsePeriod } from './period.ts';
import { type BytesResult, quoteBytes, type Token, tokenBytes } from './tokens.ts';

const MAX_U32 = 0xffffffff;

/** RFC 4034 appendix A.1 and what was registered later. */
const ALGORITHMS: Readonly<Record<string, number>> = {
  RSAMD5: 1,
  DH: 2,
  DSA: 3,
  RSASHA1: 5,
  'DSA-NSEC3-SHA1': 6,
  'RSASHA1-NSEC3-SHA1': 7,
  RSASHA256: 8,
  RSASHA512: 10,
  'ECC-GOST': 12,
  ECDSAP256SHA256: 13,
  ECDSAP384SHA384: 14,
  ED25519: 15,
  ED448: 16,
  INDIRECT: 252,
  PRIVATEDNS: 253,
  PRIVATEOID: 254,
};

/** RFC 4398 2.1. */
const CERTIFICATES: Readonly<Record<string, number>> = {
  PKIX: 1,
  SPKI: 2,
  PGP: 3,
  IPKIX: 4,
  ISPKI: 5,
  IPGP: 6,
  ACPKIX: 7,
  IACPKIX: 8,
  URI: 253,
  OID: 254,
};

/** Whether a field of this kind takes all tokens that are left. */
export function isOpenEnded(kind: FieldKind): boolean {
  return kind === 'strings' || kind === 'hex' || kind === 'base64' || kind === 'parameters' || kind === 'location';
}

/** `tokens`: one, or for an open-ended kind all that are left; only `parameters` may be none. */
export function parseField(kind: FieldKind, tokens: readonly Token[], origin: Name): BytesResult {
  const token = tokens[0];
  switch (kind) {
    case 'u8':
      return parseInteger(token, 1);
    case 'u16':
      return parseInteger(token, 2);
    case 'u32':
      return parseInteger(token, 4);
    case 'period':
      return parsePeriodField(token);
    case 'algorithm':
      return parseInteger(token, 1, ALGORITHMS);
    case 'certificate':
      return parseInteger(token, 2, CERTIFICATES);
    case 'location':
      return parseLocation(tokens);
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
    case 'target':
      return tokenBytes(token.text);
    case 'hex':
      return parseHex(tokens);
    case 'base64':
      return parseBase64(tokens);
    case 'parameters':
      return parseParameters(tokens);
  }
}

/** A whole number; null: none, or above `max`. */
export function parseNumber(token: Token | undefined, max: number): number | null {
  if (token === undefined || token.isQuoted || !/^[0-9]{1,10}$/.test(token.text)) return null;
  const value = Number(token.text);
  return value <= max ? value : null;
}

function parseInteger(
  token: Token,
  sizeBytes: 1 | 2 | 4,
  mnemonics: Readonly<Record<string, number>> = {},
): BytesResult {
  const max = 256 ** sizeBytes - 1;
  const mnemonic = token.text.toUpperCase();
  const value = Object.hasOwn(mnemonics, mnemonic) ? mnemonics[mnemonic] : parseNumber(token, max);
  if (value === null) return { ok: false, reason: `"${token.text}" is not a number from 0 to ${max}` };
  return { ok: true, bytes: encodeInteger(value, sizeBytes) };
}

function encodeInteger(value: number, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = value / 256 ** (sizeBytes - 1 - i);
  return bytes;
}

function parsePeriodField(token: Token): BytesResult {
  const seconds = token.isQuoted ? null : parsePeriod(token.text, MAX_U32);
  if (seconds === null) return { ok: false, reason: `"${token.text}" is not a time like 3600 or 1h` };
  return { ok: true, bytes: encodeInteger(seconds, 4) };
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

export function parseHex(tokens: readonly Token[]): BytesResult {
  const digits = tokens.map((token) => token.text).join('');
  if (!/^([0-9a-fA-F]{2})*$/.test(digits)) return { ok: false, reason: 'not an even number of hexadecimal digits' };
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16);
  return { ok: true, bytes };
}

function parseBase64(tokens: readonly Token[]): BytesResult {
  const text = tokens.map((token) => token.text).join('');
  if (!/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
    return { ok: false, reason: 'not base64' };
  }
  return { ok: true, bytes: Uint8Array.from(Buffer.from(text, 'base64')) };
}

/** Null: no text stands for these bytes. They are well-formed for the kind. */
export function formatField(kind: Exclude<FieldKind, 'name'>, bytes: Uint8Array): string | null {
  switch (kind) {
    case 'u8':
    case 'algorithm':
      return String(bytes[0]);
    case 'u16':
    case 'certificate':
      return String(read16(bytes, 0));
    case 'u32':
    case 'period':
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
    case 'target':
      return quoteBytes(bytes);
    case 'hex':
      return formatHex(bytes);
    case 'base64':
      return Buffer.from(bytes).toString('base64');
    case 'location':
      return formatLocation(bytes);
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

export function formatHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
