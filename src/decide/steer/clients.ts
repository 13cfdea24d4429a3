/** Clients by prefix and what is known of them: what plans are made for, and the map from prefixes to plans. */
import type { ClientGroup, ClientPlaces, Config, NetworkEntry } from '../../config/model.ts';
import { flattenPrefixes, PrefixColumns } from '../../net/address-segments.ts';
import { NO_VALUE, type PrefixMap } from '../../net/prefix-map.ts';
import { compilePrefixMap } from '../../net/prefix-map-build.ts';
import { overlaySegments } from '../../net/segment-overlay.ts';

/** The oldest goes. One a policy is needed; pins and moved demand make others. */
const MAX_KEPT_MAPS = 32;

/** Of whom nothing is known: they get the default location. */
export const UNKNOWN_CLIENTS: ClientGroup = {
  entry: null,
  location: null,
  site: null,
  continent: null,
  country: null,
  asn: null,
};

/** What the configuration says of clients, with what files say if they were read. Cost: nothing then, else a group for each network. */
export function clientsOf(config: Config): ClientPlaces {
  const { clients, networks } = config;
  if (clients !== null) return clients;
  let known = placed.get(networks);
  if (known === undefined) {
    known = placeNetworks(networks);
    placed.set(networks, known);
  }
  return known;
}

/** So that maps which were made of them are found again. */
const placed = new WeakMap<readonly NetworkEntry[], ClientPlaces>();

/** By longest prefix; of two entries with the same prefix the later counts. */
function placeNetworks(networks: readonly NetworkEntry[]): ClientPlaces {
  const lists = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };
  const groups = [UNKNOWN_CLIENTS];
  for (const entry of networks) {
    const { prefix, location, site, demand } = entry;
    const group = groups.push({ ...UNKNOWN_CLIENTS, entry, location, site }) - 1;
    lists[prefix.address.family].add(prefix.address.bytes, 0, prefix.length, group, demand ?? Number.NaN);
  }
  const known = (list: PrefixColumns) => {
    return overlaySegments([flattenPrefixes(list)], ([group]) => (group === NO_VALUE ? 0 : group));
  };
  return { groups, ipv4: known(lists[4]), ipv6: known(lists[6]), maps: [], cutAt: '', entries: null, databases: [] };
}

/**
 * The map from prefixes to plans, for the plan of each group. Services with the same plans share one, and so do threads that got the
 * clients from each other. Cost: see `compilePrefixMap`, once for each row of plans.
 */
export function mapPlans(clients: ClientPlaces, planOfGroup: Uint32Array): PrefixMap {
  const { cutAt } = clients;
  for (const kept of clients.maps) {
    if (kept.cutAt === cutAt && areSame(kept.planOfGroup, planOfGroup)) return kept.map;
  }
  const map = compilePrefixMap(clients.ipv4, clients.ipv6, planOfGroup);
  if (clients.maps.length >= MAX_KEPT_MAPS) clients.maps.shift();
  clients.maps.push({ cutAt, planOfGroup, map });
  return map;
}

function areSame(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
