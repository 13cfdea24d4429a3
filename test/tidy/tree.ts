/** The files of the repository, as they lie in the folder: what git ignores left out, what is not yet committed included. */
import { globSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

const IGNORED = new Set(['node_modules', 'build', '.git']);

/** Paths from the root, with forward slashes, sorted, of files that one of the patterns matches. */
export function filesLike(...patterns: readonly string[]): string[] {
  const found = globSync([...patterns], { cwd: ROOT, exclude: (name) => IGNORED.has(name) });
  return found.filter((path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile() === true).sort();
}

export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export function sizeOf(path: string): number {
  return statSync(join(ROOT, path)).size;
}
