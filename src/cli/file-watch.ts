/** Watches files by their folders: editors replace files, and what fetches databases does too. */
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** A file is written in several steps: what follows within this belongs together. */
const CHANGE_QUIET_MS = 200;
const MAX_FOLDERS = 100;

export interface FileWatch {
  /** Watches these from now on, and no others. */
  follow(files: readonly string[]): void;
  close(): void;
}

/** `onTrouble`: a folder is not watched, or not any more. */
export function watchFiles(onChange: () => void, onTrouble: (folder: string, reason: string) => void): FileWatch {
  const folders = new Map<string, { readonly watcher: FSWatcher; names: Set<string> }>();
  let timer: NodeJS.Timeout | undefined;
  const begin = (folder: string, names: Set<string>): void => {
    const watched = {
      names,
      watcher: watch(folder, (_event, name) => {
        if (name === null || !watched.names.has(name)) return;
        clearTimeout(timer);
        timer = setTimeout(onChange, CHANGE_QUIET_MS);
      }),
    };
    watched.watcher.on('error', (error) => onTrouble(folder, error.message));
    folders.set(folder, watched);
  };
  return {
    follow(files) {
      const wanted = new Map<string, Set<string>>();
      for (const file of files) {
        const folder = dirname(file);
        wanted.set(folder, (wanted.get(folder) ?? new Set()).add(basename(file)));
      }
      for (const [folder, { watcher }] of folders) {
        if (wanted.has(folder)) continue;
        watcher.close();
        folders.delete(folder);
      }
      for (const [folder, names] of wanted) {
        const watched = folders.get(folder);
        if (watched !== undefined) watched.names = names;
        else if (folders.size >= MAX_FOLDERS) onTrouble(folder, `more than ${MAX_FOLDERS} folders`);
        else {
          try {
            begin(folder, names);
          } catch (error) {
            onTrouble(folder, (error as Error).message);
          }
        }
      }
    },
    close() {
      clearTimeout(timer);
      for (const { watcher } of folders.values()) watcher.close();
      folders.clear();
    },
  };
}
