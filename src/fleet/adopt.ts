/** After a restart: which numbers names had, read back from what an earlier process pinned. Changes nothing in the kernel. */
import type { Backend, Config } from '../config/model.ts';
import { type Address, formatAddress, type Prefix, sameAddress, samePrefix } from '../net/address.ts';
import type { BackendEntry } from '../serve/vip/machine-entry.ts';
import type { ServiceKey, VipFields } from '../serve/vip/service-maps.ts';
import type { Allocation } from './allocation.ts';
import { type PlannedBackend, serviceName, vipName } from './site-plan.ts';

/** What is read of a forwarder. */
export interface AdoptedMaps {
  listBackends(): readonly Pick<BackendEntry, 'index' | 'address' | 'agent' | 'forwarding'>[];
  readonly vips: { list(): readonly (VipFields & { readonly prefix: Prefix })[] };
  readonly services: { list(): readonly { readonly key: ServiceKey; readonly subject: number }[] };
}

/** Name under which a backend that the configuration no longer names goes on until no flow can be on it any more. */
export function formerName(address: Address): string {
  return `former ${formatAddress(address)}`;
}

/** A backend as those who leave are kept. */
export function formerBackend(
  site: string,
  { address, agent, forwarding }: Pick<Backend, 'address' | 'agent' | 'forwarding'>,
): Backend {
  return {
    name: formerName(address),
    site,
    address,
    weight: 1,
    agent,
    forwarding,
    interfaces: [],
    drain: true,
    drainDeadlineMs: null,
    serverId: null,
    mtuBytes: null,
  };
}

/**
 * Gives names of the configuration the numbers that they have in the forwarder's maps. Returns the backends that the configuration no longer
 * names: flows may still be on them, so their numbers stay taken until nothing refers to them. Throws when another
 * balancer of the site has given out the numbers otherwise.
 */
export function adoptNumbers(
  config: Config,
  site: string,
  forwarder: AdoptedMaps,
  indices: Allocation,
  subjects: Allocation,
): PlannedBackend[] {
  const left: PlannedBackend[] = [];
  const known = [...config.backends.values()].filter((backend) => backend.site === site);
  for (const entry of forwarder.listBackends()) {
    const { index, address } = entry;
    const backend = known.find((one) => sameAddress(one.address, address));
    const name = backend?.name ?? formerName(address);
    take(indices, name, index, 'backend');
    if (backend === undefined) left.push({ backend: formerBackend(site, entry), index });
  }
  const vips = forwarder.vips.list().filter(({ prefix }) => isVipOf(config, site, prefix));
  for (const { prefix, subject } of vips) take(subjects, vipName(prefix), subject, 'VIP');
  const vipOf = new Map(vips.map((vip) => [vip.subject, vip]));
  const lengthOf = (key: ServiceKey) => vipOf.get(key.vip)?.prefix.length ?? 0;
  // Short ones first: a longer VIP may have been reached by a port of a service around it, which is another's now.
  const services = [...forwarder.services.list()].sort((a, b) => lengthOf(a.key) - lengthOf(b.key));
  for (const { key, subject } of services) {
    const vip = vipOf.get(key.vip);
    const service = [...config.services.values()].find(
      (one) =>
        vip !== undefined &&
        one.vips.get(site)?.some((own) => samePrefix(own, vip.prefix)) &&
        one.ports.some(({ protocol, port }) => protocol === key.protocol && port === key.port),
    );
    // Where two services have become one, the first table found is the one that goes on.
    if (service !== undefined) subjects.adopt(serviceName(service.name), subject);
  }
  return left;
}

function take(numbers: Allocation, name: string, number: number, what: string): void {
  if (numbers.adopt(name, number)) return;
  const holder = numbers.nameOf(number);
  throw new Error(
    `the kernel of the balancer has number ${number} for the ${what} ${name}, but ${
      holder === undefined ? `number ${numbers.numberOf(name)} was given out` : `it belongs to ${holder}`
    }; take that balancer down first (portico down)`,
  );
}

function isVipOf(config: Config, site: string, prefix: Prefix): boolean {
  return [...config.services.values()].some((service) =>
    service.vips.get(site)?.some((vip) => samePrefix(vip, prefix)),
  );
}
