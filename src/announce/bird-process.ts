/** A BIRD that we start, reconfigure and end: one folder holds its configuration, socket, pidfile and log. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BirdProtocol, BirdReply } from './bird-control.ts';
import { birdCommand, parseProtocols } from './bird-control.ts';
import { readLivePid, removePidFile, writePidFile } from './pid-file.ts';

const START_LIMIT_MS = 10_000;
const STOP_LIMIT_MS = 3_000;
const POLL_MS = 10;
/** "Reconfigured", "in progress", "queued behind the one in progress" (BIRD's doc/reply_codes). */
const CONFIGURED_CODES = [3, 4, 6];

export interface BirdOptions {
  /** Network namespace, as in `ip netns`; null: this process's own. */
  readonly netns: string | null;
  /** Made if absent. Its path must leave room for a socket name: at most 90 bytes. */
  readonly folder: string;
  /** Text of the main configuration file. */
  readonly config: string;
}

export interface BirdProcess {
  readonly pid: number;
  /** False once it has ended, for whatever reason. */
  isRunning(): boolean;
  command(text: string): Promise<BirdReply>;
  /** Reads the configuration again; sessions whose own configuration is unchanged go on. Rejects with BIRD's words for what is wrong; the old one then stays. */
  reconfigure(): Promise<void>;
  protocols(): Promise<BirdProtocol[]>;
  /** Closes its sessions and ends it; routers withdraw its routes at once. Does nothing when it has ended. */
  stop(): Promise<void>;
}

/** Replaces a file so that a reader sees the old text or the new, never half. */
export function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

function lastLines(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().split('\n').slice(-3).join('; ');
  } catch {
    return '';
  }
}

/** Resolves when BIRD answers at its socket; rejects when `ended` says that it will not. */
async function untilAnswering(socketPath: string, ended: () => string | null): Promise<void> {
  const limitAt = performance.now() + START_LIMIT_MS;
  for (;;) {
    const reply = await birdCommand(socketPath, 'show status', 1000).catch(() => null);
    if (reply !== null) return;
    const why = ended();
    if (why !== null) throw new Error(`BIRD did not start: ${why}`);
    if (performance.now() > limitAt) throw new Error(`BIRD does not answer at ${socketPath}`);
    await sleep(POLL_MS);
  }
}

async function launch(options: BirdOptions, configPath: string, socketPath: string, pidPath: string): Promise<void> {
  const logPath = join(options.folder, 'bird.log');
  rmSync(socketPath, { force: true });
  const bird = ['bird', '-f', '-c', configPath, '-s', socketPath];
  const [program, ...args] = options.netns === null ? bird : ['ip', 'netns', 'exec', options.netns, ...bird];
  const log = openSync(logPath, 'w');
  // A session of its own: Ctrl-C in our terminal is not for BIRD, and routes outlive a restart of this process.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  let ended: string | null = null;
  child.once('error', (error) => {
    ended = `${error.message}; is it installed (apt install bird2)?`;
  });
  child.once('exit', (code, signal) => {
    ended = lastLines(logPath) || `ended with ${signal ?? `status ${code}`}`;
  });
  if (child.pid !== undefined) writePidFile(pidPath, child.pid);
  child.unref();
  await untilAnswering(socketPath, () => ended);
}

async function reconfigure(socketPath: string): Promise<void> {
  const reply = await birdCommand(socketPath, 'configure');
  if (!CONFIGURED_CODES.includes(reply.code)) {
    throw new Error(`BIRD refuses its configuration: ${reply.lines.at(-1) ?? `code ${reply.code}`}`);
  }
}

/** Whether the BIRD of this folder, started by this process or an earlier one, still runs. */
export function isBirdRunning(folder: string): boolean {
  return readLivePid(join(folder, 'bird.pid')) !== null;
}

/**
 * Starts BIRD with this configuration and resolves when it answers (about 20 ms); or takes over the one that still runs
 * in this folder, and gives it the configuration.
 */
export async function startBird(options: BirdOptions): Promise<BirdProcess> {
  const configPath = join(options.folder, 'bird.conf');
  const socketPath = join(options.folder, 'bird.ctl');
  const pidPath = join(options.folder, 'bird.pid');
  mkdirSync(options.folder, { recursive: true });
  replaceFile(configPath, options.config);
  if (readLivePid(pidPath) === null) await launch(options, configPath, socketPath, pidPath);
  else await reconfigure(socketPath);
  const pid = readLivePid(pidPath);
  if (pid === null) throw new Error(`BIRD ended right after its start: ${lastLines(join(options.folder, 'bird.log'))}`);
  return {
    pid,
    isRunning: () => readLivePid(pidPath) === pid,
    command: (text) => birdCommand(socketPath, text),
    reconfigure: () => reconfigure(socketPath),
    protocols: async () => parseProtocols(await birdCommand(socketPath, 'show protocols')),
    stop: () => endBird(pidPath, pid),
  };
}

async function endBird(pidPath: string, pid: number): Promise<void> {
  const limitAt = performance.now() + STOP_LIMIT_MS;
  if (readLivePid(pidPath) === pid) process.kill(pid, 'SIGTERM');
  while (readLivePid(pidPath) === pid) {
    if (performance.now() > limitAt) process.kill(pid, 'SIGKILL');
    await sleep(POLL_MS);
  }
  if (readLivePid(pidPath) === null) removePidFile(pidPath);
}

/** Ends the BIRD of this folder, whoever started it. False: none runs. */
export async function stopBirdIn(folder: string): Promise<boolean> {
  const pidPath = join(folder, 'bird.pid');
  const pid = readLivePid(pidPath);
  if (pid === null) return false;
  await endBird(pidPath, pid);
  return true;
}
