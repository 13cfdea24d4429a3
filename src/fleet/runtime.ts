/**
 * Portico on this host: the roles of the machines that are here, held to one configuration. Data goes one way: the
 * configuration and what probes see go in, `decide` says what should be, the roles put it into kernels, answers and routes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/model.ts';
import type { PathHealth, Verdict } from '../decide/health.ts';
import { type Prober, startProber } from '../observe/prober.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { startBackend } from './backend-role.ts';
import { startBalancer } from './balancer-role.ts';
import { type DnsRole, startDns } from './dns-role.ts';
import { loadHashKeys } from './hash-keys.ts';
import { HealthBook } from './health-book.ts';
import type { Log } from './log.ts';
import type { Folders, Machine } from './machine.ts';
import { type PlannedProbe, planBackendProbes, planSiteProbes } from './probe-plan.ts';
import { SiteRuntime } from './site-runtime.ts';
import { SteeringWatch } from './steering-watch.ts';

export const ROLES = ['controller', 'balancer', 'dns', 'backend'] as const;
export type Role = (typeof ROLES)[number];

export interface RuntimeOptions {
  readonly config: Config;
  /** Machines of the configuration that are here, by name. */
  readonly machines: ReadonlyMap<string, Machine>;
  readonly roles: ReadonlySet<Role>;
  readonly folders: Folders;
  readonly log: Log;
}

/** Next hops, sessions and numbers of those who left are looked at so often; settling steps are a round apart. */
const MAINTAIN_MS = 5_000;
const ROUTED_LIMIT_MS = 3_000;
/** Failures more of a site than of a backend: until a dead backend is found, probes of the VIP may meet it. */
const SITE_FALL_MORE = 2;
const SERVING_POLL_MS = 50;

function steadyMs(): number {
  return performance.now();
}

export class Runtime {
  readonly sites = new Map<string, SiteRuntime>();
  readonly nameServers = new Map<string, DnsRole>();
  readonly health: HealthBook;
  readonly steering: SteeringWatch;
  readonly startedMs = steadyMs();
  config: Config;
  readonly #options: RuntimeOptions;
  readonly #siteProbers = new Map<string, Prober>();
  readonly #log: Log;
  #hashKeys: ReadonlyMap<string, Uint8Array> = new Map();
  #applying: Promise<void> = Promise.resolve();
  #maintenance: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.config = options.config;
    this.#log = options.log;
    this.health = new HealthBook(steadyMs, (probe, observer, before, health) =>
      this.#onVerdict(probe, observer, before, health),
    );
    for (const site of options.config.sites.keys()) this.#addSite(site);
    this.steering = new SteeringWatch(options.config, this.health, this.sites);
  }

  #addSite(name: string): SiteRuntime {
    const site = new SiteRuntime({ site: name, health: this.health, nowMs: steadyMs, log: this.#log });
    this.sites.set(name, site);
    return site;
  }

  async start(): Promise<void> {
    const { config } = this;
    await this.#startMachines(config);
    await this.#untilRouted();
    await this.#startNameServers(config);
    this.#plan();
    this.#scheduleMaintenance();
  }

  hashKeyOf(site: string): Uint8Array | undefined {
    return this.#hashKeys.get(site);
  }

  #has(role: Role): boolean {
    return this.#options.roles.has(role);
  }

  /** Starts the roles of machines that are here and do not run yet, then brings every site to the configuration. */
  async #startMachines(config: Config): Promise<void> {
    const { machines, folders } = this.#options;
    this.#hashKeys = loadHashKeys(config, folders.state);
    const log = this.#log;
    for (const backend of this.#has('backend') ? config.backends.values() : []) {
      const machine = machines.get(backend.name);
      const site = this.sites.get(backend.site) ?? this.#addSite(backend.site);
      if (machine === undefined || !backend.agent || site.backends.has(backend.name)) continue;
      site.backends.set(backend.name, await startBackend(backend, machine, log));
    }
    for (const balancer of this.#has('balancer') ? config.balancers.values() : []) {
      const machine = machines.get(balancer.name);
      const site = this.sites.get(balancer.site) ?? this.#addSite(balancer.site);
      const hashKey = this.#hashKeys.get(balancer.site);
      if (machine === undefined || hashKey === undefined || site.balancers.has(balancer.name)) continue;
      const onProbe = this.health.take.bind(this.health);
      const role = await startBalancer({ balancer, machine, hashKey, folders, log, onProbe });
      await site.addBalancer(role, config);
    }
    for (const site of this.sites.values()) await site.apply(config);
  }

  /** Probes would fail, and say so, while the routers do not know the balancers yet. A silent router delays no more than this. */
  async #untilRouted(): Promise<void> {
    const announcers = [...this.sites.values()].flatMap((site) =>
      [...site.balancers.values()].flatMap((role) => (role.announcer === null ? [] : [role.announcer])),
    );
    const waits = announcers.map((announcer) => announcer.untilEstablished(ROUTED_LIMIT_MS));
    for (const result of await Promise.allSettled(waits))
      if (result.status === 'rejected')
        this.#log.warn({ reason: (result.reason as Error).message }, 'no BGP session yet');
  }

  async #startNameServers(config: Config): Promise<void> {
    for (const nameServer of this.#has('dns') ? config.nameServers.values() : []) {
      const machine = this.#options.machines.get(nameServer.name);
      if (machine === undefined || this.nameServers.has(nameServer.name)) continue;
      const { name } = nameServer;
      this.nameServers.set(name, await startDns(config, nameServer, machine, this.steering, this.#log));
      this.#siteProbers.set(
        name,
        startProber({
          enter: (run) => inNamespace(machine.netns, run),
          onResult: (result) => this.health.take(name, result),
          onProblem: (problem) => this.#log.warn({ nameServer: name }, problem),
        }),
      );
    }
  }

  /** Tells every observer what to probe. */
  #plan(): void {
    const { config } = this;
    const watch = (observer: string, prober: Prober | null, plan: readonly PlannedProbe[], fallMore = 0): void => {
      if (prober === null) return;
      this.health.watch(observer, plan, (service) => {
        const { rise, fall } = config.services.get(service)?.health ?? { rise: 1, fall: 1 };
        return { rise, fall: fall + fallMore };
      });
      prober.setTargets(plan.map((one) => one.target));
    };
    for (const site of this.sites.values())
      for (const role of site.balancers.values()) {
        const balancer = config.balancers.get(role.name);
        if (balancer === undefined) continue;
        const plan = planBackendProbes(config, balancer, (name) => site.indices.numberOf(name));
        watch(role.name, role.prober, plan);
      }
    for (const [name, prober] of this.#siteProbers) watch(name, prober, planSiteProbes(config), SITE_FALL_MORE);
  }

  #onVerdict(probe: PlannedProbe, observer: string, before: Verdict, health: PathHealth): void {
    const { service, site, backend, path } = probe;
    const { verdict, reason } = health;
    const fields = { observer, service, site, backend, path, verdict, reason };
    const what = backend === null ? `site ${site}` : `backend ${backend}`;
    const way = path === 'vip' ? 'through the VIP' : 'directly';
    const message = `${what} of service ${service} is ${verdict}, probed ${way} by ${observer}${reason === null ? '' : `: ${reason}`}`;
    if (verdict === 'unhealthy') this.#log.warn(fields, message);
    else if (before === 'unhealthy') this.#log.info(fields, message);
    if (backend !== null) void this.sites.get(site)?.refresh();
  }

  /** Goes over to another configuration. Rejects, and changes nothing that it can help, when it cannot be taken over. */
  apply(config: Config): Promise<void> {
    const done = this.#applying.then(async () => {
      for (const role of this.nameServers.values()) role.apply(config);
      this.config = config;
      this.steering.setConfig(config);
      await this.#startMachines(config);
      await this.#stopGone(config);
      this.#plan();
      this.#log.info({ name: config.name }, 'configuration applied');
    });
    this.#applying = done.catch(() => {});
    return done;
  }

  /** Balancers and agents that the configuration no longer names. An agent goes on while flows may be on its backend. */
  async #stopGone(config: Config): Promise<void> {
    for (const site of this.sites.values()) {
      for (const [name, role] of [...site.balancers]) {
        if (config.balancers.has(name)) continue;
        site.balancers.delete(name);
        await site.tables.removeTarget(name);
        this.health.forget(name);
        await role.close(false);
      }
    }
  }

  #scheduleMaintenance(): void {
    this.#maintenance = setTimeout(async () => {
      try {
        await this.#maintain();
      } catch (error) {
        this.#log.error({ reason: (error as Error).message }, 'maintenance failed');
      }
      if (!this.#closed) this.#scheduleMaintenance();
    }, MAINTAIN_MS);
  }

  async #maintain(): Promise<void> {
    for (const site of this.sites.values()) {
      await Promise.all(
        [...site.balancers.values()].map(async (role) => {
          await role.resolveBackends();
          await role.lookAtSessions();
        }),
      );
      await site.maintain();
      for (const [name, role] of [...site.backends]) {
        if (this.config.backends.has(name) || site.leaving.includes(name)) continue;
        site.backends.delete(name);
        await role.close(false);
      }
    }
  }

  /** Resolves when every table is as it should be for what is known now. */
  async idle(): Promise<void> {
    await this.#applying;
    for (const site of this.sites.values()) {
      await site.refresh();
      await site.tables.idle();
    }
  }

  /** Resolves when every service of every site is reached through its VIP, as the name servers' probes see it. */
  async untilServing(limitMs: number): Promise<void> {
    const limitAt = steadyMs() + limitMs;
    for (;;) {
      const missing = [...this.config.services.values()].flatMap((service) =>
        [...service.vips.keys()]
          .filter((site) => this.health.site(service.name, site) !== 'healthy')
          .map((site) => `${service.name} at ${site}`),
      );
      if (missing.length === 0 || this.nameServers.size === 0) return this.idle();
      if (steadyMs() > limitAt) throw new Error(`not reached within ${limitMs} ms: ${missing.join(', ')}`);
      await sleep(SERVING_POLL_MS);
    }
  }

  get epoch(): number {
    let epoch = 0;
    for (const site of this.sites.values()) epoch += site.tables.epoch;
    return epoch;
  }

  /** `keep`: what is in kernels and what BIRD announces goes on without this process. */
  async stop(keep: boolean): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#maintenance);
    await Promise.all([...this.#siteProbers.values()].map((prober) => prober.stop()));
    await Promise.all([...this.nameServers.values()].map((role) => role.close()));
    for (const site of this.sites.values()) {
      await site.tables.idle();
      await Promise.all([...site.balancers.values()].map((role) => role.close(keep)));
      await Promise.all([...site.backends.values()].map((role) => role.close(keep)));
    }
  }
}
