/**
 * LOC (RFC 1876): a place on earth. In text `d [m [s]] N|S d [m [s]] E|W altitude [size [horizontal [vertical]]]`, metres with or
 * without `m`. On the wire 16 bytes: version 0, three lengths as digit and power of ten in cm, latitude and longitude in thousandths
 * of a second from 2^31, altitude in cm from 100 km below the ellipsoid.
 */
import { read32 } from '../wire/query.ts';
import type { BytesResult, Token } from './tokens.ts';

const EQUATOR = 2 ** 31;
const DEGREE = 3_600_000;
const MINUTE = 60_000;
const BASE_CM = 10_000_000;
/** Defaults of size, horizontal and vertical precision: 1 m, 10 km, 10 m (section 3). */
const DEFAULT_LENGTHS_CM = [100, 1_000_000, 1000];
const LENGTH_NAMES = ['size', 'horizontal precision', 'vertical precision'];

function fail(reason: string): BytesResult {
  return { ok: false, reason };
}

export function parseLocation(tokens: readonly Token[]): BytesResult {
  const texts = tokens.map(({ text }) => text);
  const latitude = parseAngle(texts, 0, 90, ['N', 'S']);
  if (typeof latitude === 'string') return fail(latitude);
  const longitude = parseAngle(texts, latitude.next, 180, ['E', 'W']);
  if (typeof longitude === 'string') return fail(longitude);
  const metres = texts.slice(longitude.next);
  if (metres.length === 0) return fail('the altitude is missing');
  if (metres.length > 4) return fail(`"${metres[4]}" is too much`);
  const altitude = parseMetres(metres[0]);
  if (altitude === null || altitude < -BASE_CM || altitude > 2 ** 32 - 1 - BASE_CM)
    return fail(`"${metres[0]}" is not an altitude from -100000.00m to 42849672.95m`);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (const [index, name] of LENGTH_NAMES.entries()) {
    const text = metres[index + 1];
    const length = text === undefined ? DEFAULT_LENGTHS_CM[index] : parseMetres(text);
    if (length === null || length < 0 || length > 9_000_000_000)
      return fail(`"${text}" is not a ${name} from 0m to 90000000m`);
    bytes[1 + index] = encodeLength(length);
  }
  view.setUint32(4, EQUATOR + latitude.value);
  view.setUint32(8, EQUATOR + longitude.value);
  view.setUint32(12, BASE_CM + altitude);
  return { ok: true, bytes };
}

/** Thousandths of a second, positive to the north and east; text: what is wrong. */
function parseAngle(
  texts: readonly string[],
  start: number,
  maxDegrees: number,
  [positive, negative]: readonly [string, string],
): { readonly value: number; readonly next: number } | string {
  const noun = maxDegrees === 90 ? 'latitude' : 'longitude';
  let value = 0;
  for (let part = 0; part <= 3; part++) {
    const text = texts[start + part];
    if (text === undefined) return `the ${noun} does not end in ${positive} or ${negative}`;
    const letter = text.toUpperCase();
    if (part > 0 && (letter === positive || letter === negative)) {
      if (value > maxDegrees * DEGREE) return `the ${noun} is above ${maxDegrees} degrees`;
      return { value: letter === positive ? value : -value, next: start + part + 1 };
    }
    if (part === 3) break;
    const isRight = part === 2 ? /^[0-9]{1,2}(\.[0-9]{1,3})?$/.test(text) : /^[0-9]{1,3}$/.test(text);
    const max = part === 0 ? maxDegrees : part === 1 ? 59 : 59.999;
    if (!isRight || Number(text) > max)
      return `"${text}" is not the ${['degrees', 'minutes', 'seconds'][part]} of a ${noun}`;
    value += Math.round(Number(text) * [DEGREE, MINUTE, 1000][part]);
  }
  return `the ${noun} does not end in ${positive} or ${negative}`;
}

/** Centimetres; null: not metres with at most two decimals. */
function parseMetres(text: string): number | null {
  const match = /^(-?)([0-9]{1,9})(?:\.([0-9]{1,2}))?m?$/i.exec(text);
  if (match === null) return null;
  const centimetres = Number(match[2]) * 100 + Number((match[3] ?? '').padEnd(2, '0'));
  return match[1] === '-' ? -centimetres : centimetres;
}

/** One digit and a power of ten; the rest is cut off, as in the program of RFC 1876 appendix A. */
function encodeLength(centimetres: number): number {
  let exponent = 0;
  while (centimetres >= 10 ** (exponent + 1)) exponent++;
  return (Math.floor(centimetres / 10 ** exponent) << 4) | exponent;
}

/** Null: a version, angle or length that no text stands for. */
export function formatLocation(bytes: Uint8Array): string | null {
  if (bytes[0] !== 0) return null;
  const latitude = formatAngle(read32(bytes, 4) - EQUATOR, 90, 'N', 'S');
  const longitude = formatAngle(read32(bytes, 8) - EQUATOR, 180, 'E', 'W');
  const lengths = [...bytes.subarray(1, 4)].map(formatLength);
  if (latitude === null || longitude === null || lengths.includes(null)) return null;
  return [latitude, longitude, formatMetres(read32(bytes, 12) - BASE_CM), ...lengths].join(' ');
}

function formatAngle(value: number, maxDegrees: number, positive: string, negative: string): string | null {
  const size = Math.abs(value);
  if (size > maxDegrees * DEGREE) return null;
  const rest = size % MINUTE;
  const seconds = `${Math.floor(rest / 1000)}.${String(rest % 1000).padStart(3, '0')}`;
  const minutes = Math.floor((size % DEGREE) / MINUTE);
  return `${Math.floor(size / DEGREE)} ${minutes} ${seconds} ${value < 0 ? negative : positive}`;
}

function formatLength(byte: number): string | null {
  const digit = byte >> 4;
  const exponent = byte & 0xf;
  const isUnique = digit > 0 || exponent === 0;
  return digit > 9 || exponent > 9 || !isUnique ? null : formatMetres(digit * 10 ** exponent);
}

function formatMetres(centimetres: number): string {
  const size = Math.abs(centimetres);
  return `${centimetres < 0 ? '-' : ''}${Math.floor(size / 100)}.${String(size % 100).padStart(2, '0')}m`;
}
