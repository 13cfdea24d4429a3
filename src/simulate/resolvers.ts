/** Resolvers: where they stand and which users ask them. How they behave is `behaviour.ts`. */
import { distanceKm } from '../decide/steer/distance.ts';
import { cumulate, type Draws, pick } from './draws.ts';
import { type Geography, largestCities, MADE_UP_ASN } from './geography.ts';
import type { PlaceList, Presence, UserPrefixes } from './places.ts';
import type { City, ResolverKind, ResolverParameters } from './types.ts';

/** Shares of the public operators among public users. */
export const PUBLIC_OPERATORS = [0.5, 0.22, 0.14, 0.09, 0.05] as const;
const PUBLIC_RESOLVERS_SHARE = 0.04;
const PREFIXES_BY_PUBLIC_PLACE = 2;
const LARGEST_PUBLIC_PLACES = 60;
/** Where a user is led whom anycast misleads: one of so many nearest places, or, in this share of cases, any. */
const MISLED_AMONG = 8;
const MISLED_FAR_SHARE = 0.2;
const COMPANY_RESOLVERS_SHARE = 0.25;
/** Of a company prefix's demand, what asks a public resolver all the same. */
const COMPANY_PUBLIC_SHARE = 0.1;
/** Of user prefixes: their AS gives them a second resolver, and its share. */
const SECOND_SHARE = 0.3;
const SECOND_DEMAND = 0.25;
/** Larger ASes have fewer resolvers for their users. */
const NETWORK_POWER = 0.6;
/** The first of a city's resolvers have most of its users: the fifth root of a share of them has that share. */
const FIRST_POWER = 5;
/** Of user prefixes: some users ask a public resolver. */
const SOME_PUBLIC_SHARE = 0.5;

export interface ResolverList {
  readonly kind: ResolverKind[];
  readonly place: number[];
  /** Of a public one, its operator; else -1. */
  readonly operator: number[];
}

export interface Pairs {
  readonly pairsOf: Uint32Array;
  readonly pairPrefix: Uint32Array;
  readonly pairResolver: Uint32Array;
  readonly pairShare: Float32Array;
}

interface PublicPlace {
  readonly city: number;
  readonly resolvers: readonly number[];
}

/** Made while the world is: what choosing a resolver needs. */
export class ResolverDraw {
  readonly list: ResolverList = { kind: [], place: [], operator: [] };
  readonly #geography: Geography;
  readonly #places: PlaceList;
  readonly #parameters: ResolverParameters;
  readonly #draws: Draws;
  /** AS -> city -> its resolvers there. */
  readonly #ofNetwork = new Map<number, Map<number, number[]>>();
  /** [operator]: resolvers of each of its places, and the cities. */
  readonly #public: PublicPlace[][] = [];
  /** [operator] city and AS -> its place. */
  readonly #catchment = new Map<string, readonly number[]>();
  readonly #publicShareOf = new Map<number, number>();
  readonly #sorted = new Map<string, readonly PublicPlace[]>();
  readonly #nearest = new Map<string, readonly number[]>();

  constructor(geography: Geography, places: PlaceList, parameters: ResolverParameters, draws: Draws) {
    this.#geography = geography;
    this.#places = places;
    this.#parameters = parameters;
    this.#draws = draws;
  }

  #add(kind: ResolverKind, city: number, asn: number, operator = -1): number {
    this.list.kind.push(kind);
    this.list.place.push(this.#places.at(city, asn));
    this.list.operator.push(operator);
    return this.list.kind.length - 1;
  }

  /** Public ones stand in the cities with most users, each operator in its own choice of them. */
  addPublic(count: number): void {
    const order = largestCities(this.#geography, 2 * LARGEST_PUBLIC_PLACES);
    for (const [operator, share] of PUBLIC_OPERATORS.entries()) {
      const wanted = Math.round((count / PREFIXES_BY_PUBLIC_PLACE) * (0.5 * share + 0.1));
      const places = Math.min(LARGEST_PUBLIC_PLACES, Math.max(1, wanted));
      const candidates = order.slice(0, 2 * places);
      const cities = places === 1 ? candidates.slice(0, 1) : this.#sample(candidates, places);
      this.#public.push(
        cities.map((city) => ({
          city,
          resolvers: Array.from({ length: count >= 2 * PUBLIC_OPERATORS.length ? PREFIXES_BY_PUBLIC_PLACE : 1 }, () =>
            this.#add('public', city, MADE_UP_ASN + 10_000 + operator, operator),
          ),
        })),
      );
    }
  }

  #sample(items: readonly number[], count: number): number[] {
    const rest = [...items];
    return Array.from({ length: Math.min(count, rest.length) }, () =>
      rest.splice(this.#draws.below(rest.length), 1),
    ).flat();
  }

  /**
   * Of each AS, by its users: in the cities where most of these are, or all in one. ASes that get none ask those of the largest AS in
   * their country. `presences` with the number of users in each as `weight`.
   */
  addNetworks(presences: readonly Presence[], count: number): void {
    const byNetwork = new Map<number, Presence[]>();
    for (const presence of presences) {
      const list = byNetwork.get(presence.asn) ?? [];
      list.push(presence);
      byNetwork.set(presence.asn, list);
    }
    const networks = [...byNetwork].map(([asn, own]) => ({
      asn,
      own: own.sort((a, b) => b.weight - a.weight || a.city - b.city),
      weight: own.reduce((sum, presence) => sum + presence.weight, 0),
    }));
    networks.sort((a, b) => b.weight - a.weight || a.asn - b.asn);
    const powers = networks.map(({ weight }) => weight ** NETWORK_POWER);
    const all = powers.reduce((sum, power) => sum + power, 0);
    let left = count;
    for (const [rank, { asn, own }] of networks.entries()) {
      if (left <= 0) break;
      const fair = Math.max(1, Math.round(((powers[rank] as number) / all) * count));
      const wanted = rank === networks.length - 1 ? left : Math.min(left, fair);
      left -= wanted;
      const central = this.#draws.chance(this.#parameters.centralShare);
      this.#addNetwork(asn, central ? own.slice(0, 1) : own, wanted);
    }
  }

  #addNetwork(asn: number, own: readonly Presence[], wanted: number): void {
    const cities = new Map<number, number[]>();
    const total = own.reduce((sum, presence) => sum + presence.weight, 0);
    let given = 0;
    for (const [rank, presence] of own.entries()) {
      if (given >= wanted) break;
      const share = Math.max(1, Math.round((presence.weight / total) * wanted));
      const here = rank === own.length - 1 ? wanted - given : Math.min(share, wanted - given);
      given += here;
      cities.set(
        presence.city,
        Array.from({ length: here }, () => this.#add('isp', presence.city, asn)),
      );
    }
    // Rounding left some over: the first city takes them.
    const first = own[0] as Presence;
    for (; given < wanted; given++) cities.get(first.city)?.push(this.#add('isp', first.city, asn));
    this.#ofNetwork.set(asn, cities);
  }

  /** The user's AS has resolvers: those of the nearest city; else those of the largest AS of the country, or any. */
  #resolversFor(city: number, asn: number): readonly number[] {
    const key = `${city} ${asn}`;
    const known = this.#nearest.get(key);
    if (known !== undefined) return known;
    const country = this.#geography.countries[this.#geography.country[city] as number];
    const other = country?.networks.find((network) => this.#ofNetwork.has(network.asn))?.asn;
    const cities =
      this.#ofNetwork.get(asn) ?? this.#ofNetwork.get(other ?? -1) ?? this.#ofNetwork.values().next().value;
    const nearest = cities === undefined ? [] : (cities.get(this.#nearestCity(city, [...cities.keys()])) ?? []);
    this.#nearest.set(key, nearest);
    return nearest;
  }

  #km(a: number, b: number): number {
    const { cities } = this.#geography;
    return distanceKm((cities[a] as City).location, (cities[b] as City).location);
  }

  #nearestCity(city: number, candidates: readonly number[]): number {
    if (candidates.includes(city)) return city;
    let best = -1;
    let bestKm = Infinity;
    for (const candidate of candidates) {
      const km = this.#km(city, candidate);
      if (km >= bestKm) continue;
      best = candidate;
      bestKm = km;
    }
    return best;
  }

  #publicFor(city: number, asn: number): number {
    const operator = pick(this.#draws, cumulate(PUBLIC_OPERATORS));
    const key = `${operator} ${city} ${asn}`;
    let resolvers = this.#catchment.get(key);
    if (resolvers === undefined) {
      const places = this.#placesByDistance(operator, city);
      const misled = this.#draws.chance(this.#parameters.anycastMissShare);
      const among = this.#draws.chance(MISLED_FAR_SHARE) ? places.length : Math.min(MISLED_AMONG, places.length);
      resolvers = places[misled ? this.#draws.below(among) : 0]?.resolvers ?? [];
      this.#catchment.set(key, resolvers);
    }
    return resolvers[this.#draws.below(resolvers.length)] as number;
  }

  /** Of an operator, the nearest first. */
  #placesByDistance(operator: number, city: number): readonly PublicPlace[] {
    const key = `${operator} ${city}`;
    let places = this.#sorted.get(key);
    if (places === undefined) {
      const distance = new Map(this.#public[operator]?.map((place) => [place, this.#km(city, place.city)]));
      places = [...distance.keys()].sort(
        (a, b) => (distance.get(a) as number) - (distance.get(b) as number) || a.city - b.city,
      );
      this.#sorted.set(key, places);
    }
    return places;
  }

  /** Share of the demand of an AS that asks public resolvers. */
  #publicShare(asn: number): number {
    let share = this.#publicShareOf.get(asn);
    if (share === undefined) {
      share = Math.min(0.9, this.#parameters.publicShare * Math.exp(0.6 * this.#draws.normal() - 0.18));
      this.#publicShareOf.set(asn, share);
    }
    return share;
  }

  /** Who asks whom. Adds the resolvers of companies: at most `companies`. */
  drawPairs(users: UserPrefixes, companies: number): Pairs {
    const count = users.place.length;
    const pairsOf = new Uint32Array(count + 1);
    const pairPrefix: number[] = [];
    const pairResolver: number[] = [];
    const pairShare: number[] = [];
    const companyPrefixes = Math.max(1, (this.#parameters.companyShare * count) / Math.max(1, companies));
    let company = -1;
    let companyLeft = 0;
    for (let prefix = 0; prefix < count; prefix++) {
      const place = users.place[prefix] as number;
      const city = this.#places.city[place] as number;
      const asn = this.#places.asn[place] as number;
      let shares: Map<number, number>;
      if (this.#draws.chance(this.#parameters.companyShare) && (companyLeft >= 1 || company < companies - 1)) {
        if (companyLeft < 1) {
          company++;
          companyLeft += companyPrefixes * 2 * this.#draws.uniform() + 0.5;
          this.#addCompany(city, asn);
        }
        companyLeft--;
        shares = new Map([[this.list.kind.length - 1, 1 - COMPANY_PUBLIC_SHARE]]);
        this.#addShare(shares, this.#publicFor(city, asn), COMPANY_PUBLIC_SHARE);
      } else {
        shares = this.#sharesOf(city, asn);
      }
      for (const [resolver, share] of shares) {
        pairPrefix.push(prefix);
        pairResolver.push(resolver);
        pairShare.push(share);
      }
      pairsOf[prefix + 1] = pairResolver.length;
    }
    return {
      pairsOf,
      pairPrefix: Uint32Array.from(pairPrefix),
      pairResolver: Uint32Array.from(pairResolver),
      pairShare: Float32Array.from(pairShare),
    };
  }

  #addShare(shares: Map<number, number>, resolver: number, share: number): void {
    shares.set(resolver, (shares.get(resolver) ?? 0) + share);
  }

  #sharesOf(city: number, asn: number): Map<number, number> {
    const draws = this.#draws;
    const shares = new Map<number, number>();
    const own = this.#resolversFor(city, asn);
    const somePublic = this.#public.length > 0 && draws.chance(SOME_PUBLIC_SHARE);
    const publicShare = own.length === 0 ? 1 : somePublic ? Math.min(1, this.#publicShare(asn) / SOME_PUBLIC_SHARE) : 0;
    if (publicShare > 0) this.#addShare(shares, this.#publicFor(city, asn), publicShare);
    if (publicShare === 1) return shares;
    const first = Math.floor(own.length * draws.uniform() ** FIRST_POWER);
    const second = own.length > 1 && draws.chance(SECOND_SHARE) ? SECOND_DEMAND : 0;
    this.#addShare(shares, own[first] as number, (1 - publicShare) * (1 - second));
    if (second > 0) {
      this.#addShare(shares, own[(first + 1) % own.length] as number, (1 - publicShare) * second);
    }
    return shares;
  }

  #addCompany(city: number, asn: number): void {
    const { countries, country, weight } = this.#geography;
    let at = city;
    if (this.#draws.chance(this.#parameters.companyFarShare)) {
      // Half of them in the country of the users, half anywhere.
      const cities = this.#draws.chance(0.5) ? (countries[country[city] as number]?.cities ?? []) : [...weight.keys()];
      at = cities[pick(this.#draws, cumulate(cities.map((index) => weight[index] as number)))] as number;
    }
    this.#add('company', at, asn);
  }
}

/** How many of each kind there are, of `resolvers` in all. Worlds with fewer than ten have none but those of ASes. */
export function countKinds(
  resolvers: number,
  prefixes: number,
  parameters: ResolverParameters,
): Record<ResolverKind, number> {
  if (resolvers < 10) return { public: 0, company: 0, isp: resolvers };
  const company = Math.min(
    Math.floor(COMPANY_RESOLVERS_SHARE * resolvers),
    Math.ceil((parameters.companyShare * prefixes) / 2),
  );
  const most = PUBLIC_OPERATORS.length * LARGEST_PUBLIC_PLACES * PREFIXES_BY_PUBLIC_PLACE;
  const publicOnes = Math.min(most, Math.max(PUBLIC_OPERATORS.length, Math.round(PUBLIC_RESOLVERS_SHARE * resolvers)));
  return { public: publicOnes, company, isp: resolvers - publicOnes - company };
}
