/**
 * Portico on this host: the roles of the machines that are here, held to one configuration. Data goes one way: the
 * configuration and what probes see go in, `decide` says what should be, the roles put it into kernels, answers and routes.
 */
import { join } from 'node:path';
import type { Config } from '../config/model.ts';
import type { PathHealth, Verdict } from '../decide/health.ts';
import { sameAddress } from '../net/address.ts';
import type { ProbeResult } from '../observe/probe-target.ts';
import { type Prober, startProber } from '../observe/prober.ts';
import { ZoneHistory } from '../serve/dns/transfer/zone-history.ts';
import { compileZones } from '../serve/dns/zone-compile.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { type BackendRole, startBackend } from './backend-role.ts';
import { type BalancerRole, startBalancer } from './balancer-role.ts';
import { BeaconRole } from './beacon-role.ts';
import { DelegationWatch } from './delegation-watch.ts';
import { type DnsRole, startDns } from './dns-role.ts';
import { KeptDrains } from './drains.ts';
import { FloodWatch } from './flood-watch.ts';
import { loadHashKeys } from './hash-keys.ts';
import { HealthBook } from './health-book.ts';
import { weightStore } from './kept-weights.ts';
import type { Log } from './log.ts';
import type { Folders, Machine } from './machine.ts';
import { FleetSources } from './measured-sources.ts';
import { MeasuredController } from './measured-steering.ts';
import { type LoadPoll, type PlannedProbe, planBackendProbes, planLoadPolls, planSiteProbes } from './probe-plan.ts';
import { reloadProblems } from './reload-limits.ts';
import { untilReached, untilRouted } from './routed.ts';
import { SiteLoad } from './site-load.ts';
import { SiteRuntime } from './site-runtime.ts';
import { SteeringOrders } from './steering-orders.ts';
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
  /** Folder of the compiled kernel programs; default build/bpf of this tree. */
  readonly objects?: string;
}

/** Next hops, sessions and numbers of those who left are looked at so often; settling steps are a round apart. */
const MAINTAIN_MS = 5_000;
const LOAD_MS = 1_000;
/** Failures more of a site than of a backend: until a dead backend is found, probes of the VIP may meet it. */
const SITE_FALL_MORE = 2;

interface StartedMachines {
  readonly backends: readonly BackendRole[];
  readonly balancers: readonly BalancerRole[];
}

function steadyMs(): number {
  return performance.now();
}

export class Runtime {
  readonly sites = new Map<string, SiteRuntime>();
  readonly nameServers = new Map<string, DnsRole>();
  /** Serials and journals, of all name servers here. */
  readonly zoneHistory: ZoneHistory;
  readonly health: HealthBook;
  readonly steering: SteeringWatch;
  readonly orders: SteeringOrders;
  readonly measured: MeasuredController;
  readonly load = new SiteLoad();
  readonly floods: FloodWatch;
  readonly delegations: DelegationWatch;
  readonly beacons: BeaconRole;
  readonly startedMs = steadyMs();
  config: Config;
  readonly #options: RuntimeOptions;
  /** By the id of their targets. */
  readonly #loadPolls = new Map<string, LoadPoll>();
  readonly #siteProbers = new Map<string, Prober>();
  /** When a site was last probed by a name server. */
  readonly #probedMs = new Map<string, number>();
  readonly #log: Log;
  readonly #drains: KeptDrains;
  #hashKeys: ReadonlyMap<string, Uint8Array> = new Map();
  #applying: Promise<void> = Promise.resolve();
  #maintenance: NodeJS.Timeout | undefined;
  #loadTimer: NodeJS.Timeout | undefined;
  #maintaining: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;
  #closed = false;

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.config = options.config;
    this.#log = options.log;
    this.zoneHistory = new ZoneHistory(join(options.folders.state, 'zones', options.config.name), options.log);
    this.#drains = new KeptDrains(this.#stateFile('drains'), options.log);
    this.floods = new FloodWatch(options.log);
    this.delegations = new DelegationWatch(options.log, () => [...this.nameServers.values()][0] ?? null);
    this.beacons = new BeaconRole(options.log, () => this.nameServers);
    this.health = new HealthBook(steadyMs, (probe, observer, before, health) =>
      this.#onVerdict(probe, observer, before, health),
    );
    for (const site of options.config.sites.keys()) this.#addSite(site);
    this.steering = new SteeringWatch(options.config, this.health, this.sites);
    this.orders = new SteeringOrders(this.#stateFile('steering'), options.log, () => this.applySteering());
    const file = this.#stateFile('measured').replace(/\.json$/, '');
    const sources = new FleetSources(this);
    this.measured = new MeasuredController({ fleet: this, sources, log: options.log, file, nowMs: steadyMs });
  }

  #stateFile(folder: string, suffix = ''): string {
    const { machines, folders, config } = this.#options;
    const [first = 'none'] = machines.keys();
    return join(folders.state, folder, `${config.name}-${first}${suffix}.json`);
  }

  #addSite(name: string): SiteRuntime {
    const site = new SiteRuntime({
      site: name,
      health: this.health,
      nowMs: steadyMs,
      wallMs: Date.now,
      hashKey: () => this.#hashKeys.get(name),
      log: this.#log,
      store: weightStore(this.#stateFile('weights', `-${name}`), this.#log),
    });
    this.sites.set(name, site);
    return site;
  }

  /** Rejects where something cannot start; then what was new is taken away, and what an earlier process left goes on. */
  async start(): Promise<void> {
    this.orders.load(Date.now());
    if (this.#has('dns')) this.measured.load(this.config);
    if (this.#has('dns')) this.setConfig(this.zoneHistory.settle(this.orders.complete(this.config)));
    const { config } = this;
    try {
      this.#hashKeys = loadHashKeys(config, this.#options.folders.state);
      this.#drains.load(this);
      const machines = await this.#startMachines(config, this.#hashKeys);
      this.#register(machines, config);
      for (const site of this.sites.values()) await site.apply(config);
      this.#drains.keepDeadlines(this);
      await untilRouted(this.sites.values(), this.#log);
      for (const role of await this.#startNameServers(config)) this.#addNameServer(role);
      this.#plan();
      this.#scheduleMaintenance();
      this.#watchLoad();
    } catch (error) {
      await this.stop('adopted');
      throw error;
    }
  }

  hashKeyOf(site: string): Uint8Array | undefined {
    return this.#hashKeys.get(site);
  }

  #has(role: Role): boolean {
    return this.#options.roles.has(role);
  }

  /** Starts the roles of machines that are here and do not run yet; all of them or, when it rejects, none. */
  async #startMachines(config: Config, hashKeys: ReadonlyMap<string, Uint8Array>): Promise<StartedMachines> {
    const { machines, folders, objects } = this.#options;
    const log = this.#log;
    const backends: BackendRole[] = [];
    const balancers: BalancerRole[] = [];
    const isRunning = (name: string): boolean =>
      [...this.sites.values()].some((site) => site.backends.has(name) || site.balancers.has(name));
    try {
      for (const backend of this.#has('backend') ? config.backends.values() : []) {
        const machine = machines.get(backend.name);
        if (machine === undefined || !backend.agent || isRunning(backend.name)) continue;
        backends.push(await startBackend(backend, machine, log, objects));
      }
      for (const balancer of this.#has('balancer') ? config.balancers.values() : []) {
        const machine = machines.get(balancer.name);
        const hashKey = hashKeys.get(balancer.site);
        if (machine === undefined || hashKey === undefined || isRunning(balancer.name)) continue;
        const onProbe = this.#take.bind(this);
        balancers.push(await startBalancer({ balancer, machine, hashKey, folders, log, onProbe, objects }));
      }
    } catch (error) {
      await Promise.allSettled([...backends, ...balancers].map((role) => role.close(role.adopted)));
      throw error;
    }
    return { backends, balancers };
  }

  #take(observer: string, result: ProbeResult): void {
    const poll = this.#loadPolls.get(result.id);
    if (poll === undefined) this.health.take(observer, result);
    else
      this.sites
        .get(poll.site)
        ?.weights.takeReport(poll.service, poll.backend, result.utilisation ?? null, result.reason);
  }

  #register({ backends, balancers }: StartedMachines, config: Config): void {
    for (const name of config.sites.keys()) if (!this.sites.has(name)) this.#addSite(name);
    const siteOf = (name: string): SiteRuntime => this.sites.get(name) ?? this.#addSite(name);
    for (const role of backends) siteOf(role.site).backends.set(role.name, role);
    for (const role of balancers) {
      role.drained = this.#drains.hasBalancer(role.name);
      siteOf(role.site).addBalancer(role, config);
    }
  }

  /** Writes down what the operator has drained, so that it stays over a restart. Throws where that is not possible. */
  keepDrains(): void {
    this.#drains.keep(this);
  }

  /** Starts the name servers that are here and do not run yet; all of them or, when it rejects, none. */
  async #startNameServers(config: Config): Promise<DnsRole[]> {
    const started: DnsRole[] = [];
    const { folders } = this.#options;
    try {
      for (const nameServer of this.#has('dns') ? config.nameServers.values() : []) {
        const machine = this.#options.machines.get(nameServer.name);
        if (machine === undefined || this.nameServers.has(nameServer.name)) continue;
        started.push(
          await startDns(config, nameServer, { machine, folders }, this.steering, this.#log, this.zoneHistory),
        );
      }
    } catch (error) {
      await Promise.allSettled(started.map((role) => role.close()));
      throw error;
    }
    return started;
  }

  #addNameServer(role: DnsRole): void {
    const { name, machine } = role;
    this.nameServers.set(name, role);
    this.#siteProbers.set(
      name,
      startProber({
        enter: (run) => inNamespace(machine.netns, run),
        onResult: (result) => {
          this.#probedMs.set(name, steadyMs());
          this.health.take(name, result);
        },
        onProblem: (problem) => this.#log.warn({ nameServer: name }, problem),
      }),
    );
    this.#probedMs.set(name, steadyMs());
    if (role.anycast !== null) role.anycast.setDrained(this.#drains.hasNameServer(name));
  }

  /** Tells every observer what to probe. */
  #plan(): void {
    const { config } = this;
    const watch = (
      observer: string,
      prober: Prober | null,
      plan: readonly PlannedProbe[],
      fallMore = 0,
      polls: readonly LoadPoll[] = [],
    ): void => {
      if (prober === null) return;
      this.health.watch(observer, plan, (service) => {
        const { rise, fall } = config.services.get(service)?.health ?? { rise: 1, fall: 1 };
        return { rise, fall: fall + fallMore };
      });
      prober.setTargets([...plan, ...polls].map((one) => one.target));
    };
    this.#loadPolls.clear();
    for (const site of this.sites.values())
      for (const role of site.balancers.values()) {
        const balancer = config.balancers.get(role.name);
        if (balancer === undefined) continue;
        const plan = planBackendProbes(
          config,
          balancer,
          (name) => site.indices.numberOf(name),
          (service) => site.leavingFrom(service),
        );
        const polls = planLoadPolls(config, balancer, (name) => site.indices.numberOf(name));
        for (const poll of polls) this.#loadPolls.set(poll.target.id, poll);
        watch(role.name, role.prober, plan, 0, polls);
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
    if (backend === null) return;
    const its = this.sites.get(site);
    if (its !== undefined) this.#refresh(its, its.refresh([service]));
  }

  #refresh({ name }: SiteRuntime, done: Promise<void>): void {
    done.catch((error) => {
      if (this.#closed) return;
      this.#log.error({ site: name, reason: (error as Error).message }, 'tables not brought up to date');
    });
  }

  /**
   * Goes over to another configuration. Rejects, and changes nothing, when it cannot be taken over or a new role cannot start;
   * what fails after that is told, the rest is done, and applying again goes on from there. `anyway`: however much demand of DNS it moves.
   */
  apply(config: Config, anyway = false): Promise<void> {
    const done = this.#applying.then(() => this.#applyNow(this.orders.complete(config), anyway));
    this.#applying = done.catch(() => {});
    return done;
  }

  /** Goes over to what the operator ordered of steering. */
  applySteering(): Promise<void> {
    const done = this.#applying.then(() => this.orders.applyTo(this));
    this.#applying = done.catch(() => {});
    return done;
  }

  /** Of what is served. */
  setConfig(config: Config): void {
    this.config = config;
    this.steering.setConfig(config);
    this.delegations.setConfig(config);
    if (!this.#has('dns')) return;
    this.beacons.setConfig(config);
    this.orders.keep(config);
    this.measured.setConfig(config);
  }

  async #applyNow(read: Config, anyway: boolean): Promise<void> {
    if (this.#closed) throw new Error('Portico is being stopped');
    const hashKeys = this.#checkReload(read, anyway);
    const config = this.#has('dns') ? this.zoneHistory.settle(read) : read;
    const machines = await this.#startMachines(config, hashKeys);
    let nameServers: DnsRole[];
    try {
      nameServers = await this.#startNameServers(config);
    } catch (error) {
      await Promise.allSettled([...machines.backends, ...machines.balancers].map((role) => role.close(role.adopted)));
      throw error;
    }
    await Promise.all([...this.nameServers.values()].map((role) => role.apply(config)));
    for (const { name, address } of this.config.backends.values()) {
      const next = config.backends.get(name);
      if (next === undefined || !sameAddress(next.address, address)) this.health.forgetBackend(name);
    }
    this.setConfig(config);
    this.#hashKeys = hashKeys;
    this.#register(machines, config);
    for (const role of nameServers) this.#addNameServer(role);
    const results = await Promise.allSettled([...this.sites.values()].map((site) => site.apply(config)));
    results.push(...(await Promise.allSettled([this.#stopGone(config)])));
    this.#drains.keepDeadlines(this);
    this.#plan();
    for (const name of this.steering.drainedSites) if (!config.sites.has(name)) this.steering.drainedSites.delete(name);
    const failures = results.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).message] : []));
    if (failures.length > 0) throw new Error(`taken over, but for: ${failures.join('; ')}`);
    this.#log.info({ name: config.name }, 'configuration applied');
  }

  /** Throws where the configuration cannot be taken over while this process runs. Gives the hash keys for it. */
  #checkReload(config: Config, anyway: boolean): Map<string, Uint8Array> {
    const sites = [...this.sites.values()];
    const problems = reloadProblems(this.config, config, {
      balancers: new Set(sites.flatMap((site) => [...site.balancers.keys()])),
      agents: new Set(sites.flatMap((site) => [...site.backends.keys()])),
      nameServers: new Set(this.nameServers.keys()),
    });
    const zones = compileZones(config);
    if (!zones.ok) problems.push(...zones.problems.map(({ path, message }) => `${path}: ${message}`));
    const refusal = zones.ok && this.#has('dns') ? this.orders.refusal(this.config, config, anyway) : null;
    if (refusal !== null) problems.push(refusal);
    if (problems.length > 0) throw new Error(problems.join('; '));
    const hashKeys = loadHashKeys(config, this.#options.folders.state);
    for (const site of sites) {
      const [before, after] = [this.#hashKeys.get(site.name), hashKeys.get(site.name)];
      if (site.balancers.size > 0 && before && after && Buffer.compare(before, after) !== 0)
        throw new Error(`sites.${site.name}.hashKey cannot change: every flow would go to another backend`);
    }
    return hashKeys;
  }

  /** Balancers, agents and name servers that the configuration no longer names. An agent goes on while flows may be on its backend. */
  async #stopGone(config: Config): Promise<void> {
    for (const [name, role] of [...this.nameServers]) {
      if (config.nameServers.has(name)) continue;
      this.nameServers.delete(name);
      await this.#siteProbers.get(name)?.stop();
      this.#siteProbers.delete(name);
      this.health.forget(name);
      await role.close({ isGone: true });
    }
    for (const site of this.sites.values())
      for (const name of [...site.balancers.keys()]) {
        if (config.balancers.has(name)) continue;
        await site.removeBalancer(name);
        this.health.forget(name);
      }
    for (const site of [...this.sites.values()])
      if (!config.sites.has(site.name) && site.backends.size === 0) {
        this.sites.delete(site.name);
        await site.close(() => false);
      }
  }

  #beat(): void {
    const isProbed = planSiteProbes(this.config).length > 0;
    for (const [name, role] of this.nameServers)
      role.beat(isProbed ? steadyMs() - (this.#probedMs.get(name) ?? 0) : null);
  }

  /** What a site takes is held against its capacity, every second; what its services refuse, weights and drains are looked at. */
  #watchLoad(): void {
    this.#loadTimer = setInterval(() => {
      this.#beat();
      this.steering.look(this, Date.now());
      this.orders.tick(Date.now());
      this.measured.tick();
      for (const site of this.sites.values()) {
        this.#refresh(site, site.look());
        this.floods.look(site, steadyMs());
        this.steering.lookAtRate(site.name, this.load.sample(site, steadyMs()), this.#log);
      }
    }, LOAD_MS);
  }

  #scheduleMaintenance(): void {
    this.#maintenance = setTimeout(() => {
      this.#maintaining = this.#maintain().then(() => {
        if (!this.#closed) this.#scheduleMaintenance();
      });
    }, MAINTAIN_MS);
  }

  /** Never rejects: what fails at one site is told, and tried again in the next round. */
  async #maintain(): Promise<void> {
    const maintainOne = async (site: SiteRuntime): Promise<void> => {
      try {
        if ((await site.maintain()).hasLeft) this.#plan();
        await this.#endAgents(site);
      } catch (error) {
        if (!this.#closed) this.#log.error({ site: site.name, reason: (error as Error).message }, 'maintenance failed');
      }
    };
    await Promise.all([...this.sites.values()].map(maintainOne));
  }

  /** Agents of backends that the configuration no longer names, or no longer gives one, when no flow can be on them any more. */
  async #endAgents(site: SiteRuntime): Promise<void> {
    for (const [name, role] of [...site.backends]) {
      const backend = this.config.backends.get(name);
      if (backend?.agent || site.isLeaving(role.address)) continue;
      site.backends.delete(name);
      await role.close(false);
      this.#log.info({ site: site.name, backend: name }, 'agent ended');
    }
  }

  /** Resolves when every table is as it should be for what is known now. */
  async idle(): Promise<void> {
    await this.#applying;
    for (const site of this.sites.values()) {
      await site.refresh();
      await site.idle();
    }
  }

  /** Resolves when every service of every site is reached through its VIP, as the name servers' probes see it. */
  async untilServing(limitMs: number): Promise<void> {
    if (this.nameServers.size > 0) await untilReached(this, limitMs);
    return this.idle();
  }

  get epoch(): number {
    let epoch = 0;
    for (const site of this.sites.values()) epoch += site.tables.epoch;
    return epoch;
  }

  /**
   * `keep` true: what is in kernels and what BIRD announces goes on without this process; 'adopted': where an earlier process left it; false: nothing
   * goes on. `isRestart`: name servers leave their sockets to a process that answers for half a minute, until a successor has them. Waits for what is under way; further calls get the same end. Never rejects: what cannot be ended is told.
   */
  stop(keep: boolean | 'adopted', isRestart = false): Promise<void> {
    this.#stopping ??= this.#stop(keep, isRestart);
    return this.#stopping;
  }

  async #stop(keep: boolean | 'adopted', isRestart: boolean): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#maintenance);
    clearInterval(this.#loadTimer);
    this.delegations.close();
    await this.beacons.close();
    await this.measured.stop();
    await this.#applying;
    await this.#maintaining;
    const keeps = (role: { readonly adopted: boolean }): boolean => (keep === 'adopted' ? role.adopted : keep);
    const results = await Promise.allSettled([
      ...[...this.#siteProbers.values()].map((prober) => prober.stop()),
      ...[...this.nameServers.values()].map((role) => role.close({ handsOver: isRestart })),
      ...[...this.sites.values()].map((site) => site.close(keeps)),
    ]);
    for (const result of results)
      if (result.status === 'rejected')
        this.#log.error({ reason: (result.reason as Error).message }, 'a role did not end as it should');
  }
}
