/** The anycast addresses of a name server: on its loopback, and announced by its guard while it answers. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Anycast, Config, NameServer } from '../config/model.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { AnycastGuard, type GuardNews } from './anycast-guard.ts';
import { anycastSpeaker } from './anycast-speaker.ts';
import type { Log } from './log.ts';
import { addLoopbackAddresses, removeLoopbackAddresses } from './loopback-addresses.ts';
import type { Folders, Machine } from './machine.ts';

/** Zones that are asked for in turn. */
const ASKED_ZONES = 16;
/** For routers to go over to others, and for queries that are on their way. */
const LEAVE_MS = 300;

export interface AnycastOptions {
  readonly nameServer: NameServer;
  readonly anycast: Anycast;
  readonly machine: Machine;
  readonly folders: Folders;
  readonly log: Log;
}

export function loopbackNote(runFolder: string, name: string): string {
  return join(runFolder, name, 'loopback');
}

export class AnycastRole {
  readonly addresses: readonly string[];
  /** The last that the guard told; null: nothing yet. */
  news: GuardNews | null = null;
  isDrained = false;
  readonly #options: AnycastOptions;
  #guard: AnycastGuard | null = null;
  #zones: readonly string[] = [];
  #ageMs: number | null = null;

  constructor(options: AnycastOptions) {
    this.#options = options;
    this.addresses = anycastSpeaker(options.nameServer, options.anycast).addresses;
  }

  get #noteFile(): string {
    return loopbackNote(this.#options.folders.run, this.#options.nameServer.name);
  }

  /** Before sockets are opened. */
  addAddresses(): Promise<void> {
    return addLoopbackAddresses(this.#options.machine.netns, this.addresses, this.#noteFile);
  }

  /** When it answers. */
  start(config: Config): void {
    const { nameServer, anycast, machine, folders, log } = this.#options;
    this.setConfig(config);
    this.#guard = new AnycastGuard({
      start: { speaker: anycastSpeaker(nameServer, anycast), folder: join(folders.run, nameServer.name) },
      enter: (run) => inNamespace(machine.netns, run),
      onNews: (news) => this.#take(news),
      onProblem: (problem) => log.warn({ nameServer: nameServer.name }, problem),
    });
    this.#tell();
  }

  setConfig({ zones }: Config): void {
    this.#zones = zones.slice(0, ASKED_ZONES).map(({ name }) => name);
  }

  #take(news: GuardNews): void {
    const { nameServer, log } = this.#options;
    const before = this.news;
    this.news = news;
    if (before?.isAnnounced === news.isAnnounced) return;
    const fields = { nameServer: nameServer.name, addresses: this.addresses.join(', '), reason: news.reason };
    if (news.isAnnounced) log.info(fields, `name server ${nameServer.name} announces its anycast addresses`);
    else if (before !== null)
      log.warn(fields, `name server ${nameServer.name} has taken its anycast addresses back: ${news.reason}`);
  }

  /** About once a second. `ageMs`: of what answers are made of; null: it does not age. */
  beat(ageMs: number | null): void {
    this.#ageMs = ageMs;
    this.#tell();
  }

  #tell(): void {
    this.#guard?.tell({ isDrained: this.isDrained, zones: this.#zones, ageMs: this.#ageMs });
  }

  /** Its addresses stay announced, less preferred: queries go elsewhere as far as somebody else announces them. */
  setDrained(isDrained: boolean): void {
    this.isDrained = isDrained;
    this.#tell();
  }

  /** Queries go elsewhere; afterwards nobody need answer any more. */
  async withdraw(): Promise<void> {
    if (this.#guard === null) return;
    this.setDrained(true);
    await sleep(LEAVE_MS);
    await this.#guard.end(true);
    this.#guard = null;
    await sleep(LEAVE_MS);
  }

  async removeAddresses(): Promise<void> {
    await removeLoopbackAddresses(this.#options.machine.netns, this.#noteFile);
  }
}
