/** The one place where files of locations are opened. */
import { readFileSync, statSync } from 'node:fs';

/** Twenty million lines of a list; the largest database that is sold has half. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;

export type FileBytes =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

export function readLocationFile(path: string): FileBytes {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES) {
      return { ok: false, message: `${path} is larger than ${MAX_FILE_BYTES} bytes`, remedy: 'name a smaller one' };
    }
    return { ok: true, bytes: readFileSync(path) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why: Readonly<Record<string, string>> = {
      ENOENT: 'does not exist',
      EISDIR: 'is a folder',
      EACCES: 'may not be read by this user',
    };
    const reason = why[code ?? ''] ?? `cannot be read: ${code ?? String(error)}`;
    return { ok: false, message: `${path} ${reason}`, remedy: 'name a file that is there' };
  }
}
