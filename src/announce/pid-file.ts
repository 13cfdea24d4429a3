/** Pidfiles that survive a reused process id: beside the id they hold the time at which the process started. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Start time in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); null when there is no such process. */
function startTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in parentheses, and may itself contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : fields[19]; // a zombie has ended
  } catch {
    return null;
  }
}

export function writePidFile(path: string, pid: number): void {
  writeFileSync(path, `${pid} ${startTicks(pid) ?? '?'}\n`);
}

/** The process that the file names, if it still runs; null when there is no file, no process, or another one with its id. */
export function readLivePid(path: string): number | null {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch {
    return null;
  }
  const [id, ticks] = text.trim().split(' ');
  const pid = Number(id);
  return Number.isInteger(pid) && pid > 1 && startTicks(pid) === ticks ? pid : null;
}

export function removePidFile(path: string): void {
  rmSync(path, { force: true });
}
