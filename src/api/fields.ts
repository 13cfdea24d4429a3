/** Fields of a request's body: untrusted, so everything is checked and errors say what would be right. */
import type { ApiResult } from './result.ts';

export type Fields = Readonly<Record<string, unknown>>;

export function refuse(
  error: string,
  remedy: string,
): { readonly ok: false; readonly error: string; readonly remedy: string } {
  return { ok: false, error, remedy };
}

/** Longer than any name or address; longer text is not repeated in errors. */
const MAX_TEXT = 300;

export function readFields(body: unknown, known: readonly string[]): ApiResult<Fields> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return refuse('the body is no JSON object', `send an object with ${known.join(', ')}`);
  }
  for (const [field, value] of Object.entries(body)) {
    if (!known.includes(field))
      return refuse(`there is no field "${field.slice(0, 40)}"`, `the fields are ${known.join(', ')}`);
    if (value !== null && (typeof value !== 'string' || value.length > MAX_TEXT)) {
      return refuse(`"${field}" is no text of at most ${MAX_TEXT} characters`, 'send every field as text');
    }
  }
  return { ok: true, value: body as Fields };
}

/** A field's text; empty and null count as absent. */
export function textOf(fields: Fields, name: string): string | null {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : null;
}
