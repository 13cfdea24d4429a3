/** Ways from places to sites: how long packets take there and back, and over which links. */
import { distanceKm } from '../decide/steer/distance.ts';
import { cumulate, Draws, pick } from './draws.ts';
import type { Geography } from './geography.ts';
import type { City, NetworkParameters, SimulatedSite, World } from './types.ts';

/** Kilometres that light goes in fibre in a millisecond; there and back is twice that. */
const FIBRE_KM_BY_MS = 200;
/** Routers and the last miles at the site. */
const LEAST_MS = 0.5;
/** No way is straighter. */
const LEAST_STRETCH = 1.1;
/** Of the detours, those that all places of an AS have. */
const DETOURS_OF_NETWORKS = 0.5;

/** [city * sites + site]. */
export function cityDistances(
  cities: readonly City[],
  sites: readonly Pick<SimulatedSite, 'location'>[],
): Float32Array {
  const distances = new Float32Array(cities.length * sites.length);
  for (const [index, city] of cities.entries()) {
    for (const [site, { location }] of sites.entries()) {
      distances[index * sites.length + site] = distanceKm(city.location, location);
    }
  }
  return distances;
}

type WayDraws = (asn: number, kind: number, target: number) => Draws;

function drawsOfNetworks(seed: number): WayDraws {
  // One short stream for each AS and target, so that places draw the same in any order.
  return (asn, kind, target) => new Draws(seed ^ Math.imul(asn, 0x9e3779b1), kind * 0x10000 + target);
}

/** Base and congestion of every (place, site). About 0.1 us a pair. */
export function drawWays(
  world: Pick<World, 'places' | 'sites' | 'seed'>,
  siteRegion: Uint8Array,
  distances: Float32Array,
  network: NetworkParameters,
): World['ways'] {
  const { places, sites, seed } = world;
  const draws = new Draws(seed, 5);
  const ofNetworks = drawsOfNetworks(seed);
  const stretches = new Map<number, Float32Array>();
  const detours = new Map<number, Float32Array>();
  const baseMs = new Float32Array(places.count * sites.length);
  const congestionMs = new Float32Array(places.count * sites.length);
  const detour = (source: Draws, share: number): number =>
    source.chance(share) ? source.between(network.detourMs[0], network.detourMs[1]) : 0;
  for (let place = 0; place < places.count; place++) {
    const asn = places.asn[place] as number;
    // By the AS, the region that it is in, and the region of the site.
    const key = asn * 16 + (places.region[place] as number);
    let stretch = stretches.get(key);
    if (stretch === undefined) {
      stretch = Float32Array.from({ length: 16 }, (_, region) => {
        const source = ofNetworks(asn, 1 + (places.region[place] as number), region);
        return network.stretch * source.lognormal(network.stretchSpread);
      });
      stretches.set(key, stretch);
    }
    let ownDetours = detours.get(asn);
    if (ownDetours === undefined) {
      ownDetours = Float32Array.from(sites, (_, site) =>
        detour(ofNetworks(asn, 100, site), network.detourShare * DETOURS_OF_NETWORKS),
      );
      detours.set(asn, ownDetours);
    }
    for (let site = 0; site < sites.length; site++) {
      const km = distances[(places.city[place] as number) * sites.length + site] as number;
      const factor = Math.max(LEAST_STRETCH, (stretch[siteRegion[site] as number] as number) * draws.lognormal(0.05));
      const extra = (ownDetours[site] as number) + detour(draws, network.detourShare * (1 - DETOURS_OF_NETWORKS));
      baseMs[place * sites.length + site] = LEAST_MS + (2 * km * factor) / FIBRE_KM_BY_MS + extra;
      if (draws.chance(network.congestedShare)) {
        congestionMs[place * sites.length + site] = network.congestedMs * draws.between(0.3, 1);
      }
    }
  }
  return { baseMs, congestionMs };
}

/** What a database of places says: [prefix], its city, of some another one of the country. */
export function drawBelievedCities(
  geography: Geography,
  cityOf: (prefix: number) => number,
  prefixes: number,
  misplacedShare: number,
  draws: Draws,
): Uint32Array {
  const sums = geography.countries.map((country) =>
    cumulate(country.cities.map((city) => geography.weight[city] as number)),
  );
  return Uint32Array.from({ length: prefixes }, (_, prefix) => {
    const city = cityOf(prefix);
    if (!draws.chance(misplacedShare)) return city;
    const country = geography.country[city] as number;
    return geography.countries[country]?.cities[pick(draws, sums[country] as Float64Array)] as number;
  });
}
