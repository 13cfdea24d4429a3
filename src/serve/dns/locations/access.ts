/** The one place where files of locations are opened. */
import { type FileBytes, readBounded } from '../bounded-file.ts';

/** Twenty million lines of a list; the largest database that is sold has half. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;

export function readLocationFile(path: string): FileBytes {
  return readBounded(path, MAX_FILE_BYTES, 'name a smaller one');
}
