/** What a site's machines have to hold in their kernels, with names turned into numbers. Pure but for the allocations. */
import type { Backend, Config, Service } from '../config/model.ts';
import { type ServiceKey, serviceKeys } from '../config/service-keys.ts';
import { formatHostOrPrefix, formatPrefix, type Prefix } from '../net/address.ts';
import type { Allocation } from './allocation.ts';

export interface PlannedVip {
  /** Of its full length: one address. */
  readonly prefix: Prefix;
  readonly subject: number;
}

export interface PlannedService {
  readonly service: Service;
  readonly subject: number;
  readonly vips: readonly PlannedVip[];
}

export interface PlannedBackend {
  readonly backend: Backend;
  readonly index: number;
}

export interface SitePlan {
  readonly site: string;
  readonly vips: readonly PlannedVip[];
  readonly services: readonly PlannedService[];
  readonly backends: readonly PlannedBackend[];
}

export class OutOfNumbers extends Error {}

function numberFor(numbers: Allocation, name: string, what: string): number {
  const number = numbers.allocate(name);
  if (number === null) throw new OutOfNumbers(`no room for ${what} ${name}: all numbers are taken`);
  return number;
}

export function vipName(vip: Prefix): string {
  return `vip ${formatHostOrPrefix(vip)}`;
}

export function serviceName(service: string): string {
  return `service ${service}`;
}

/** Throws `OutOfNumbers` where the site's machines and services do not fit beside those that are still leaving. Changes nothing. */
export function assertRoom(config: Config, site: string, indices: Allocation, subjects: Allocation): void {
  const services = [...config.services.values()].filter((service) => (service.vips.get(site)?.length ?? 0) > 0);
  const vips = services.flatMap((service) => service.vips.get(site) ?? []);
  const names = new Set([...vips.map(vipName), ...services.map(({ name }) => serviceName(name))]);
  const backends = [...config.backends.values()].filter((backend) => backend.site === site);
  for (const [what, wanted, numbers] of [
    ['VIPs and services', [...names], subjects],
    ['backends', backends.map(({ name }) => name), indices],
  ] as const) {
    const more = wanted.filter((name) => numbers.numberOf(name) === undefined).length;
    if (more > numbers.free)
      throw new OutOfNumbers(`no room for ${more} more ${what} at ${site}: ${numbers.free} numbers are free`);
  }
}

/** Throws `OutOfNumbers`; then no number was given out that the site does not have use for later. */
export function planSite(config: Config, site: string, indices: Allocation, subjects: Allocation): SitePlan {
  const vips = new Map<string, PlannedVip>();
  const services: PlannedService[] = [];
  for (const service of config.services.values()) {
    const own: PlannedVip[] = [];
    for (const prefix of service.vips.get(site) ?? []) {
      const name = vipName(prefix);
      const vip = vips.get(name) ?? { prefix, subject: numberFor(subjects, name, 'the VIP') };
      vips.set(name, vip);
      own.push(vip);
    }
    if (own.length === 0) continue;
    services.push({ service, subject: numberFor(subjects, serviceName(service.name), 'the service'), vips: own });
  }
  const backends = [...config.backends.values()]
    .filter((backend) => backend.site === site)
    .map((backend) => ({ backend, index: numberFor(indices, backend.name, 'the backend') }));
  return { site, vips: [...vips.values()], services, backends };
}

/** A service as it is reached by one VIP and port. */
export interface PlannedKey extends Omit<ServiceKey<PlannedService>, 'vip'> {
  readonly vip: PlannedVip;
}

/** By which VIPs and ports services are reached: theirs, and those of longer VIPs in theirs (`serviceKeys`). */
export function plannedKeys({ vips, services }: SitePlan): PlannedKey[] {
  const byText = new Map(vips.map((vip) => [formatPrefix(vip.prefix), vip]));
  const reached = services.map((planned) => {
    return { planned, vips: planned.vips.map(({ prefix }) => prefix), ports: planned.service.ports };
  });
  return serviceKeys(reached).map(({ vip, port, protocol, service }) => {
    return { vip: byText.get(formatPrefix(vip)) as PlannedVip, port, protocol, service: service.planned };
  });
}
