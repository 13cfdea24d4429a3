/** Starts and ends the lab's programs, each in a machine's namespace, with a pidfile by which a later lab finds it. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readLivePid, removePidFile, writePidFile } from '../announce/pid-file.ts';
import { inNamespace } from '../serve/vip/netns.ts';

const START_LIMIT_MS = 10_000;
const END_LIMIT_MS = 3_000;
const POLL_MS = 5;

export interface ProgramOptions {
  readonly netns: string;
  /** For its files: NAME.pid, NAME.log. */
  readonly folder: string;
  readonly name: string;
  readonly command: readonly string[];
  /** A file that the program writes once it serves; null: it serves when it runs. */
  readonly readyFile: string | null;
}

export interface Program {
  readonly pid: number;
  isRunning(): boolean;
  /** Ends it by SIGKILL if it still runs; resolves when it has ended. */
  kill(): Promise<void>;
}

/** Starts a child in the namespace: fork copies the namespace of the thread, so this needs no `ip netns exec`. */
export function spawnIn(
  netns: string,
  command: readonly string[],
  stdio: (number | 'ignore' | 'pipe')[],
): ChildProcess {
  // A session of its own: Ctrl-C in the terminal ends the lab, and the lab ends its programs, in order.
  return inNamespace(netns, () => spawn(command[0], command.slice(1), { detached: true, stdio }));
}

/**
 * Debian's AppArmor profile lets Unbound read its files in /etc/unbound only. In the lab it is one program of many and
 * runs as the lab itself does.
 */
export function unconfined(command: readonly string[]): readonly string[] {
  const setting = '/sys/module/apparmor/parameters/enabled';
  const confines = existsSync(setting) && readFileSync(setting, 'latin1').startsWith('Y');
  return confines && existsSync('/usr/bin/aa-exec') ? ['aa-exec', '-p', 'unconfined', '--', ...command] : command;
}

function isWritten(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Resolves when the program serves; rejects with the end of its log when it ends before that. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  mkdirSync(options.folder, { recursive: true });
  const pidPath = join(options.folder, `${options.name}.pid`);
  const logPath = join(options.folder, `${options.name}.log`);
  if (options.readyFile !== null) rmSync(options.readyFile, { force: true });
  const log = openSync(logPath, 'a');
  const child = spawnIn(options.netns, options.command, ['ignore', log, log]);
  closeSync(log);
  let ended: string | null = null;
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (code, signal) => {
    ended = `ended with ${signal ?? `status ${code}`}`;
  });
  child.unref();
  const pid = child.pid;
  const what = `${options.command[0]} in ${options.netns}`;
  if (pid !== undefined) writePidFile(pidPath, pid);
  const limitAt = performance.now() + START_LIMIT_MS;
  while (pid === undefined || (options.readyFile !== null && !isWritten(options.readyFile))) {
    if (ended !== null) {
      throw new Error(`lab: ${what}: ${ended}: ${readFileSync(logPath, 'utf8').trim().slice(-500)}`);
    }
    if (performance.now() > limitAt) throw new Error(`lab: ${what} is not ready, see ${logPath}`);
    await sleep(POLL_MS);
  }
  return {
    pid,
    isRunning: () => readLivePid(pidPath) === pid,
    async kill() {
      if (readLivePid(pidPath) === pid) process.kill(pid, 'SIGKILL');
      const goneAt = performance.now() + END_LIMIT_MS;
      while (readLivePid(pidPath) === pid) {
        if (performance.now() > goneAt) throw new Error(`lab: ${what} does not end`);
        await sleep(POLL_MS);
      }
      removePidFile(pidPath);
    },
  };
}
