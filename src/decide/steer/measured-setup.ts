/** From a configuration to what measured steering is told: sites, links and who comes over them, classes of services, places of prefixes. */
import type { ClientPlaces, Config, Link, Location, Service, Site, TrafficClass } from '../../config/model.ts';
import type { Policy } from '../../config/steering-model.ts';
import { isHost } from '../../net/address.ts';
import { segmentAt } from '../../net/segment-overlay.ts';
import { clientsOf } from './clients.ts';
import { distanceKm } from './distance.ts';
import type { PrefixFacts } from './measured.ts';
import {
  DEFAULT_LIMITS,
  PATH_LINKS,
  type SteeringClass,
  type SteeringLink,
  type SteeringModel,
  type SteeringService,
} from './measured-model.ts';
import type { PrefixNumbers } from './prefix-numbers.ts';

/** An hour may move as much as so many whole steps. */
const HOUR_STEPS = 10;
/** Until connections are measured: a page with its pictures, an upload, a message. */
const BITS_PER_CONNECTION: Readonly<Record<TrafficClass, number>> = { latency: 4e6, throughput: 8e7, batch: 8e6 };

/** Numbers that go on when sites, classes and services come and go: what was learned stands under them. */
export interface SteeringNumbers {
  readonly sites: readonly string[];
  /** Kind and sites, as `keyOf` writes them. */
  readonly classes: readonly string[];
  readonly services: readonly string[];
}

export const NO_NUMBERS: SteeringNumbers = { sites: [], classes: [], services: [] };

export interface MeasuredSetup {
  readonly model: SteeringModel;
  readonly facts: PrefixFacts;
  readonly numbers: SteeringNumbers;
  /** Class by name of service, of those that are steered. */
  readonly classes: ReadonlyMap<string, number>;
  /** Countries by their numbers in `facts`. */
  readonly countries: readonly string[];
}

/** `known`: numbers of before, which stay; names that are gone keep theirs. */
export function measuredSetup(config: Config, prefixes: PrefixNumbers, known: SteeringNumbers): MeasuredSetup {
  const clients = clientsOf(config);
  const siteNames = merged(known.sites, [...config.sites.keys()]);
  const steered = steeredServices(config);
  const keys = new Map(steered.map((service) => [service.name, keyOf(service, siteNames)]));
  const classKeys = merged(known.classes, [...keys.values()]);
  const serviceNames = merged(known.services, [...keys.keys()]);
  const links = new LinkTable(config, siteNames);
  const place = (prefix: number) => groupOf(clients, prefixes, prefix);
  return {
    model: {
      sites: siteNames.map((name) => siteOf(name, config.sites.get(name))),
      links: links.list,
      classes: classKeys.map(classOf),
      services: serviceNames.map((name): SteeringService => {
        return { name, class: Math.max(0, classKeys.indexOf(keys.get(name) ?? '')) };
      }),
      regions: links.regions,
      regionOf: (prefix) => links.regionOf(place(prefix).entry?.name),
      paths: links.paths(),
      ttlSeconds: steered.reduce((most, { ttlSeconds }) => Math.max(most, ttlSeconds), 1),
      limits: limitsOf(config, prefixes.bound),
    },
    ...factsOf(config, clients, siteNames, place),
    numbers: { sites: siteNames, classes: classKeys, services: serviceNames },
    classes: new Map([...keys].map(([name, key]) => [name, classKeys.indexOf(key)])),
  };
}

/** Those whose clients' sites a map may choose. */
function steeredServices({ services }: Config): Service[] {
  return [...services.values()].filter(({ vips, policy, dnsName }) => {
    return dnsName !== null && [...vips.values()].some((list) => list.some(isHost)) && isSteered(policy);
  });
}

/** Somewhere inside. */
export function isSteered(policy: Policy): boolean {
  if (policy.kind === 'steered') return true;
  if (policy.kind === 'failover') return policy.parts.some(isSteered);
  if (policy.kind === 'weighted') return policy.parts.some((part) => isSteered(part.policy));
  return policy.kind === 'geo' && policy.rules.some((rule) => isSteered(rule.policy));
}

function merged(known: readonly string[], now: readonly string[]): string[] {
  return [...new Set([...known, ...now])];
}

function keyOf({ trafficClass, vips }: Service, sites: readonly string[]): string {
  const numbers = [...vips].flatMap(([site, list]) => (list.some(isHost) ? [sites.indexOf(site)] : []));
  return [trafficClass, ...numbers.sort((a, b) => a - b)].join(' ');
}

function classOf(key: string): SteeringClass {
  const [kind, ...sites] = key.split(' ');
  const its = kind as TrafficClass;
  return { name: key, kind: its, sites: sites.map(Number), bitsPerConnection: BITS_PER_CONNECTION[its] };
}

function siteOf(name: string, site: Site | undefined): SteeringModel['sites'][number] {
  return { name, capacity: site?.capacityPerSecond ?? 0, batchCost: site?.batchCost ?? 1 };
}

function limitsOf({ steering: { measured } }: Config, prefixes: number): SteeringModel['limits'] {
  const { maxGroups: groups, exploreShare: explorationShare, reserveShare: reserve } = measured;
  const { stepShare, deadBandShare, holdMs } = measured;
  const control = {
    ...DEFAULT_LIMITS.control,
    stepShare,
    hourShare: Math.min(1, HOUR_STEPS * stepShare),
    minGainShare: deadBandShare,
    holdSeconds: holdMs / 1000,
  };
  return { ...DEFAULT_LIMITS, groups, prefixes, explorationShare, reserve, control };
}

function groupOf({ groups, ipv4, ipv6 }: ClientPlaces, prefixes: PrefixNumbers, prefix: number) {
  if (!prefixes.has(prefix)) return groups[0];
  const { family, bytes } = prefixes.prefixOf(prefix).address;
  const segments = family === 4 ? ipv4 : ipv6;
  return groups[segments.values[segmentAt(segments, bytes)]];
}

function factsOf(
  { sites }: Config,
  { groups }: ClientPlaces,
  siteNames: readonly string[],
  place: (prefix: number) => ClientPlaces['groups'][number],
): Pick<MeasuredSetup, 'facts' | 'countries'> {
  const countries = new Map<string, number>();
  for (const { country } of groups)
    if (country !== null && !countries.has(country)) countries.set(country, countries.size);
  const whereIs = (prefix: number): Location | null => {
    const { location, site } = place(prefix);
    return location ?? (site === null ? null : (sites.get(site)?.location ?? null));
  };
  const facts: PrefixFacts = {
    asn: (prefix) => place(prefix).asn ?? 0,
    country: (prefix) => countries.get(place(prefix).country ?? '') ?? -1,
    distanceKm(prefix, site) {
      const [from, to] = [whereIs(prefix), sites.get(siteNames[site])?.location];
      return from === null || to === undefined ? Number.NaN : distanceKm(from, to);
    },
  };
  return { facts, countries: [...countries.keys()] };
}

/** Links of each site for each region of clients. A region is a network that some link is for; 0: all others. */
class LinkTable {
  readonly list: SteeringLink[] = [];
  readonly regions: number;
  readonly #networks = new Map<string, number>();
  readonly #numbers = new Map<string, number>();
  readonly #config: Config;
  readonly #sites: readonly string[];

  constructor(config: Config, sites: readonly string[]) {
    this.#config = config;
    this.#sites = sites;
    const all = [...config.sites.values()];
    for (const { clients } of all.flatMap((site) => site.links))
      for (const name of clients ?? [])
        if (!this.#networks.has(name)) this.#networks.set(name, this.#networks.size + 1);
    this.regions = this.#networks.size + 1;
    for (const site of all) {
      const general = site.links.filter(({ clients }) => clients === null);
      // Whoever comes over one of several comes over any: routes decide, so they are one.
      if (general.length > 0) this.#add(generalName(site, general), sumOf(general));
      for (const link of site.links.filter(({ clients }) => clients !== null))
        this.#add(`${site.name} ${link.name}`, link.capacityBitsPerSecond);
    }
    for (const [name, capacity] of config.steering.measured.sharedLinks) this.#add(name, capacity);
  }

  #add(name: string, capacity: number): void {
    this.#numbers.set(name, this.list.push({ name, capacity }) - 1);
  }

  regionOf(network: string | undefined): number {
    return this.#networks.get(network ?? '') ?? 0;
  }

  paths(): Int32Array {
    const paths = new Int32Array(this.regions * this.#sites.length * PATH_LINKS).fill(-1);
    for (const [name, region] of [['', 0] as const, ...this.#networks])
      for (const [at, siteName] of this.#sites.entries()) {
        const site = this.#config.sites.get(siteName);
        if (site === undefined) continue;
        const general = site.links.filter(({ clients }) => clients === null);
        const own = site.links.find(({ clients }) => clients?.includes(name));
        const link = own ?? general[0];
        if (link === undefined) continue;
        const first = (region * this.#sites.length + at) * PATH_LINKS;
        const label = own === undefined ? generalName(site, general) : `${siteName} ${own.name}`;
        paths[first] = this.#numbers.get(label) ?? -1;
        if (link.shared !== null) paths[first + 1] = this.#numbers.get(link.shared) ?? -1;
      }
    return paths;
  }
}

function generalName({ name }: Site, links: readonly Link[]): string {
  return `${name} ${links.map((link) => link.name).join('+')}`;
}

function sumOf(links: readonly Link[]): number {
  return links.reduce((sum, { capacityBitsPerSecond }) => sum + capacityBitsPerSecond, 0);
}

/** The links of the file that each link of the model stands for, by its name. */
export function linksOfModel({ sites, steering }: Config): Map<string, readonly Link[]> {
  const members = new Map<string, readonly Link[]>();
  const all = [...sites.values()];
  for (const site of all) {
    const general = site.links.filter(({ clients }) => clients === null);
    if (general.length > 0) members.set(generalName(site, general), general);
    for (const link of site.links) if (link.clients !== null) members.set(`${site.name} ${link.name}`, [link]);
  }
  for (const name of steering.measured.sharedLinks.keys())
    members.set(
      name,
      all.flatMap(({ links }) => links.filter(({ shared }) => shared === name)),
    );
  return members;
}
