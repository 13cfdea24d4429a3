/** SvcParams of SVCB and HTTPS records (RFC 9460): text (appendix A and section 7) and wire bytes (2.2). */
import { formatAddress, parseAddress } from '../../../net/address.ts';
import { read16 } from '../wire/query.ts';
import { joinBytes } from '../wire/record-data.ts';
import { type BytesResult, escapeBytes, splitTokens, type Token, tokenBytes } from './tokens.ts';

export const PARAMETER = {
  MANDATORY: 0,
  ALPN: 1,
  NO_DEFAULT_ALPN: 2,
  PORT: 3,
  IPV4HINT: 4,
  ECH: 5,
  IPV6HINT: 6,
  DOHPATH: 7,
  OHTTP: 8,
  TLS_SUPPORTED_GROUPS: 9,
  DOCPATH: 10,
} as const;
/** By number: the registry "DNS SVCB Service Parameter Keys" of IANA. */
const KEY_NAMES = [
  'mandatory',
  'alpn',
  'no-default-alpn',
  'port',
  'ipv4hint',
  'ech',
  'ipv6hint',
  'dohpath',
  'ohttp',
  'tls-supported-groups',
  'docpath',
];

/** Reads `key` and `key=value` fields in any order. */
export function parseParameters(tokens: readonly Token[]): BytesResult {
  const values = new Map<number, Uint8Array>();
  for (const token of tokens) {
    const equals = token.text.indexOf('=');
    const name = equals < 0 ? token.text : token.text.slice(0, equals);
    const key = parseKey(name);
    if (key === null) return { ok: false, reason: `service parameter "${name}" is not known (keyNNN names others)` };
    if (values.has(key)) return { ok: false, reason: `service parameter "${name}" is there twice` };
    const text = tokenBytes(equals < 0 ? '' : token.text.slice(equals + 1));
    if (!text.ok) return text;
    const value = parseValue(key, text.bytes);
    if (!value.ok) return { ok: false, reason: `service parameter "${name}": ${value.reason}` };
    values.set(key, value.bytes);
  }
  const conflict = findConflict(values);
  return conflict === null ? { ok: true, bytes: encodeParameters(values) } : { ok: false, reason: conflict };
}

function parseKey(name: string): number | null {
  const known = KEY_NAMES.indexOf(name);
  if (known >= 0) return known;
  const match = /^key(0|[1-9][0-9]{0,4})$/.exec(name);
  // 65535 is reserved as invalid (RFC 9460 14.3.2).
  return match !== null && Number(match[1]) < 65535 ? Number(match[1]) : null;
}

/** RFC 9460 section 8 and 7.1.1. */
function findConflict(values: ReadonlyMap<number, Uint8Array>): string | null {
  if (values.has(PARAMETER.NO_DEFAULT_ALPN) && !values.has(PARAMETER.ALPN))
    return 'no-default-alpn stands without alpn';
  const mandatory = values.get(PARAMETER.MANDATORY);
  if (mandatory === undefined) return null;
  for (let i = 0; i < mandatory.length; i += 2) {
    const key = read16(mandatory, i);
    if (key === PARAMETER.MANDATORY) return 'mandatory lists itself';
    if (!values.has(key)) return `mandatory lists ${formatKey(key)}, which is not there`;
  }
  return null;
}

/** Wire form, ascending by key. */
export function encodeParameters(values: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const [key, value] of [...values].sort(([a], [b]) => a - b)) {
    parts.push(Uint8Array.of(key >> 8, key, value.length >> 8, value.length), value);
    length += 4 + value.length;
  }
  return joinBytes(parts, length);
}

function parseValue(key: number, value: Uint8Array): BytesResult {
  if (value.length > 0xffff) return { ok: false, reason: 'longer than 65535 bytes' };
  const text = new TextDecoder('latin1').decode(value);
  switch (key) {
    case PARAMETER.MANDATORY:
      return parseMandatory(text);
    case PARAMETER.ALPN:
      return parseItems(value);
    case PARAMETER.NO_DEFAULT_ALPN:
    case PARAMETER.OHTTP: // RFC 9540
      return value.length === 0 ? { ok: true, bytes: value } : { ok: false, reason: 'takes no value' };
    case PARAMETER.PORT: {
      const isPort = /^[0-9]{1,5}$/.test(text) && Number(text) <= 0xffff;
      if (!isPort) return { ok: false, reason: 'not a port from 0 to 65535' };
      return { ok: true, bytes: Uint8Array.of(Number(text) >> 8, Number(text)) };
    }
    case PARAMETER.IPV4HINT:
      return parseHints(text, 4);
    case PARAMETER.IPV6HINT:
      return parseHints(text, 6);
    case PARAMETER.ECH:
      return parseBase64(text);
    case PARAMETER.DOHPATH:
      return value.length > 0 ? { ok: true, bytes: value } : { ok: false, reason: 'is empty' };
    case PARAMETER.TLS_SUPPORTED_GROUPS:
      return parseGroups(text);
    case PARAMETER.DOCPATH: // The root's path has no segments.
      return value.length > 0 ? parseItems(value) : { ok: true, bytes: value };
    default:
      return { ok: true, bytes: value };
  }
}

function parseMandatory(text: string): BytesResult {
  const keys = text.split(',').map(parseKey);
  const sorted = keys.filter((key) => key !== null).sort((a, b) => a - b);
  if (sorted.length < keys.length) return { ok: false, reason: 'a key of the list is not known' };
  if (new Set(sorted).size < sorted.length) return { ok: false, reason: 'a key is listed twice' };
  return { ok: true, bytes: Uint8Array.from(sorted.flatMap((key) => [key >> 8, key & 0xff])) };
}

/** Numbers of TLS groups, the one that the server likes best first. */
function parseGroups(text: string): BytesResult {
  const groups = text.split(',');
  const isRight = (group: string) => /^[0-9]{1,5}$/.test(group) && Number(group) <= 0xffff;
  if (!groups.every(isRight)) return { ok: false, reason: 'not a list of numbers from 0 to 65535' };
  const numbers = groups.map(Number);
  if (new Set(numbers).size < numbers.length) return { ok: false, reason: 'a group is listed twice' };
  return { ok: true, bytes: Uint8Array.from(numbers.flatMap((group) => [group >> 8, group & 0xff])) };
}

/** A comma-separated list in which `\,` and `\\` stand for the characters (appendix A.1). */
function parseItems(value: Uint8Array): BytesResult {
  const bytes: number[] = [0];
  let start = 0;
  for (let i = 0; i <= value.length; i++) {
    if (i === value.length || value[i] === 0x2c) {
      const length = bytes.length - start - 1;
      if (length === 0 || length > 255) return { ok: false, reason: 'an item of the list has not 1 to 255 bytes' };
      bytes[start] = length;
      if (i < value.length) start = bytes.push(0) - 1;
      continue;
    }
    if (value[i] === 0x5c) {
      i++;
      if (value[i] !== 0x5c && value[i] !== 0x2c)
        return { ok: false, reason: 'a backslash stands before neither "," nor "\\"' };
    }
    bytes.push(value[i]);
  }
  return { ok: true, bytes: Uint8Array.from(bytes) };
}

function parseHints(text: string, family: 4 | 6): BytesResult {
  const parts: Uint8Array[] = [];
  for (const item of text.split(',')) {
    const address = parseAddress(item);
    if (address?.family !== family) return { ok: false, reason: `"${item}" is not an IPv${family} address` };
    parts.push(address.bytes);
  }
  return { ok: true, bytes: joinBytes(parts, parts.length * (family === 4 ? 4 : 16)) };
}

function parseBase64(text: string): BytesResult {
  if (text === '' || !/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
    return { ok: false, reason: 'not base64' };
  }
  return { ok: true, bytes: Uint8Array.from(atob(text), (character) => character.charCodeAt(0)) };
}

function formatKey(key: number): string {
  return KEY_NAMES[key] ?? `key${key}`;
}

/** Parameters, well-formed on the wire, in text; null: their values break the rules of their keys, so that no text stands for them. */
export function formatParameters(bytes: Uint8Array): string | null {
  const fields: string[] = [];
  for (let position = 0; position < bytes.length; ) {
    const key = read16(bytes, position);
    const length = read16(bytes, position + 2);
    const value = bytes.subarray(position + 4, position + 4 + length);
    const text = formatValue(key, value);
    if (text === null) return null;
    fields.push(text === '' ? formatKey(key) : `${formatKey(key)}=${text}`);
    position += 4 + length;
  }
  const joined = fields.join(' ');
  const tokens = splitTokens(joined);
  const again = tokens.ok ? parseParameters(tokens.tokens) : tokens;
  return again.ok && sameBytes(again.bytes, bytes) ? joined : null;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Null: malformed for its key. */
function formatValue(key: number, value: Uint8Array): string | null {
  switch (key) {
    case PARAMETER.MANDATORY: {
      if (value.length === 0 || value.length % 2 !== 0) return null;
      return Array.from({ length: value.length / 2 }, (_, i) => formatKey(read16(value, i * 2))).join(',');
    }
    case PARAMETER.ALPN:
      return formatItems(value);
    case PARAMETER.TLS_SUPPORTED_GROUPS:
      if (value.length === 0 || value.length % 2 !== 0) return null;
      return Array.from({ length: value.length / 2 }, (_, i) => read16(value, i * 2)).join(',');
    case PARAMETER.DOCPATH:
      return value.length === 0 ? '' : formatItems(value);
    case PARAMETER.NO_DEFAULT_ALPN:
    case PARAMETER.OHTTP: // RFC 9540
      return value.length === 0 ? '' : null;
    case PARAMETER.PORT:
      return value.length === 2 ? String(read16(value, 0)) : null;
    case PARAMETER.IPV4HINT:
      return formatHints(value, 4);
    case PARAMETER.IPV6HINT:
      return formatHints(value, 6);
    case PARAMETER.ECH:
      return value.length > 0 ? btoa(String.fromCharCode(...value)) : null;
    default:
      return value.length === 0 ? '' : `"${escapeBytes(value)}"`;
  }
}

function formatItems(value: Uint8Array): string | null {
  const escaped: number[] = [];
  let position = 0;
  while (position < value.length) {
    const end = position + 1 + value[position];
    if (end > value.length || end === position + 1) return null;
    if (position > 0) escaped.push(0x2c);
    for (position++; position < end; position++) {
      if (value[position] === 0x2c || value[position] === 0x5c) escaped.push(0x5c);
      escaped.push(value[position]);
    }
  }
  return value.length === 0 ? null : `"${escapeBytes(Uint8Array.from(escaped))}"`;
}

function formatHints(value: Uint8Array, family: 4 | 6): string | null {
  const size = family === 4 ? 4 : 16;
  if (value.length === 0 || value.length % size !== 0) return null;
  const addresses: string[] = [];
  for (let i = 0; i < value.length; i += size) {
    addresses.push(formatAddress({ family, bytes: value.subarray(i, i + size) }));
  }
  return addresses.join(',');
}
