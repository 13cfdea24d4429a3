/** Record data in text, split into fields (RFC 1035 5.1). Escapes stay in, for the reader of the field to resolve. */
import { readTextByte } from '../wire/name.ts';

export interface Token {
  /** Without the quotes, escapes unresolved. */
  readonly text: string;
  /** Begins with a quote: may be empty, and is a string, never a name or number. */
  readonly isQuoted: boolean;
}

export type TokensResult =
  | { readonly ok: true; readonly tokens: readonly Token[] }
  | { readonly ok: false; readonly reason: string; readonly remedy: string };

/**
 * Splits at blanks outside quotes; quotes may begin inside a field (`alpn="h2,h3"`). A comment (`;`) or parentheses outside quotes are
 * refused: the data is one field of the operator's file, and an unquoted `v=DKIM1; k=rsa` would silently lose its half.
 */
export function splitTokens(text: string): TokensResult {
  const tokens: Token[] = [];
  let position = 0;
  for (;;) {
    while (position < text.length && isBlank(text[position])) position++;
    if (position >= text.length) return { ok: true, tokens };
    const isQuoted = text[position] === '"';
    let inQuotes = false;
    let token = '';
    for (; position < text.length && (inQuotes || !isBlank(text[position])); position++) {
      const character = text[position];
      if (character === '"') {
        inQuotes = !inQuotes;
      } else if (character === '\\') {
        token += character + (text[++position] ?? '');
      } else if (!inQuotes && ';()'.includes(character)) {
        return {
          ok: false,
          reason: `"${character}" stands outside quotes`,
          remedy: 'put text with this character into double quotes; leave out comments and parentheses',
        };
      } else {
        token += character;
      }
    }
    if (inQuotes)
      return { ok: false, reason: 'a double quote is not closed', remedy: 'close it, or write \\" for the character' };
    tokens.push({ text: token, isQuoted });
  }
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\n' || character === '\r';
}

export type BytesResult =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly reason: string };

/** The bytes that a token's text stands for: escapes resolved, characters beyond ASCII as UTF-8. */
export function tokenBytes(text: string): BytesResult {
  const bytes: number[] = [];
  for (let position = 0; position < text.length; ) {
    if (text.charCodeAt(position) > 0x7e) {
      const character = String.fromCodePoint(text.codePointAt(position) ?? 0);
      bytes.push(...new TextEncoder().encode(character));
      position += character.length;
      continue;
    }
    const read = readTextByte(text, position);
    if (!read.ok) return read;
    bytes.push(read.byte);
    position += read.used;
  }
  return { ok: true, bytes: Uint8Array.from(bytes) };
}

/** A string in quotes that `tokenBytes` reads back to the same bytes. */
export function quoteBytes(bytes: Uint8Array): string {
  return `"${escapeBytes(bytes)}"`;
}

/** As `quoteBytes`, without the quotes. */
export function escapeBytes(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, '0')}`;
  }
  return text;
}
