/**
 * The nearest-site policy: the operator's network list says where a client is, the sites of a service follow by distance. The list is
 * compiled to a trie of site orders; health and capacity only choose within an order, so they never re-cut the trie and the scopes of
 * answers (RFC 7871) stay what they are.
 */
import type { Config, Location, NetworkEntry, Site } from '../../config/model.ts';
import { type Address, isHost, type Prefix, prefixContains } from '../../net/address.ts';
import { buildTrie, type PrefixTrie } from '../../net/trie.ts';
import { distanceKm } from './distance.ts';

/** What is true of sites now; the runtime changes it behind this face. Asked once or twice for each answer: it must be cheap. */
export interface SteeringView {
  /** Enough of the service's backends at the site are healthy. */
  siteUp(service: string, site: string): boolean;
  /** The site takes no more new clients. */
  siteFull(service: string, site: string): boolean;
}

/** All sites up and none full. */
export const CALM_VIEW: SteeringView = { siteUp: () => true, siteFull: () => false };

/** Indexes into `ServiceSteering.sites`, the best first; every site of the service is in it. */
export type SiteOrder = readonly number[];

export interface ServiceSteering {
  readonly service: string;
  /** Names of the sites that have VIPs of the service, in the configuration's order. */
  readonly sites: readonly string[];
  /** Covers every address of both families. */
  readonly orders: PrefixTrie<SiteOrder>;
}

/** Where clients of a network are: `site`, if set, comes first; the others follow by their distance from `location`. */
export interface Place {
  readonly location: Location;
  readonly site: string | null;
}

/**
 * Steering of each service by its name. Services with the same set of sites share a trie. Cost: a distance for each network and site, and
 * the trie (see `buildTrie`).
 */
export function compileSteering(config: Config): ReadonlyMap<string, ServiceSteering> {
  const ordersOfSites = new Map<string, PrefixTrie<SiteOrder>>();
  const steering = new Map<string, ServiceSteering>();
  for (const service of config.services.values()) {
    const sites = [...config.sites.keys()].filter((site) => service.vips.get(site)?.some(isHost));
    if (sites.length === 0) continue;
    const key = JSON.stringify(sites);
    let orders = ordersOfSites.get(key);
    if (orders === undefined) {
      orders = compileOrders(config, sites);
      ordersOfSites.set(key, orders);
    }
    steering.set(service.name, { service: service.name, sites, orders });
  }
  return steering;
}

const ALL_ADDRESSES: readonly Prefix[] = [
  { address: { family: 4, bytes: new Uint8Array(4) }, length: 0 },
  { address: { family: 6, bytes: new Uint8Array(16) }, length: 0 },
];

function compileOrders(config: Config, sites: readonly string[]): PrefixTrie<SiteOrder> {
  const entries: { prefix: Prefix; value: SiteOrder }[] = [];
  const fallback = orderSites(config, sites, defaultPlace(config));
  // Listed as /0, so that networks with the default's order merge with their surroundings.
  for (const prefix of ALL_ADDRESSES) entries.push({ prefix, value: fallback });
  for (const entry of config.networks) {
    entries.push({ prefix: entry.prefix, value: orderSites(config, sites, placeOf(config, entry)) });
  }
  return buildTrie(entries, (order) => order.join());
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

export interface SiteChoice {
  /** Index into `ServiceSteering.sites`. */
  readonly site: number;
  /**
   * `free`: up and with room. `full`: every site that is up is full, so the best of them. `static`: no site is up, so all are treated as
   * up - what is measured is then more likely wrong than every site dead.
   */
  readonly reason: 'free' | 'full' | 'static';
}

/** The best site of an order as things are. The same for every record type, so that a user is not torn between sites. */
export function chooseSite(steering: ServiceSteering, order: SiteOrder, view: SteeringView): SiteChoice {
  const { service, sites } = steering;
  let bestUp = -1;
  for (const site of order) {
    if (!view.siteUp(service, sites[site])) continue;
    if (!view.siteFull(service, sites[site])) return { site, reason: 'free' };
    if (bestUp < 0) bestUp = site;
  }
  if (bestUp >= 0) return { site: bestUp, reason: 'full' };
  return { site: order[0], reason: 'static' };
}
