/** Configuration to `zones.ts`: reads every record, hangs names and services into the tree, reports all problems at once. */
import type { Config, Service, StaticRecord, Zone } from '../../config/model.ts';
import { type ConfigProblem, formatPath, formatValue, type Path } from '../../config/problem.ts';
import { compileSteering } from '../../decide/steer/nearest.ts';
import { hashName, NameTable } from './name-table.ts';
import { parseRecordData } from './presentation/record.ts';
import {
  isAtOrBelow,
  isWildcard,
  labelStarts,
  lowerName,
  type Name,
  parentName,
  parseName,
  ROOT_NAME,
} from './wire/name.ts';
import { parseType, RECORD_TYPE } from './wire/numbers.ts';
import { joinBytes, nameData, type RecordData } from './wire/record-data.ts';
import { checkNodes } from './zone-check.ts';
import type { NodeDraft, Origin, SetDraft, ZoneDraft, ZoneReport } from './zone-draft.ts';
import { type CompiledZone, type CompiledZones, MAX_STEERED_NEGATIVE_SECONDS, type RecordSet } from './zones.ts';

export type ZonesResult =
  | { readonly ok: true; readonly zones: CompiledZones; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] };

/** RFC 2181 section 8. */
const MAX_TTL_SECONDS = 0x7fffffff;

/** Compiles all zones and the services' names. `portico check` shows the problems; a server refuses a configuration that has any. */
export function compileZones(config: Config): ZonesResult {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const add = (list: ConfigProblem[]) => (origin: Origin, message: string, remedy: string) => {
    const value = formatValue(origin.value);
    list.push({ path: formatPath(origin.path), line: origin.line, column: 1, value, message, remedy });
  };
  const report: ZoneReport = { error: add(problems), warn: add(warnings) };
  const names = new NameTable<NodeDraft>();
  const zones: ZoneDraft[] = [];
  for (const source of config.zones) {
    const draft = createZone(source, names, report);
    if (draft !== null) zones.push(draft);
  }
  for (const { zone } of zones) {
    // In the zone around it, the names on the way to a zone exist.
    const around = deepestZone(parentName(zone.name), names);
    if (around !== null && around !== zone) ensureNode(parentName(zone.name), around, names);
  }
  for (const draft of zones) for (const record of draft.source.records) addRecord(draft, record, names, report);
  addServices(config, names, report);
  linkNodes(names);
  checkNodes(names, zones, report);
  if (problems.length > 0) return { ok: false, problems, warnings };
  return { ok: true, zones: { zones: zones.map((draft) => draft.zone), names }, warnings };
}

function createZone(source: Zone, names: NameTable<NodeDraft>, report: ZoneReport): ZoneDraft | null {
  const path: Path = ['dns', 'zones', source.name];
  const origin: Origin = { path, value: source.name, line: 1 };
  const read = (text: string, ...keys: string[]): Name | null => {
    const parsed = parseName(text, ROOT_NAME);
    if (parsed.ok) return lowerName(parsed.name);
    report.error({ path: [...path, ...keys], value: text, line: 1 }, parsed.reason, 'write a domain name');
    return null;
  };
  const name = read(source.name);
  const primary = read(source.primaryServer, 'soa', 'primary');
  const contact = read(mailboxName(source.contact), 'soa', 'contact');
  const servers = source.nameServers.map((server) => read(server, 'nameServers')).filter((server) => server !== null);
  if (name === null || primary === null || contact === null || servers.length < source.nameServers.length) return null;
  if (servers.length === 0) {
    report.error(
      { ...origin, path: [...path, 'nameServers'], value: '' },
      'the zone has no name server',
      'name at least one',
    );
  }
  if (names.get(name)?.zone.name.length === name.length) {
    report.error(origin, 'the zone is there twice', 'join both into one');
    return null;
  }
  const soaData = encodeSoa(primary, contact, source);
  const soaWith = (ttlSeconds: number): RecordSet => {
    return { type: RECORD_TYPE.SOA, ttlSeconds, records: [soaData], additionals: [] };
  };
  const negativeSeconds = Math.min(source.ttlSeconds, source.negativeTtlSeconds);
  const zone: CompiledZone = {
    text: source.name,
    name,
    soa: soaWith(source.ttlSeconds),
    negativeSoa: soaWith(negativeSeconds),
    steeredNegativeSoa: soaWith(Math.min(negativeSeconds, MAX_STEERED_NEGATIVE_SECONDS)),
  };
  const apex = createNode(name, zone);
  names.add(name, apex);
  const { ttlSeconds } = source;
  addToSet(apex, RECORD_TYPE.SOA, ttlSeconds, soaData, origin);
  for (const server of servers) {
    addToSet(apex, RECORD_TYPE.NS, ttlSeconds, nameData(server), { ...origin, path: [...path, 'nameServers'] });
  }
  return { zone, source, origin };
}

/** `user@domain` as SOA wants it (RFC 1035 8): the dots of the first part escaped. Other text is a name already. */
function mailboxName(contact: string): string {
  const at = contact.lastIndexOf('@');
  if (at < 0) return contact;
  return `${contact.slice(0, at).replaceAll('.', '\\.')}.${contact.slice(at + 1)}`;
}

function encodeSoa(primary: Name, contact: Name, source: Zone): RecordData {
  const numbers = new Uint8Array(20);
  const view = new DataView(numbers.buffer);
  const { serial, refreshSeconds, retrySeconds, expireSeconds, negativeTtlSeconds } = source;
  const values = [serial, refreshSeconds, retrySeconds, expireSeconds, negativeTtlSeconds];
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value);
  const contactEnd = primary.length + contact.length;
  return {
    bytes: joinBytes([primary, contact, numbers], contactEnd + 20),
    names: [
      { start: 0, end: primary.length },
      { start: primary.length, end: contactEnd },
    ],
  };
}

function createNode(name: Name, zone: CompiledZone): NodeDraft {
  return { name, zone, sets: new Map(), cname: null, steered: null, cut: null, wildcard: null, steeredOrigin: null };
}

function addToSet(node: NodeDraft, type: number, ttlSeconds: number, data: RecordData, origin: Origin): SetDraft {
  let set = node.sets.get(type);
  if (set === undefined) {
    set = { type, ttlSeconds, records: [], additionals: [], origins: [] };
    node.sets.set(type, set);
  }
  set.origins.push(origin);
  // A set has no duplicates (RFC 2181 section 5).
  const text = data.bytes.join();
  if (!set.records.some((record) => record.bytes.join() === text)) set.records.push(data);
  return set;
}

/** Types that a zone makes itself, that mean something to servers only, or that would need what is not there. */
const REFUSED_TYPES: ReadonlyMap<number, string> = new Map([
  [RECORD_TYPE.SOA, 'it is made from the zone itself: set it under "soa"'],
  [RECORD_TYPE.DNAME, 'DNAME is not supported: write a CNAME or the records for each name'],
  [RECORD_TYPE.RRSIG, 'signed zones are not supported: leave it out'],
  [RECORD_TYPE.NSEC, 'signed zones are not supported: leave it out'],
  [RECORD_TYPE.DNSKEY, 'signed zones are not supported: leave it out'],
]);

function isMetaType(type: number): boolean {
  return type === 0 || type === RECORD_TYPE.OPT || (type >= 128 && type <= 255);
}

type StaticResult =
  | { readonly ok: true; readonly node: NodeDraft; readonly type: number; readonly data: RecordData }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

function refuse(message: string, remedy: string): StaticResult {
  return { ok: false, message, remedy };
}

function addRecord(draft: ZoneDraft, record: StaticRecord, names: NameTable<NodeDraft>, report: ZoneReport): void {
  const path: Path = [...draft.origin.path, 'records', relativeText(record.name, draft.source.name), record.type];
  const origin: Origin = { path, value: record.data, line: record.line };
  const read = readStatic(draft.zone, record, names);
  if (!read.ok) {
    report.error(origin, read.message, read.remedy);
    return;
  }
  const set = addToSet(read.node, read.type, record.ttlSeconds, read.data, origin);
  if (set.ttlSeconds !== record.ttlSeconds) {
    // RFC 2181 5.2: they must be equal.
    set.ttlSeconds = Math.min(set.ttlSeconds, record.ttlSeconds);
    const message = `records of ${record.name} ${record.type} have different TTLs; the lowest, ${set.ttlSeconds} s, is used`;
    report.warn(origin, message, 'give all of them the same');
  }
}

function readStatic(zone: CompiledZone, record: StaticRecord, names: NameTable<NodeDraft>): StaticResult {
  const owner = parseName(record.name, ROOT_NAME);
  if (!owner.ok) return refuse(owner.reason, 'write a name of the zone');
  const name = lowerName(owner.name);
  if (!isAtOrBelow(name, zone.name)) {
    return refuse(`${record.name} is not in the zone ${zone.text}`, 'put it into the zone that it belongs to');
  }
  const kind = parseType(record.type);
  if (kind !== null && isMetaType(kind)) return refuse(`${record.type} is no type of data`, 'leave it out');
  const remedy = kind === null ? undefined : REFUSED_TYPES.get(kind);
  if (remedy !== undefined) return refuse(`a zone here has no ${record.type} records of its own`, remedy);
  const parsed = parseRecordData(record.type, record.data, zone.name);
  if (!parsed.ok) return refuse(`the ${record.type} record is not valid: ${parsed.reason}`, parsed.remedy);
  const { type } = parsed;
  if (type === RECORD_TYPE.NS && name.length === zone.name.length) {
    return refuse('name servers of the zone stand in its records', 'list them under "nameServers" of the zone');
  }
  if (!Number.isInteger(record.ttlSeconds) || record.ttlSeconds < 0 || record.ttlSeconds > MAX_TTL_SECONDS) {
    return refuse(`the TTL ${record.ttlSeconds} s is not possible`, `use 0 to ${MAX_TTL_SECONDS} s`);
  }
  const node = ensureNode(name, zone, names);
  if (node === null)
    return refuse(`${record.name} belongs to a zone below ${zone.text} that is served too`, 'put it into that zone');
  return { ok: true, node, type, data: parsed.rdata };
}

function relativeText(name: string, zone: string): string {
  if (name === zone) return '@';
  return name.endsWith(`.${zone}`) ? name.slice(0, -zone.length - 1) : name;
}

/** The node of a name at or below the zone's apex, made with its ancestors if needed; null: it is in a zone below. */
function ensureNode(name: Name, zone: CompiledZone, names: NameTable<NodeDraft>): NodeDraft | null {
  const known = names.get(name);
  if (known !== undefined) return known.zone === zone ? known : null;
  if (ensureNode(parentName(name), zone, names) === null) return null;
  const node = createNode(name, zone);
  names.add(name, node);
  return node;
}

function addServices(config: Config, names: NameTable<NodeDraft>, report: ZoneReport): void {
  const steering = compileSteering(config);
  for (const service of config.services.values()) {
    if (service.dnsName === null) continue;
    const origin: Origin = { path: ['services', service.name, 'dnsName'], value: service.dnsName, line: 1 };
    const parsed = parseName(service.dnsName, ROOT_NAME);
    if (!parsed.ok) {
      report.error(origin, parsed.reason, 'write a domain name');
      continue;
    }
    const name = lowerName(parsed.name);
    const zone = deepestZone(name, names);
    if (zone === null) {
      report.error(origin, `${service.dnsName} is in no zone of this configuration`, 'add its zone under dns.zones');
      continue;
    }
    const node = ensureNode(name, zone, names);
    const serviceSteering = steering.get(service.name);
    if (node === null || serviceSteering === undefined) continue;
    if (node.steered !== null) {
      const message = `${service.dnsName} is the name of two services, ${node.steered.service} and ${service.name}`;
      report.error(origin, message, 'give each service a name of its own');
      continue;
    }
    const sites = serviceSteering.sites;
    node.steered = {
      service: service.name,
      ttlSeconds: service.ttlSeconds,
      steering: serviceSteering,
      ipv4: addressSets(service, sites, 4, report),
      ipv6: addressSets(service, sites, 6, report),
    };
    node.steeredOrigin = origin;
  }
}

function deepestZone(name: Name, names: NameTable<NodeDraft>): CompiledZone | null {
  for (const start of labelStarts(name)) {
    const node = names.get(name.subarray(start));
    if (node !== undefined) return node.zone;
  }
  return null;
}

function addressSets(
  service: Service,
  sites: readonly string[],
  family: 4 | 6,
  report: ZoneReport,
): RecordSet[] | null {
  const type = family === 4 ? RECORD_TYPE.A : RECORD_TYPE.AAAA;
  const sets = sites.map((site): RecordSet => {
    const vips = service.vips.get(site)?.filter((address) => address.family === family) ?? [];
    const records = vips.map(({ bytes }) => ({ bytes, names: [] }));
    return { type, ttlSeconds: service.ttlSeconds, records, additionals: [] };
  });
  const missing = sites.filter((_, index) => sets[index].records.length === 0);
  if (missing.length === sites.length) return null;
  for (const site of missing) {
    // Whether a type exists must not depend on the client: a resolver keeps "no AAAA" for all of its users.
    const origin: Origin = { path: ['services', service.name, 'vips', site], value: '', line: 1 };
    const message = `service ${service.name} has IPv${family} VIPs at other sites, but none at ${site}`;
    report.error(origin, message, `add an IPv${family} VIP at ${site}, or have none at any site`);
  }
  return sets;
}

/** Sets what needs all names: CNAME targets, wildcards, delegations, addresses of name servers. */
function linkNodes(names: NameTable<NodeDraft>): void {
  const nodes = [...names.values()].sort((a, b) => a.name.length - b.name.length);
  for (const node of nodes) {
    const isApex = node.zone.name.length === node.name.length;
    const parent = isApex ? undefined : names.get(parentName(node.name));
    if (parent !== undefined && isWildcard(node.name)) parent.wildcard = node;
    node.cut = parent?.cut ?? (!isApex && node.sets.has(RECORD_TYPE.NS) ? node : null);
    const cname = node.sets.get(RECORD_TYPE.CNAME);
    if (cname !== undefined) node.cname = { set: cname, target: hashName(lowerName(cname.records[0].bytes)) };
  }
  for (const node of nodes) {
    const servers = node.sets.get(RECORD_TYPE.NS);
    for (const { bytes } of servers?.records ?? []) {
      const target = names.get(bytes);
      if (target === undefined || target.zone !== node.zone) continue;
      for (const type of [RECORD_TYPE.A, RECORD_TYPE.AAAA]) {
        const set = target.sets.get(type);
        if (set !== undefined) servers?.additionals.push({ owner: target.name, set });
      }
    }
  }
}
