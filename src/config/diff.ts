/** What changed between two configurations, for whoever is about to apply the second. */
import { type Address, formatAddress, formatHostOrPrefix, formatPrefix, type Prefix } from '../net/address.ts';
import type { FileReference, LocationFiles } from './location-files.ts';
import type { Config, DnsProtocol, Zone, ZoneFileRecord } from './model.ts';
import type { Transfers } from './transfers.ts';

export interface ConfigChange {
  readonly section: 'site' | 'balancer' | 'backend' | 'service' | 'name server' | 'zone' | 'network' | 'setting';
  readonly name: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Of what changed: fields of `model.ts`, before and after in text. */
  readonly fields: readonly FieldChange[];
}

export interface FieldChange {
  readonly field: string;
  readonly before: string;
  readonly after: string;
}

/** Changes in the order of the sections; none: the two say the same, be they written differently. */
export function diffConfigs(before: Config, after: Config): ConfigChange[] {
  const zones = (config: Config) => new Map(config.zones.map((zone) => [zone.name, describeZone(zone)]));
  const networks = (config: Config) => new Map(config.networks.map((entry) => [formatPrefix(entry.prefix), entry]));
  const settings = (config: Config) => {
    const { name, defaultLocation, api, stateFolder, dnsProtocol, steering, locationFiles, transfers } = config;
    return new Map<string, object>([
      ...Object.entries({ name, defaultLocation, api, stateFolder }).map(([key, value]) => [key, { value }] as const),
      ['steering', steering],
      ['locationFiles', describeLocationFiles(locationFiles)],
      ['dnsProtocol', { ...dnsProtocol, cookies: describeCookies(dnsProtocol) }],
      ['transfers', describeTransfers(transfers)],
    ]);
  };
  return [
    ...diffSection('site', before.sites, after.sites),
    ...diffSection('balancer', before.balancers, after.balancers),
    ...diffSection('backend', before.backends, after.backends),
    ...diffSection('service', before.services, after.services),
    ...diffSection('name server', before.nameServers, after.nameServers),
    ...diffSection('zone', zones(before), zones(after)),
    ...diffSection('network', networks(before), networks(after)),
    ...diffSection('setting', settings(before), settings(after)),
  ];
}

/** Paths only: where they stand says nothing. */
function describeLocationFiles({ lists, city, country, asn }: LocationFiles): object {
  const path = (file: FileReference | null) => file?.path ?? null;
  return { lists: lists.map(path), city: path(city), country: path(country), asn: path(asn) };
}

/** Records count by what they say, not by where they stand in the file. */
function describeZone(zone: Zone): object {
  const records = zone.records.map(({ name, type, ttlSeconds, data }) => `${name} ${ttlSeconds} ${type} ${data}`);
  const file = zone.file === null ? null : { path: zone.file.path, records: describeFile(zone.file.records ?? []) };
  return { ...zone, records: records.sort(), file };
}

/** Their number, and a sum over what they say: a zone file may have millions. */
function describeFile(records: readonly ZoneFileRecord[]): string {
  let sum = 0;
  for (const { owner, type, ttlSeconds, data } of records) {
    let hash = fnv1a(0x811c9dc5, owner);
    hash = fnv1a(hash, [type >> 8, type, ttlSeconds >>> 24, ttlSeconds >> 16, ttlSeconds >> 8, ttlSeconds]);
    sum = (sum + fnv1a(hash, data.bytes)) >>> 0;
  }
  return `${records.length} records, sum ${sum.toString(16).padStart(8, '0')}`;
}

function fnv1a(hash: number, bytes: ArrayLike<number>): number {
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] & 0xff), 0x01000193);
  return hash;
}

/** Secrets by their beginnings: enough to see that they changed, and not to make cookies with. */
function describeCookies({ cookies }: DnsProtocol): object {
  const beginning = (secret: Uint8Array) => `${describe(secret.subarray(0, 2))}...`;
  return { ...cookies, secrets: cookies.secrets.map(beginning) };
}

/** Of secrets a sum, enough to see that they changed. */
function describeTransfers({ keys, secondaries, limits }: Transfers): object {
  const described = [...keys.values()].map(({ name, algorithm, secret }) => {
    const sum = fnv1a(fnv1a(0x811c9dc5, secret), secret) >>> 0;
    return [name, `${algorithm} ${(sum & 0xffff).toString(16).padStart(4, '0')}...`] as const;
  });
  return { keys: new Map(described), secondaries, limits };
}

function diffSection(
  section: ConfigChange['section'],
  before: ReadonlyMap<string, object>,
  after: ReadonlyMap<string, object>,
): ConfigChange[] {
  const changes: ConfigChange[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [old, current] = [before.get(name), after.get(name)];
    if (old === undefined) changes.push({ section, name, change: 'added', fields: [] });
    else if (current === undefined) changes.push({ section, name, change: 'removed', fields: [] });
    else {
      const fields = diffFields('', old, current);
      if (fields.length > 0) changes.push({ section, name, change: 'changed', fields });
    }
  }
  return changes;
}

function diffFields(path: string, before: object, after: object): FieldChange[] {
  const changes: FieldChange[] = [];
  const [old, current] = [before as Record<string, unknown>, after as Record<string, unknown>];
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const field = path === '' ? key : `${path}.${key}`;
    if (isGroup(old[key]) && isGroup(current[key])) changes.push(...diffFields(field, old[key], current[key]));
    else if (describe(old[key]) !== describe(current[key])) {
      changes.push({ field, before: describe(old[key]), after: describe(current[key]) });
    }
  }
  return changes;
}

/** A map of fields that are compared one by one: not a list, an address or a map by name. */
function isGroup(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map) return false;
  return !(value instanceof Uint8Array) && !('bytes' in value) && !('address' in value);
}

/** One line of text; equal values have equal texts. */
function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value ?? 'none');
  if (value instanceof Uint8Array) return [...value].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  if (value instanceof Map) return [...value].map(([key, item]) => `${key}: ${describe(item)}`).join('; ');
  if (Array.isArray(value)) return `[${value.map(describe).join(', ')}]`;
  if ('bytes' in value) return formatAddress(value as Address);
  if ('address' in value && 'length' in value) return formatHostOrPrefix(value as Prefix);
  return Object.entries(value)
    .map(([key, item]) => `${key} ${describe(item)}`)
    .join(' ');
}
