/**
 * A balancer that alone does not reach a live backend sends that one's flows nowhere. Taking the backend out of its table only would give
 * the site two tables, and flows that move between balancers would break; taking it out of all would kill connections that work.
 * So the balancer is withdrawn, where another one does reach it, and the others carry its flows.
 */
import type { HealthBook } from './health-book.ts';
import type { Log } from './log.ts';

export interface ReachingBalancer {
  readonly name: string;
  /** Null: it draws packets. */
  readonly withdrawnFor: string | null;
  withdraw(reason: string): Promise<void>;
  restore(): Promise<void>;
}

export interface ReachOptions {
  readonly site: string;
  readonly health: HealthBook;
  /** A steady clock. */
  readonly nowMs: () => number;
  readonly log: Log;
}

export class ReachWatch {
  readonly #site: string;
  readonly #health: HealthBook;
  readonly #log: Log;
  readonly #nowMs: () => number;
  /** Balancer -> since when it alone has not reached somebody. */
  readonly #suspectedMs = new Map<string, number>();
  /** Balancer -> why this withdrew it. */
  readonly #withdrawn = new Map<string, string>();

  constructor({ site, health, nowMs, log }: ReachOptions) {
    this.#site = site;
    this.#health = health;
    this.#nowMs = nowMs;
    this.#log = log;
  }

  /** One look. What stays so for longer than probers need to agree counts. The last balancer that draws packets is never withdrawn. */
  async look(balancers: readonly ReachingBalancer[]): Promise<void> {
    for (const balancer of balancers) {
      const { name } = balancer;
      const lost = this.#lostBy(name, balancers);
      if (lost === null) {
        this.#suspectedMs.delete(name);
        await this.#restore(balancer);
        continue;
      }
      const since = this.#suspectedMs.get(name) ?? this.#nowMs();
      this.#suspectedMs.set(name, since);
      const isLast = !balancers.some((one) => one !== balancer && one.withdrawnFor === null);
      if (balancer.withdrawnFor === null && !isLast && this.#nowMs() - since >= lost.agreedMs) {
        const reason = `does not reach ${lost.what}, which other balancers do`;
        this.#withdrawn.set(name, reason);
        this.#log.error({ site: this.#site, balancer: name, reason }, `balancer ${name} ${reason}: withdrawn`);
        await balancer.withdraw(reason);
      }
    }
  }

  async #restore(balancer: ReachingBalancer): Promise<void> {
    const reason = this.#withdrawn.get(balancer.name);
    if (reason === undefined) return;
    this.#withdrawn.delete(balancer.name);
    // It may have been withdrawn for something else meanwhile.
    if (balancer.withdrawnFor !== reason) return;
    this.#log.info(
      { site: this.#site, balancer: balancer.name },
      `balancer ${balancer.name} reaches every backend again`,
    );
    await balancer.restore();
  }

  /** A backend that this balancer alone finds dead; null: there is none. */
  #lostBy(
    balancer: string,
    balancers: readonly ReachingBalancer[],
  ): { readonly what: string; readonly agreedMs: number } | null {
    for (const { service, backend, agreedMs } of this.#health.unhealthyFor(balancer)) {
      const isReached = balancers.some(
        ({ name, withdrawnFor }) =>
          name !== balancer && withdrawnFor === null && this.#health.seenBy(name, service, backend) === 'healthy',
      );
      if (isReached) return { what: `backend ${backend} of ${service}`, agreedMs };
    }
    return null;
  }
}
