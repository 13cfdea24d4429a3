/**
 * Policies of services, compiled: which plan holds for which clients. A plan's index stands in the map; plans that say the same are one, so
 * that neighbours with the same plan merge and scopes (RFC 7871) are as wide as they can be.
 */
import type { Config } from '../../config/model.ts';
import { isHost, type Prefix } from '../../net/address.ts';
import type { PrefixMap } from '../../net/prefix-map.ts';
import { buildPrefixMap } from '../../net/prefix-map-build.ts';
import { defaultPlace, orderSites, type Place, placeOf } from './nearest.ts';
import type { Plan } from './plan.ts';

export interface ServiceSteering {
  readonly service: string;
  /** Names of the sites that have VIPs of the service, in the configuration's order. */
  readonly sites: readonly string[];
  readonly plans: readonly Plan[];
  /** Covers every address of both families; values are indexes of plans. */
  readonly map: PrefixMap;
}

const ALL_ADDRESSES: readonly Prefix[] = [
  { address: { family: 4, bytes: new Uint8Array(4) }, length: 0 },
  { address: { family: 6, bytes: new Uint8Array(16) }, length: 0 },
];

/** Steering of each service that has addresses, by its name. Cost: a plan for each network and service, and the map. */
export function compileSteering(config: Config): ReadonlyMap<string, ServiceSteering> {
  const compiled = new Map<string, Pick<ServiceSteering, 'plans' | 'map'>>();
  const steering = new Map<string, ServiceSteering>();
  for (const service of config.services.values()) {
    const sites = [...config.sites.keys()].filter((site) => service.vips.get(site)?.some(isHost));
    if (sites.length === 0) continue;
    // Services with the same policy and sites share a map.
    const key = JSON.stringify(sites);
    let parts = compiled.get(key);
    if (parts === undefined) {
      parts = compileMap(config, sites);
      compiled.set(key, parts);
    }
    steering.set(service.name, { service: service.name, sites, ...parts });
  }
  return steering;
}

function compileMap(config: Config, sites: readonly string[]): Pick<ServiceSteering, 'plans' | 'map'> {
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
  const entries: { prefix: Prefix; value: number }[] = [];
  // Listed as /0, so that networks with the default's plan merge with their surroundings.
  const fallback = planAt(defaultPlace(config));
  for (const prefix of ALL_ADDRESSES) entries.push({ prefix, value: fallback });
  for (const entry of config.networks) entries.push({ prefix: entry.prefix, value: planAt(placeOf(config, entry)) });
  return { plans, map: buildPrefixMap(entries) };
}
