/** The breakage lab with Portico on its machines, and what can be done to it while connections are held. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config, Service } from '../../config/model.ts';
import type { BalancerRole } from '../../fleet/balancer-role.ts';
import { loadHashKeys } from '../../fleet/hash-keys.ts';
import type { Log } from '../../fleet/log.ts';
import type { Runtime } from '../../fleet/runtime.ts';
import type { SiteRuntime } from '../../fleet/site-runtime.ts';
import type { SlotChange } from '../../fleet/table-target.ts';
import { formatAddress, formatHostOrPrefix } from '../../net/address.ts';
import { countPackets } from '../../serve/vip/counters.ts';
import { BUCKET_ENTRIES } from '../../serve/vip/layout.gen.ts';
import { listInstances } from '../../serve/vip/pins.ts';
import type { Lab } from '../build.ts';
import { PROBE_INTERFACE, startPorticoInLab, stateFolderIn } from '../portico.ts';
import { TCP_PORT } from './messages.ts';
import { makeVersion, removeVersion, takeOver } from './other-version.ts';

const READY_LIMIT_MS = 30_000;
const ROUTES_LIMIT_MS = 10_000;
const POLL_MS = 50;
const HOOK_LIMIT_MS = 1_500;

/** The configuration without the spare backend and other services than these. */
export function trimConfig(full: Config, variants: readonly string[], without: readonly string[]): Config {
  const keeps = (name: string): boolean => !without.includes(name);
  const services = [...full.services].filter(([name]) => variants.includes(name));
  const trimmed = services.map(([name, service]): [string, Service] => [
    name,
    {
      ...service,
      backends: new Map([...service.backends].map(([site, names]) => [site, names.filter(keeps)])),
    },
  ]);
  const backends = new Map([...full.backends].filter(([name]) => keeps(name)));
  return { ...full, services: new Map(trimmed), backends };
}

export function withWeights(config: Config, weights: Readonly<Record<string, number>>): Config {
  const backends = new Map(
    [...config.backends].map(([name, backend]) => [name, { ...backend, weight: weights[name] ?? backend.weight }]),
  );
  return { ...config, backends };
}

export function withSettleAfter(config: Config, settleAfterMs: number): Config {
  const services = new Map(
    [...config.services].map(([name, service]) => [
      name,
      { ...service, tracking: { ...service.tracking, settleAfterMs } },
    ]),
  );
  return { ...config, services };
}

export function withConnections(config: Config, connections: number): Config {
  const balancers = new Map([...config.balancers].map(([name, balancer]) => [name, { ...balancer, connections }]));
  return { ...config, balancers };
}

export class World {
  readonly lab: Lab;
  /** With every backend. */
  readonly full: Config;
  readonly variants: readonly string[];
  /** Backends that were killed in this row. */
  readonly dead = new Set<string>();
  readonly #deadBalancers = new Set<string>();
  #version: string | null = null;
  readonly #log: Log;
  #runtime: Runtime | null = null;

  constructor(lab: Lab, full: Config, variants: readonly string[], log: Log) {
    this.lab = lab;
    this.full = full;
    this.variants = variants;
    this.#log = log;
  }

  get runtime(): Runtime {
    if (this.#runtime === null) throw new Error('lab: Portico does not run');
    return this.#runtime;
  }

  get site(): SiteRuntime {
    return [...this.runtime.sites.values()][0] as SiteRuntime;
  }

  balancer(name: string): BalancerRole {
    const role = this.site.balancers.get(name);
    if (role === undefined) throw new Error(`lab: no balancer ${name}`);
    return role;
  }

  /** How a row begins: all but these backends. */
  config(without: readonly string[]): Config {
    return trimConfig(this.full, this.variants, without);
  }

  async startPortico(config: Config): Promise<void> {
    this.#runtime = await startPorticoInLab(this.lab, config, this.#log);
    await this.#untilHealthy(config);
    await this.untilRouted(this.site.balancers.size);
  }

  /** Nothing of Portico stays; what was killed is there again. */
  async stopPortico(): Promise<void> {
    await this.#runtime?.stop(false);
    this.#runtime = null;
    rmSync(join(this.#state, 'drains'), { recursive: true, force: true });
    if (this.#version !== null) removeVersion(this.#version);
    this.#version = null;
    for (const name of this.dead) await this.lab.restoreBackend(name);
    for (const name of this.#deadBalancers) await this.lab.restoreBalancer(name);
    this.dead.clear();
    this.#deadBalancers.clear();
  }

  /** The process ends and leaves what is in the kernels and routers; later another one starts. */
  async restart(meanwhile: () => Promise<void>): Promise<void> {
    const { config } = this.runtime;
    await this.runtime.stop(true);
    this.#runtime = null;
    await meanwhile();
    this.#runtime = await startPorticoInLab(this.lab, config, this.#log);
    await this.#untilHealthy(config);
  }

  /** Another version of Portico, whose kernel programs have other structs. Its folder goes with the row's Portico. */
  async makeVersion(): Promise<void> {
    this.#version = await makeVersion();
  }

  /** While no process runs: one of the other version takes over every balancer and backend, and ends. */
  async takeOverByVersion(): Promise<void> {
    if (this.#version === null) throw new Error('lab: no other version was made');
    const { balancers, backends } = this.full;
    const keys = loadHashKeys(this.full, this.#state);
    const lives = (name: string) => !this.dead.has(name) && !this.#deadBalancers.has(name);
    const common = ({ name, interfaces }: { name: string; interfaces: readonly string[] }) => {
      const netns = this.lab.machines.get(name)!.netns;
      return { name: netns, netns, interfaces };
    };
    const report = await takeOver(this.#version, {
      balancers: [...balancers.values()]
        .filter(({ name }) => lives(name))
        .map((balancer) => ({
          ...common(balancer),
          probeInterface: this.lab.machines.has(`probe-${balancer.name}`) ? PROBE_INTERFACE : null,
          addresses: balancer.addresses.map(formatAddress),
          buckets: balancer.connections / BUCKET_ENTRIES,
          hashKey: Buffer.from(keys.get(balancer.site) ?? []).toString('hex'),
        })),
      agents: [...backends.values()]
        .filter(({ name, agent }) => agent && lives(name) && this.#pinned(name))
        .map((backend) => ({ ...common(backend), addresses: [formatAddress(backend.address)] })),
    });
    for (const { inheritance } of [...report.balancers, ...report.agents]) {
      if (inheritance === null || inheritance.migrated.length === 0) throw new Error('lab: nothing was migrated');
    }
  }

  /** What Portico keeps over a restart. */
  get #state(): string {
    return stateFolderIn(this.lab);
  }

  #pinned(name: string): boolean {
    return listInstances().includes(this.lab.machines.get(name)!.netns);
  }

  /** Packets to the VIPs of these services so far, as the balancers count them. */
  countPackets(variants: readonly string[]): number {
    let packets = 0;
    for (const { service, subject } of this.site.plan.services)
      if (variants.includes(service.name))
        for (const { forwarder } of this.site.balancers.values())
          packets += countPackets(forwarder.counters.read(subject));
    return packets;
  }

  /** Where an attacker aims: the VIPs of these services. */
  targets(variants: readonly string[]): { readonly vip: string; readonly port: number }[] {
    return variants.flatMap((variant) =>
      [...(this.full.services.get(variant)?.vips.values() ?? [])]
        .flat()
        .map((vip) => ({ vip: formatHostOrPrefix(vip), port: TCP_PORT })),
    );
  }

  async #untilHealthy(config: Config): Promise<void> {
    const { health } = this.runtime;
    const limitAt = performance.now() + READY_LIMIT_MS;
    for (;;) {
      const missing = [...config.services.values()].flatMap((service) =>
        [...service.backends.values()].flat().flatMap((name) => {
          const { verdict, reason } = health.backend(service.name, name);
          return this.dead.has(name) || verdict === 'healthy'
            ? []
            : [`${name} of ${service.name} (${reason ?? verdict})`];
        }),
      );
      if (missing.length === 0) return this.runtime.idle();
      if (performance.now() > limitAt)
        throw new Error(`lab: not healthy within ${READY_LIMIT_MS} ms: ${missing.slice(0, 8).join(', ')}`);
      await sleep(POLL_MS);
    }
  }

  /** Resolves when the site's router spreads every VIP over so many balancers. */
  async untilRouted(balancers: number, limitMs = ROUTES_LIMIT_MS): Promise<void> {
    const vips = [...this.runtime.config.services.values()].flatMap((service) => [...service.vips.values()].flat());
    const router = `router-${this.site.name}`;
    const limitAt = performance.now() + limitMs;
    for (;;) {
      const counts = await Promise.all(
        [4, 6].map(async (family) => {
          const text = await this.lab.run(router, ['ip', '-j', `-${family}`, 'route', 'show', 'proto', 'bird']);
          return (JSON.parse(text || '[]') as { dst: string; nexthops?: unknown[] }[]).map(
            ({ dst, nexthops }) => [dst, nexthops?.length ?? 1] as const,
          );
        }),
      );
      const known = new Map(counts.flat());
      if (vips.every((vip) => known.get(formatHostOrPrefix(vip)) === balancers)) return;
      if (performance.now() > limitAt)
        throw new Error(`lab: not every VIP is routed to ${balancers} balancers: ${JSON.stringify([...known])}`);
      await sleep(POLL_MS);
    }
  }

  async apply(config: Config): Promise<void> {
    await this.runtime.apply(config);
  }

  async drain(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (this.site.drains.byOperator.has(name)) throw new Error(`lab: ${name} is drained already`);
      this.site.drains.byOperator.add(name);
    }
    await this.site.refresh();
  }

  async undrain(name: string): Promise<void> {
    this.site.drains.byOperator.delete(name);
    await this.site.refresh();
  }

  async killBackend(name: string): Promise<void> {
    this.dead.add(name);
    await this.lab.killBackend(name);
  }

  async killBalancer(name: string): Promise<void> {
    this.#deadBalancers.add(name);
    await this.lab.killBalancer(name);
  }

  /**
   * `hook` runs in the middle of each service's next change: all balancers have the candidates, none has switched. It gets the service's
   * turn, from 0 on; services change one after the other.
   */
  betweenPhases(hook: (turn: number) => Promise<void>): void {
    const begun = new Map<number, Promise<void>>();
    for (const role of this.site.balancers.values()) {
      const write = role.writeSlots.bind(role);
      role.writeSlots = async (subject, slots, indices, change: SlotChange): Promise<void> => {
        if (change === 'switch') {
          // A balancer that took longer would be given up: on a busy machine the change goes on before the hook's end.
          if (!begun.has(subject)) begun.set(subject, Promise.race([hook(begun.size), sleep(HOOK_LIMIT_MS)]));
          await begun.get(subject);
        }
        return write(subject, slots, indices, change);
      };
    }
  }

  /** A machine that is dead does not take changes either, though here its maps are at hand. */
  silence(name: string): void {
    const never = new Promise<never>(() => {});
    const role = this.balancer(name);
    const write = role.writeSlots.bind(role);
    role.writeSlots = (subject, slots, indices, change: SlotChange) =>
      this.#deadBalancers.has(name) ? never : write(subject, slots, indices, change);
  }

  /** It does not answer whether its slots may settle. */
  refuseSettling(name: string): void {
    const role = this.balancer(name);
    role.vetoSettling = () => new Promise(() => {});
  }
}
