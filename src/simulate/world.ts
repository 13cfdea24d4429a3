/** Makes a world from parameters and a seed. */
import type { PrefixFacts } from '../decide/steer/measured.ts';
import { drawBehaviour } from './behaviour.ts';
import { Draws } from './draws.ts';
import { chooseSiteCities, type Geography, REGIONS, readGeography } from './geography.ts';
import { drawLinks, type Nearness, siteCapacities } from './links.ts';
import { checkParameters } from './parameters.ts';
import { drawPrefixes, drawPresences, PlaceList, regionsOf, type UserPrefixes } from './places.ts';
import { countKinds, type Pairs, ResolverDraw, type ResolverList } from './resolvers.ts';
import type { City, SimulatedSite, World, WorldParameters } from './types.ts';
import { cityDistances, drawBelievedCities, drawWays } from './ways.ts';
import { WORLD_DATA } from './world-data.gen.ts';

/** Shares of all demand that are nearest to each site, by region. */
function nearnessOf(
  users: UserPrefixes,
  places: World['places'],
  distances: Float32Array,
  sites: readonly Omit<SimulatedSite, 'capacity'>[],
  siteRegion: Uint8Array,
): Nearness {
  const share = new Float64Array(REGIONS.length * sites.length);
  for (const [prefix, place] of users.place.entries()) {
    const row = (places.city[place] as number) * sites.length;
    let nearest = 0;
    for (let site = 1; site < sites.length; site++) {
      if ((distances[row + site] as number) < (distances[row + nearest] as number)) nearest = site;
    }
    const index = (places.region[place] as number) * sites.length + nearest;
    share[index] = (share[index] as number) + (users.weight[prefix] as number);
  }
  return { share, siteRegion, siteNames: sites.map((site) => site.name) };
}

function nameSites(
  cities: readonly City[],
  chosen: readonly number[],
  draws: Draws,
): Omit<SimulatedSite, 'capacity'>[] {
  const taken = new Set<string>();
  return chosen.map((city) => {
    const { name, location } = cities[city] as City;
    const plain = name
      .normalize('NFD')
      .toLowerCase()
      .replace(/[\u0300-\u036f]/g, '')
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '');
    let unique = plain === '' ? `city-${city}` : plain;
    if (taken.has(unique)) unique = `${unique}-${city}`;
    taken.add(unique);
    return { name: unique, city, location, batchCost: draws.between(0.5, 1.5) };
  });
}

interface Population {
  readonly users: UserPrefixes;
  readonly list: ResolverList;
  readonly pairs: Pairs;
  readonly places: PlaceList;
}

function populate(geography: Geography, parameters: WorldParameters, seed: number): Population {
  const places = new PlaceList();
  const presences = drawPresences(geography, parameters.prefixes, new Draws(seed, 1));
  const users = drawPrefixes(presences, places, parameters, new Draws(seed, 2));
  const weights = new Float64Array(presences.length);
  for (const [prefix, presence] of users.presence.entries()) {
    weights[presence] = (weights[presence] as number) + (users.weight[prefix] as number);
  }
  const draw = new ResolverDraw(geography, places, parameters.resolver, new Draws(seed, 3));
  const kinds = countKinds(parameters.resolvers, parameters.prefixes, parameters.resolver);
  if (kinds.public > 0) draw.addPublic(kinds.public);
  const inhabited = presences.flatMap((presence, index) => {
    const weight = weights[index] as number;
    return weight > 0 ? [{ ...presence, weight }] : [];
  });
  draw.addNetworks(inhabited, kinds.isp);
  const pairs = draw.drawPairs(users, kinds.company);
  return { users, list: draw.list, pairs, places };
}

function placesOf(list: PlaceList, geography: Geography): World['places'] {
  const regions = regionsOf(geography.cities);
  return {
    count: list.count,
    city: Uint32Array.from(list.city),
    asn: Uint32Array.from(list.asn),
    country: Uint16Array.from(list.city, (city) => geography.country[city] as number),
    region: Uint8Array.from(list.city, (city) => regions[city] as number),
  };
}

function factsOf(
  geography: Geography,
  places: World['places'],
  placeOf: Uint32Array,
  distances: Float32Array,
  sites: number,
  misplacedShare: number,
  draws: Draws,
): PrefixFacts {
  const cityOf = (prefix: number): number => places.city[placeOf[prefix] as number] as number;
  const believed = drawBelievedCities(geography, cityOf, placeOf.length, misplacedShare, draws);
  return {
    asn: (prefix) => places.asn[placeOf[prefix] as number] ?? 0,
    country: (prefix) => places.country[placeOf[prefix] as number] ?? -1,
    distanceKm: (prefix, site) => distances[(believed[prefix] as number) * sites + site] ?? Number.NaN,
  };
}

function demandOfResolvers(users: UserPrefixes, pairs: Pairs, resolvers: number): Float64Array {
  const demand = new Float64Array(resolvers);
  for (const [pair, resolver] of pairs.pairResolver.entries()) {
    const weight = users.weight[pairs.pairPrefix[pair] as number] as number;
    demand[resolver] = (demand[resolver] as number) + weight * (pairs.pairShare[pair] as number);
  }
  return demand;
}

/**
 * The same parameters and seed give the same world on every machine. Throws a RangeError that names every parameter out of range.
 * 200,000 prefixes, 20,000 resolvers and 30 sites take about a second and 60 MB.
 */
export function createWorld(parameters: WorldParameters, seed: number): World {
  checkParameters(parameters);
  const geography = readGeography(WORLD_DATA);
  const { users, list, pairs, places: placeList } = populate(geography, parameters, seed);
  const places = placesOf(placeList, geography);
  const named = nameSites(geography.cities, chooseSiteCities(geography, parameters.sites), new Draws(seed, 4));
  const siteRegion = regionsOf(named.map((site) => geography.cities[site.city] as City));
  const distances = cityDistances(geography.cities, named);
  const nearness = nearnessOf(users, places, distances, named, siteRegion);
  const capacities = siteCapacities(nearness, parameters);
  const sites = named.map((site, index) => ({ ...site, capacity: capacities[index] as number }));
  const placeOf = new Uint32Array(users.place.length + list.place.length);
  placeOf.set(users.place);
  placeOf.set(list.place, users.place.length);
  const demand = demandOfResolvers(users, pairs, list.kind.length);
  const shortestTtl = Math.min(...parameters.services.map((service) => service.ttlSeconds));
  return {
    parameters,
    seed,
    cities: geography.cities,
    sites,
    ...drawLinks(nearness, parameters, seed),
    regions: REGIONS,
    users: users.place.length,
    resolvers: list.kind.length,
    placeOf,
    places,
    ways: drawWays({ places, sites, seed }, siteRegion, distances, parameters.network),
    weight: users.weight,
    family: users.family,
    accessMs: users.accessMs,
    ...pairs,
    resolver: drawBehaviour(list, demand, shortestTtl, parameters.resolver, new Draws(seed, 6)),
    facts: factsOf(
      geography,
      places,
      placeOf,
      distances,
      sites.length,
      parameters.network.misplacedShare,
      new Draws(seed, 8),
    ),
  };
}
