/** Checks of name servers, networks and what names services have. Zones' records: `check-records.ts`. */
import { formatAddress, formatPrefix, type Prefix } from '../net/address.ts';
import { checkBeacons } from './build-beacons.ts';
import { checkDelegation } from './build-delegation.ts';
import { checkAnycast } from './check-anycast.ts';
import { checkDnssec } from './check-dnssec.ts';
import { checkReference } from './check-machines.ts';
import { checkMeasured } from './check-measured.ts';
import { checkQueryLog } from './check-query-log.ts';
import { checkZoneRecords } from './check-records.ts';
import { checkSerial, checkTransfers } from './check-transfers.ts';
import { absoluteName, isWithin, readDomainName, zoneOf } from './dns-names.ts';
import { nearestName } from './nearest.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues, ZoneValues } from './schema.ts';

export function checkDns(values: FileValues, report: Report): void {
  const { dns } = values;
  if (dns === undefined) return;
  const zones = checkZoneNames(dns.zones, report);
  checkServers(values, report);
  checkAnycast(values, report);
  checkQueryLog(values, report);
  checkDelegation(values, report);
  checkBeacons(values, report);
  checkMeasured(values, report);
  checkNetworks(values, report);
  checkDnssec(values, report);
  checkTransfers(values, zones, report);
  const steered = checkServiceNames(values, zones, report);
  for (const [key, zone] of entriesOf(dns.zones)) {
    const name = canonicalZone(key);
    if (name === null) continue;
    const path = ['dns', 'zones', key];
    checkSource(path, report);
    checkSerial(path, report);
    checkNameServers(path, name, zone, zones, steered, report);
    checkTimes(path, zone, report);
    checkZoneRecords(path, name, zone, zones, steered, report);
  }
}

function canonicalZone(key: string): string | null {
  const reading = readDomainName(key);
  return reading.ok ? reading.value : null;
}

function checkZoneNames(
  section: Readonly<Record<string, ZoneValues | undefined>> | undefined,
  report: Report,
): Set<string> {
  const zones = new Set<string>();
  for (const key of Object.keys(section ?? {})) {
    const path = ['dns', 'zones', key];
    const reading = readDomainName(key);
    if (!reading.ok) report.error(path, reading.message, reading.remedy, 'key');
    else if (zones.has(reading.value)) {
      report.error(
        path,
        `the zone ${reading.value} stands twice: case and a final dot do not count`,
        'merge the two',
        'key',
      );
    } else zones.add(reading.value);
  }
  return zones;
}

function checkServers(values: FileValues, report: Report): void {
  const servers = entriesOf(values.dns?.servers);
  const zones = Object.keys(values.dns?.zones ?? {});
  if (zones.length > 0 && servers.length === 0 && !report.isWritten(['dns', 'servers'])) {
    const message = `nobody answers for ${listNames(zones)}`;
    report.error(['dns', 'zones'], message, 'add a machine under dns.servers: ns1: { listen: [192.0.2.53] }', 'key');
  }
  for (const [name, { listen }] of servers) {
    const seen = new Set<string>();
    for (const [index, endpoint] of (listen ?? []).entries()) {
      if (endpoint === undefined) continue;
      const text = `${formatAddress(endpoint.address)} port ${endpoint.port}`;
      const path = ['dns', 'servers', name, 'listen', index];
      if (seen.has(text)) report.error(path, `${text} stands twice`, 'take one of the two away');
      seen.add(text);
    }
  }
}

function checkNetworks(values: FileValues, report: Report): void {
  const owners = new Map<string, string>();
  for (const [name, network] of entriesOf(values.dns?.networks)) {
    const path = ['dns', 'networks', name];
    const written = ['location', 'site'].filter((key) => report.isWritten([...path, key]));
    if (written.length !== 1) {
      const message =
        written.length === 0
          ? 'the network has neither a location nor a site'
          : 'the network has a location and a site';
      report.error(path, message, 'write one of the two: where the users are, or the site that they get', 'key');
    }
    checkReference([...path, 'site'], network.site, 'site', values.sites, report);
    for (const [index, prefix] of (network.prefixes ?? []).entries()) {
      if (prefix === undefined) continue;
      const text = formatPrefix(prefix);
      const prefixPath = [...path, 'prefixes', index];
      const first = owners.get(text);
      if (first === undefined) owners.set(text, name);
      else {
        const where = first === name ? 'stands twice' : `is already in the network ${first}`;
        report.error(prefixPath, `the prefix ${text} ${where}`, 'take one of the two away');
      }
      warnAboutMapped(prefixPath, prefix, report);
    }
  }
}

function warnAboutMapped(path: Path, prefix: Prefix, report: Report): void {
  const { address, length } = prefix;
  const isMapped = address.family === 6 && length >= 96 && formatAddress(address).startsWith('::ffff:');
  if (!isMapped) return;
  const ipv4 = { address: { family: 4 as const, bytes: address.bytes.slice(12) }, length: length - 96 };
  report.warn(path, 'clients never have IPv4-mapped addresses', `write ${formatPrefix(ipv4)}`);
}

/** Checks that each service's name is served; returns the names and their services. */
function checkServiceNames(values: FileValues, zones: ReadonlySet<string>, report: Report): Map<string, string> {
  const steered = new Map<string, string>();
  for (const [service, { dnsName }] of entriesOf(values.services)) {
    if (dnsName === undefined) continue;
    const path = ['services', service, 'dnsName'];
    const first = steered.get(dnsName);
    if (first !== undefined) {
      report.error(
        path,
        `${dnsName} is already the name of the service ${first}`,
        'give each service a name of its own',
      );
      continue;
    }
    steered.set(dnsName, service);
    if (values.dns?.zones === undefined) continue;
    const zone = zoneOf(dnsName, zones);
    if (zone === null) {
      const parent = dnsName.slice(dnsName.indexOf('.') + 1);
      const nearest = nearestName(parent, zones);
      const first = dnsName.split('.')[0];
      const remedy = nearest === null ? `add the zone ${parent} under dns.zones` : `did you mean ${first}.${nearest}?`;
      report.error(path, `${dnsName} is in none of the zones`, remedy);
    } else checkCut(path, dnsName, zone, values, report);
  }
  return steered;
}

/** Below a delegation, others have the authority. */
function checkCut(path: Path, dnsName: string, zone: string, values: FileValues, report: Report): void {
  for (const [key, { records }] of entriesOf(values.dns?.zones)) {
    if (canonicalZone(key) !== zone) continue;
    for (const [owner, types] of entriesOf(records)) {
      const cut = absoluteName(owner, zone);
      if (types.NS === undefined || cut === zone || !isWithin(dnsName, cut)) continue;
      report.error(
        path,
        `${cut} is delegated to other name servers`,
        `take the NS records at "${owner}" away, or use another name`,
      );
    }
  }
}

/** A zone says who has the authority either here or in its file. */
function checkSource(path: Path, report: Report): void {
  const hasFile = report.isWritten([...path, 'file']);
  const examples = { nameServers: '[ns1.example.net, ns2.example.net]', soa: 'and its entries, indented' };
  for (const [key, example] of Object.entries(examples)) {
    const isWritten = report.isWritten([...path, key]);
    if (hasFile && isWritten) {
      const message = `"${key}" stands beside "file": the zone file has its own`;
      report.error([...path, key], message, 'take one of the two away', 'key');
    } else if (!hasFile && !isWritten) {
      report.error([...path, key], `"${key}" is missing`, `add ${key}: ${example}`, 'key');
    }
  }
}

function checkNameServers(
  path: Path,
  zone: string,
  values: ZoneValues,
  zones: ReadonlySet<string>,
  steered: ReadonlyMap<string, string>,
  report: Report,
): void {
  if (report.isWritten([...path, 'file'])) return; // the file's are judged with it
  const names = values.nameServers ?? [];
  if (names.length === 1) {
    report.warn(
      [...path, 'nameServers', 0],
      'the zone has one name server: when it fails, all names do',
      'add a second one',
    );
  }
  const owners = new Map(entriesOf(values.records).map(([owner, types]) => [absoluteName(owner, zone), types]));
  for (const [index, name] of names.entries()) {
    if (name === undefined) continue;
    const namePath = [...path, 'nameServers', index];
    if (names.indexOf(name) < index)
      report.error(namePath, `the name server ${name} stands twice`, 'take one of the two away');
    if (zoneOf(name, zones) !== zone || values.records === undefined) continue;
    const types = owners.get(name);
    if (types?.CNAME !== undefined) {
      report.error(namePath, `the name server ${name} is a CNAME, which RFC 2181 forbids`, 'give it A or AAAA records');
    } else if (types?.A === undefined && types?.AAAA === undefined && !steered.has(name)) {
      const owner = name === zone ? '@' : name.slice(0, -zone.length - 1);
      report.error(namePath, `the name server ${name} has no address`, `add a record: ${owner}: { A: ADDRESS }`);
    }
  }
}

function checkTimes(path: Path, { soa }: ZoneValues, report: Report): void {
  if (soa?.refresh === undefined || soa.retry === undefined || soa.expire === undefined) return;
  if (soa.expire <= soa.refresh + soa.retry) {
    const message = 'secondaries stop to answer before they have looked twice';
    report.warn([...path, 'soa', 'expire'], message, 'write at least refresh and retry together, better 14d');
  }
  if ((soa.negativeTtl ?? 0) > 60) {
    const message = '"there is no such name" is kept for at most 60 s';
    report.warn([...path, 'soa', 'negativeTtl'], message, 'write 60s or less');
  }
}
