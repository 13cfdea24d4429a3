/**
 * The guard's process. It stands in the name server's network namespace. Orders on standard input, news on standard output, one JSON object a
 * line. When its standard input ends, its name server has: it goes on asking, in case a successor answers, until the successor's
 * guard takes its place, or takes the addresses back and ends itself, and BIRD with it.
 */
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Announcer, openAnnouncer, type RouterSession } from '../announce/bird.ts';
import { readLivePid, removePidFile, writePidFile } from '../announce/pid-file.ts';
import { formatAddress } from '../net/address.ts';
import { askServer, type CheckResult } from './anycast-check.ts';
import { type GuardNews, type GuardOrder, type GuardStart, guardPidPath } from './anycast-guard.ts';
import { readSpeaker } from './anycast-speaker.ts';
import { AnycastVerdict, CHECK_INTERVAL_MS, CHECK_TIMEOUT_MS } from './anycast-verdict.ts';

/** Without a name server and without an answer for so long, nobody comes back. */
const ORPHAN_MS = 10_000;
const NEWS_MS = 1_000;
const TAKE_OVER_LIMIT_MS = 2_000;
const POLL_MS = 10;

class Guard {
  readonly #start: GuardStart;
  readonly #pidPath: string;
  readonly #verdict: AnycastVerdict;
  #announcer: Announcer;
  #order: GuardOrder = { isDrained: false, zones: [], ageMs: null, end: 'no' };
  #hasOrder = false;
  #isOrphan = false;
  #answeredMs = performance.now();
  #sessions: readonly RouterSession[] = [];
  #told = '';
  #toldMs = 0;
  #round = 0;

  constructor(start: GuardStart, announcer: Announcer) {
    this.#start = start;
    this.#announcer = announcer;
    this.#pidPath = guardPidPath(start.folder);
    const wasAnnounced = announcer.announcement.vips.length > 0;
    this.#verdict = new AnycastVerdict(start.speaker.staleAfterMs, wasAnnounced, performance.now());
  }

  obey(order: GuardOrder): void {
    this.#order = order;
    this.#hasOrder = true;
    this.#verdict.heard(order.ageMs, performance.now());
  }

  orphan(): void {
    this.#isOrphan = true;
  }

  /** Until it is told to end, or another takes its place. */
  async run(): Promise<void> {
    for (;;) {
      const begin = performance.now();
      if (this.#order.end !== 'no') return this.#end(this.#order.end === 'bird');
      // Before the first order nothing is known of a drain, and of zones.
      if (this.#hasOrder || this.#isOrphan) await this.#look();
      if (readLivePid(this.#pidPath) !== process.pid) return; // another guard has BIRD now
      if (this.#isOrphan && performance.now() - this.#answeredMs > ORPHAN_MS) return this.#end(true);
      await sleep(Math.max(POLL_MS, CHECK_INTERVAL_MS - (performance.now() - begin)));
    }
  }

  async #look(): Promise<void> {
    const result = await this.#ask();
    if (result.kind === 'good') this.#answeredMs = performance.now();
    this.#verdict.check(result);
    let reason = this.#verdict.reason(performance.now());
    if (readLivePid(this.#pidPath) !== process.pid) return;
    try {
      await this.#announce(reason === null);
    } catch (error) {
      reason = (error as Error).message;
    }
    await this.#tell(reason);
  }

  /** All addresses: one that is not answered on is as bad as all. */
  async #ask(): Promise<CheckResult> {
    const { zones } = this.#order;
    const zone = zones.length === 0 ? null : (zones[this.#round++ % zones.length] as string);
    const asked = this.#start.speaker.addresses.map(async (address) => {
      const result = await askServer(address, zone, CHECK_TIMEOUT_MS);
      return result.kind === 'good' ? result : { ...result, reason: `${address}: ${result.reason}` };
    });
    const results = await Promise.all(asked);
    return (
      results.find(({ kind }) => kind === 'refused') ?? results.find(({ kind }) => kind === 'bad') ?? { kind: 'good' }
    );
  }

  async #announce(isWanted: boolean): Promise<void> {
    const { speaker, prefixes } = readSpeaker(this.#start.speaker);
    if (!this.#announcer.isRunning())
      this.#announcer = await openAnnouncer({ speaker, netns: null, folder: this.#start.folder });
    const { announcement } = this.#announcer;
    if (announcement.drained !== this.#order.isDrained && this.#hasOrder)
      await this.#announcer.setDrained(this.#order.isDrained);
    if (announcement.vips.length > 0 !== isWanted) await this.#announcer.setAnnounced(isWanted ? prefixes : []);
  }

  async #tell(reason: string | null): Promise<void> {
    const { vips, drained } = this.#announcer.announcement;
    const now = performance.now();
    const state = JSON.stringify([vips.length, drained, reason === null]);
    if (state === this.#told && now - this.#toldMs < NEWS_MS) return;
    this.#told = state;
    this.#toldMs = now;
    this.#sessions = await this.#announcer.sessions().catch(() => this.#sessions);
    const news: GuardNews = {
      isAnnounced: vips.length > 0,
      isDrained: drained,
      reason,
      sessions: this.#sessions.map(({ router, established, info }) => ({
        router: formatAddress(router),
        isUp: established,
        info,
      })),
    };
    if (!this.#isOrphan) process.stdout.write(`${JSON.stringify(news)}\n`);
  }

  async #end(bird: boolean): Promise<void> {
    if (readLivePid(this.#pidPath) !== process.pid) return;
    await this.#announcer.withdraw().catch(() => {});
    if (bird) await this.#announcer.stop();
    removePidFile(this.#pidPath);
  }
}

/** From the guard of a process before, if one goes on. It sees that it is no longer meant, and ends. */
async function takePlace(pidPath: string): Promise<void> {
  const before = readLivePid(pidPath);
  writePidFile(pidPath, process.pid);
  const limitAt = performance.now() + TAKE_OVER_LIMIT_MS;
  const isThere = (): boolean => {
    try {
      return before !== null && process.kill(before, 0);
    } catch {
      return false;
    }
  };
  while (isThere() && performance.now() < limitAt) await sleep(POLL_MS);
}

async function main(): Promise<void> {
  const start = JSON.parse(process.argv[2] as string) as GuardStart;
  // Whoever reads the news may be gone.
  process.stdout.on('error', () => {});
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.exit(0));
  mkdirSync(start.folder, { recursive: true });
  const orders: GuardOrder[] = [];
  let guard: Guard | null = null;
  let isOrphan = false;
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => {
    const order = JSON.parse(line) as GuardOrder;
    if (guard === null) orders.push(order);
    else guard.obey(order);
  });
  input.on('close', () => {
    isOrphan = true;
    guard?.orphan();
  });
  await takePlace(guardPidPath(start.folder));
  const announcer = await openAnnouncer({
    speaker: readSpeaker(start.speaker).speaker,
    netns: null,
    folder: start.folder,
  });
  guard = new Guard(start, announcer);
  for (const order of orders) guard.obey(order);
  if (isOrphan) guard.orphan();
  await guard.run();
  process.exit(0);
}

await main();
