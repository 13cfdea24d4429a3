/** Files that the operator names, read whole up to a bound, with errors in words. */
import { readFileSync, statSync } from 'node:fs';

export type FileBytes =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EISDIR: 'is a folder',
  EACCES: 'may not be read by this user',
};

/** `smaller`: the remedy for a file that has more than `maxBytes`. `name`: what it is called in errors. */
export function readBounded(path: string, maxBytes: number, smaller: string, name = path): FileBytes {
  try {
    if (statSync(path).size > maxBytes)
      return { ok: false, message: `${name} is larger than ${maxBytes} bytes`, remedy: smaller };
    return { ok: true, bytes: readFileSync(path) };
  } catch (error) {
    return unreadable(name, error);
  }
}

/** For errors of `node:fs`. */
export function unreadable(name: string, error: unknown): FileBytes & { readonly ok: false } {
  const { code } = error as NodeJS.ErrnoException;
  const reason = WHY[code ?? ''] ?? `cannot be read: ${code ?? String(error)}`;
  return { ok: false, message: `${name} ${reason}`, remedy: 'name a file that is there' };
}
