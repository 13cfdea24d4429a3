/**
 * A name server's anycast addresses are announced by a process of its own, the guard: it asks the name server through its sockets, as a client would, and
 * takes the addresses back when no answer comes. So a name server that has died, or hangs, draws no more queries. This is the name
 * server's side: it starts the guard, tells it what is wanted, and hears what is.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readLivePid, removePidFile } from '../announce/pid-file.ts';
import type { AnycastSpeaker } from './anycast-speaker.ts';

/** The guard's argument, as JSON. */
export interface GuardStart {
  readonly speaker: AnycastSpeaker;
  readonly folder: string;
}

/** What the name server tells; about once a second, so that silence says something. */
export interface GuardOrder {
  readonly isDrained: boolean;
  /** Names of zones, one of which is asked for each time; empty: the server's own name is. */
  readonly zones: readonly string[];
  /** Age of what answers are made of; null: it does not age. */
  readonly ageMs: number | null;
  /** The addresses are taken back for good, and the guard ends; `bird`: so does BIRD. */
  readonly end: 'no' | 'guard' | 'bird';
}

/** What the guard tells, at each change and once a second. */
export interface GuardNews {
  readonly isAnnounced: boolean;
  readonly isDrained: boolean;
  /** Why not announced; null: it is. */
  readonly reason: string | null;
  readonly sessions: readonly { readonly router: string; readonly isUp: boolean; readonly info: string }[];
}

const PROGRAM = fileURLToPath(new URL('./anycast-guard-main.ts', import.meta.url));
const FIRST_RESTART_MS = 200;
const LAST_RESTART_MS = 10_000;
const END_LIMIT_MS = 3_000;
const POLL_MS = 10;

export interface GuardOptions {
  readonly start: GuardStart;
  /** Starts the process in the name server's namespace; calls its argument once, synchronously. */
  readonly enter: (run: () => ChildProcess) => ChildProcess;
  readonly onNews: (news: GuardNews) => void;
  readonly onProblem: (problem: string) => void;
}

/** Ends the guard of this folder, whoever started it; what BIRD announces stays. False: none runs. */
export async function stopGuardIn(folder: string): Promise<boolean> {
  const pidPath = guardPidPath(folder);
  const pid = readLivePid(pidPath);
  if (pid === null) return false;
  process.kill(pid, 'SIGTERM');
  for (const limitAt = performance.now() + END_LIMIT_MS; readLivePid(pidPath) === pid; await sleep(POLL_MS))
    if (performance.now() > limitAt) process.kill(pid, 'SIGKILL');
  removePidFile(pidPath);
  return true;
}

export function guardPidPath(folder: string): string {
  return join(folder, 'guard.pid');
}

export class AnycastGuard {
  readonly #options: GuardOptions;
  #child: ChildProcess | null = null;
  #order: GuardOrder = { isDrained: false, zones: [], ageMs: null, end: 'no' };
  #isEnding = false;
  #restartMs = FIRST_RESTART_MS;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#start();
  }

  #start(): void {
    this.#restart = undefined;
    try {
      this.#child = this.#options.enter(() =>
        spawn(process.execPath, [PROGRAM, JSON.stringify(this.#options.start)], {
          // A session of its own: it has to outlive this process, and what is typed at its terminal.
          detached: true,
          stdio: ['pipe', 'pipe', 'ignore'],
        }),
      );
    } catch (error) {
      this.#ended(`cannot be started: ${(error as Error).message}`);
      return;
    }
    const child = this.#child;
    child.unref();
    child.stdin?.on('error', () => {}); // it has ended: `exit` tells
    child.once('error', (error) => this.#ended(`cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => this.#ended(`ended with ${signal ?? `status ${code}`}`));
    createInterface({ input: child.stdout! }).on('line', (line) => this.#take(line));
    this.#send();
  }

  #take(line: string): void {
    let news: GuardNews;
    try {
      news = JSON.parse(line) as GuardNews;
    } catch {
      return; // the half line of a process that was killed
    }
    this.#restartMs = FIRST_RESTART_MS;
    this.#options.onNews(news);
  }

  #ended(why: string): void {
    this.#child = null;
    if (this.#isEnding || this.#restart !== undefined) return;
    this.#options.onProblem(`the guard of its anycast addresses ${why}; it is started again in ${this.#restartMs} ms`);
    this.#restart = setTimeout(() => this.#start(), this.#restartMs);
    this.#restartMs = Math.min(2 * this.#restartMs, LAST_RESTART_MS);
  }

  #send(): void {
    this.#child?.stdin?.write(`${JSON.stringify(this.#order)}\n`);
  }

  tell(order: Omit<GuardOrder, 'end'>): void {
    this.#order = { ...order, end: this.#order.end };
    this.#send();
  }

  /** Resolves when the addresses are taken back, and the guard has ended. */
  async end(bird: boolean): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    this.#order = { ...this.#order, end: bird ? 'bird' : 'guard' };
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    this.#send();
    const limit = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS);
    await ended;
    clearTimeout(limit);
  }
}
