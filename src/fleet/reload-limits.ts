/** What a running process cannot take over from a changed configuration, because it is fixed when a role starts. Pure. */

import { type Balancer, type Config, isHashScheduler, type Service } from '../config/model.ts';
import { type Address, formatAddress, formatPrefix } from '../net/address.ts';
import { anycastSpeaker } from './anycast-speaker.ts';

/** Names of the roles that run in this process. */
export interface RunningRoles {
  readonly balancers: ReadonlySet<string>;
  readonly agents: ReadonlySet<string>;
  readonly nameServers: ReadonlySet<string>;
}

const RESTART = 'end "portico up" and start it again';

function listOf(addresses: readonly Address[]): string {
  return addresses.map(formatAddress).join(', ');
}

function fixedFields(balancer: Balancer): Readonly<Record<string, string>> {
  return {
    site: balancer.site,
    addresses: listOf(balancer.addresses),
    interfaces: balancer.interfaces.join(', '),
    probes: balancer.probePrefix === null ? 'none' : formatPrefix(balancer.probePrefix),
    bgp: `${balancer.asn}: ${balancer.routers.map(({ address, asn }) => `${formatAddress(address)} ${asn}`).join(', ')}`,
    connections: String(balancer.connections),
  };
}

function changes(
  path: string,
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
  remedy = RESTART,
): string[] {
  return Object.keys(before)
    .filter((field) => before[field] !== after[field])
    .map((field) => `${path}${field} cannot change from ${before[field]} to ${after[field]} while it runs: ${remedy}`);
}

/** What would break connections that are open, because their packets would go elsewhere or come as something else. */
function serviceProblems(before: Config, service: Service, after: Config, next: Service): string[] {
  const remedy = 'it breaks connections; give the service another name, or take the balancers down first';
  const [old, wanted]: Record<string, string>[] = [{}, {}];
  const compare = (field: string, from: string, to: string, isBreaking: boolean): void => {
    if (isBreaking) [old[field], wanted[field]] = [from, to];
  };
  compare('slots', String(service.slots), String(next.slots), service.slots !== next.slots);
  const byClient = ({ scheduler }: Service) => scheduler === 'source-hash';
  // Flows would hash to other slots.
  compare('scheduler', service.scheduler, next.scheduler, byClient(service) !== byClient(next));
  const [mode, nextMode] = [service.tracking.mode, next.tracking.mode];
  // Entries tell where flows are, and would be asked no more; or flows without any would be asked for theirs when slots change.
  const isOther = mode !== nextMode && mode !== 'none';
  compare('tracking.mode', trackingText(service), trackingText(next), isOther);
  const rewritten = rewrittenTo(before, service);
  const nextRewritten = rewrittenTo(after, next);
  // To a backend's socket, a packet that is rewritten and one that is not are of two connections.
  const moved = [...rewritten].find(([name, to]) => nextRewritten.has(name) && nextRewritten.get(name) !== to);
  if (moved !== undefined) {
    const [name, to] = moved;
    compare(`forwarding (${name})`, to, nextRewritten.get(name) ?? '', true);
  }
  return changes(`services.${service.name}.`, old, wanted, remedy);
}

function trackingText({ tracking, scheduler }: Service): string {
  return tracking.mode === 'full' && !isHashScheduler(scheduler) ? `full (for ${scheduler})` : tracking.mode;
}

/** What the backends of a service get as destination: the VIP, or their own address with some port. */
function rewrittenTo(config: Config, service: Service): Map<string, string> {
  const names = [...service.backends.values()].flat();
  return new Map(
    names.map((name) => {
      const mode = config.backends.get(name)?.forwarding ?? service.forwarding;
      if (mode !== 'nat') return [name, 'packets for the VIP'];
      return [name, service.backendPort === null ? 'nat' : `nat to port ${service.backendPort}`];
    }),
  );
}

/** A sentence for each; empty: everything can be taken over. Machines that are gone or new are no change. */
export function reloadProblems(before: Config, after: Config, running: RunningRoles): string[] {
  const problems = changes(
    '',
    { name: before.name, state: before.stateFolder },
    { name: after.name, state: after.stateFolder },
  );
  for (const service of before.services.values()) {
    const next = after.services.get(service.name);
    if (next !== undefined) problems.push(...serviceProblems(before, service, after, next));
  }
  for (const name of running.balancers) {
    const [old, next] = [before.balancers.get(name), after.balancers.get(name)];
    if (old !== undefined && next !== undefined)
      problems.push(...changes(`balancers.${name}.`, fixedFields(old), fixedFields(next)));
  }
  for (const name of running.agents) {
    const [old, next] = [before.backends.get(name), after.backends.get(name)];
    const fixed = (one: NonNullable<typeof old>) => ({
      site: one.site,
      address: formatAddress(one.address),
      interfaces: one.interfaces.join(', '),
    });
    if (old !== undefined && next !== undefined)
      problems.push(...changes(`backends.${name}.`, fixed(old), fixed(next)));
  }
  for (const name of running.nameServers) {
    const [old, next] = [before.nameServers.get(name), after.nameServers.get(name)];
    const fixed = (one: NonNullable<typeof old>) => ({
      listen: one.listen.map(({ address, port }) => `${formatAddress(address)} port ${port}`).join(', '),
      anycast: one.anycast === null ? '' : JSON.stringify(anycastSpeaker(one, one.anycast)),
    });
    if (old !== undefined && next !== undefined)
      problems.push(...changes(`dns.servers.${name}.`, fixed(old), fixed(next)));
  }
  return problems;
}
