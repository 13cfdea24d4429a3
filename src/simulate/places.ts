/** Which ASes serve which cities, and the prefixes of users in them. */
import { cumulate, type Draws, pick } from './draws.ts';
import { type Geography, largestCities, regionOf } from './geography.ts';
import type { City, DemandParameters, NetworkParameters } from './types.ts';

/** ASes that share a city, at most. */
const NETWORKS_IN_CITY = 12;
/** Prefixes that share all their ways, at most; beyond, an AS has several places in its city. */
const PREFIXES_IN_PLACE = 100;
/** Standard deviation of the logarithm of the share that an AS of given size has in a city. */
const LOCAL_SPREAD = 0.6;
/** Standard deviation of the logarithm of the access delay from one AS to the next. */
const ACCESS_SPREAD_OF_NETWORKS = 0.25;

/** An AS in a city, before it has prefixes. */
export interface Presence {
  readonly city: number;
  readonly asn: number;
  readonly weight: number;
}

/** Prefixes for each city, at least: small worlds have few cities. */
const PREFIXES_BY_CITY = 20;
const LEAST_CITIES = 5;
/** Prefixes for each AS in a city, at least. */
const PREFIXES_BY_PRESENCE = 4;

/** Large ASes are in all cities of their country, small ones in few; the largest is everywhere. */
export function drawPresences(geography: Geography, prefixes: number, draws: Draws): Presence[] {
  const cities = new Set(largestCities(geography, Math.max(LEAST_CITIES, Math.ceil(prefixes / PREFIXES_BY_CITY))));
  const most = Math.ceil(prefixes / cities.size / PREFIXES_BY_PRESENCE);
  const networksInCity = Math.min(NETWORKS_IN_CITY, most);
  const presences: Presence[] = [];
  for (const country of geography.countries) {
    const total = country.networks.reduce((sum, network) => sum + network.blocks, 0);
    for (const city of country.cities.filter((index) => cities.has(index))) {
      const there: { asn: number; size: number }[] = [];
      for (const [rank, network] of country.networks.entries()) {
        const present = rank === 0 || draws.chance(0.03 + Math.min(0.95, (8 * network.blocks) / total));
        if (!present) continue;
        there.push({ asn: network.asn, size: network.blocks * draws.lognormal(LOCAL_SPREAD) });
        if (there.length === networksInCity) break;
      }
      const sum = there.reduce((all, { size }) => all + size, 0);
      for (const { asn, size } of there) {
        presences.push({ city, asn, weight: ((geography.weight[city] as number) * size) / sum });
      }
    }
  }
  return presences;
}

/** Growing list of places; one that is there already is found again. */
export class PlaceList {
  readonly city: number[] = [];
  readonly asn: number[] = [];
  readonly #found = new Map<string, number>();

  /** The first place of the AS in the city, made if it has none. */
  at(city: number, asn: number): number {
    const key = `${city} ${asn}`;
    const found = this.#found.get(key);
    if (found !== undefined) return found;
    const place = this.add(city, asn);
    this.#found.set(key, place);
    return place;
  }

  /** Another one. */
  add(city: number, asn: number): number {
    this.city.push(city);
    this.asn.push(asn);
    return this.city.length - 1;
  }

  get count(): number {
    return this.city.length;
  }
}

export interface UserPrefixes {
  /** [user prefix], in order of presence, so that those of a place stand together. */
  readonly place: Uint32Array;
  /** [user prefix]: index of its presence. */
  readonly presence: Uint32Array;
  readonly weight: Float64Array;
  readonly family: Uint8Array;
  readonly accessMs: Float32Array;
}

export interface PrefixParameters {
  readonly prefixes: number;
  readonly ipv6Share: number;
  readonly demand: DemandParameters;
  readonly network: NetworkParameters;
}

export function drawPrefixes(
  presences: readonly Presence[],
  places: PlaceList,
  parameters: PrefixParameters,
  draws: Draws,
): UserPrefixes {
  const { prefixes, demand, network } = parameters;
  const counts = new Uint32Array(presences.length);
  const sums = cumulate(presences.map((presence) => presence.weight));
  for (let prefix = 0; prefix < prefixes; prefix++) {
    const index = pick(draws, sums);
    counts[index] = (counts[index] as number) + 1;
  }
  const result: UserPrefixes = {
    place: new Uint32Array(prefixes),
    presence: new Uint32Array(prefixes),
    weight: new Float64Array(prefixes),
    family: new Uint8Array(prefixes),
    accessMs: new Float32Array(prefixes),
  };
  const accessOfNetwork = new Map<number, number>();
  let prefix = 0;
  for (const [index, { city, asn }] of presences.entries()) {
    const count = counts[index] as number;
    if (count === 0) continue;
    let factor = accessOfNetwork.get(asn);
    if (factor === undefined) {
      factor = draws.lognormal(ACCESS_SPREAD_OF_NETWORKS);
      accessOfNetwork.set(asn, factor);
    }
    const parts = Math.ceil(count / PREFIXES_IN_PLACE);
    const first = places.at(city, asn);
    for (let part = 0; part < parts; part++) {
      const place = part === 0 ? first : places.add(city, asn);
      const end = prefix + Math.floor((count * (part + 1)) / parts) - Math.floor((count * part) / parts);
      for (; prefix < end; prefix++) {
        result.place[prefix] = place;
        result.presence[prefix] = index;
        result.weight[prefix] = draws.lognormal(demand.prefixSpread);
        result.family[prefix] = draws.chance(parameters.ipv6Share) ? 6 : 4;
        result.accessMs[prefix] = network.accessMs * factor * draws.lognormal(network.accessSpread);
      }
    }
  }
  const sum = result.weight.reduce((all, weight) => all + weight, 0);
  for (let index = 0; index < prefixes; index++) result.weight[index] = (result.weight[index] as number) / sum;
  return result;
}

/** [city]: its region. */
export function regionsOf(cities: readonly City[]): Uint8Array {
  return Uint8Array.from(cities, regionOf);
}
