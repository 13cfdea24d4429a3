/** Configuration to `zones.ts`: reads every record, hangs names and services into the tree, reports all problems at once. */
import type { Config, StaticRecord, ZoneFileRecord } from '../../config/model.ts';
import { type ConfigProblem, formatPath, formatValue, type Path } from '../../config/problem.ts';
import { hashName, NameTable } from './name-table.ts';
import { parseRecordData } from './presentation/record.ts';
import { formatName, isAtOrBelow, isWildcard, lowerName, parentName, parseName, ROOT_NAME } from './wire/name.ts';
import { formatType, isMetaType, parseType, RECORD_TYPE } from './wire/numbers.ts';
import type { RecordData } from './wire/record-data.ts';
import { checkNodes } from './zone-check.ts';
import { createZone, fileOrigin } from './zone-create.ts';
import type { NodeDraft, Origin, ZoneDraft, ZoneReport } from './zone-draft.ts';
import { addServices } from './zone-services.ts';
import { addToSet, deepestZone, ensureNode, type NodeTable, sealNode } from './zone-tree.ts';
import type { CompiledZone, CompiledZones } from './zones.ts';

export type ZonesResult =
  | { readonly ok: true; readonly zones: CompiledZones; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] };

/** RFC 2181 section 8. */
const MAX_TTL_SECONDS = 0x7fffffff;

/** A configuration never changes, and reading one means compiling it several times: to check, to count serials, to serve. */
const compiled = new WeakMap<Config, ZonesResult>();

/** Compiles all zones and the services' names. `portico check` shows the problems; a server refuses a configuration that has any. */
export function compileZones(config: Config): ZonesResult {
  let result = compiled.get(config);
  if (result === undefined) {
    result = compile(config);
    compiled.set(config, result);
  }
  return result;
}

function compile(config: Config): ZonesResult {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const add = (list: ConfigProblem[]) => (origin: Origin, message: string, remedy: string) => {
    const value = formatValue(origin.value);
    const { file, line, column = 1 } = origin;
    const problem = { path: formatPath(origin.path), line, column, value, message, remedy };
    list.push(file === undefined ? problem : { ...problem, file });
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
  for (const draft of zones) {
    const path = [...draft.origin.path, 'file'];
    for (const record of draft.source.file?.records ?? []) addFileRecord(draft, record, path, names, report);
    for (const record of draft.source.records) addRecord(draft, record, names, report);
  }
  addServices(config, names, report);
  linkNodes(names);
  checkNodes(names, zones, report);
  if (problems.length > 0) return { ok: false, problems, warnings };
  for (const node of names.values()) sealNode(node);
  return { ok: true, zones: { zones: zones.map((draft) => draft.zone), names }, warnings };
}

/** Types that a zone makes itself, that mean something to servers only, or that would need what is not there. */
const REFUSED_TYPES: ReadonlyMap<number, string> = new Map([
  [RECORD_TYPE.SOA, 'it is made from the zone itself: set it under "soa", or in the zone file'],
  [RECORD_TYPE.RRSIG, 'it is made for zones with "dnssec: true": leave it out'],
  [RECORD_TYPE.NSEC, 'it is made for zones with "dnssec: true": leave it out'],
  [RECORD_TYPE.DNSKEY, 'it is made for zones with "dnssec: true": leave it out'],
]);

type StaticResult =
  | { readonly ok: true; readonly node: NodeDraft; readonly type: number; readonly data: RecordData }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

function refuse(message: string, remedy: string): StaticResult {
  return { ok: false, message, remedy };
}

function addRecord(draft: ZoneDraft, record: StaticRecord, names: NodeTable, report: ZoneReport): void {
  const path: Path = [...draft.origin.path, 'records', relativeText(record.name, draft.source.name), record.type];
  const origin: Origin = { path, value: record.data, line: record.line };
  const read = readStatic(draft.zone, record, names);
  if (!read.ok) {
    report.error(origin, read.message, read.remedy);
    return;
  }
  const twin = read.node.sets.get(read.type)?.origins[0];
  if (twin?.file !== undefined) {
    const message = `${record.name} ${record.type} stands in the zone file too (${twin.file}:${twin.line})`;
    report.error(origin, message, 'take one of the two away: records of one name and type come from one place');
    return;
  }
  addWithTtl(read.node, read.type, record.ttlSeconds, read.data, origin, report);
}

/** A set has one TTL (RFC 2181 5.2). */
function addWithTtl(
  node: NodeDraft,
  type: number,
  ttlSeconds: number,
  data: RecordData,
  origin: Origin,
  report: ZoneReport,
): void {
  const set = addToSet(node, type, ttlSeconds, data, origin);
  if (set.ttlSeconds === ttlSeconds) return;
  set.ttlSeconds = Math.min(set.ttlSeconds, ttlSeconds);
  const message = `records of ${formatName(node.name)} ${formatType(type)} have different TTLs; the lowest, ${set.ttlSeconds} s, is used`;
  report.warn(origin, message, 'give all of them the same');
}

/** The reader of the file has judged the record itself; here is what the zone says to it. */
function addFileRecord(
  draft: ZoneDraft,
  record: ZoneFileRecord,
  path: Path,
  names: NodeTable,
  report: ZoneReport,
): void {
  const { zone } = draft;
  const { type } = record;
  if (type === RECORD_TYPE.SOA) return; // made with the zone
  const origin = fileOrigin(path, record);
  const name = lowerName(record.owner);
  const remedy = REFUSED_TYPES.get(type);
  const node = isAtOrBelow(name, zone.name) ? ensureNode(name, zone, names) : undefined;
  if (remedy !== undefined) report.error(origin, `a zone here has no ${formatType(type)} records of its own`, remedy);
  else if (node === undefined) {
    const message = `${formatName(name)} is not in the zone ${zone.text}`;
    report.error(origin, message, 'put it into the zone that it belongs to');
  } else if (node === null) {
    const message = `${formatName(name)} belongs to a zone below ${zone.text} that is served too`;
    report.error(origin, message, 'put it into that zone');
  } else addWithTtl(node, type, record.ttlSeconds, record.data, origin, report);
}

function readStatic(zone: CompiledZone, record: StaticRecord, names: NodeTable): StaticResult {
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

/** Sets what needs all names: CNAME targets, wildcards, delegations, addresses of name servers. */
function linkNodes(names: NodeTable): void {
  const nodes = [...names.values()].sort((a, b) => a.name.length - b.name.length);
  for (const node of nodes) {
    const isApex = node.zone.name.length === node.name.length;
    const parent = isApex ? undefined : names.get(parentName(node.name));
    if (parent !== undefined && isWildcard(node.name)) parent.wildcard = node;
    node.cut = parent?.cut ?? (!isApex && node.sets.has(RECORD_TYPE.NS) ? node : null);
    node.dname = node.sets.get(RECORD_TYPE.DNAME) ?? null;
    node.redirectedBy = parent === undefined || parent.dname === null ? (parent?.redirectedBy ?? null) : parent;
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
