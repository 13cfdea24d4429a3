/**
 * The controller of measured steering: hands what was measured to its thread every second, asks it for a decision every interval, and
 * has DNS answer by it. What was learned and the map that is served are kept on disk. Where something fails the last map stays.
 */
import { rmSync } from 'node:fs';
import type { Config } from '../config/model.ts';
import type { MeasuredAnswers } from '../config/steering-model.ts';
import { clientsOf } from '../decide/steer/clients.ts';
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import type { MeasuredChange } from '../decide/steer/forecast/measured.ts';
import type { Log } from './log.ts';
import type { ResolverQuestion, ToldResolvers } from './measured-resolvers.ts';
import { answersFromBytes, answersToBytes, readKept, writeKept, writeKeptNow } from './measured-snapshot.ts';
import type { MeasuredSources } from './measured-sources.ts';
import { MeasuredThread, type MeasuredThreadOptions, type MeasuredThreadStatus } from './measured-thread.ts';
import type { ExplainedGroup, MeasuredDecided, MeasuredQuestion, MeasuredSummary } from './measured-words.ts';

const KEEP_MS = 300_000;
const STOP_MS = 3_000;
/** After a start, users are still to be met: until then no map takes the place of one for more than so many times as many groups. */
const WARM_MS = 600_000;
const FEWER = 0.5;
/** A map older than so many intervals is told of. */
const OLD_INTERVALS = 10;

export interface MeasuredFleet {
  readonly config: Config;
  readonly orders: { measured: MeasuredAnswers | null; readonly frozenSinceMs: number | null };
  /** Goes over to `orders.measured`. Rejects where that fails: then what was served before is served on. */
  applySteering(): Promise<void>;
}

export interface MeasuredSteeringOptions {
  readonly fleet: MeasuredFleet;
  readonly sources: MeasuredSources;
  readonly log: Log;
  /** Without the ends that are added. */
  readonly file: string;
  /** On a clock that only goes forward. */
  readonly nowMs: () => number;
  readonly thread?: Pick<MeasuredThreadOptions, 'script' | 'firstRestartMs'>;
}

export interface MeasuredStatus {
  readonly mode: 'observe' | 'on';
  readonly thread: MeasuredThreadStatus;
  /** Of the map that DNS answers by; null: by none. */
  readonly servedVersion: number | null;
  /** Why the newest map is not served; null: it is, or shall not be. */
  readonly held: string | null;
  /** Since the last decision; null: there was none. */
  readonly ageMs: number | null;
  /** The last decision is older than it should ever be. */
  readonly isOld: boolean;
  readonly last: MeasuredSummary | null;
}

/** For overviews. */
export interface MeasuredBrief extends Pick<MeasuredStatus, 'mode' | 'servedVersion' | 'held' | 'ageMs'> {
  readonly failure: string | null;
  /** Of the last decision; null: there was none. */
  readonly version: number | null;
  readonly groups: number;
  readonly meanRttMs: number | null;
}

export function briefOf(status: MeasuredStatus): MeasuredBrief {
  const { mode, held, ageMs, servedVersion, thread, last } = status;
  const { version = null, groups = 0, meanRttMs = null } = last ?? {};
  return { mode, held, ageMs, servedVersion, failure: thread.failure, version, groups, meanRttMs };
}

export class MeasuredController {
  readonly #options: MeasuredSteeringOptions;
  #config: Config | null = null;
  #thread: MeasuredThread | null = null;
  #newest: MeasuredAnswers | null = null;
  #last: MeasuredSummary | null = null;
  #decidedMs: number | null = null;
  #tickMs: number | null = null;
  #askedMs = 0;
  /** When the thread that runs began. */
  #beganMs = 0;
  #restarts = 0;
  #keptMs = 0;
  #held: string | null = null;
  /** Could not be taken over; tried again after the next decision. */
  #refused: MeasuredAnswers | null = null;
  #isApplying = false;
  #isAlarmed = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: MeasuredSteeringOptions) {
    this.#options = options;
  }

  /** What was served last, to begin with; before DNS starts. A file that cannot be used is told, and does not hold up the start. */
  load(config: Config): void {
    if (config.steering.measured.mode !== 'on') return;
    const { fleet, log } = this.#options;
    try {
      const bytes = readKept(this.#file('answers'));
      if (bytes === null) return;
      fleet.orders.measured = answersFromBytes(bytes);
      this.#newest = fleet.orders.measured;
      if (fleet.orders.measured === null) throw new Error('it is damaged, or of another version');
    } catch (error) {
      log.error(
        { reason: (error as Error).message },
        'the map of before cannot be used: DNS begins without measurements',
      );
    }
  }

  #file(kind: 'answers' | 'learned'): string {
    return `${this.#options.file}-${kind}`;
  }

  /** After each change of what is served, its own too. */
  setConfig(config: Config): void {
    const before = this.#config;
    this.#config = config;
    const { mode } = config.steering.measured;
    if (mode === 'off') {
      if (before !== null && before.steering.measured.mode === 'off') return;
      void this.#end();
      // Nothing is to be left of where users come from.
      for (const kind of ['answers', 'learned'] as const) rmSync(this.#file(kind), { force: true });
    } else if (this.#thread === null) this.#begin(config);
    else if (before !== null && isSameModel(before, config)) this.#thread.setState(config);
    else this.#thread.setConfig(config);
  }

  #begin(config: Config): void {
    const { log, nowMs, thread = {} } = this.#options;
    const snapshot = () => readKept(this.#file('learned'));
    const version = () => this.#newest?.version ?? 0;
    this.#askedMs = nowMs();
    this.#beganMs = nowMs();
    this.#keptMs = nowMs();
    const onDecided = (decided: MeasuredDecided) => this.#onDecided(decided);
    this.#thread = new MeasuredThread({ config, log, nowMs, snapshot, version, onDecided, ...thread });
  }

  /** Every second. Cost: by row that was measured. */
  tick(): void {
    const [thread, config] = [this.#thread, this.#config];
    if (thread === null || config === null) return;
    const { sources, nowMs } = this.#options;
    const now = nowMs();
    const intervalMs = this.#tickMs === null ? 1000 : now - this.#tickMs;
    this.#tickMs = now;
    const taken = sources.take(config, intervalMs);
    thread.give({ nowMs: now, intervalMs, ...taken });
    if (now - this.#askedMs >= config.steering.measured.intervalMs) {
      this.#askedMs = now;
      thread.decide(now, sources.health(config));
    }
    if (now - this.#keptMs >= KEEP_MS) {
      this.#keptMs = now;
      this.#keep(thread);
    }
    this.#lookAtAge(now, config);
    this.#serveNewest();
  }

  #keep(thread: MeasuredThread): void {
    this.#writing = this.#writing.then(async () => {
      const bytes = await thread.snapshot(KEEP_MS);
      if (bytes !== null) await this.#write('learned', bytes);
    });
  }

  async #write(kind: 'answers' | 'learned', bytes: Uint8Array): Promise<void> {
    try {
      await writeKept(this.#file(kind), bytes);
    } catch (error) {
      const reason = (error as Error).message;
      this.#options.log.error(
        { file: this.#file(kind), reason },
        'what steering has learned will not outlive this process',
      );
    }
  }

  #lookAtAge(now: number, { steering }: Config): void {
    const ageMs = this.#decidedMs === null ? null : now - this.#decidedMs;
    const isOld = ageMs !== null && ageMs > OLD_INTERVALS * steering.measured.intervalMs;
    if (isOld && !this.#isAlarmed)
      this.#options.log.error({ ageMs }, 'no steering decision for long: the last map stays');
    this.#isAlarmed = isOld;
  }

  #onDecided({ answers, maps, summary }: MeasuredDecided): void {
    this.#last = summary;
    const { restarts } = this.#thread?.status ?? { restarts: 0 };
    if (restarts > this.#restarts) this.#beganMs = this.#options.nowMs();
    this.#restarts = restarts;
    this.#decidedMs = this.#options.nowMs();
    this.#refused = null;
    if (answers === null || this.#config === null) return;
    this.#newest = answers;
    // Those who compile the configuration find them there.
    const kept = clientsOf(this.#config).maps;
    kept.splice(0, kept.length, ...kept.filter(({ cutAt }) => isOfLast(cutAt, answers.version)), ...maps);
    this.#serveNewest();
  }

  /** Unless the operator holds it, or the last try is under way. */
  #serveNewest(): void {
    const { fleet } = this.#options;
    const newest = this.#newest;
    if (this.#config?.steering.measured.mode !== 'on' || newest === null || newest === fleet.orders.measured) {
      this.#held = null;
      return;
    }
    const isFrozen = fleet.orders.frozenSinceMs !== null;
    if (isFrozen || this.#isTooSmall(newest)) {
      this.#held = isFrozen ? 'the map is frozen' : 'since the start fewer users were met than it was for before';
      return;
    }
    if (this.#isApplying || newest === this.#refused) return;
    this.#isApplying = true;
    void this.#serve(newest).finally(() => {
      this.#isApplying = false;
    });
  }

  #isTooSmall({ groups }: MeasuredAnswers): boolean {
    const { fleet, nowMs } = this.#options;
    return nowMs() - this.#beganMs < WARM_MS && groups < FEWER * (fleet.orders.measured?.groups ?? 0);
  }

  async #serve(answers: MeasuredAnswers): Promise<void> {
    const { fleet, log } = this.#options;
    const before = fleet.orders.measured;
    fleet.orders.measured = answers;
    try {
      await fleet.applySteering();
      this.#held = null;
    } catch (error) {
      fleet.orders.measured = before;
      this.#held = (error as Error).message;
      this.#refused = answers;
      log.error(
        { version: answers.version, reason: this.#held },
        'a measured map was not taken over: the last one stays',
      );
      return;
    }
    log.info({ version: answers.version }, 'DNS answers by another measured map');
    this.#writing = this.#writing.then(() => this.#write('answers', answersToBytes(answers)));
  }

  /** Null: it is off. */
  status(): MeasuredStatus | null {
    const { fleet, nowMs } = this.#options;
    const mode = this.#config?.steering.measured.mode;
    if (this.#thread === null || mode === undefined || mode === 'off') return null;
    return {
      mode,
      thread: this.#thread.status,
      servedVersion: mode === 'on' ? (fleet.orders.measured?.version ?? null) : null,
      held: this.#held,
      ageMs: this.#decidedMs === null ? null : nowMs() - this.#decidedMs,
      isOld: this.#isAlarmed,
      last: this.#last,
    };
  }

  /** Null: steering does not measure, or did not say it in time. */
  async resolvers(question: ResolverQuestion): Promise<ToldResolvers | null> {
    return (await this.#thread?.resolvers(question)) ?? null;
  }

  /** What a change would do, decided by what is measured. Null: that is off, or nothing was decided yet. */
  async plan(change: MeasuredChange, minutes: number): Promise<Forecast | null> {
    const [thread, config] = [this.#thread, this.#config];
    const { sources, nowMs } = this.#options;
    if (thread === null || config?.steering.measured.mode !== 'on') return null;
    return thread.plan({ change, minutes, nowMs: nowMs(), health: sources.health(config) });
  }

  /** Null: nothing is known of who asks. */
  async explain(question: MeasuredQuestion): Promise<ExplainedGroup | null> {
    return (await this.#thread?.explain(question)) ?? null;
  }

  async #end(): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    this.#newest = null;
    this.#last = null;
    this.#decidedMs = null;
    this.#options.fleet.orders.measured = null;
    await thread?.stop();
  }

  /** Keeps what was learned. Never rejects. */
  async stop(): Promise<void> {
    const thread = this.#thread;
    if (thread === null) return;
    const bytes = await thread.snapshot(STOP_MS);
    await this.#writing;
    this.#thread = null;
    await thread.stop();
    if (bytes === null) return;
    try {
      writeKeptNow(this.#file('learned'), bytes);
    } catch (error) {
      this.#options.log.error({ reason: (error as Error).message }, 'what steering has learned is lost');
    }
  }
}

/** Of the version or the one before it: two are kept, for what is served now and for what comes. */
function isOfLast(cutAt: string, version: number): boolean {
  const match = /^measured (\d+)/.exec(cutAt);
  return match === null || Number(match[1]) >= version - 1;
}

/** Nothing that what is learned stands on has changed. */
function isSameModel(before: Config, after: Config): boolean {
  const keys = ['sites', 'services', 'networks', 'locationFiles', 'defaultLocation', 'steering'] as const;
  return keys.every((key) => before[key] === after[key]) && (before.clients ?? after.clients) === after.clients;
}
