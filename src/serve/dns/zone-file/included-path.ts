/** Where an $INCLUDE leads: only into the folder of the zone file, since zone files may come from others than who runs the server. */
import { dirname, isAbsolute, join, normalize } from 'node:path';

export interface IncludedPath {
  /** From the folder of the zone file. */
  readonly relative: string;
  /** As problems name it. */
  readonly named: string;
}

/** Null: it leads out. Links are for whoever opens files to look at. */
export function includedPath(zoneFile: string, path: string): IncludedPath | null {
  if (path === '' || path.includes('\0') || isAbsolute(path)) return null;
  const relative = normalize(path);
  if (relative === '.' || relative === '..' || relative.startsWith('../')) return null;
  return { relative, named: join(dirname(zoneFile), relative) };
}
