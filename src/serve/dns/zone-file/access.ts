/** The one place where zone files are opened. */
import { realpathSync } from 'node:fs';
import { dirname, sep } from 'node:path';
import { readBounded, unreadable } from '../bounded-file.ts';
import type { IncludedText } from './read.ts';

/** More than ten million short records. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** Text of a zone file. `inside`: a folder that the file must be in after links are followed; null: anywhere. */
export function readZoneText(path: string, inside: string | null): IncludedText {
  let real: string;
  try {
    real = realpathSync(path);
    if (inside !== null && !dirname(real).concat(sep).startsWith(realpathSync(inside).concat(sep))) {
      return {
        ok: false,
        message: `${path} is a link that leads out of ${inside}`,
        remedy: 'put the file itself there',
      };
    }
  } catch (error) {
    return unreadable(path, error);
  }
  const read = readBounded(real, MAX_FILE_BYTES, 'split the zone', path);
  if (!read.ok) return read;
  try {
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(read.bytes) };
  } catch {
    return { ok: false, message: `${path} is not UTF-8`, remedy: 'write bytes beyond ASCII as \\DDD, or convert it' };
  }
}
