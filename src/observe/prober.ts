/** Runs probes from a network namespace: the parent's side of `prober-main.ts`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ProbeResult, ProberOrder, ProbeTarget } from './probe-target.ts';

const PROGRAM = fileURLToPath(new URL('./prober-main.ts', import.meta.url));
const FIRST_RESTART_MS = 200;
const LAST_RESTART_MS = 10_000;
const STOP_LIMIT_MS = 2_000;

export interface ProberOptions {
  /** Starts the process in the namespace that it probes from; `run` must call its argument once, synchronously. */
  readonly enter: (run: () => ChildProcess) => ChildProcess;
  readonly onResult: (result: ProbeResult) => void;
  /** The process ended by itself and is started again after a while. */
  readonly onProblem: (problem: string) => void;
}

export interface Prober {
  /** Probes exactly these from now on. */
  setTargets(targets: readonly ProbeTarget[]): void;
  stop(): Promise<void>;
}

class ProberProcess implements Prober {
  readonly #options: ProberOptions;
  /** Null: it could not be started. */
  #child: ChildProcess | null;
  #targets: readonly ProbeTarget[] = [];
  #stopping = false;
  #restartMs = FIRST_RESTART_MS;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#child = this.#start();
  }

  /** The namespace may be gone: that is a problem to report, not the end of the parent. */
  #start(): ChildProcess | null {
    let child: ChildProcess;
    try {
      child = this.#options.enter(() => spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] }));
    } catch (error) {
      this.#ended(`cannot be started: ${(error as Error).message}`);
      return null;
    }
    child.stdin?.on('error', () => {}); // it has ended: `exit` tells
    child.once('error', (error) => this.#ended(`cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => this.#ended(`ended with ${signal ?? `status ${code}`}`));
    createInterface({ input: child.stdout! }).on('line', (line) => this.#take(line));
    return child;
  }

  #take(line: string): void {
    let result: ProbeResult;
    try {
      result = JSON.parse(line) as ProbeResult;
    } catch {
      return; // the half line of a process that was killed
    }
    this.#restartMs = FIRST_RESTART_MS;
    if (!this.#stopping) this.#options.onResult(result);
  }

  #ended(why: string): void {
    if (this.#stopping || this.#restart !== undefined) return;
    this.#options.onProblem(`the prober ${why}; it is started again in ${this.#restartMs} ms`);
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      this.#child = this.#start();
      this.#send();
    }, this.#restartMs);
    this.#restartMs = Math.min(2 * this.#restartMs, LAST_RESTART_MS);
  }

  #send(): void {
    const order: ProberOrder = { targets: this.#targets };
    this.#child?.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  setTargets(targets: readonly ProbeTarget[]): void {
    this.#targets = targets;
    this.#send();
  }

  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    const ended = once(child, 'exit');
    child.stdin?.end();
    await ended;
    clearTimeout(limit);
  }
}

/** Starts a prober without targets. Results of a target come in order, one probe at a time. */
export function startProber(options: ProberOptions): Prober {
  return new ProberProcess(options);
}
