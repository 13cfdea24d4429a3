/** Which probes each observer sends: derived from the configuration, pure. */
import type { Backend, Balancer, Config, HealthCheck, Service } from '../config/model.ts';
import { VipIndex } from '../config/service-keys.ts';
import {
  type Address,
  addressInPrefix,
  firstHost,
  formatAddress,
  hostPrefix,
  isHost,
  type Prefix,
  sameAddress,
  samePrefix,
} from '../net/address.ts';
import type { ProbeTarget } from '../observe/probe-target.ts';

export type ProbePath = 'vip' | 'direct';

/** A target with what it is about. */
export interface PlannedProbe {
  readonly service: string;
  readonly site: string;
  /** Null: the probe is of the site's VIP, whoever answers. */
  readonly backend: string | null;
  readonly path: ProbePath;
  readonly target: ProbeTarget;
}

function targetOf(
  health: HealthCheck,
  id: string,
  address: Address,
  port: number,
  source: Address | null,
): ProbeTarget {
  return {
    id,
    type: health.type,
    sourceAddress: source === null ? null : formatAddress(source),
    address: formatAddress(address),
    port,
    host: health.host,
    path: health.path,
    expectStatus: health.expectStatus,
    expectBody: health.expectBody,
    intervalMs: health.intervalMs,
    timeoutMs: health.timeoutMs,
  };
}

/**
 * The address of a balancer's prober from which probes reach the backend of that index, through whatever VIP; null:
 * the balancer has no prober, or its prefix has no such address. The first address of the prefix stays free.
 */
export function probeSource(balancer: Balancer, backendIndex: number): Address | null {
  return balancer.probePrefix === null ? null : addressInPrefix(balancer.probePrefix, backendIndex);
}

/** Tried for one that is no other VIP's. */
const MAX_TRIED = 1024;

/**
 * The address that a VIP is probed by: of a prefix the first that a host may have and that is in no longer VIP of the site. Null: none
 * of the first thousand is.
 */
function probedAddress(vip: Prefix, siteVips: VipIndex<Prefix>): Address | null {
  const first = firstHost(vip);
  const offset = sameAddress(first, vip.address) ? 0 : 1;
  for (let i = 0; i < MAX_TRIED; i++) {
    const address = addressInPrefix(vip, offset + i);
    if (address === null) return null;
    const [longest] = siteVips.around(hostPrefix(address));
    if (longest !== undefined && samePrefix(longest, vip)) return address;
  }
  return null;
}

/** All VIPs of a site. */
function vipsAt(config: Config, site: string): VipIndex<Prefix> {
  const index = new VipIndex<Prefix>();
  for (const service of config.services.values()) for (const vip of service.vips.get(site) ?? []) index.set(vip, vip);
  return index;
}

/** An address rather than a prefix: that is what most users have. */
function vipForProbes(service: Service, balancer: Balancer, siteVips: VipIndex<Prefix>): Address | null {
  const family = balancer.probePrefix?.address.family;
  const vips = (service.vips.get(balancer.site) ?? []).filter((vip) => vip.address.family === family);
  const vip = vips.find(isHost) ?? vips[0];
  return vip === undefined ? null : probedAddress(vip, siteVips);
}

/** Where a backend listens for what comes to the probed port of the VIP: `nat` may lead it to another. */
function directPort({ health, ports, forwarding, backendPort }: Service, backend: Backend): number {
  if ((backend.forwarding ?? forwarding) !== 'nat' || backendPort === null) return health.port;
  return ports.some(({ protocol, port }) => protocol === 'tcp' && port === health.port) ? backendPort : health.port;
}

/** Of direct probes by `nat`; nobody else's, so that what comes back to it is not taken for a reply of the VIP. */
export function directProbeSource(balancer: Balancer): Address | null {
  return balancer.probePrefix === null ? null : addressInPrefix(balancer.probePrefix, 0);
}

/** Backends that the configuration no longer names, but that flows of the service may still be on. */
export type LeavingOf = (service: string) => readonly Backend[];

/** What a balancer's prober watches: every backend of every service of its site, also those that leave. */
export function planBackendProbes(
  config: Config,
  balancer: Balancer,
  indexOf: (backend: string) => number | undefined,
  leaving: LeavingOf = () => [],
): PlannedProbe[] {
  const plan: PlannedProbe[] = [];
  const siteVips = vipsAt(config, balancer.site);
  for (const service of config.services.values()) {
    const { health } = service;
    const vip = vipForProbes(service, balancer, siteVips);
    const left = new Map(leaving(service.name).map((backend) => [backend.name, backend]));
    for (const name of [...(service.backends.get(balancer.site) ?? []), ...left.keys()]) {
      const backend = left.get(name) ?? config.backends.get(name);
      const index = indexOf(name);
      if (backend === undefined || index === undefined) continue;
      const source = probeSource(balancer, index);
      const add = (path: ProbePath, address: Address, from: Address | null): void => {
        const port = path === 'vip' ? health.port : directPort(service, backend);
        const target = targetOf(health, `${service.name}/${name}/${path}`, address, port, from);
        plan.push({ service: service.name, site: balancer.site, backend: name, path, target });
      };
      const throughVip = health.through !== 'direct' && vip !== null && source !== null;
      if (throughVip) add('vip', vip, source);
      // Where no probe can travel the VIP's path, the direct one is better than none.
      if (health.through !== 'vip' || !throughVip) {
        const isNat = (backend.forwarding ?? service.forwarding) === 'nat';
        const from = isNat ? directProbeSource(balancer) : source;
        add('direct', backend.address, from?.family === backend.address.family ? from : null);
      }
    }
  }
  return plan;
}

/** A question for the load of one backend. */
export interface LoadPoll {
  readonly service: string;
  readonly site: string;
  readonly backend: string;
  readonly target: ProbeTarget;
}

/** A poll that takes longer than this is lost. */
const LOAD_TIMEOUT_MS = 2_000;

/** Whom a balancer's prober asks for load: every backend of every service of its site whose weights follow load. */
export function planLoadPolls(
  config: Config,
  balancer: Balancer,
  indexOf: (backend: string) => number | undefined,
): LoadPoll[] {
  const plan: LoadPoll[] = [];
  for (const { name: service, load, backends } of config.services.values()) {
    for (const name of load === null ? [] : (backends.get(balancer.site) ?? [])) {
      const backend = config.backends.get(name);
      const index = indexOf(name);
      if (load === null || backend === undefined || index === undefined) continue;
      const source = probeSource(balancer, index);
      const target: ProbeTarget = {
        id: `load/${service}/${balancer.site}/${name}`,
        type: 'load',
        sourceAddress: source?.family === backend.address.family ? formatAddress(source) : null,
        address: formatAddress(backend.address),
        port: load.port,
        host: formatAddress(backend.address),
        path: load.path,
        expectStatus: 200,
        expectBody: null,
        intervalMs: load.intervalMs,
        timeoutMs: Math.min(LOAD_TIMEOUT_MS, load.intervalMs),
      };
      plan.push({ service, site: balancer.site, backend: name, target });
    }
  }
  return plan;
}

/** What a name server's prober watches: one VIP of each steered service at each site. */
export function planSiteProbes(config: Config): PlannedProbe[] {
  const plan: PlannedProbe[] = [];
  for (const service of config.services.values()) {
    if (service.dnsName === null) continue;
    for (const [site, vips] of service.vips) {
      const vip = vips.find(isHost);
      if (vip === undefined) continue;
      const target = targetOf(service.health, `${service.name}/${site}`, vip.address, service.health.port, null);
      plan.push({ service: service.name, site, backend: null, path: 'vip', target });
    }
  }
  return plan;
}
