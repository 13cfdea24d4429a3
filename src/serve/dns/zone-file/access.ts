/** The one place where zone files are opened. */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, sep } from 'node:path';
import type { IncludedText } from './read.ts';

/** More than ten million short records. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** Text of a zone file. `inside`: a folder that the file must be in after links are followed; null: anywhere. */
export function readZoneText(path: string, inside: string | null): IncludedText {
  try {
    const real = realpathSync(path);
    if (inside !== null && !dirname(real).concat(sep).startsWith(realpathSync(inside).concat(sep))) {
      return {
        ok: false,
        message: `${path} is a link that leads out of ${inside}`,
        remedy: 'put the file itself there',
      };
    }
    const { size } = statSync(real);
    if (size > MAX_FILE_BYTES) {
      return { ok: false, message: `${path} is larger than ${MAX_FILE_BYTES} bytes`, remedy: 'split the zone' };
    }
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(real)) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      return { ok: false, message: `${path} is not UTF-8`, remedy: 'write bytes beyond ASCII as \\DDD, or convert it' };
    }
    const why: Readonly<Record<string, string>> = {
      ENOENT: 'does not exist',
      EISDIR: 'is a folder',
      EACCES: 'may not be read by this user',
    };
    const reason = why[code ?? ''] ?? `cannot be read: ${code ?? String(error)}`;
    return { ok: false, message: `${path} ${reason}`, remedy: 'name a file that is there' };
  }
}
