/** The state of a running fleet as the API shows it. Reads, changes nothing. */
import { readFileSync } from 'node:fs';
import type { Backend, Balancer, Config, Service } from '../config/model.ts';
import { serverIdOf } from '../decide/server-ids.ts';
import type { BalancerRole } from '../fleet/balancer-role.ts';
import { drainHolders } from '../fleet/drain-holders.ts';
import { topPrefixes } from '../fleet/flood-watch.ts';
import { briefOf, type MeasuredStatus } from '../fleet/measured-steering.ts';
import type { Runtime } from '../fleet/runtime.ts';
import type { SiteRuntime } from '../fleet/site-runtime.ts';
import { formatAddress, formatHostOrPrefix } from '../net/address.ts';
import type { PrefixCount } from '../serve/vip/prefixes.ts';
import { delegationProblems, delegationStatus, nameServerProblems, nameServerStatus } from './name-server-status.ts';
import { secondaryProblems } from './secondary-status.ts';
import type {
  BackendStatus,
  BalancerState,
  BalancerStatus,
  DrainStatus,
  FloodStatus,
  SiteServiceStatus,
  SiteStatus,
  Status,
} from './source.ts';

const { version: VERSION } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export function fleetStatus(runtime: Runtime): Status {
  const { config } = runtime;
  const sites = [...config.sites.keys()].map((name) => siteStatus(runtime, name));
  const nameServers = [...config.nameServers.keys()].map((name) => nameServerStatus(runtime, name));
  const delegations = runtime.delegations.states.map(delegationStatus);
  const measured = runtime.measured.status();
  return {
    name: config.name,
    version: VERSION,
    epoch: runtime.epoch,
    uptimeSeconds: Math.round((performance.now() - runtime.startedMs) / 1000),
    problems: [
      ...sites.flatMap((site) => problemsOf(runtime, site)),
      ...nameServers.flatMap(nameServerProblems),
      ...nameServers.flatMap(({ name, secondaries }) => secondaryProblems(name, secondaries)),
      ...runtime.zoneHistory.problems,
      ...delegations.flatMap(delegationProblems),
      ...measuredProblems(measured),
    ],
    sites,
    nameServers,
    delegations,
    measured: measured === null ? null : briefOf(measured),
  };
}

function measuredProblems(measured: MeasuredStatus | null): string[] {
  if (measured === null) return [];
  const { thread, held, isOld } = measured;
  const problems: string[] = [];
  if (thread.failure !== null && thread.restarts > 0)
    problems.push(`measured steering does not run: ${thread.failure}`);
  if (held !== null) problems.push(`the newest measured map is not served: ${held}`);
  if (isOld) problems.push('measured steering has not decided for long: the last map stays');
  return problems;
}

function problemsOf(runtime: Runtime, site: SiteStatus): string[] {
  const problems: string[] = [...(runtime.sites.get(site.name)?.weights.problems() ?? [])];
  if (!site.up) problems.push(`site ${site.name} ${site.drained ? 'is drained' : 'is not reached'}`);
  for (const balancer of site.balancers)
    if (balancer.state === 'failed' || balancer.state === 'withdrawn')
      problems.push(`balancer ${balancer.name} is ${balancer.state}: ${balancer.reason ?? 'no reason known'}`);
  for (const service of site.services) {
    if (service.floods.underPressureSeconds !== null)
      problems.push(`service ${service.name} at ${site.name} is under pressure: new flows are above its limits`);
    if (service.panic)
      problems.push(`service ${service.name} at ${site.name}: most backends look dead, so all are used`);
    for (const backend of service.backends)
      if (backend.verdict === 'unhealthy')
        problems.push(
          `backend ${backend.name} of ${service.name}: ${backend.diagnosis} (${backend.reason ?? 'no reason known'})`,
        );
  }
  return problems;
}

function siteStatus(runtime: Runtime, name: string): SiteStatus {
  const { config } = runtime;
  const site = runtime.sites.get(name);
  const services = [...config.services.values()].filter((service) => service.vips.has(name));
  const top = site === undefined ? new Map() : topPrefixes(site, TOP_PREFIXES);
  return {
    name,
    location: config.sites.get(name)?.location ?? { latitudeDegrees: 0, longitudeDegrees: 0 },
    up: services.length === 0 || services.some((service) => runtime.steering.siteUp(service.name, name)),
    drained: runtime.steering.drainedSites.has(name),
    balancers: [...config.balancers.values()]
      .filter((balancer) => balancer.site === name)
      .map((balancer) => balancerStatus(balancer, site?.balancers.get(balancer.name))),
    services: site === undefined ? [] : services.map((service) => serviceStatus(runtime, site, service, config, top)),
  };
}

function stateOf(role: BalancerRole): { state: BalancerState; reason: string | null } {
  if (role.withdrawnFor !== null) return { state: 'withdrawn', reason: role.withdrawnFor };
  const down = role.sessions.filter((session) => !session.established);
  if (role.sessions.length > 0 && down.length === role.sessions.length)
    return {
      state: 'failed',
      reason: `no BGP session with ${down.map((one) => formatAddress(one.router)).join(', ')}`,
    };
  return { state: role.drained ? 'drained' : 'forwarding', reason: null };
}

function balancerStatus(balancer: Balancer, role: BalancerRole | undefined): BalancerStatus {
  if (role === undefined)
    return { name: balancer.name, state: 'elsewhere', reason: null, attachments: [], sessions: [], announced: [] };
  return {
    name: balancer.name,
    ...stateOf(role),
    attachments: role.forwarder.attachments.map(({ interfaceName, mode }) => ({ interface: interfaceName, mode })),
    sessions: role.sessions.map(({ router, established }) => ({ router: formatAddress(router), up: established })),
    announced: role.announced.map(formatHostOrPrefix),
  };
}

const TOP_PREFIXES = 10;

function floodStatus(
  runtime: Runtime,
  site: SiteRuntime,
  service: Service,
  top: ReadonlyMap<number, readonly PrefixCount[]>,
): FloodStatus {
  const subject = site.plan.services.find((planned) => planned.service.name === service.name)?.subject ?? 0;
  const sinceMs = runtime.floods.pressureSinceMs(site.name, service.name);
  const nowMs = Date.now();
  return {
    underPressureSeconds: sinceMs === null ? null : Math.round((performance.now() - sinceMs) / 1000),
    top: (top.get(subject) ?? []).map(({ prefix, newPerSecond, errorPerSecond, seconds, refused }) => ({
      prefix,
      newPerSecond: Math.round(newPerSecond),
      errorPerSecond: Math.round(errorPerSecond),
      sinceMs: Math.round(nowMs - seconds * 1000),
      refused,
    })),
  };
}

function serverIdText(service: Service, backend: Backend | undefined, index: number | undefined): string | null {
  if (service.quic === null || backend === undefined || index === undefined) return null;
  const id = serverIdOf(backend, index, service.quic.serverIdBytes);
  return id === null ? null : Buffer.from(id).toString('hex');
}

function serviceStatus(
  runtime: Runtime,
  site: SiteRuntime,
  service: Service,
  config: Config,
  top: ReadonlyMap<number, readonly PrefixCount[]>,
): SiteServiceStatus {
  const summary = site.tables.summary(service.name);
  const announced = new Set([...site.balancers.values()].flatMap((role) => role.announced.map(formatHostOrPrefix)));
  const backends = (service.backends.get(site.name) ?? []).map((name): BackendStatus => {
    const backend = config.backends.get(name);
    const index = site.indices.numberOf(name);
    return {
      name,
      address: backend === undefined ? '' : formatAddress(backend.address),
      ...runtime.health.backend(service.name, name),
      drained: site.drains.isDrained(name),
      drain: site.drains.isDrained(name) ? drainStatus(site, service.name, name) : null,
      weight: backend?.weight ?? 0,
      ...weightStatus(site, service.name, name, backend?.weight ?? 0),
      slots: index === undefined ? 0 : (summary?.slotsByIndex.get(index) ?? 0),
      serverId: serverIdText(service, backend, index),
    };
  });
  return {
    name: service.name,
    dnsName: service.dnsName,
    trafficClass: service.trafficClass,
    vips: (service.vips.get(site.name) ?? []).map((vip) => {
      const address = formatHostOrPrefix(vip);
      return { address, announced: announced.has(address) };
    }),
    ports: service.ports.map(({ protocol, port }) => `${port === 0 ? 'any' : port}/${protocol}`),
    reached: runtime.health.site(service.name, site.name),
    panic: site.panicking.has(service.name),
    slots: summary?.slots ?? service.slots,
    unsettledSlots: summary?.unsettled ?? 0,
    waitingSlots: summary?.waiting ?? 0,
    heldSlots: summary?.held ?? 0,
    floods: floodStatus(runtime, site, service, top),
    backends,
  };
}

function weightStatus(
  site: SiteRuntime,
  service: string,
  backend: string,
  weight: number,
): Pick<BackendStatus, 'effectiveWeight' | 'weightReason' | 'utilisation'> {
  const status = site.weights.status(service, backend);
  return {
    effectiveWeight: status?.effective ?? weight,
    weightReason: status?.reason ?? 'gets no new flows',
    utilisation: status?.utilisation ?? null,
  };
}

function drainStatus(site: SiteRuntime, service: string, backend: string): DrainStatus {
  const deadline = site.drains.deadlines.get(backend)?.atMs;
  return {
    leftMs: deadline === undefined ? null : Math.max(0, deadline - Date.now()),
    givenUp: site.drains.isGivenUp(backend),
    ...drainHolders(site, service, backend),
  };
}
