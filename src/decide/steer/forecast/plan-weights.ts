/** How many users each plan of a service has, as far as anybody says, and how far they are from sites. */
import type { Config, Location, Site } from '../../../config/model.ts';
import type { Address } from '../../../net/address.ts';
import { lookupPrefix, prefixValue } from '../../../net/prefix-map.ts';
import { clientsOf } from '../clients.ts';
import { distanceKm } from '../distance.ts';
import { placeOfGroup } from '../nearest.ts';
import type { ServiceSteering } from '../policy.ts';
import { fibreRttMs } from '../rtt/fibre.ts';

/** Users who have one plan now and one then. */
export interface PlanUsers {
  readonly before: number;
  readonly after: number;
  /** Of all users of the service; those of all add up to 1. */
  readonly weight: number;
  readonly places: readonly { readonly location: Location; readonly weight: number }[];
}

export interface WeighedPlans {
  readonly users: readonly PlanUsers[];
  /** The file says demand. */
  readonly isKnown: boolean;
}

/** Networks beyond are left out. */
const MAX_NETWORKS = 100_000;
const ANYWHERE: Address = { family: 4, bytes: new Uint8Array(4) };

/** `before` and `after`: the same service. Cost: a look into both maps for each network. */
export function weighPlans(config: Config, before: ServiceSteering, after: ServiceSteering): WeighedPlans {
  const groups = clientsOf(config).groups.filter(({ entry }) => entry !== null);
  const isKnown = groups.some(({ entry }) => entry !== null && entry.demand !== null);
  const users = new Map<string, { before: number; after: number; places: { location: Location; weight: number }[] }>();
  const add = ({ family, bytes }: Address, length: number, location: Location, weight: number): void => {
    const planIn = ({ map }: ServiceSteering) => prefixValue(lookupPrefix(map, family, bytes, 0, length));
    const [old, now] = [planIn(before), planIn(after)];
    const known = users.get(`${old} ${now}`) ?? { before: old, after: now, places: [] };
    users.set(`${old} ${now}`, known);
    known.places.push({ location, weight });
  };
  for (const group of groups.slice(0, MAX_NETWORKS)) {
    const { prefix, demand } = group.entry as NonNullable<typeof group.entry>;
    const weight = isKnown ? (demand ?? 0) : 1;
    if (weight > 0) add(prefix.address, prefix.length, placeOfGroup(config, group).location, weight);
  }
  if (users.size === 0) add(ANYWHERE, 32, placeOfGroup(config, clientsOf(config).groups[0]).location, 1);
  const sumOf = (list: readonly { readonly weight: number }[]) => list.reduce((sum, { weight }) => sum + weight, 0);
  const total = [...users.values()].reduce((sum, { places }) => sum + sumOf(places), 0);
  return { isKnown, users: [...users.values()].map((its) => ({ ...its, weight: sumOf(its.places) / total })) };
}

/** Mean over the users, by distance. Cost: by place. */
export function meanRttMs({ places }: PlanUsers, { location }: Site): number {
  let [sum, weights] = [0, 0];
  for (const place of places) {
    sum += place.weight * fibreRttMs(distanceKm(place.location, location));
    weights += place.weight;
  }
  return sum / weights;
}
