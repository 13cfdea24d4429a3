/** A world as an operator would write it down for steering. */
import { DEFAULT_LIMITS, type SteeringLimits, type SteeringModel } from '../decide/steer/measured-model.ts';
import type { ServiceClass, World } from './types.ts';

/** Classes in order of their first service. */
export function classNames(world: World): ServiceClass[] {
  return [...new Set(world.parameters.services.map((service) => service.class))];
}

export function steeringModelOf(world: World, limits: Partial<SteeringLimits> = {}): SteeringModel {
  const { services } = world.parameters;
  const kinds = classNames(world);
  const sites = world.sites.map((_, site) => site);
  return {
    sites: world.sites.map(({ name, capacity, batchCost }) => ({ name, capacity, batchCost })),
    links: world.links.map(({ name, capacityBps }) => ({ name, capacity: capacityBps })),
    classes: kinds.map((kind) => {
      const members = services.filter((service) => service.class === kind);
      const share = members.reduce((sum, service) => sum + service.share, 0);
      const bits = members.reduce((sum, service) => sum + service.share * service.bitsPerConnection, 0);
      return { name: kind, kind, sites, bitsPerConnection: bits / (share || 1) };
    }),
    services: services.map((service) => ({ name: service.name, class: kinds.indexOf(service.class) })),
    regions: world.regions.length,
    regionOf: (prefix) => world.places.region[world.placeOf[prefix]],
    paths: world.paths,
    ttlSeconds: Math.max(...services.map(({ ttlSeconds }) => ttlSeconds)),
    limits: { ...DEFAULT_LIMITS, prefixes: world.users + world.resolvers, ...limits },
  };
}
