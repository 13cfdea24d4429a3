/** Policies of services in the operator's file: any depth, so they are read by hand, every error at its own place. */
import { isHost } from '../net/address.ts';
import { nearestName } from './nearest.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { readChoice } from './readers.ts';
import type { FileValues, ServiceValues } from './schema.ts';
import {
  CONTINENTS,
  type GeoRule,
  POLICY_KINDS,
  type Policy,
  type PolicyKind,
  type WeightedPolicy,
} from './steering-model.ts';
import { type Reading, readInteger, readNumber, wrong } from './units.ts';

/** Far more than anybody reads. */
const MAX_DEPTH = 8;
const MAX_PARTS = 256;
/** Below it, cycles of answers could not keep it (decide/steer/plan.ts, MAX_CYCLE). */
const MIN_SHARE = 0.001;
const HALF_EARTH_KM = 20_016;

const EXAMPLES: Readonly<Record<PolicyKind, string>> = {
  steered: '{ steered: [eu, us] }',
  weighted: '{ weighted: { eu: 60, us: 40 } }',
  failover: '{ failover: [eu, us] }',
  geo: '{ geo: [{ country: [NL, BE], use: eu }, { use: steered }] }',
  all: '{ all: [eu, us] }',
};

function isMap(raw: unknown): raw is Readonly<Record<string, unknown>> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw);
}

interface Context {
  /** Sites with addresses of the service; null: they could not be read, so no name is wrong. */
  readonly sites: readonly string[] | null;
  readonly allSites: readonly string[];
  readonly networks: readonly string[];
  /** Null: of a file that was checked, so an error is our fault. */
  readonly report: Report | null;
}

/** Null: it has errors, and all are told; or the shape was wrong already. */
export function readPolicyOf(
  name: string,
  { policy, vips }: ServiceValues,
  values: FileValues,
  report: Report | null,
): Policy | null {
  if (policy === undefined) return null;
  const hasGaps = vips === undefined || Object.values(vips).some((list) => list === undefined);
  const hosts = Object.entries(vips ?? {}).filter(([, list]) => list?.some((vip) => vip === undefined || isHost(vip)));
  const context: Context = {
    sites: hasGaps ? null : hosts.map(([site]) => site),
    allSites: Object.keys(values.sites ?? {}),
    networks: Object.keys(values.dns?.networks ?? {}),
    report,
  };
  return readPolicy(policy, ['services', name, 'policy'], context, 1);
}

function refuse({ report }: Context, path: Path, message: string, remedy: string, at?: 'key'): null {
  if (report === null) throw new Error(`a checked policy has an error: ${message}`);
  report.error(path, message, remedy, at);
  return null;
}

function readPolicy(raw: unknown, path: Path, context: Context, depth: number): Policy | null {
  if (raw === 'steered' || raw === 'all') return { kind: raw, sites: null };
  if (typeof raw === 'string') {
    const site = readSite(raw, path, context);
    return site === null ? null : { kind: 'site', site };
  }
  if (!isMap(raw)) {
    const remedy = `write steered, all, a site, or a policy like ${EXAMPLES.weighted}`;
    return refuse(context, path, 'this is not a policy', remedy);
  }
  if (depth > MAX_DEPTH)
    return refuse(context, path, `policies are nested more than ${MAX_DEPTH} deep`, 'make it flatter');
  const keys = Object.keys(raw);
  const kinds = POLICY_KINDS.filter((kind) => keys.includes(kind));
  for (const key of keys.filter((each) => !(POLICY_KINDS as readonly string[]).includes(each))) {
    const nearest = nearestName(key, POLICY_KINDS);
    const known = `known are ${listNames(POLICY_KINDS)}`;
    const remedy = nearest === null ? known : `did you mean ${nearest}? ${known}`;
    refuse(context, [...path, key], `"${key}" is no policy`, remedy, 'key');
  }
  if (kinds.length > 1) return refuse(context, path, `${listNames(kinds)} stand in one policy`, 'write one of them');
  if (kinds.length < keys.length) return null;
  const [kind] = kinds;
  if (kind === undefined) return refuse(context, path, 'the policy is empty', `write one like ${EXAMPLES.weighted}`);
  return PARTS[kind](raw[kind], [...path, kind], context, depth + 1);
}

type PartReader = (raw: unknown, path: Path, context: Context, depth: number) => Policy | null;

const PARTS: Readonly<Record<PolicyKind, PartReader>> = {
  steered: (raw, path, context) => readSites('steered', raw, path, context),
  all: (raw, path, context) => readSites('all', raw, path, context),
  weighted: readWeighted,
  failover: readFailover,
  geo: readGeo,
};

function readSite(name: string, path: Path, context: Context): string | null {
  const { sites, allSites } = context;
  if (sites === null || sites.includes(name)) return name;
  if (allSites.includes(name))
    return refuse(context, path, `the service has no address at ${name}`, `add VIPs at ${name}, or name another site`);
  const nearest = nearestName(name, ['steered', 'all', ...sites]);
  const listed = `write steered, all, or a site of the service: ${listNames(sites, 'or')}`;
  return refuse(
    context,
    path,
    `there is no site ${name}`,
    nearest === null ? listed : `did you mean ${nearest}? ${listed}`,
  );
}

function readList(raw: unknown, path: Path, context: Context, example: string): readonly unknown[] | null {
  if (!Array.isArray(raw) || raw.length === 0)
    return refuse(context, path, 'this is not a list with entries', `write ${example}`);
  if (raw.length <= MAX_PARTS) return raw;
  return refuse(context, path, `the list has ${raw.length} entries`, `write at most ${MAX_PARTS}`);
}

function readSites(kind: 'steered' | 'all', raw: unknown, path: Path, context: Context): Policy | null {
  const list = readList(raw, path, context, EXAMPLES[kind]);
  if (list === null) return null;
  const sites = list.map((name, index) => {
    const place = [...path, index];
    if (typeof name !== 'string')
      return refuse(context, place, 'this is not the name of a site', `write ${EXAMPLES[kind]}`);
    if (list.indexOf(name) < index)
      return refuse(context, place, `the site ${name} stands twice`, 'take one of the two away');
    return readSite(name, place, context);
  });
  return sites.includes(null) ? null : { kind, sites: sites as string[] };
}

/** Either a map from sites to weights, or a list of weights with policies. */
function readWeighted(raw: unknown, path: Path, context: Context, depth: number): Policy | null {
  const parts: (WeightedPolicy | null)[] = [];
  const places: Path[] = [];
  if (isMap(raw) && Object.keys(raw).length > 0 && Object.keys(raw).length <= MAX_PARTS) {
    for (const [site, weight] of Object.entries(raw)) {
      const place = [...path, site];
      const policy = readPolicy(site, place, context, depth);
      places.push(place);
      parts.push(weigh(readWeight(weight, place, context), policy));
    }
  } else {
    const example = `${EXAMPLES.weighted} or { weighted: [{ weight: 60, use: steered }, { weight: 40, use: us }] }`;
    const list = readList(raw, path, context, example);
    for (const [index, entry] of (list ?? []).entries()) {
      const place = [...path, index];
      places.push([...place, 'weight']);
      parts.push(readWeightedEntry(entry, place, context, depth));
    }
    if (list === null) return null;
  }
  if (parts.includes(null)) return null;
  const read = parts as WeightedPolicy[];
  const sum = read.reduce((total, { weight }) => total + weight, 0);
  for (const [index, { weight }] of read.entries()) {
    if (weight / sum >= MIN_SHARE) continue;
    const remedy = 'write a larger weight, or take the part away';
    return refuse(context, places[index], 'the weight is less than a thousandth of all', remedy);
  }
  return { kind: 'weighted', parts: read };
}

function weigh(weight: number | null, policy: Policy | null): WeightedPolicy | null {
  return weight === null || policy === null ? null : { weight, policy };
}

function readWeight(raw: unknown, path: Path, context: Context): number | null {
  const reading = readNumber(raw, 0, 1e9, true);
  if (reading.ok) return reading.value;
  const remedy = raw === 0 ? 'take the part away; a site that shall get nobody is drained' : reading.remedy;
  return refuse(context, path, reading.message, remedy);
}

function readWeightedEntry(raw: unknown, path: Path, context: Context, depth: number): WeightedPolicy | null {
  const fields = readFields(raw, path, context, ['weight', 'use'], '{ weight: 60, use: steered }');
  if (fields === null) return null;
  const weight = readWeight(fields.weight, [...path, 'weight'], context);
  return weigh(weight, readPolicy(fields.use, [...path, 'use'], context, depth));
}

function readFailover(raw: unknown, path: Path, context: Context, depth: number): Policy | null {
  const list = readList(raw, path, context, EXAMPLES.failover);
  if (list === null) return null;
  const parts = list.map((part, index) => {
    const twin = typeof part === 'string' && list.indexOf(part) < index;
    if (twin) return refuse(context, [...path, index], `${part} stands twice`, 'take the second away');
    return readPolicy(part, [...path, index], context, depth);
  });
  return parts.includes(null) ? null : { kind: 'failover', parts: parts as Policy[] };
}

function readGeo(raw: unknown, path: Path, context: Context, depth: number): Policy | null {
  const list = readList(raw, path, context, EXAMPLES.geo);
  if (list === null) return null;
  const rules = list.map((rule, index) => readGeoRule(rule, [...path, index], context, depth));
  if (rules.includes(null)) return null;
  const read = rules as GeoRule[];
  const fitsAll = read.findIndex((rule) => !hasCondition(rule));
  if (fitsAll < 0)
    return refuse(context, path, 'clients that fit no rule would get no answer', 'add a last rule: { use: steered }');
  if (fitsAll < read.length - 1)
    return refuse(context, [...path, fitsAll + 1], 'the rule before it fits all clients', 'put that one last');
  return { kind: 'geo', rules: read };
}

export function hasCondition({ continents, countries, asns, networks, within }: GeoRule): boolean {
  return continents.length + countries.length + asns.length + networks.length > 0 || within !== null;
}

function readGeoRule(raw: unknown, path: Path, context: Context, depth: number): GeoRule | null {
  const keys = ['continent', 'country', 'asn', 'network', 'within', 'use'];
  const fields = readFields(raw, path, context, keys, '{ country: [NL, BE], use: eu }');
  if (fields === null) return null;
  const list = <T>(key: string, read: (value: unknown) => Reading<T>) =>
    readConditions(fields[key], [...path, key], context, read);
  const continents = list('continent', (value) => readChoice(value, CONTINENTS));
  const countries = list('country', readCountry);
  const asns = list('asn', (value) => readInteger(value, 1, 4_294_967_295));
  const networks = list('network', (value) => readNetworkName(value, context));
  const within = fields.within === undefined ? null : readCircle(fields.within, [...path, 'within'], context);
  const policy = readPolicy(fields.use, [...path, 'use'], context, depth);
  if (continents === null || countries === null || asns === null || networks === null || policy === null) return null;
  if (within === null && fields.within !== undefined) return null;
  return { continents, countries, asns, networks, within, policy };
}

/** One value or several; not written: none. Null: some are wrong. */
function readConditions<T>(raw: unknown, path: Path, context: Context, read: (raw: unknown) => Reading<T>): T[] | null {
  if (raw === undefined) return [];
  const values: T[] = [];
  let isWrong = false;
  const list = Array.isArray(raw) ? raw : [raw];
  for (const [index, value] of list.entries()) {
    const reading = read(value);
    if (reading.ok) values.push(reading.value);
    else {
      refuse(context, Array.isArray(raw) ? [...path, index] : path, reading.message, reading.remedy);
      isWrong = true;
    }
  }
  if (list.length === 0) return refuse(context, path, 'the list is empty', 'write at least one, or take the key away');
  return isWrong ? null : values;
}

function readCountry(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && /^[A-Z]{2}$/.test(raw)) return { ok: true, value: raw };
  // YAML 1.1 reads NO as false.
  const remedy = raw === false ? 'write "NO" in quotes' : 'write its two capital letters (ISO 3166), like NL';
  return wrong('this is not a country', remedy);
}

function readNetworkName(raw: unknown, { networks }: Context): Reading<string> {
  if (typeof raw === 'string' && networks.includes(raw)) return { ok: true, value: raw };
  const nearest = typeof raw === 'string' ? nearestName(raw, networks) : null;
  const listed = networks.length === 0 ? 'there is none: add it' : `known are ${listNames(networks)}`;
  return wrong('this is no entry of dns.networks', nearest === null ? listed : `did you mean ${nearest}? ${listed}`);
}

function readCircle(raw: unknown, path: Path, context: Context): GeoRule['within'] {
  const example = '{ latitude: 52.37, longitude: 4.90, km: 500 }';
  const fields = readFields(raw, path, context, ['latitude', 'longitude', 'km'], example);
  if (fields === null) return null;
  const number = (key: string, reading: Reading<number>): number | null =>
    reading.ok ? reading.value : refuse(context, [...path, key], reading.message, reading.remedy);
  const latitudeDegrees = number('latitude', readNumber(fields.latitude, -90, 90));
  const longitudeDegrees = number('longitude', readNumber(fields.longitude, -180, 180));
  const radiusKm = number('km', readNumber(fields.km, 0, HALF_EARTH_KM, true));
  if (latitudeDegrees === null || longitudeDegrees === null || radiusKm === null) return null;
  return { center: { latitudeDegrees, longitudeDegrees }, radiusKm };
}

/** A map with no other keys than these. */
function readFields(
  raw: unknown,
  path: Path,
  context: Context,
  known: readonly string[],
  example: string,
): Readonly<Record<string, unknown>> | null {
  if (!isMap(raw)) return refuse(context, path, 'this is not a map', `write one like ${example}`);
  const unknown = Object.keys(raw).filter((key) => !known.includes(key));
  for (const key of unknown) {
    const nearest = nearestName(key, known);
    const listed = `known are ${listNames(known)}`;
    const remedy = nearest === null ? listed : `did you mean ${nearest}? ${listed}`;
    refuse(context, [...path, key], `the key "${key}" is unknown`, remedy, 'key');
  }
  const needed = known.filter((key) => key === 'use' || key === 'weight' || key === 'km');
  const missing = needed.filter((key) => raw[key] === undefined);
  for (const key of missing) refuse(context, path, `"${key}" is missing`, `write one like ${example}`);
  return unknown.length + missing.length > 0 ? null : raw;
}
