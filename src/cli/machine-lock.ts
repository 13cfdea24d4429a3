/** One `up` a machine: a second one would take the prober, the announcements and the maps from under the first. */
import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readLivePid, removePidFile, writePidFile } from '../announce/pid-file.ts';
import { CommandError } from './command.ts';

function lockFile(runFolder: string, machine: string): string {
  return join(runFolder, machine, 'up.pid');
}

/** The process that runs the machine's roles here; null: none does. */
export function lockOwner(runFolder: string, machine: string): number | null {
  return readLivePid(lockFile(runFolder, machine));
}

/** Locks all machines or none; the locks go with the process, or by the function that is returned. Throws `CommandError`. */
export function lockMachines(runFolder: string, machines: readonly string[]): () => void {
  for (const machine of machines) {
    const owner = lockOwner(runFolder, machine);
    if (owner !== null)
      throw new CommandError(`${machine} is run by process ${owner} already; end that first (kill ${owner}).`);
  }
  for (const machine of machines) {
    const file = lockFile(runFolder, machine);
    mkdirSync(dirname(file), { recursive: true });
    writePidFile(file, process.pid);
  }
  return () => {
    for (const machine of machines) removePidFile(lockFile(runFolder, machine));
  };
}

/** Takes away what a machine's roles keep while they run: nothing of it is of use afterwards. */
export function removeRunFolder(runFolder: string, machine: string): void {
  rmSync(join(runFolder, machine), { recursive: true, force: true });
  for (const folder of [runFolder, dirname(runFolder)]) {
    try {
      rmdirSync(folder);
    } catch {
      return; // others are in it, or it is not there
    }
  }
}
