/** Where clients are and which sites are near: the operator's network list says the place, the sites of a service follow by distance. */
import type { ClientGroup, Config, Location, NetworkEntry, Site } from '../../config/model.ts';
import { type Address, prefixContains } from '../../net/address.ts';
import { distanceKm } from './distance.ts';

/** What is true of sites now; the runtime changes it behind this face. Asked once or twice for each answer: it must be cheap. */
export interface SteeringView {
  /** Another number than before: an answer may be another. Absent: ask each time. */
  readonly version?: number;
  /** Enough of the service's backends at the site are healthy. */
  siteUp(service: string, site: string): boolean;
  /** The site takes no more new clients. */
  siteFull(service: string, site: string): boolean;
  /** For services that answer `last` when nothing is healthy: was up when last a site of the service was. Absent: nobody knows. */
  siteWasUp?(service: string, site: string): boolean;
  /** Told after each change; without it, who keeps copies looks from time to time. Gives what ends it. */
  onChange?(listener: () => void): () => void;
}

/** All sites up and none full. */
export const CALM_VIEW: SteeringView = { siteUp: () => true, siteFull: () => false };

/** Indexes into the sites of a service, the best first; every site of the service is in it. */
export type SiteOrder = readonly number[];

/** Where clients of a network are: `site`, if set, comes first; the others follow by their distance from `location`. */
export interface Place {
  readonly location: Location;
  readonly site: string | null;
}

function siteOf(config: Config, name: string): Site {
  const site = config.sites.get(name);
  if (site === undefined) throw new Error(`site ${name} is not in the configuration`);
  return site;
}

export function placeOf(config: Config, entry: NetworkEntry): Place {
  if (entry.site !== null) return { location: entry.location ?? siteOf(config, entry.site).location, site: entry.site };
  if (entry.location === null) throw new Error('a network entry has neither site nor location');
  return { location: entry.location, site: null };
}

export function placeOfGroup(config: Config, { site, location }: ClientGroup): Place {
  if (site !== null) return { location: location ?? siteOf(config, site).location, site };
  return location === null ? defaultPlace(config) : { location, site: null };
}

/** Of clients that no network entry covers: the default location, or else the first site. */
export function defaultPlace(config: Config): Place {
  if (config.defaultLocation !== null) return { location: config.defaultLocation, site: null };
  const [first] = config.sites.values();
  if (first === undefined) throw new Error('the configuration has no site');
  return { location: first.location, site: first.name };
}

/** Equal distances keep the configuration's order. */
export function orderSites(config: Config, sites: readonly string[], place: Place): SiteOrder {
  const ranks = sites.map((name) => {
    return name === place.site ? -1 : distanceKm(place.location, siteOf(config, name).location);
  });
  return sites.map((_, index) => index).sort((a, b) => ranks[a] - ranks[b]);
}

/** The entry with the longest prefix that covers the first `sourceLength` bits of `address`; null: none. Cost: the whole list. */
export function matchNetwork(
  networks: readonly NetworkEntry[],
  address: Address,
  sourceLength: number,
): NetworkEntry | null {
  let best: NetworkEntry | null = null;
  for (const entry of networks) {
    const { prefix } = entry;
    if (prefix.length > sourceLength || !prefixContains(prefix, address)) continue;
    // Of two entries with the same prefix the later counts, as in the trie.
    if (best === null || prefix.length >= best.prefix.length) best = entry;
  }
  return best;
}
