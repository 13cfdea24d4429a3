/** The zone itself: its apex, SOA and name servers, from the configuration or its zone file. */
import type { Zone, ZoneFileRecord } from '../../config/model.ts';
import type { Path } from '../../config/problem.ts';
import { lowerName, type Name, parseName, ROOT_NAME } from './wire/name.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import { read32 } from './wire/query.ts';
import { joinBytes, nameData, type RecordData } from './wire/record-data.ts';
import type { Origin, ZoneDraft, ZoneReport } from './zone-draft.ts';
import { addToSet, createNode, type NodeTable } from './zone-tree.ts';
import { type CompiledZone, MAX_STEERED_NEGATIVE_SECONDS, type RecordSet } from './zones.ts';

/** Puts the apex of a zone into the tree, with SOA and, of the configuration, NS; those of a file come with its other records. */
export function createZone(source: Zone, names: NodeTable, report: ZoneReport): ZoneDraft | null {
  const path: Path = ['dns', 'zones', source.name];
  const origin: Origin = { path, value: source.name, line: 1 };
  const parsed = parseName(source.name, ROOT_NAME);
  if (!parsed.ok) {
    report.error(origin, parsed.reason, 'write a domain name');
    return null;
  }
  const name = lowerName(parsed.name);
  const authority =
    source.file === null ? readAuthority(source, origin, report) : findAuthority(source, origin, report);
  if (authority === null) return null;
  if (names.get(name)?.zone.name.length === name.length) {
    report.error(origin, 'the zone is there twice', 'join both into one');
    return null;
  }
  const { soa, ttlSeconds } = authority;
  const soaWith = (seconds: number): RecordSet => {
    return { type: RECORD_TYPE.SOA, ttlSeconds: seconds, records: [soa], additionals: [] };
  };
  // RFC 2308 section 5: the lower of the TTL and the last field.
  const negativeSeconds = Math.min(ttlSeconds, read32(soa.bytes, soa.bytes.length - 4));
  const zone: CompiledZone = {
    text: source.name,
    name,
    soa: soaWith(ttlSeconds),
    negativeSoa: soaWith(negativeSeconds),
    steeredNegativeSoa: soaWith(Math.min(negativeSeconds, MAX_STEERED_NEGATIVE_SECONDS)),
  };
  const apex = createNode(name, zone);
  names.add(name, apex);
  addToSet(apex, RECORD_TYPE.SOA, ttlSeconds, soa, authority.origin);
  for (const server of authority.servers) {
    addToSet(apex, RECORD_TYPE.NS, ttlSeconds, nameData(server), { ...origin, path: [...path, 'nameServers'] });
  }
  return { zone, source, origin };
}

interface Authority {
  readonly soa: RecordData;
  readonly ttlSeconds: number;
  readonly origin: Origin;
  readonly servers: readonly Name[];
}

function readAuthority(source: Zone, origin: Origin, report: ZoneReport): Authority | null {
  const read = (text: string, ...keys: string[]): Name | null => {
    const parsed = parseName(text, ROOT_NAME);
    if (parsed.ok) return lowerName(parsed.name);
    report.error({ path: [...origin.path, ...keys], value: text, line: 1 }, parsed.reason, 'write a domain name');
    return null;
  };
  const primary = read(source.primaryServer, 'soa', 'primary');
  const contact = read(mailboxName(source.contact), 'soa', 'contact');
  const servers = source.nameServers.map((server) => read(server, 'nameServers')).filter((server) => server !== null);
  if (primary === null || contact === null || servers.length < source.nameServers.length) return null;
  if (servers.length === 0) {
    const path = [...origin.path, 'nameServers'];
    report.error({ ...origin, path, value: '' }, 'the zone has no name server', 'name at least one');
  }
  return { soa: encodeSoa(primary, contact, source), ttlSeconds: source.ttlSeconds, origin, servers };
}

/** `loadZoneFiles` saw to it that there is one SOA, at the apex, and NS. */
function findAuthority(source: Zone, origin: Origin, report: ZoneReport): Authority | null {
  const soa = source.file?.records?.find((record) => record.type === RECORD_TYPE.SOA);
  if (soa === undefined) {
    const path = [...origin.path, 'file'];
    report.error({ ...origin, path, value: source.file?.path }, 'the zone file was not read', 'read it first');
    return null;
  }
  return {
    soa: countedSoa(soa.data, source),
    ttlSeconds: soa.ttlSeconds,
    origin: fileOrigin([...origin.path, 'file'], soa),
    servers: [],
  };
}

/** Where a record of a zone file stands. `path`: of the file in the configuration. */
export function fileOrigin(path: Path, { file, line, column }: ZoneFileRecord): Origin {
  return { path, value: '', file, line, column };
}

/** With a serial that Portico counts in place of the file's. */
function countedSoa({ bytes, names }: RecordData, { isSerialCounted, serial }: Zone): RecordData {
  if (!isSerialCounted) return { bytes, names };
  const copy = new Uint8Array(bytes);
  new DataView(copy.buffer).setUint32(copy.length - 20, serial);
  return { bytes: copy, names };
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
