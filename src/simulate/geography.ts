/** Cities with people and the ASes that they are in, from the table of real ones; and where sites stand. */
import { distanceKm } from '../decide/steer/distance.ts';
import type { City } from './types.ts';

export interface Country {
  readonly code: string;
  /** Numbers of its cities, the largest first. */
  readonly cities: readonly number[];
  /** The largest first; a country without one in the table gets one of its own. */
  readonly networks: readonly { readonly asn: number; readonly blocks: number }[];
  /** Share of all users. */
  readonly weight: number;
}

export interface Geography {
  readonly cities: readonly City[];
  /** [city]: number of its country. */
  readonly country: Uint16Array;
  /** [city]: share of all users. */
  readonly weight: Float64Array;
  readonly countries: readonly Country[];
}

/** First of the numbers for private use (RFC 6996) that stand for ASes that the table lacks. */
export const MADE_UP_ASN = 4_200_000_000;

/** Users of a country go by people and, less, by IPv4 addresses: people without addresses are rarely users. */
const PEOPLE_POWER = 0.7;

/** The table is that of `world-data.gen.ts`, one line a country. */
export function readGeography(table: string): Geography {
  const cities: City[] = [];
  const country: number[] = [];
  const weight: number[] = [];
  const countries: Country[] = [];
  for (const line of table.split('\n')) {
    const [code, cityTexts, networkTexts] = line.split('|') as [string, string, string];
    const first = cities.length;
    for (const text of cityTexts.split(';').filter((part) => part !== '')) {
      const [name, latitude, longitude, thousands] = text.split(',') as [string, string, string, string];
      const location = { latitudeDegrees: Number(latitude), longitudeDegrees: Number(longitude) };
      cities.push({ name, country: code, location, population: Number(thousands) * 1000 });
      country.push(countries.length);
    }
    if (cities.length === first) continue;
    const networks = networkTexts
      .split(';')
      .filter((part) => part !== '')
      .map((part) => ({ asn: Number(part.split(':')[0]), blocks: Number(part.split(':')[1]) }));
    if (networks.length === 0) networks.push({ asn: MADE_UP_ASN + countries.length, blocks: 100 });
    const own = cities.slice(first);
    const people = own.reduce((sum, city) => sum + city.population, 0);
    const blocks = networks.reduce((sum, network) => sum + network.blocks, 0);
    const users = people ** PEOPLE_POWER * (blocks * 256) ** (1 - PEOPLE_POWER);
    for (const city of own) weight.push((users * city.population) / people);
    countries.push({ code, cities: own.map((_, index) => first + index), networks, weight: users });
  }
  const all = weight.reduce((sum, value) => sum + value, 0);
  return {
    cities,
    country: Uint16Array.from(country),
    weight: Float64Array.from(weight, (value) => value / all),
    countries: countries.map((entry) => ({ ...entry, weight: entry.weight / all })),
  };
}

export const REGIONS = [
  'north america',
  'south america',
  'europe',
  'africa',
  'middle east',
  'south asia',
  'southeast asia',
  'east asia',
  'oceania',
] as const;

/** The region of a point, by straight borders: near enough for links that many share. */
export function regionOf(city: City): number {
  const { latitudeDegrees: latitude, longitudeDegrees: longitude } = city.location;
  const name = (): (typeof REGIONS)[number] => {
    if (longitude < -30) return latitude > 13 || (latitude > 7 && longitude < -77) ? 'north america' : 'south america';
    if (longitude > 110 && latitude < -10) return 'oceania';
    if (latitude < 12 && longitude < 52) return 'africa';
    if (latitude < 18 && longitude < 43) return 'africa';
    if (latitude < 33.5 && longitude < 32.6) return 'africa';
    if (longitude < 11 && latitude < (longitude < 0 ? 36 : 37.4)) return 'africa';
    if (longitude < 40 && (latitude > 42 || longitude < 26)) return 'europe';
    if (longitude < 60) return latitude > 48 ? 'europe' : 'middle east';
    if (longitude < 92 && latitude < 38) return 'south asia';
    return latitude < 22 ? 'southeast asia' : 'east asia';
  };
  return REGIONS.indexOf(name());
}

/** Cities that may have a site, and those whose users count in choosing: those with most users. */
const SITE_CANDIDATES = 150;
const SITE_CITIES = 600;

/**
 * As many cities as wanted, one after the other: each time the one that brings users nearest, on average, to a site.
 */
export function chooseSiteCities(geography: Geography, count: number): number[] {
  const { cities, weight } = geography;
  const counting = largestCities(geography, SITE_CITIES);
  const candidates = counting.slice(0, SITE_CANDIDATES);
  const distances = candidates.map((candidate) => {
    const { location } = cities[candidate] as City;
    return Float32Array.from(counting, (city) => distanceKm(location, (cities[city] as City).location));
  });
  const weights = Float64Array.from(counting, (city) => weight[city] as number);
  const nearestKm = new Float32Array(counting.length).fill(20_000);
  const chosen: number[] = [];
  while (chosen.length < count) {
    let best = -1;
    let mostSaved = 0;
    for (const [index, row] of distances.entries()) {
      let saved = 0;
      for (let city = 0; city < row.length; city++) {
        const nearer = (nearestKm[city] as number) - (row[city] as number);
        if (nearer > 0) saved += nearer * (weights[city] as number);
      }
      if (saved <= mostSaved) continue;
      best = index;
      mostSaved = saved;
    }
    chosen.push(candidates[best] as number);
    for (const [city, km] of (distances[best] as Float32Array).entries()) {
      nearestKm[city] = Math.min(km, nearestKm[city] as number);
    }
  }
  return chosen;
}

/** Those with most users. */
export function largestCities(geography: Geography, count: number): number[] {
  const { weight } = geography;
  const order = [...weight.keys()].sort((a, b) => (weight[b] as number) - (weight[a] as number) || a - b);
  return order.slice(0, count);
}
