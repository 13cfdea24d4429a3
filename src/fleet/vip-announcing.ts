/** What a balancer tells its routers: the VIPs that it may draw packets for, unless it is drained or withdrawn. */
import { type Announcer, type AnnouncerOptions, openAnnouncer, type RouterSession } from '../announce/bird.ts';
import type { Balancer } from '../config/model.ts';
import { formatPrefix, type Prefix } from '../net/address.ts';
import type { Log } from './log.ts';

export interface VipAnnouncingOptions {
  readonly balancer: Balancer;
  readonly log: Log;
  readonly announcer: AnnouncerOptions;
}

export class VipAnnouncing {
  drained = false;
  /** Why its VIPs are taken back; null: they are not. */
  withdrawnFor: string | null = null;
  readonly #options: VipAnnouncingOptions;
  /** Null: it speaks to no router. */
  #announcer: Announcer | null;
  #vips: readonly Prefix[] = [];
  #sessions: readonly RouterSession[] = [];
  #publishing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: VipAnnouncingOptions, announcer: Announcer | null) {
    this.#options = options;
    this.#announcer = announcer;
  }

  get announcer(): Announcer | null {
    return this.#announcer;
  }

  get announced(): readonly Prefix[] {
    return this.#announcer === null ? [] : this.#announcer.announcement.vips;
  }

  get sessions(): readonly RouterSession[] {
    return this.#sessions;
  }

  /** A drained or withdrawn one announces them as that demands. */
  async set(vips: readonly Prefix[]): Promise<void> {
    this.#vips = vips;
    await this.#publish();
  }

  /** Rejects, and stays as it was, where BIRD does not take it. */
  async setDrained(drained: boolean): Promise<void> {
    const before = this.drained;
    this.drained = drained;
    await this.#publish();
    if (this.#announcer === null || this.#announcer.announcement.drained === drained) return;
    this.drained = before;
    const { balancer, announcer } = this.#options;
    throw new Error(`BIRD of ${balancer.name} does not take the change; its log is ${announcer.folder}/bird.log`);
  }

  async withdraw(reason: string): Promise<void> {
    this.withdrawnFor = reason;
    await this.#publish();
  }

  /** It takes changes again. */
  async restore(): Promise<void> {
    this.withdrawnFor = null;
    await this.#publish();
  }

  /** One after the other, each with what is wanted when its turn comes: the last call decides. */
  #publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publishNow());
    return this.#publishing;
  }

  async #publishNow(): Promise<void> {
    if (this.#announcer === null || this.#closed) return;
    const vips = this.withdrawnFor === null ? this.#vips : [];
    const now = this.#announcer.announcement;
    try {
      if (now.drained !== this.drained) await this.#announcer.setDrained(this.drained);
      const texts = (list: readonly Prefix[]): string => list.map(formatPrefix).sort().join(' ');
      if (texts(now.vips) !== texts(vips)) await this.#announcer.setAnnounced(vips);
    } catch (error) {
      const { balancer, log } = this.#options;
      log.error({ balancer: balancer.name, reason: (error as Error).message }, 'cannot announce');
    }
  }

  async lookAtSessions(): Promise<void> {
    if (this.#announcer === null) return;
    const { balancer, log, announcer } = this.#options;
    try {
      if (!this.#announcer.isRunning()) {
        log.warn({ balancer: balancer.name }, 'BIRD has ended and is started again');
        this.#announcer = await openAnnouncer(announcer);
      }
      await this.#publish(); // also what BIRD refused before
      this.#sessions = await this.#announcer.sessions();
    } catch (error) {
      const info = (error as Error).message;
      this.#sessions = balancer.routers.map((router) => ({ router: router.address, established: false, info }));
    }
  }

  /** `keep`: announcements go on without this process. True: they have ended here. */
  async close(keep: boolean): Promise<boolean> {
    this.#closed = true;
    await this.#publishing;
    if (keep || this.#announcer === null) return false;
    await this.#announcer.stop();
    return true;
  }
}
