/** Checks of the static records of a zone: names, types, data, and what must not stand together. */
import { parseAddress } from '../net/address.ts';
import { absoluteName, isWithin, readDomainName, zoneOf } from './dns-names.ts';
import { nearestName } from './nearest.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { checkRecordData, isGenericType, knownRecordTypes, recordTarget } from './records.ts';
import { entriesOf } from './roster.ts';
import type { ZoneValues } from './schema.ts';
import { readSeconds } from './units.ts';

/** Beside the types: the TTL of the records at a name. */
const TTL_KEY = 'ttl';
const MAX_TTL_SECONDS = 2 ** 31 - 1;
/** A steered name answers these itself. */
const STEERED_TYPES = ['A', 'AAAA'];

/** The TTL of records at a name, or null: none is written, or it is wrong. */
export function ownTtlSeconds(types: Readonly<Record<string, readonly string[] | undefined>>): number | null {
  const reading = readSeconds(types[TTL_KEY]?.[0], 0, MAX_TTL_SECONDS);
  return reading.ok ? reading.value : null;
}

/** The entries of a name that are records: all but `ttl`. */
export function recordsOf(
  types: Readonly<Record<string, readonly string[] | undefined>>,
): [type: string, data: readonly string[]][] {
  return entriesOf(types).filter(([type]) => type !== TTL_KEY);
}

/** `zone` and `zones` are canonical; `steered`: names of services, and which. */
export function checkZoneRecords(
  path: Path,
  zone: string,
  values: ZoneValues,
  zones: ReadonlySet<string>,
  steered: ReadonlyMap<string, string>,
  report: Report,
): void {
  const seen = new Map<string, string>();
  for (const [owner, types] of entriesOf(values.records)) {
    const ownerPath = [...path, 'records', owner];
    const name = checkOwner(ownerPath, owner, zone, zones, report);
    if (name === null) continue;
    const twin = seen.get(name);
    if (twin !== undefined)
      report.error(ownerPath, `"${owner}" and "${twin}" are the same name`, 'merge the two', 'key');
    seen.set(name, owner);
    checkOwnerTtl(ownerPath, types, report);
    for (const [type, data] of recordsOf(types))
      checkType([...ownerPath, type], name === zone, type, data, zone, report);
    checkTogether(ownerPath, name, zone, types, steered.get(name), report);
  }
}

function checkOwner(
  path: Path,
  owner: string,
  zone: string,
  zones: ReadonlySet<string>,
  report: Report,
): string | null {
  const name = absoluteName(owner, zone);
  const reading = owner === '@' ? { ok: true as const } : readDomainName(owner, true);
  if (!reading.ok) {
    report.error(path, reading.message, reading.remedy, 'key');
    return null;
  }
  if (!isWithin(name, zone)) {
    const message = `${name} is outside of the zone ${zone}`;
    report.error(path, message, 'take the final dot away, or move the records to their zone', 'key');
    return null;
  }
  if (name.length > 253) {
    report.error(path, 'the name with its zone has more than 253 characters', 'shorten the name', 'key');
    return null;
  }
  const closest = zoneOf(name.replace(/^\*\./, ''), zones);
  if (closest !== null && closest !== zone && isWithin(closest, zone)) {
    const message = `${name} belongs to the zone ${closest}, which is configured too`;
    report.error(path, message, `move the records to ${closest}`, 'key');
    return null;
  }
  if (!owner.endsWith('.') && isWithin(owner.toLowerCase(), zone)) {
    report.warn(
      path,
      `without a final dot this is the name ${name}`,
      `write "${owner}." or take ".${zone}" away`,
      'key',
    );
  }
  return name;
}

function checkOwnerTtl(
  path: Path,
  types: Readonly<Record<string, readonly string[] | undefined>>,
  report: Report,
): void {
  const given = types[TTL_KEY];
  if (given === undefined) return;
  const reading = readSeconds(given.length === 1 ? given[0] : undefined, 0, MAX_TTL_SECONDS);
  if (!reading.ok) report.error([...path, TTL_KEY], reading.message, reading.remedy);
}

function checkType(
  path: Path,
  isApex: boolean,
  type: string,
  data: readonly string[],
  zone: string,
  report: Report,
): void {
  const misplaced = misplacedType(type, isApex);
  if (misplaced !== null) {
    report.error(path, misplaced.message, misplaced.remedy, 'key');
    return;
  }
  for (const [index, text] of data.entries()) {
    const dataPath = data.length > 1 ? [...path, index] : path;
    const reading = checkRecordData(type, text);
    if (!reading.ok) report.error(dataPath, reading.message, reading.remedy);
    else checkTarget(dataPath, type, text, zone, report);
    if (data.indexOf(text) < index) report.error(dataPath, 'the record stands twice', 'take one of the two away');
  }
}

/** Why records of a type cannot be here at all; null: they can. */
function misplacedType(type: string, isApex: boolean): { message: string; remedy: string } | null {
  if (type === 'SOA')
    return { message: 'SOA is no static record', remedy: 'write it under soa of the zone, or in its zone file' };
  if (type === 'NS' && isApex) {
    return {
      message: 'NS of the zone itself is no static record',
      remedy: 'write it under nameServers of the zone, or in its zone file',
    };
  }
  if (knownRecordTypes().includes(type) || isGenericType(type)) return null;
  const message = `"${type}" is not a known record type`;
  const nearest = nearestName(type, [...knownRecordTypes(), TTL_KEY]);
  if (nearest !== null) return { message, remedy: `did you mean ${nearest}?` };
  return { message, remedy: `write one of ${knownRecordTypes().join(', ')}, or TYPEnnn with generic data` };
}

function checkTarget(path: Path, type: string, data: string, zone: string, report: Report): void {
  const target = recordTarget(type, data, zone);
  if (target === null) return;
  const withoutDot = target.text.replace(/\.$/, '');
  if (parseAddress(withoutDot) !== null) {
    report.error(
      path,
      `${type} names a host, and ${withoutDot} is an address`,
      'write the name of a host that has this address',
    );
  } else if (!target.text.endsWith('.') && target.text !== '@' && isWithin(target.text.toLowerCase(), zone)) {
    const remedy = `write "${target.text}." with a final dot, or take ".${zone}" away`;
    report.warn(path, `without a final dot this is the name ${target.name}`, remedy);
  }
}

function checkTogether(
  path: Path,
  name: string,
  zone: string,
  types: Readonly<Record<string, readonly string[] | undefined>>,
  service: string | undefined,
  report: Report,
): void {
  const present = recordsOf(types).map(([type]) => type);
  if (present.includes('CNAME')) checkAlias([...path, 'CNAME'], name, zone, types, service, report);
  if (service === undefined) return;
  for (const type of STEERED_TYPES) {
    if (!present.includes(type)) continue;
    const message = `the service ${service} answers ${type} at ${name}`;
    report.error([...path, type], message, `take the record away, or dnsName of the service ${service}`, 'key');
  }
}

/** A CNAME stands alone: RFC 1034 3.6.2. */
function checkAlias(
  path: Path,
  name: string,
  zone: string,
  types: Readonly<Record<string, readonly string[] | undefined>>,
  service: string | undefined,
  report: Report,
): void {
  const others = recordsOf(types)
    .map(([type]) => type)
    .filter((type) => type !== 'CNAME');
  if (name === zone) {
    report.error(
      path,
      'the zone itself cannot be a CNAME: it has SOA and NS records',
      'write A and AAAA records',
      'key',
    );
  } else if (service !== undefined) {
    const message = `the service ${service} answers at ${name}, and a CNAME stands alone`;
    report.error(path, message, `take the CNAME away, or dnsName of the service ${service}`, 'key');
  } else if (others.length > 0) {
    const message = `a CNAME stands alone, and the name has ${listNames(others)} beside it`;
    report.error(path, message, `take ${listNames(others)} away, or the CNAME`, 'key');
  }
  if ((types.CNAME?.length ?? 0) > 1) report.error(path, 'the name has several CNAMEs', 'keep one');
}
