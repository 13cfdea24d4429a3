/** Takes away whatever a lab has left on the machine, in this process's life or an earlier one's. Synchronous, so that it works at exit. */
import { spawnSync } from 'node:child_process';
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readLivePid } from '../announce/pid-file.ts';
import type { LabPlace } from './place.ts';

const NAMESPACES = '/run/netns';
const PINS = '/sys/fs/bpf/portico';

function entriesOf(folder: string, recursive = false): string[] {
  try {
    return readdirSync(folder, { recursive, encoding: 'utf8' });
  } catch {
    return []; // not there: nothing to take away
  }
}

/** Name of the file in the run folder that names the process whose lab it is. */
export const OWNER_FILE = 'lab.pid';

/** Ends by SIGKILL each process that a pidfile below the folder names. */
export function killByPidFiles(folder: string): void {
  for (const entry of entriesOf(folder, true)) {
    if (!entry.endsWith('.pid') || entry === OWNER_FILE) continue;
    const pid = readLivePid(join(folder, entry));
    if (pid !== null && pid !== process.pid) process.kill(pid, 'SIGKILL');
  }
}

/** The process that runs a lab there, if it is alive and another one than this. */
export function labOwner(place: LabPlace): number | null {
  const pid = readLivePid(join(place.runFolder, OWNER_FILE));
  return pid === process.pid ? null : pid;
}

/**
 * Ends the programs, deletes the namespaces (and with them links, addresses and routes), the pins of lab machines and the run
 * folder. Does nothing where nothing is. Returns what could not be taken away, in words.
 */
export function cleanLab(place: LabPlace): string[] {
  const problems: string[] = [];
  killByPidFiles(place.runFolder);
  const namespaces = entriesOf(NAMESPACES).filter((name) => name.startsWith(place.prefix));
  if (namespaces.length > 0) {
    const input = namespaces.map((name) => `netns delete ${name}\n`).join('');
    const result = spawnSync('ip', ['-force', '-batch', '-'], { input, encoding: 'utf8' });
    if (result.status !== 0) problems.push(`ip netns delete: ${result.stderr.trim() || result.error?.message}`);
  }
  const pins = entriesOf(PINS).filter((name) => name.startsWith(place.prefix));
  for (const folder of [...pins.map((name) => join(PINS, name)), place.runFolder]) {
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  try {
    rmdirSync(PINS);
  } catch {
    // It was never there, or others have pins in it.
  }
  return problems;
}
