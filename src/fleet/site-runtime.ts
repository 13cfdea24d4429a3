/** One site: its balancers and backends, held to what the configuration, the operator and health say. */
import type { Config, Service } from '../config/model.ts';
import { usableBackends, type Verdict } from '../decide/health.ts';
import { createSlotTable, type SlotTable } from '../decide/slots.ts';
import { MAX_BACKENDS, MAX_SUBJECTS } from '../serve/vip/layout.gen.ts';
import { adoptNumbers } from './adopt.ts';
import { Allocation } from './allocation.ts';
import type { BackendRole } from './backend-role.ts';
import type { BalancerRole } from './balancer-role.ts';
import type { HealthBook } from './health-book.ts';
import type { Log } from './log.ts';
import { type PlannedBackend, planSite, type SitePlan, serviceName, vipName } from './site-plan.ts';
import { SiteTables, type TableMember } from './site-tables.ts';

export interface SiteRuntimeOptions {
  readonly site: string;
  readonly health: HealthBook;
  readonly nowMs: () => number;
  readonly log: Log;
}

export class SiteRuntime {
  readonly name: string;
  readonly balancers = new Map<string, BalancerRole>();
  readonly backends = new Map<string, BackendRole>();
  readonly indices = new Allocation(MAX_BACKENDS);
  readonly subjects = new Allocation(MAX_SUBJECTS);
  readonly tables: SiteTables;
  /** Services of which so many backends look dead that all are used. */
  readonly panicking = new Set<string>();
  readonly drainedBackends = new Set<string>();
  readonly #health: HealthBook;
  readonly #log: Log;
  #config: Config | null = null;
  #plan: SitePlan = { site: '', vips: [], services: [], backends: [] };
  /** Backends that the configuration no longer names, but that flows may still be on. */
  readonly #leaving = new Map<string, PlannedBackend>();
  #dead = new Set<number>();
  #refreshing: Promise<void> = Promise.resolve();

  constructor(options: SiteRuntimeOptions) {
    this.name = options.site;
    this.#health = options.health;
    this.#log = options.log;
    this.tables = new SiteTables(options.nowMs, (target, error) => this.#lostBalancer(target, error));
  }

  get plan(): SitePlan {
    return this.#plan;
  }

  /** Takes over a configuration: kernel entries of machines and services first, then the tables that name them. */
  async apply(config: Config): Promise<void> {
    const plan = planSite(config, this.name, this.indices, this.subjects);
    const gone = this.#plan;
    this.#config = config;
    this.#plan = plan;
    for (const { backend, index } of gone.backends)
      if (!plan.backends.some((one) => one.backend.name === backend.name))
        this.#leaving.set(backend.name, { backend, index });
    for (const { backend } of plan.backends) this.#leaving.delete(backend.name);
    const known = [...plan.backends, ...this.#leaving.values()];
    await Promise.all([
      ...[...this.balancers.values()].map((balancer) => balancer.setPlan(plan, known)),
      ...[...this.backends.values()].map((backend) => backend.setPlan(plan, known, config)),
    ]);
    for (const { service } of gone.services) {
      if (plan.services.some((one) => one.service.name === service.name)) continue;
      await this.tables.removeService(service.name);
      this.#freeSubject(serviceName(service.name));
    }
    for (const { address } of gone.vips)
      if (!plan.vips.some((one) => vipName(one.address) === vipName(address))) this.#freeSubject(vipName(address));
    await this.refresh();
  }

  /** A table's generation changes with its next use, so a subject needs no purge. */
  #freeSubject(name: string): void {
    const subject = this.subjects.retire(name);
    if (subject !== undefined) this.subjects.release(subject);
  }

  /** A balancer that has just started gets everything there is; what an earlier process left in its kernel is taken over. */
  async addBalancer(balancer: BalancerRole, config: Config): Promise<void> {
    this.balancers.set(balancer.name, balancer);
    if (balancer.forwarder.adopted)
      for (const left of adoptNumbers(config, this.name, balancer.forwarder, this.indices, this.subjects))
        this.#leaving.set(left.backend.name, left);
    await balancer.setPlan(this.#plan, [...this.#plan.backends, ...this.#leaving.values()]);
    await this.tables.addTarget(balancer);
  }

  async #lostBalancer(name: string, error: Error): Promise<void> {
    this.#log.error(
      { site: this.name, balancer: name, reason: error.message },
      'balancer does not take changes: withdrawn',
    );
    await this.balancers.get(name)?.withdraw(error.message);
  }

  /** Health, drains or weights have changed: members of every table anew. Calls while one runs are joined into one more. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.then(() => this.#refreshOnce());
    return this.#refreshing;
  }

  async #refreshOnce(): Promise<void> {
    if (this.#config === null) return;
    const dead = new Set(this.#plan.backends.map(({ index }) => index));
    const choices = this.#plan.services.map((planned) => ({ planned, choice: this.#choose(planned.service) }));
    for (const { choice } of choices) for (const index of choice.alive) dead.delete(index);
    // Those who live are marked so before slots name them, the dead only after no slot does (docs/vip.md).
    this.#setAlive(
      [...this.#dead].filter((index) => !dead.has(index)),
      true,
    );
    for (const { planned, choice } of choices) {
      const { service, subject } = planned;
      const adopted = this.tables.table(service.name) === undefined ? this.#adoptedTable(subject) : null;
      const options = { subject, slots: service.slots, settleAfterMs: service.tracking.settleAfterMs, adopted };
      await this.tables.setMembers(service.name, options, choice.members, choice.dead);
      if (choice.panic !== this.panicking.has(service.name)) {
        if (choice.panic) this.panicking.add(service.name);
        else this.panicking.delete(service.name);
        this.#log.warn({ site: this.name, service: service.name, panic: choice.panic }, 'panic rule');
      }
    }
    this.#setAlive(
      [...dead].filter((index) => !this.#dead.has(index)),
      false,
    );
    this.#dead = dead;
    await this.#announce();
  }

  /** The lookup table that an earlier process left in the kernel of one of the balancers. */
  #adoptedTable(subject: number): SlotTable | null {
    for (const balancer of this.balancers.values()) {
      const kernel = balancer.table(subject);
      if (kernel === undefined || !kernel.adopted) continue;
      const table = createSlotTable(kernel.slots);
      kernel.readInto(table);
      return table;
    }
    return null;
  }

  #setAlive(indices: readonly number[], alive: boolean): void {
    for (const balancer of this.balancers.values()) for (const index of indices) balancer.setAlive(index, alive);
  }

  /** Who serves a service now. */
  #choose(service: Service): {
    members: TableMember[];
    dead: Set<number>;
    alive: number[];
    panic: boolean;
  } {
    const verdicts = new Map<string, Verdict>();
    for (const name of service.backends.get(this.name) ?? [])
      if (this.indices.numberOf(name) !== undefined)
        verdicts.set(name, this.#health.backend(service.name, name).verdict);
    const { usable, panic } = usableBackends(verdicts, service.panicShare);
    const indexOf = (name: string): number => this.indices.numberOf(name) as number;
    const proven = usable.filter((name) => panic || verdicts.get(name) === 'healthy');
    // Before the first probe has ended nobody is proven; a table of the unproven is better than none.
    const able = proven.length > 0 ? proven : usable;
    const wanted = able.filter((name) => !this.isDrained(name));
    const members = (wanted.length > 0 ? wanted : able).map((name) => ({
      name,
      index: indexOf(name),
      weight: this.#config?.backends.get(name)?.weight ?? 1,
    }));
    const alive = usable.map(indexOf);
    const dead = new Set([...verdicts.keys()].map(indexOf).filter((index) => !alive.includes(index)));
    return { members, dead, alive, panic };
  }

  isDrained(backend: string): boolean {
    return this.drainedBackends.has(backend) || this.#config?.backends.get(backend)?.drain === true;
  }

  /** Announces the VIPs of services that have enough backends. */
  async #announce(): Promise<void> {
    const vips = this.#plan.vips.filter((vip) =>
      this.#plan.services.some(
        ({ service, vips: own }) => own.some((one) => one.subject === vip.subject) && this.canServe(service),
      ),
    );
    await Promise.all(
      [...this.balancers.values()].map((balancer) => balancer.announce(vips.map((vip) => vip.address))),
    );
  }

  /** Whether the site has as many live backends as the service needs, at least one. */
  canServe(service: Service): boolean {
    const names = service.backends.get(this.name) ?? [];
    const live = names.filter((name) => this.#health.backend(service.name, name).verdict !== 'unhealthy').length;
    return this.panicking.has(service.name) || live >= Math.max(1, service.need);
  }

  /** The slow round: settling, and numbers of backends that nothing refers to any more. */
  async maintain(): Promise<void> {
    const settled = await this.tables.settle();
    if (settled > 0) this.#log.info({ site: this.name, slots: settled }, 'slots settled');
    for (const [name, { index }] of [...this.#leaving]) {
      if (this.tables.refersTo(index)) continue;
      this.#leaving.delete(name);
      for (const balancer of this.balancers.values()) balancer.purgeBackend(index);
      for (const backend of this.backends.values()) backend.forget(index);
      this.indices.retire(name);
      this.indices.release(index);
      this.#log.info({ site: this.name, backend: name }, 'backend has left');
    }
  }

  get leaving(): readonly string[] {
    return [...this.#leaving.keys()];
  }
}
