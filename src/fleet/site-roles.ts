/** The balancers and agents of a site that run here: who has the plan, who has the tables, who has fallen behind. */
import type { Config } from '../config/model.ts';
import type { BackendRole } from './backend-role.ts';
import type { BalancerRole } from './balancer-role.ts';
import type { Log } from './log.ts';
import type { PlannedBackend, PlannedVip, SitePlan } from './site-plan.ts';
import type { SiteTables } from './site-tables.ts';

export interface RolePlan {
  readonly plan: SitePlan;
  /** Backends of the plan, and those that leave. */
  readonly known: readonly PlannedBackend[];
  readonly config: Config;
  readonly hashKey: Uint8Array | undefined;
}

export interface SiteRolesOptions {
  readonly site: string;
  /** A steady clock. */
  readonly nowMs: () => number;
  readonly log: Log;
}

export class SiteRoles {
  readonly balancers = new Map<string, BalancerRole>();
  readonly backends = new Map<string, BackendRole>();
  readonly #site: string;
  readonly #tables: SiteTables;
  readonly #log: Log;
  /** Balancers that have started and have not got the tables yet. */
  readonly #joining = new Set<BalancerRole>();
  /** Balancers that did not acknowledge and have not come back yet. */
  readonly #behind = new Set<string>();
  /** Roles that did not take all of the last plan. */
  readonly #unplanned = new Set<BalancerRole | BackendRole>();
  #dead: ReadonlySet<number> = new Set();

  constructor({ site, log }: SiteRolesOptions, tables: SiteTables) {
    this.#site = site;
    this.#log = log;
    this.#tables = tables;
  }

  /** It gets everything with the next plan. */
  add(balancer: BalancerRole): void {
    this.balancers.set(balancer.name, balancer);
    this.#joining.add(balancer);
  }

  get hasAdopted(): boolean {
    return [...this.#joining].some(({ adopted }) => adopted);
  }

  async remove(balancer: BalancerRole): Promise<void> {
    this.balancers.delete(balancer.name);
    this.#joining.delete(balancer);
    this.#unplanned.delete(balancer);
    this.#behind.delete(balancer.name);
    await this.#tables.removeTarget(balancer.name);
    await balancer.close(false);
  }

  /** Every role takes what it can; resolves with what could not be done, which `retry` tries again. */
  async setPlan(what: RolePlan): Promise<Error[]> {
    const roles = [...this.balancers.values(), ...this.backends.values()];
    const results = await Promise.allSettled(roles.map((role) => this.#give(role, what)));
    return results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  }

  async #give(role: BalancerRole | BackendRole, { plan, known, config, hashKey }: RolePlan): Promise<void> {
    this.#unplanned.add(role);
    if ('announce' in role) await role.setPlan(plan, known);
    else await role.setPlan(plan, known, config, hashKey);
    this.#unplanned.delete(role);
  }

  async joinAll(): Promise<void> {
    for (const balancer of this.#joining) await this.#join(balancer);
  }

  /** Gives a balancer everything there is. */
  async #join(balancer: BalancerRole): Promise<void> {
    for (const index of this.#dead) balancer.setAlive(index, false);
    await this.#tables.addTarget(balancer);
    this.#joining.delete(balancer);
  }

  /** Who lives is marked so before slots name it. */
  revive(dead: ReadonlySet<number>): void {
    this.#setAlive([...this.#dead], dead, true);
  }

  /** Who is dead is marked so after no slot names it. */
  bury(dead: ReadonlySet<number>): void {
    this.#setAlive([...dead], this.#dead, false);
    this.#dead = dead;
  }

  #setAlive(indices: readonly number[], but: ReadonlySet<number>, alive: boolean): void {
    for (const index of indices) {
      if (but.has(index)) continue;
      for (const balancer of this.balancers.values()) balancer.setAlive(index, alive);
    }
  }

  /** Nothing refers to the number any more. */
  purge(index: number): void {
    for (const balancer of this.balancers.values()) balancer.purgeBackend(index);
    for (const backend of this.backends.values()) backend.forget(index);
    this.#dead = new Set([...this.#dead].filter((one) => one !== index));
  }

  /** The last that draws packets goes on as it is: a table that is behind serves, a VIP that nobody announces does not. */
  async lost(name: string, error: Error): Promise<void> {
    const balancer = this.balancers.get(name);
    if (balancer === undefined) return;
    const isLast = ![...this.balancers.values()].some(
      (other) => other !== balancer && other.withdrawnFor === null && !other.drained,
    );
    const fields = { site: this.#site, balancer: name, reason: error.message };
    if (!this.#behind.has(name))
      this.#log.error(fields, `balancer does not take changes: ${isLast ? 'the last, it goes on' : 'withdrawn'}`);
    this.#behind.add(name);
    if (!isLast) await balancer.withdraw(error.message);
  }

  /** A VIP of which a balancer lacks a service is announced by those that have it all, if there are any. */
  isLeftToOthers(plan: SitePlan, balancer: BalancerRole, { subject }: PlannedVip): boolean {
    const lacks = ({ lacking }: BalancerRole): boolean =>
      lacking.size > 0 &&
      plan.services.some((one) => lacking.has(one.subject) && one.vips.some((vip) => vip.subject === subject));
    const hasAll = (one: BalancerRole): boolean => one.withdrawnFor === null && !one.drained && !lacks(one);
    return lacks(balancer) && [...this.balancers.values()].some(hasAll);
  }

  /**
   * Balancers that were given up get everything again; those that acknowledge draw packets again. Roles that lack something of the plan get
   * it again. True: some role has got what it lacked.
   */
  async retry(what: RolePlan): Promise<boolean> {
    for (const balancer of this.balancers.values()) await this.#rejoin(balancer, what);
    let hasMended = false;
    for (const role of [...this.#unplanned]) {
      const before = 'announce' in role ? [...role.lacking] : [];
      // What failed was told when it was asked for first.
      await this.#give(role, what).catch(() => {});
      if ('announce' in role && this.#tables.hasTarget(role.name))
        await this.#tables.addTarget(role, new Set(before.filter((subject) => !role.lacking.has(subject))));
      if (this.#unplanned.has(role)) continue;
      hasMended = true;
      this.#log.info(
        { site: this.#site, machine: role.name },
        `${role.name} has taken over the whole configuration now`,
      );
    }
    return hasMended;
  }

  async #rejoin(balancer: BalancerRole, what: RolePlan): Promise<void> {
    const { name } = balancer;
    if (!this.#behind.has(name) || this.#tables.hasTarget(name)) return;
    try {
      await this.#give(balancer, what).catch(() => {});
      await this.#join(balancer);
    } catch (error) {
      await this.lost(name, error as Error);
    }
    if (!this.#tables.hasTarget(name)) return;
    this.#behind.delete(name);
    this.#log.info({ site: this.#site, balancer: name }, 'balancer takes changes again');
    await balancer.restore();
  }
}
