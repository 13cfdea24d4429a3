/**
 * Policies of services, compiled: which plan holds for which clients. A plan's index stands in the map; plans that say the same are one, so
 * that neighbours with the same plan merge and scopes (RFC 7871) are as wide as they can be.
 */
import type { ClientPlaces, Config } from '../../config/model.ts';
import { isHost } from '../../net/address.ts';
import type { PrefixMap } from '../../net/prefix-map.ts';
import { clientsOf, mapPlans } from './clients.ts';
import { orderSites, type Place, placeOfGroup } from './nearest.ts';
import type { Plan } from './plan.ts';

export interface ServiceSteering {
  readonly service: string;
  /** Names of the sites that have VIPs of the service, in the configuration's order. */
  readonly sites: readonly string[];
  readonly plans: readonly Plan[];
  /** Covers every address of both families; values are indexes of plans. */
  readonly map: PrefixMap;
}

/** Steering of each service that has addresses, by its name. Cost: a plan for each group of clients and service, and the map. */
export function compileSteering(config: Config): ReadonlyMap<string, ServiceSteering> {
  const compiled = new Map<string, Pick<ServiceSteering, 'plans' | 'map'>>();
  const steering = new Map<string, ServiceSteering>();
  const clients = clientsOf(config);
  for (const service of config.services.values()) {
    const sites = [...config.sites.keys()].filter((site) => service.vips.get(site)?.some(isHost));
    if (sites.length === 0) continue;
    // Services with the same policy and sites share a map.
    const key = JSON.stringify(sites);
    let parts = compiled.get(key);
    if (parts === undefined) {
      parts = compileMap(config, sites, clients);
      compiled.set(key, parts);
    }
    steering.set(service.name, { service: service.name, sites, ...parts });
  }
  return steering;
}

function compileMap(
  config: Config,
  sites: readonly string[],
  clients: ClientPlaces,
): Pick<ServiceSteering, 'plans' | 'map'> {
  const plans: Plan[] = [];
  const indexOf = new Map<string, number>();
  const planAt = (place: Place): number => {
    const plan: Plan = { kind: 'first', sites: orderSites(config, sites, place) };
    const key = JSON.stringify(plan);
    let index = indexOf.get(key);
    if (index === undefined) {
      index = plans.push(plan) - 1;
      indexOf.set(key, index);
    }
    return index;
  };
  const planOfGroup = Uint32Array.from(clients.groups, (group) => planAt(placeOfGroup(config, group)));
  return { plans, map: mapPlans(clients, planOfGroup) };
}
