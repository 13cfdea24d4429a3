/** Why a client gets the sites that it gets: whose place counted, what the policy made of it, and what excluded the other sites. */
import type { Config } from '../../config/model.ts';
import type { SteeringPin } from '../../config/steering-model.ts';
import { clientsOf } from '../../decide/steer/clients.ts';
import { distanceKm } from '../../decide/steer/distance.ts';
import { explainPolicy, type MeasuredSites, type PolicyStep, sitesOfPlan } from '../../decide/steer/explain-policy.ts';
import { type LayeredClients, type LayeredGroup, layerClients } from '../../decide/steer/layers.ts';
import { orderAt } from '../../decide/steer/measured-answers.ts';
import { placeOfGroup, type SteeringView } from '../../decide/steer/nearest.ts';
import { type ChoiceReason, choices, type Plan } from '../../decide/steer/plan.ts';
import { pinFor } from '../../decide/steer/policy.ts';
import { ruleFor } from '../../decide/steer/policy-plans.ts';
import {
  type Address,
  addressBits,
  formatAddress,
  formatPrefix,
  maskAddress,
  type Prefix,
  prefixContains,
} from '../../net/address.ts';
import { wordsOf } from '../../net/address-segments.ts';
import { lookupPrefix, type PrefixMap, prefixValue } from '../../net/prefix-map.ts';
import { segmentAt } from '../../net/segment-overlay.ts';
import { type PlaceSource, placeSources } from './locations/place-sources.ts';
import type { SteeredName } from './zones.ts';

export interface ExplainedCandidate {
  readonly site: string;
  /** From the place of the client's network, rounded. */
  readonly distanceKm: number;
  /**
   * Null: this one is answered, or others with it. `farther`: another is nearer. `later`: the policy has others before it. `policy`: the
   * policy does not have it for this client. `dearer`: by what was measured another is better.
   */
  readonly excluded: 'down' | 'full' | 'farther' | 'dearer' | 'later' | 'policy' | null;
}

export interface ExplainedSteering {
  readonly service: string;
  /** Whose place counts: the client subnet's, or that of whom the query comes from. */
  readonly client: string;
  readonly by: 'subnet' | 'resolver';
  /** The network of the operator's list that matched; null: none, so the default location. */
  readonly network: string | null;
  /** The subnet holds several networks with different answers: this is the one for most of its addresses. */
  readonly isMixed: boolean;
  readonly place: {
    readonly latitudeDegrees: number;
    readonly longitudeDegrees: number;
    /** The network names this site: it comes first whatever the distance. */
    readonly site: string | null;
    /** Nobody says where the client is. */
    readonly isDefault: boolean;
  };
  /** Who says what of the client, in the order in which they count. */
  readonly sources: readonly PlaceSource[];
  /** What else is known of the client. */
  readonly continent: string | null;
  readonly country: string | null;
  readonly asn: number | null;
  /** The operator's order that comes before the policy. */
  readonly pin: { readonly prefix: string | null; readonly site: string; readonly untilMs: number | null } | null;
  readonly policy: readonly PolicyStep[];
  /** The measured map that says where these clients go; null: distance does. */
  readonly mapVersion: number | null;
  /** The best first, as the policy has them for this client; sites that it does not have come last. */
  readonly candidates: readonly ExplainedCandidate[];
  /** What answers tell, in turns, with the share of each; one, where all are the same. */
  readonly draw: readonly { readonly sites: readonly string[]; readonly share: number }[];
  /** Told first, in the first turn. */
  readonly site: string;
  readonly reason: ChoiceReason;
  readonly ttlSeconds: number;
}

export interface ExplainSteeringOptions {
  readonly config: Config;
  readonly view: SteeringView;
  readonly from: Address;
  readonly ecs: Prefix | null;
}

export function explainSteering(options: ExplainSteeringOptions, steered: SteeredName): ExplainedSteering {
  const { config, ecs, from, view } = options;
  const { steering, service } = steered;
  const bySubnet = ecs !== null && ecs.length > 0;
  const client = bySubnet ? ecs : { address: from, length: addressBits(from.family) };
  const clients = layerClients(clientsOf(config), config);
  const { address, length } = client;
  const index = prefixValue(lookupPrefix(steering.map, address.family, address.bytes, 0, length));
  const { layered, isMixed, start } = findGroup(clients, steering.map, client, index);
  const { group, pins } = layered;
  const plan = steering.plans[index];
  const { cycle, reason } = choices(steering, plan, view);
  const place = placeOfGroup(config, group);
  const policy = config.services.get(service)?.policy ?? { kind: 'steered', sites: null };
  const { latitudeDegrees, longitudeDegrees } = place.location;
  const pin = pinFor(pins, service, steering.sites);
  const order = measuredOrder(config, service, layered.row);
  const told = new Set(cycle.flatMap(({ sites }) => sites));
  const nearness = order === null ? 'farther' : 'dearer';
  return {
    service,
    client: bySubnet ? formatPrefix(ecs) : formatAddress(from),
    by: bySubnet ? 'subnet' : 'resolver',
    network: group.entry === null ? null : formatPrefix(group.entry.prefix),
    isMixed,
    place: {
      latitudeDegrees,
      longitudeDegrees,
      site: place.site,
      isDefault: group.site === null && group.location === null,
    },
    sources: placeSources(config, group, { family: address.family, bytes: start }),
    continent: group.continent,
    country: group.country,
    asn: group.asn,
    pin: pin === undefined ? null : explainPin(pin),
    policy: explainPolicy(policy, steering, layered, (rules) => ruleFor(config, rules, group), order),
    mapVersion: order === null ? null : order.version,
    candidates: candidatesOf(options, steered, plan, place.location, told, nearness),
    draw: sharesOf(cycle.map(({ sites }) => sites.map((site) => steering.sites[site]))),
    site: steering.sites[cycle[0].sites[0]],
    reason,
    ttlSeconds: steered.ttlSeconds,
  };
}

/** Sites of a service by name, with the shares of those that come first; null: nothing was measured for it there. */
function measuredOrder({ steeringState: { measured } }: Config, service: string, row: number): MeasuredSites | null {
  const itsClass = measured?.classes.get(service);
  if (measured === null || itsClass === undefined || row < 0) return null;
  const order = orderAt(measured, row, itsClass);
  if (order === null) return null;
  const parts = order.map(({ sites, share }) => ({ sites: sites.map((site) => measured.sites[site]), share }));
  return { version: measured.version, parts };
}

function explainPin({ prefix, site, untilMs }: SteeringPin): ExplainedSteering['pin'] {
  return { prefix: prefix === null ? null : formatPrefix(prefix), site, untilMs };
}

/** Of a wide subnet. */
const MAX_LOOKED_AT = 10_000;

/** The first group inside the prefix that has the plan, where it begins, and whether all have it. */
function findGroup({ ground, of }: LayeredClients, map: PrefixMap, client: Prefix, plan: number) {
  const { family, bytes } = client.address;
  const segments = family === 4 ? ground.ipv4 : ground.ipv6;
  const first = segmentAt(segments, maskAddress(client.address, client.length).bytes);
  let layered: LayeredGroup | undefined;
  let counts = bytes;
  let isMixed = false;
  const words = wordsOf(family);
  for (let at = first; at < segments.count && at < first + MAX_LOOKED_AT; at++) {
    const start = at === first ? bytes : bytesOf(segments.starts.subarray(at * words, (at + 1) * words));
    if (!prefixContains(client, { family, bytes: start })) break;
    if (prefixValue(lookupPrefix(map, family, start, 0, addressBits(family))) !== plan) isMixed = true;
    else if (layered === undefined) {
      layered = of[segments.values[at]];
      counts = start;
    }
  }
  return { layered: layered ?? of[segments.values[first]], isMixed, start: counts };
}

function bytesOf(words: Uint32Array): Uint8Array {
  return Uint8Array.from({ length: words.length * 4 }, (_, i) => words[i >> 2] >>> (24 - (i & 3) * 8));
}

function candidatesOf(
  { config, view }: ExplainSteeringOptions,
  { steering, service }: SteeredName,
  plan: Plan,
  location: { readonly latitudeDegrees: number; readonly longitudeDegrees: number },
  told: ReadonlySet<number>,
  nearness: 'farther' | 'dearer',
): ExplainedCandidate[] {
  const preferred = sitesOfPlan(plan);
  const others = [...steering.sites.keys()].filter((index) => !preferred.includes(index));
  const isPlain = plan.kind === 'first' || (nearness === 'dearer' && plan.kind === 'spread');
  const isInOrder = config.services.get(service)?.policy.kind === 'steered' && isPlain;
  const exclusion = (index: number): ExplainedCandidate['excluded'] => {
    const site = steering.sites[index];
    if (told.has(index)) return null;
    if (!preferred.includes(index)) return 'policy';
    if (!view.siteUp(service, site)) return 'down';
    if (view.siteFull(service, site)) return 'full';
    return isInOrder ? nearness : 'later';
  };
  return [...preferred, ...others].map((index) => {
    const site = steering.sites[index];
    const at = config.sites.get(site)?.location ?? location;
    return { site, distanceKm: Math.round(distanceKm(location, at)), excluded: exclusion(index) };
  });
}

function sharesOf(cycle: readonly (readonly string[])[]): ExplainedSteering['draw'] {
  const counts = new Map<string, { sites: readonly string[]; turns: number }>();
  for (const sites of cycle) {
    const turns = (counts.get(sites.join())?.turns ?? 0) + 1;
    counts.set(sites.join(), { sites, turns });
  }
  return [...counts.values()].map(({ sites, turns }) => ({ sites, share: turns / cycle.length }));
}
