/**
 * Domain names as wire bytes (RFC 1035 3.1): length-prefixed labels up to and with the root's zero byte, uncompressed, at most
 * 255 bytes, labels of at most 63. Any byte may stand in a label. Letters compare without case, ASCII only (RFC 4343).
 */

export type Name = Uint8Array;

export const MAX_NAME_BYTES = 255;
export const MAX_LABEL_BYTES = 63;
/** Labels of the longest name, the root not counted: one letter each. */
export const MAX_LABELS = 127;

export const ROOT_NAME: Name = new Uint8Array(1);

/** byte -> the same byte, letters in lower case. Length bytes of labels are below 64 and map to themselves. */
export const LOWER_CASE = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) LOWER_CASE[byte] = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;

export type NameResult =
  | { readonly ok: true; readonly name: Name; readonly next: number }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

/**
 * Reads the name at `offset`, following compression pointers (RFC 1035 4.1.4) if `allowPointers`. `next` is the offset after the
 * name as it stands there. A pointer must lead before the labels that it ends: so every name ends. `end`: first byte not to be read.
 */
export function readName(message: Uint8Array, offset: number, end: number, allowPointers = true): NameResult {
  const name = new Uint8Array(MAX_NAME_BYTES);
  let length = 0;
  let position = offset;
  let runStart = offset;
  let next = -1;
  for (;;) {
    if (position >= end) return { ok: false, reason: 'name runs past the end', offset: position };
    const labelLength = message[position];
    if (labelLength === 0) {
      name[length++] = 0;
      return { ok: true, name: name.slice(0, length), next: next < 0 ? position + 1 : next };
    }
    if (labelLength <= MAX_LABEL_BYTES) {
      const labelEnd = position + 1 + labelLength;
      if (labelEnd > end) return { ok: false, reason: 'label runs past the end', offset: position };
      if (length + 1 + labelLength + 1 > MAX_NAME_BYTES)
        return { ok: false, reason: 'name too long', offset: position };
      for (; position < labelEnd; position++) name[length++] = message[position];
      continue;
    }
    if (labelLength < 0xc0) return { ok: false, reason: 'unknown label type', offset: position };
    if (!allowPointers) return { ok: false, reason: 'compressed name where none may be', offset: position };
    if (position + 1 >= end) return { ok: false, reason: 'pointer runs past the end', offset: position };
    const target = ((labelLength & 0x3f) << 8) | message[position + 1];
    if (target >= runStart) return { ok: false, reason: 'pointer does not lead backwards', offset: position };
    if (next < 0) next = position + 2;
    position = target;
    runStart = target;
  }
}

/** In lower case: a copy, or the name itself if it is. */
export function lowerName(name: Name): Name {
  if (isLower(name)) return name;
  const lower = new Uint8Array(name.length);
  for (let i = 0; i < name.length; i++) lower[i] = LOWER_CASE[name[i]];
  return lower;
}

function isLower(name: Name): boolean {
  for (let i = 0; i < name.length; i++) if (LOWER_CASE[name[i]] !== name[i]) return false;
  return true;
}

export function sameName(a: Name, b: Name): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (LOWER_CASE[a[i]] !== LOWER_CASE[b[i]]) return false;
  return true;
}

/** Offsets of a well-formed name's labels, the root's last. */
export function labelStarts(name: Name): number[] {
  const starts: number[] = [];
  let position = 0;
  for (; name[position] !== 0; position += name[position] + 1) starts.push(position);
  starts.push(position);
  return starts;
}

/** True when `name` is `ancestor` or lies below it. */
export function isAtOrBelow(name: Name, ancestor: Name): boolean {
  const start = name.length - ancestor.length;
  let position = 0;
  while (position < start) position += name[position] + 1;
  if (position !== start) return false;
  for (let i = 0; i < ancestor.length; i++) {
    if (LOWER_CASE[name[start + i]] !== LOWER_CASE[ancestor[i]]) return false;
  }
  return true;
}

/** The name without its first label; of the root the root. */
export function parentName(name: Name): Name {
  return name[0] === 0 ? name : name.subarray(name[0] + 1);
}

/** True for `*` as the first label (RFC 4592 2.1.1). */
export function isWildcard(name: Name): boolean {
  return name[0] === 1 && name[1] === 0x2a;
}

/** Absolute text with escapes (RFC 1035 5.1) and without the final dot; the root is `.`. */
export function formatName(name: Name): string {
  if (name[0] === 0) return '.';
  let text = '';
  for (let position = 0; name[position] !== 0; ) {
    const labelEnd = position + 1 + name[position];
    if (position > 0) text += '.';
    for (position++; position < labelEnd; position++) text += formatNameByte(name[position]);
  }
  return text;
}

function formatNameByte(byte: number): string {
  if (byte <= 0x20 || byte >= 0x7f) return `\\${String(byte).padStart(3, '0')}`;
  const character = String.fromCharCode(byte);
  return '.\\"();@$'.includes(character) ? `\\${character}` : character;
}

export type NameTextResult =
  | { readonly ok: true; readonly name: Name }
  | { readonly ok: false; readonly reason: string };

/**
 * Reads a name in text: with a final dot it is absolute, otherwise `origin` follows; `@` alone is the origin. `\DDD` and `\X`
 * as in RFC 1035 5.1. Letters keep their case. Only ASCII: others are to be written as A-labels (RFC 5890) or `\DDD`.
 */
export function parseName(text: string, origin: Name): NameTextResult {
  if (text === '@') return { ok: true, name: origin };
  if (text === '.') return { ok: true, name: ROOT_NAME };
  if (text === '') return { ok: false, reason: 'the name is empty' };
  const bytes: number[] = [0];
  let labelStart = 0;
  const closeLabel = (): string | null => {
    const length = bytes.length - labelStart - 1;
    if (length === 0) return 'a label of the name is empty';
    if (length > MAX_LABEL_BYTES)
      return `a label of the name has ${length} bytes, at most ${MAX_LABEL_BYTES} are allowed`;
    bytes[labelStart] = length;
    labelStart = bytes.push(0) - 1;
    return null;
  };
  let isAbsolute = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '.') {
      const problem = closeLabel();
      if (problem !== null) return { ok: false, reason: problem };
      isAbsolute = i === text.length - 1;
      continue;
    }
    const read = readTextByte(text, i);
    if (!read.ok) return read;
    bytes.push(read.byte);
    i += read.used - 1;
  }
  if (!isAbsolute) {
    const problem = closeLabel();
    if (problem !== null) return { ok: false, reason: problem };
    bytes.pop();
    for (const byte of origin) bytes.push(byte);
  }
  if (bytes.length > MAX_NAME_BYTES) {
    return { ok: false, reason: `the name has ${bytes.length} bytes, at most ${MAX_NAME_BYTES} are allowed` };
  }
  return { ok: true, name: Uint8Array.from(bytes) };
}

/** One byte of text at `position`: a printable ASCII character, `\DDD` or `\X`. `used`: characters taken. */
export function readTextByte(
  text: string,
  position: number,
):
  | { readonly ok: true; readonly byte: number; readonly used: number }
  | { readonly ok: false; readonly reason: string } {
  const code = text.charCodeAt(position);
  if (code > 0x7e || code < 0x20) {
    return { ok: false, reason: `character ${JSON.stringify(text[position])} is not printable ASCII` };
  }
  if (code !== 0x5c) return { ok: true, byte: code, used: 1 };
  const digits = /^[0-9]{3}/.exec(text.slice(position + 1, position + 4));
  if (digits !== null) {
    const byte = Number(digits[0]);
    if (byte > 255) return { ok: false, reason: `escape \\${digits[0]} is more than a byte` };
    return { ok: true, byte, used: 4 };
  }
  const escaped = text.charCodeAt(position + 1);
  if (Number.isNaN(escaped)) return { ok: false, reason: 'a backslash stands at the end' };
  if (escaped > 0x7e || escaped < 0x20 || (escaped >= 0x30 && escaped <= 0x39)) {
    return { ok: false, reason: 'a backslash is followed neither by three digits nor by a printable character' };
  }
  return { ok: true, byte: escaped, used: 2 };
}
