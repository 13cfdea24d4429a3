/** Why an answer is as it is, for people who look at it (RFC 8914). No resolver decides by it. */
import { EXTENDED_ERROR, OPTION } from './wire/numbers.ts';
import type { MessageWriter } from './wire/writer.ts';

/** Option's code and length, and the code. */
export const CODE_ONLY_BYTES = 6;

export interface Explanation {
  readonly code: number;
  /** UTF-8. */
  readonly text: Uint8Array;
}

function explanation(code: number, text: string): Explanation {
  return { code, text: new TextEncoder().encode(text) };
}

export const EXPLANATION = {
  notAuthoritative: explanation(EXTENDED_ERROR.NOT_AUTHORITATIVE, ''),
  transferProhibited: explanation(EXTENDED_ERROR.PROHIBITED, 'zone transfer'),
  transferByTcp: explanation(EXTENDED_ERROR.NOT_SUPPORTED, 'zone transfer by UDP'),
  transferOfSigned: explanation(EXTENDED_ERROR.NOT_SUPPORTED, 'transfer of a signed zone'),
  transfersBusy: explanation(EXTENDED_ERROR.OTHER, 'too many zone transfers at once'),
  /** RFC 9824 section 3.5. */
  noSuchType: explanation(EXTENDED_ERROR.INVALID_QUERY_TYPE, ''),
  /** Of the codes none says this: those about stale answers and unreachable authorities speak of resolvers. */
  nothingHealthy: explanation(EXTENDED_ERROR.OTHER, 'no site is healthy'),
} as const;

/** The whole option, or the one with the code only. */
export function encodeExplanation({ code, text }: Explanation, hasText: boolean): Uint8Array {
  const textBytes = hasText ? text.length : 0;
  const bytes = new Uint8Array(CODE_ONLY_BYTES + textBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, OPTION.EXTENDED_ERROR);
  view.setUint16(2, 2 + textBytes);
  view.setUint16(4, code);
  bytes.set(text.subarray(0, textBytes), CODE_ONLY_BYTES);
  return bytes;
}

/** Writes the option if there is room, without its text if there is room for the code only. */
export function writeExplanation(writer: MessageWriter, { code, text }: Explanation): void {
  const room = writer.room - CODE_ONLY_BYTES;
  if (room < 0) return;
  const textBytes = room < text.length ? 0 : text.length;
  writer.write16(OPTION.EXTENDED_ERROR);
  writer.write16(2 + textBytes);
  writer.write16(code);
  writer.copy(text, 0, textBytes);
}
