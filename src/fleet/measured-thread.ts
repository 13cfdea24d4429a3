/** The thread of measured steering as the main thread sees it: bounded, replaced when it dies, from what it knew a few minutes before. */
import { randomInt } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { Config } from '../config/model.ts';
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import type { Log } from './log.ts';
import type { ResolverQuestion, ToldResolvers } from './measured-resolvers.ts';
import type {
  ExplainedGroup,
  FromMeasured,
  MeasuredDecided,
  MeasuredHealth,
  MeasuredQuestion,
  MeasuredRows,
  PlanQuestion,
  ToMeasured,
} from './measured-words.ts';

/** Messages with rows that wait to be read; beyond it rows are dropped, and counted. */
const MOST_UNREAD = 30;
/** A thread that reads nothing for so long is ended. */
const SILENT_MS = 300_000;
const FIRST_RESTART_MS = 1_000;
const LAST_RESTART_MS = 60_000;
const EXPLAIN_MS = 10_000;
/** A decision may be under way, and a plan is another. */
const PLAN_MS = 25_000;
/** A million prefixes and their round trips take about one. */
const HEAP_MIB = 4096;

export interface MeasuredThreadOptions {
  readonly config: Config;
  readonly log: Log;
  readonly nowMs: () => number;
  /** What to begin with, as last kept; asked at each start. */
  readonly snapshot: () => Uint8Array | null;
  /** Of the newest map. */
  readonly version: () => number;
  readonly onDecided: (decided: MeasuredDecided) => void;
  /** Script of the thread; another one in tests. */
  readonly script?: URL;
  readonly firstRestartMs?: number;
}

export interface MeasuredThreadStatus {
  /** Null: it runs. Else why it does not. */
  readonly failure: string | null;
  readonly restarts: number;
  readonly droppedRows: number;
}

export class MeasuredThread {
  readonly #options: MeasuredThreadOptions;
  #config: Config;
  #worker: Worker | null = null;
  #restartTimer: NodeJS.Timeout | undefined;
  #restartMs: number;
  #failure: string | null = 'it has not started yet';
  #restarts = 0;
  #droppedRows = 0;
  #unread = 0;
  #readMs = 0;
  #isDeciding = false;
  #isStopping = false;
  #nextId = 1;
  readonly #asked = new Map<number, (answer: FromMeasured | null) => void>();

  constructor(options: MeasuredThreadOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#restartMs = options.firstRestartMs ?? FIRST_RESTART_MS;
    this.#begin();
  }

  get status(): MeasuredThreadStatus {
    return { failure: this.#failure, restarts: this.#restarts, droppedRows: this.#droppedRows };
  }

  #begin(): void {
    const { script = new URL('./measured-thread-main.ts', import.meta.url), nowMs } = this.#options;
    const worker = new Worker(script, { name: 'steering', resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } });
    this.#worker = worker;
    this.#readMs = nowMs();
    let cause = 'it ended';
    worker.on('message', (message: FromMeasured) => this.#hear(message));
    worker.on('error', (error) => {
      cause = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.#worker === worker) this.#lost(cause);
    });
    let snapshot: Uint8Array | null = null;
    try {
      snapshot = this.#options.snapshot();
    } catch (error) {
      this.#options.log.error({ reason: (error as Error).message }, 'what steering had learned cannot be read');
    }
    const start = { snapshot, seed: randomInt(2 ** 31), version: this.#options.version() };
    this.#post({ kind: 'setup', config: plain(this.#config), ...start });
  }

  /** What is served goes on; another thread begins in a while. */
  #lost(cause: string): void {
    this.#worker = null;
    this.#unread = 0;
    this.#isDeciding = false;
    for (const answer of this.#asked.values()) answer(null);
    this.#asked.clear();
    if (this.#isStopping) return;
    this.#failure = cause;
    const reason = { reason: cause, restartMs: this.#restartMs };
    this.#options.log.error(reason, 'the thread of measured steering ended: the last map stays');
    this.#restartTimer = setTimeout(() => {
      this.#restarts++;
      this.#begin();
    }, this.#restartMs);
    this.#restartTimer.unref();
    this.#restartMs = Math.min(LAST_RESTART_MS, this.#restartMs * 2);
  }

  #hear(message: FromMeasured): void {
    this.#readMs = this.#options.nowMs();
    if (message.kind === 'ready') {
      this.#failure = null;
      if (message.restored === false)
        this.#options.log.error({}, 'what steering had learned cannot be used: it begins anew');
    } else if (message.kind === 'read') this.#unread -= message.count;
    else if (message.kind === 'decided') {
      this.#isDeciding = false;
      this.#restartMs = this.#options.firstRestartMs ?? FIRST_RESTART_MS;
      this.#options.onDecided(message.decided);
    } else {
      this.#asked.get(message.id)?.(message);
      this.#asked.delete(message.id);
    }
  }

  #post(message: ToMeasured, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  setConfig(config: Config): void {
    this.#config = config;
    this.#post({ kind: 'setup', config: plain(config), snapshot: null, seed: 0, version: 0 });
  }

  /** Only what steering knows beside the file changed. */
  setState(config: Config): void {
    this.#config = config;
    this.#post({ kind: 'state', state: config.steeringState });
  }

  /** The columns are the thread's then. */
  give(rows: MeasuredRows): void {
    if (this.#worker === null || this.#unread >= MOST_UNREAD) {
      this.#droppedRows += rows.rows.rtt.length + rows.rows.traffic.length + (rows.queries?.length ?? 0);
      if (this.#worker !== null && this.#options.nowMs() - this.#readMs > SILENT_MS) void this.#worker.terminate();
      return;
    }
    this.#unread++;
    this.#post({ kind: 'rows', ...rows }, buffersOf([rows.rows.rtt, rows.rows.traffic, rows.queries ?? {}]));
  }

  /** The decision comes by `onDecided`; none is asked for while another is made. */
  decide(nowMs: number, health: MeasuredHealth): void {
    if (this.#isDeciding || this.#worker === null) return;
    this.#isDeciding = true;
    this.#post({ kind: 'decide', nowMs, health });
  }

  /** Null: nothing is known, or the thread did not say it in time. */
  async explain(question: MeasuredQuestion): Promise<ExplainedGroup | null> {
    const answer = await this.#ask((id) => ({ kind: 'explain', id, question }), EXPLAIN_MS);
    return answer?.kind === 'explained' ? answer.explained : null;
  }

  /** Null: the thread did not say it in time. */
  async resolvers(question: ResolverQuestion): Promise<ToldResolvers | null> {
    const answer = await this.#ask((id) => ({ kind: 'resolvers', id, question }), EXPLAIN_MS);
    return answer?.kind === 'resolvers' ? answer.told : null;
  }

  /** Null: nothing was decided yet, or the thread did not say it in time. */
  async plan(question: PlanQuestion): Promise<Forecast | null> {
    const answer = await this.#ask((id) => ({ kind: 'plan', id, ...question }), PLAN_MS);
    return answer?.kind === 'planned' ? answer.forecast : null;
  }

  /** Null: not within the time. */
  async snapshot(limitMs: number): Promise<Uint8Array | null> {
    const answer = await this.#ask((id) => ({ kind: 'snapshot', id }), limitMs);
    return answer?.kind === 'snapshot' ? answer.bytes : null;
  }

  #ask(message: (id: number) => ToMeasured, limitMs: number): Promise<FromMeasured | null> {
    if (this.#worker === null || this.#failure !== null) return Promise.resolve(null);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#asked.delete(id);
        resolve(null);
      }, limitMs);
      this.#asked.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#post(message(id));
    });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restartTimer);
    await this.#worker?.terminate();
  }
}

/** Without what steering has no use for, which may be large. */
function plain(config: Config): Config {
  return { ...config, zones: [] };
}

function buffersOf(rows: readonly object[]): ArrayBuffer[] {
  const columns = rows.flatMap((one) => Object.values(one) as unknown[]).filter(ArrayBuffer.isView);
  return [...new Set(columns.map(({ buffer }) => buffer))].filter((buffer) => buffer instanceof ArrayBuffer);
}
