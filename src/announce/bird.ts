/** Announces the VIPs of a balancer, or the anycast addresses of a name server, to its routers through a BIRD of our own. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address, Prefix } from '../net/address.ts';
import { formatAddress } from '../net/address.ts';
import type { Announcement, Speaker } from './bird-config.ts';
import { readInclude, renderConfig, renderInclude, sessionName } from './bird-config.ts';
import type { BirdProcess } from './bird-process.ts';
import { isBirdRunning, replaceFile, startBird } from './bird-process.ts';

const POLL_MS = 50;

export interface AnnouncerOptions {
  readonly speaker: Speaker;
  /** Network namespace that BIRD runs in; null: this process's own. */
  readonly netns: string | null;
  /** Where its configuration, socket, pidfile and log are kept. */
  readonly folder: string;
}

export interface RouterSession {
  readonly router: Address;
  readonly established: boolean;
  /** BIRD's words: Established, Active, the last error ... */
  readonly info: string;
}

/** Changes are made one after the other, in the order of the calls. Each resolves when BIRD has taken it over. */
export interface Announcer {
  /** What is announced now. */
  readonly announcement: Announcement;
  /** Announces exactly these VIPs (and the probe prefix, which is always announced); a drain goes on. */
  setAnnounced(vips: readonly Prefix[]): Promise<void>;
  /** True: lower preference for all VIPs. False: back to normal. */
  setDrained(drained: boolean): Promise<void>;
  /** Announces no VIP. */
  withdraw(): Promise<void>;
  sessions(): Promise<RouterSession[]>;
  /** Resolves when every session is established; rejects after the limit with what is missing. */
  untilEstablished(limitMs: number): Promise<void>;
  isRunning(): boolean;
  /** Ends BIRD. Without it, BIRD goes on announcing after this process has ended, and `openAnnouncer` takes it over. */
  stop(): Promise<void>;
}

class BirdAnnouncer implements Announcer {
  announcement: Announcement;
  readonly #speaker: Speaker;
  readonly #bird: BirdProcess;
  readonly #includePath: string;
  #changes: Promise<void> = Promise.resolve();

  constructor(speaker: Speaker, bird: BirdProcess, includePath: string) {
    this.#speaker = speaker;
    this.#bird = bird;
    this.#includePath = includePath;
    this.announcement = readInclude(readFileSync(includePath, 'utf8'));
  }

  #change(edit: (before: Announcement) => Announcement): Promise<void> {
    const change = this.#changes.then(async () => {
      const next = edit(this.announcement);
      const before = readFileSync(this.#includePath, 'utf8');
      replaceFile(this.#includePath, renderInclude(this.#speaker, next));
      try {
        await this.#bird.reconfigure();
      } catch (error) {
        replaceFile(this.#includePath, before); // so that a BIRD that starts anew finds what the running one has
        throw new Error(`${this.#speaker.name}: cannot announce: ${(error as Error).message}`);
      }
      this.announcement = next;
    });
    this.#changes = change.catch(() => {});
    return change;
  }

  setAnnounced(vips: readonly Prefix[]): Promise<void> {
    return this.#change((before) => ({ ...before, vips }));
  }

  setDrained(drained: boolean): Promise<void> {
    return this.#change((before) => ({ ...before, drained }));
  }

  withdraw(): Promise<void> {
    return this.setAnnounced([]);
  }

  async sessions(): Promise<RouterSession[]> {
    const protocols = await this.#bird.protocols();
    return this.#speaker.routers.map((router, index) => {
      const info = protocols.find((protocol) => protocol.name === sessionName(index))?.info ?? 'unknown to BIRD';
      return { router: router.address, established: info === 'Established', info };
    });
  }

  async untilEstablished(limitMs: number): Promise<void> {
    const limitAt = performance.now() + limitMs;
    for (;;) {
      const missing = (await this.sessions()).filter((session) => !session.established);
      if (missing.length === 0) return;
      if (performance.now() > limitAt) {
        const list = missing.map((session) => `${formatAddress(session.router)} (${session.info})`).join(', ');
        throw new Error(`${this.#speaker.name}: no BGP session with ${list} after ${limitMs} ms`);
      }
      await sleep(POLL_MS);
    }
  }

  isRunning(): boolean {
    return this.#bird.isRunning();
  }

  async stop(): Promise<void> {
    await this.#changes;
    await this.#bird.stop();
  }
}

/**
 * Starts BIRD for a speaker, announcing no VIP yet; or takes over the one that an earlier process left running in the same
 * folder, which goes on announcing what it did until the first change.
 */
export async function openAnnouncer(options: AnnouncerOptions): Promise<Announcer> {
  const folder = resolve(options.folder);
  const includePath = join(folder, 'announced.conf');
  mkdirSync(folder, { recursive: true });
  // What a BIRD that is gone announced says nothing about what may be announced now.
  if (!isBirdRunning(folder) || !existsSync(includePath)) {
    replaceFile(includePath, renderInclude(options.speaker, { vips: [], drained: false }));
  }
  const config = renderConfig(options.speaker, includePath);
  const bird = await startBird({ netns: options.netns, folder, config });
  return new BirdAnnouncer(options.speaker, bird, includePath);
}
