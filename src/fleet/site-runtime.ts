/** One site: its balancers and backends, held to what the configuration, the operator and health say. */
import type { Backend, Config, Service } from '../config/model.ts';
import { createSlotTable, type SlotTable } from '../decide/slots.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { MAX_BACKENDS, MAX_SUBJECTS } from '../serve/vip/layout.gen.ts';
import { adoptNumbers, formerBackend, formerName } from './adopt.ts';
import { Allocation } from './allocation.ts';
import { askAgents } from './ask-agents.ts';
import type { BackendRole } from './backend-role.ts';
import type { BalancerRole } from './balancer-role.ts';
import { Breath } from './breath.ts';
import type { HealthBook } from './health-book.ts';
import type { WeightStore } from './kept-weights.ts';
import type { Log } from './log.ts';
import { ReachWatch } from './reach.ts';
import { changesAtOnce, turnsOf } from './scheduling.ts';
import { type ServiceChoice, ServiceChoices } from './service-choices.ts';
import { ServiceWeights } from './service-weights.ts';
import { SiteDrains } from './site-drains.ts';
import { assertRoom, type PlannedBackend, type PlannedService, planSite, type SitePlan } from './site-plan.ts';
import { type RolePlan, SiteRoles } from './site-roles.ts';
import { SiteTables } from './site-tables.ts';
import { indicesIn, NOBODY_NAMED, slotsNaming } from './slot-counts.ts';
import { SlotListings } from './slot-listings.ts';
import type { SettleAnswer } from './table-target.ts';

export interface SiteRuntimeOptions {
  readonly site: string;
  readonly health: HealthBook;
  /** A steady clock. */
  readonly nowMs: () => number;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** The site's, once it is known. */
  readonly hashKey: () => Uint8Array | undefined;
  readonly log: Log;
  /** Where weights that follow load are kept; absent: nowhere. */
  readonly store?: WeightStore;
}

/** What a refresh does for one service. */
interface Step {
  readonly planned: PlannedService;
  /** Left by an earlier process, and not taken over yet. */
  readonly adopted: SlotTable | null;
  readonly serving: ReadonlySet<number>;
  readonly choice: ServiceChoice;
}

export class SiteRuntime {
  readonly name: string;
  readonly balancers: Map<string, BalancerRole>;
  readonly backends: Map<string, BackendRole>;
  readonly indices = new Allocation(MAX_BACKENDS);
  readonly subjects = new Allocation(MAX_SUBJECTS);
  readonly tables: SiteTables;
  /** Services of which so many backends look dead that all are used. */
  readonly panicking = new Set<string>();
  readonly drains: SiteDrains;
  readonly weights: ServiceWeights;
  /** What agents say of their connections. */
  readonly reports = new SlotListings();
  readonly #choices: ServiceChoices;
  /** Balancers of the site that other processes run. */
  #elsewhere: readonly string[] = [];
  readonly #reach: ReachWatch;
  readonly #hashKey: () => Uint8Array | undefined;
  readonly #health: HealthBook;
  readonly #log: Log;
  #config: Config | null = null;
  #plan: SitePlan = { site: '', vips: [], services: [], backends: [] };
  /** Backends that the configuration no longer names, but that flows may still be on. */
  readonly #leaving = new Map<string, PlannedBackend>();
  readonly #roles: SiteRoles;
  /** Packets that agents had passed on to another candidate at the last look. */
  readonly #passedOn = new WeakMap<BackendRole, number>();
  #queue: Promise<void> = Promise.resolve();
  #nextRefresh: Promise<void> | null = null;
  /** Services whose members are to be looked at; null: all. */
  #stale: Set<string> | null = null;
  /** Backends that leave some service, as the probers know them. */
  #probedLeavers = '';
  #closed = false;

  constructor(options: SiteRuntimeOptions) {
    this.name = options.site;
    this.#health = options.health;
    this.#log = options.log;
    this.drains = new SiteDrains(options.site, options.wallMs);
    this.#choices = new ServiceChoices({ ...options, indices: this.indices, drains: this.drains });
    this.#hashKey = options.hashKey;
    this.weights = new ServiceWeights(options);
    this.#reach = new ReachWatch(options);
    this.tables = new SiteTables(options.nowMs, (target, error) => void this.#roles.lost(target, error));
    this.#roles = new SiteRoles(options, this.tables);
    this.balancers = this.#roles.balancers;
    this.backends = this.#roles.backends;
  }

  get plan(): SitePlan {
    return this.#plan;
  }

  /** One change at a time: a configuration, a refresh, a round of maintenance. One that fails does not hold up the next. */
  #exclusively<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(() => {
      if (this.#closed) throw new Error(`site ${this.name} is being stopped`);
      return step();
    });
    this.#queue = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  /**
   * Takes over a configuration: kernel entries of machines and services first, then the tables that name them. Rejects with what could not
   * be done; the rest is done then. A further call goes on from there, and so does the slow round.
   */
  async apply(config: Config): Promise<void> {
    try {
      await this.#exclusively(() => this.#applyNow(config));
    } finally {
      await this.#announce();
    }
  }

  async #applyNow(config: Config): Promise<void> {
    assertRoom(config, this.name, this.indices, this.subjects);
    this.#followMoves(config);
    const plan = planSite(config, this.name, this.indices, this.subjects);
    this.#config = config;
    this.#plan = plan;
    this.drains.follow(config);
    this.#noteElsewhere(config);
    // No table may be published any more whose place in the kernels goes.
    const services = new Set(plan.services.map(({ service }) => service.name));
    for (const name of this.tables.services()) if (!services.has(name)) await this.tables.removeService(name);
    this.weights.keep(services);
    this.reports.keep(services);
    this.#choices.setConfig(config, services);
    this.#setKnown();
    const failures = await this.#roles.setPlan(this.#rolePlan(config));
    this.#freeSubjects(plan);
    if (this.#roles.hasAdopted)
      this.#choices.adoptFollowed(
        this.#followed(),
        plan.services.map(({ service }) => service),
      );
    await this.#roles.joinAll();
    this.#stale = null;
    await this.#refreshNow().catch((error) => failures.push(error as Error));
    if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join('; '));
  }

  /** What several processes would have to agree on they leave; that is told, for nobody would look for it. */
  #noteElsewhere(config: Config): void {
    const before = this.#elsewhere.join(', ');
    const all = [...config.balancers.values()].filter(({ site }) => site === this.name);
    this.#elsewhere = all.filter(({ name }) => !this.balancers.has(name)).map(({ name }) => name);
    this.weights.mayFollowLoad = this.#elsewhere.length === 0;
    const names = this.#elsewhere.join(', ');
    if (this.balancers.size === 0 || names === '' || names === before) return;
    this.#log.warn(
      { site: this.name, elsewhere: names },
      `other processes run ${names} of ${this.name}: slots settle only where a change waits for them, fragments stay at the balancer where they arrive, weights do not follow load (docs/vip.md)`,
    );
  }

  #rolePlan(config: Config): RolePlan {
    return { plan: this.#plan, known: this.#known(), config, hashKey: this.#hashKey() };
  }

  /** What balancers and agents must know: backends of the configuration, and those that leave. */
  #known(): PlannedBackend[] {
    return [...this.#plan.backends, ...this.#leaving.values()];
  }

  #setKnown(): PlannedBackend[] {
    const known = this.#known();
    this.#choices.setKnown(known);
    return known;
  }

  /**
   * Numbers belong to addresses: a name that gets another address is another machine, and flows on the old one go on under its number; a machine
   * that comes back before it has left, under whatever name, has its number still.
   */
  #followMoves(config: Config): void {
    const here = [...config.backends.values()].filter((backend) => backend.site === this.name);
    for (const { backend, index } of this.#plan.backends) {
      const after = here.find((one) => one.name === backend.name);
      if (after !== undefined && sameAddress(after.address, backend.address)) continue;
      const former = formerBackend(this.name, backend);
      if (this.indices.rename(backend.name, former.name)) this.#leaving.set(former.name, { backend: former, index });
    }
    for (const backend of here) {
      const former = formerName(backend.address);
      if (this.#leaving.has(former) && this.indices.rename(former, backend.name)) this.#leaving.delete(former);
    }
  }

  /** The next service of a subject has another salt, so a subject needs no purge. */
  #freeSubjects(plan: SitePlan): void {
    const used = new Set([...plan.vips, ...plan.services].map(({ subject }) => subject));
    for (const name of [...this.subjects.names()]) {
      const subject = this.subjects.numberOf(name) as number;
      if (used.has(subject)) continue;
      this.subjects.retire(name);
      this.subjects.release(subject);
    }
  }

  /** A balancer that has just started; it gets everything with the next configuration. What an earlier process left in its kernel is taken over. */
  addBalancer(balancer: BalancerRole, config: Config): void {
    if (balancer.adopted)
      for (const left of adoptNumbers(config, this.name, balancer.forwarder, this.indices, this.subjects))
        this.#leaving.set(left.backend.name, left);
    this.#roles.add(balancer);
  }

  async removeBalancer(name: string): Promise<void> {
    const balancer = this.balancers.get(name);
    if (balancer === undefined) return;
    await this.#exclusively(() => this.#roles.remove(balancer));
  }

  /**
   * Health, drains or weights have changed: members of every table anew, or of those of `services`. Calls that come before it begins are one.
   */
  refresh(services: Iterable<string> | null = null): Promise<void> {
    this.#note(services);
    this.#nextRefresh ??= this.#exclusively(async () => {
      this.#nextRefresh = null;
      await this.#refreshNow();
    }).then(() => this.#announce());
    return this.#nextRefresh;
  }

  #note(services: Iterable<string> | null): void {
    if (services === null) this.#stale = null;
    else for (const name of services) this.#stale?.add(name);
  }

  /** Rejects with the first thing that could not be done, after everything else is. What failed is looked at again with the next change. */
  async #refreshNow(): Promise<void> {
    if (this.#config === null) return;
    const stale = this.#stale;
    this.#stale = new Set();
    const breath = new Breath();
    const steps: Step[] = [];
    for (const planned of this.#plan.services) {
      const { service, subject } = planned;
      if (stale !== null && !stale.has(service.name) && this.tables.table(service.name) !== undefined) continue;
      const indices = this.tables.indices(service.name);
      const adopted = indices === undefined ? this.#adoptedTable(subject) : null;
      const table = indices ?? (adopted === null ? NOBODY_NAMED : indicesIn(adopted));
      steps.push({ planned, adopted, serving: table.serving, choice: this.#choices.choose(service, table) });
      await breath.take();
    }
    const dead = this.#choices.dead();
    // Those who live are marked so before slots name them, the dead only after no slot does (docs/vip.md).
    this.#roles.revive(dead);
    const failures: unknown[] = [];
    for (const step of steps) {
      const { name } = step.planned.service;
      try {
        await this.#setMembers(step);
      } catch (error) {
        failures.push(error);
        this.#note([name]);
      }
      this.#notePanic(name, step.choice.panic);
      await breath.take();
    }
    this.#roles.bury(dead);
    if (failures.length > 0) throw failures[0];
  }

  #setMembers({ planned, adopted, serving, choice }: Step): Promise<void> {
    const { service, subject } = planned;
    const { members, weightsOnly } = this.weights.weigh(
      service,
      choice.members,
      (index) => serving.has(index),
      adopted !== null,
    );
    const options = {
      subject,
      slots: service.slots,
      settleAfterMs: service.tracking.settleAfterMs,
      adopted,
      weightsOnly,
      settlesByReports: this.#elsewhere.length === 0 && this.#choices.canSettleByReports(service),
      othersUnheard: this.#elsewhere.length > 0,
      immediate: changesAtOnce(service),
      turns: turnsOf(service),
    };
    return this.tables.setMembers(service.name, options, members, choice.dead);
  }

  #notePanic(service: string, panic: boolean): void {
    if (panic === this.panicking.has(service)) return;
    if (panic) this.panicking.add(service);
    else this.panicking.delete(service);
    this.#log.warn({ site: this.name, service, panic }, 'panic rule');
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

  /** Backends that flows of the service may be on although it does not name them any more. */
  leavingFrom(service: string): Backend[] {
    const planned = this.#plan.services.find((one) => one.service.name === service);
    const table = this.tables.indices(service);
    if (planned === undefined || table === undefined) return [];
    return this.#choices.leaving(planned.service, table).map(({ backend }) => backend);
  }

  /** Called about once a second: weights that change with time and load, drains whose time is over. */
  async look(): Promise<void> {
    const over = this.drains.takeOver();
    for (const backend of over) {
      const index = this.indices.numberOf(backend) ?? 0;
      const tables = this.tables.services().flatMap((service) => this.tables.table(service) ?? []);
      const slots = tables.reduce((sum, table) => sum + slotsNaming(table, index).length, 0);
      const fields = { site: this.name, backend, slots };
      this.#log.warn(
        fields,
        `time is over for the drain of ${backend}: its last connections (${slots} slots) are given up`,
      );
    }
    const changed = this.weights.look((service) => this.tables.held(service) > 0);
    if (over.length > 0) await this.refresh();
    else if (changed.length > 0) await this.refresh(changed);
  }

  /** Every balancer learns which of the site own fragments: those that run here and draw packets. */
  #shareFragments(): void {
    const balancers = [...(this.#config?.balancers.values() ?? [])].filter(({ site }) => site === this.name);
    const serving = [...this.balancers.values()].filter((role) => role.withdrawnFor === null && !role.drained);
    const live = new Set(serving.map(({ name }) => name));
    for (const role of this.balancers.values()) role.peers.set(balancers, live);
  }

  /** Announces the VIPs of services that have enough backends. */
  async #announce(): Promise<void> {
    const served = this.#plan.services.filter(({ service }) => this.#choices.get(service.name)?.canServe);
    const subjects = new Set(served.flatMap(({ vips }) => vips.map(({ subject }) => subject)));
    const vips = this.#plan.vips.filter(({ subject }) => subjects.has(subject));
    await Promise.all(
      [...this.balancers.values()].map((balancer) => {
        const announced = vips.filter((vip) => !this.#roles.isLeftToOthers(this.#plan, balancer, vip));
        return balancer.announce(announced.map((vip) => vip.prefix));
      }),
    );
    this.#shareFragments();
  }

  /** Whether the site has as many live backends as the service needs, at least one. */
  canServe(service: Service): boolean {
    const names = service.backends.get(this.name) ?? [];
    const live = names.filter((name) => this.#health.verdict(service.name, name) !== 'unhealthy').length;
    return this.panicking.has(service.name) || live >= Math.max(1, service.need);
  }

  /** The slow round: ways and sessions, balancers that come back, settling, and numbers of backends that nothing refers to any more. */
  async maintain(): Promise<{ hasLeft: boolean }> {
    // Asking takes its time: not while deaths wait.
    await Promise.all([
      ...[...this.balancers.values()].flatMap((role) => [
        role.resolveBackends(),
        role.peers.resolve(),
        role.lookAtSessions(),
      ]),
      ...[...this.backends.values()].map((role) => role.resolveCandidates()),
    ]);
    const hasLeft = await this.#exclusively(() => this.#settleAndFree());
    this.#shareFragments();
    return { hasLeft };
  }

  /** True: some backend has left. */
  async #settleAndFree(): Promise<boolean> {
    if (this.#config !== null && (await this.#roles.retry(this.#rolePlan(this.#config)))) await this.#announce();
    await this.#reach.look([...this.balancers.values()]);
    this.#countSecondChances();
    const hashKey = this.#hashKey();
    if (hashKey !== undefined) await askAgents(this, hashKey, this.#log);
    const settled = await this.tables.settle((...asked) => this.reports.isEmpty(...asked));
    if (settled > 0) this.#log.info({ site: this.name, slots: settled }, 'slots settled');
    // Who has no tables cannot know what they name.
    const hasAll = this.#plan.services.every(({ service }) => this.tables.table(service.name) !== undefined);
    if (this.balancers.size === 0 || !hasAll) return false;
    const left = this.#freeNumbers();
    return left || this.#haveLeaversChanged();
  }

  /** True: some backend has left. */
  #freeNumbers(): boolean {
    if (this.#leaving.size === 0 && !this.#choices.mayForget) return false;
    const followed = this.#followed();
    this.#choices.forgetEnded(followed);
    let hasLeft = false;
    for (const [name, { index }] of [...this.#leaving]) {
      if (this.tables.refersTo(index) || followed[index] === 1) continue;
      hasLeft = true;
      this.#leaving.delete(name);
      this.#roles.purge(index);
      this.indices.retire(name);
      this.indices.release(index);
      this.#log.info({ site: this.name, backend: name }, 'backend has left');
    }
    if (hasLeft) this.#setKnown();
    return hasLeft;
  }

  /** Whether others than at the last look are probed only until they have left. */
  #haveLeaversChanged(): boolean {
    const texts = this.#plan.services.flatMap(({ service }) => {
      const table = this.tables.indices(service.name);
      const leaving = table === undefined ? [] : this.#choices.leaving(service, table);
      return leaving.length === 0 ? [] : [`${service.name} ${leaving.map(({ index }) => index).sort()}`];
    });
    const before = this.#probedLeavers;
    this.#probedLeavers = texts.join('\n');
    return before !== this.#probedLeavers;
  }

  /** Settles what may be settled now (`portico settle`); null: there is no such service here. */
  settleNow(service: string, only: string | null): Promise<SettleAnswer | null> {
    return this.#exclusively(() => this.tables.settleNow(service, only));
  }

  /** Where every flow is tracked, tables do not tell who still has flows: entries do, until they expire. */
  #followed(): Uint8Array {
    const all = new Uint8Array(MAX_BACKENDS);
    for (const balancer of this.balancers.values())
      for (const [index, has] of balancer.followed().entries()) if (has === 1) all[index] = 1;
    return all;
  }

  #countSecondChances(): void {
    const indices = new Set<number>();
    for (const role of this.backends.values()) {
      const passedOn = role.passedOn();
      if (passedOn !== (this.#passedOn.get(role) ?? 0))
        indices.add(this.indices.numberOf(role.name) ?? this.indices.numberOf(formerName(role.address)) ?? 0);
      this.#passedOn.set(role, passedOn);
    }
    if (indices.size > 0) this.tables.doubtSilence(indices);
  }

  /** Whether flows may be on a machine that the configuration no longer names. */
  isLeaving(address: Address): boolean {
    return this.#leaving.has(formerName(address));
  }

  /** Resolves when what was begun is done. */
  async idle(): Promise<void> {
    await this.#queue;
    await this.tables.idle();
  }

  /** Ends every role; further calls reject. `keep` says for each whether what it has in the kernel goes on. Rejects when one cannot be ended, after all others are. */
  async close(keep: (role: BalancerRole | BackendRole) => boolean): Promise<void> {
    const roles = [...this.balancers.values(), ...this.backends.values()];
    await Promise.all([...this.balancers.values()].map((role) => role.prober?.stop()));
    const queued = this.#queue;
    this.#closed = true;
    await queued;
    await this.tables.idle();
    this.weights.save();
    for (const result of await Promise.allSettled(roles.map((role) => role.close(keep(role)))))
      if (result.status === 'rejected') throw result.reason;
  }
}
