/** Checks of keys and secondaries: names that lead somewhere, and nobody who gets zones without having shown anything. */
import { readDomainName } from './dns-names.ts';
import { nearestName } from './nearest.ts';
import type { Path, Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';
import { readKeyName } from './schema-transfers.ts';

type DnsValues = NonNullable<FileValues['dns']>;
type SecondaryValues = NonNullable<NonNullable<DnsValues['secondaries']>[string]>;

/** `zones`: canonical names of the zones that are served. */
export function checkTransfers(values: FileValues, zones: ReadonlySet<string>, report: Report): void {
  const { dns } = values;
  if (dns === undefined) return;
  const keys = checkKeys(dns, report);
  const signed = new Set(
    entriesOf(dns.zones).flatMap(([key, { dnssec }]) => {
      const reading = readDomainName(key);
      return dnssec === true && reading.ok ? [reading.value] : [];
    }),
  );
  const used = new Set<string>();
  for (const [name, secondary] of entriesOf(dns.secondaries)) {
    checkSecondary(['dns', 'secondaries', name], name, secondary, keys, zones, signed, report);
    if (secondary.key !== undefined) used.add(secondary.key);
  }
  for (const [key, path] of keys)
    if (!used.has(key)) report.warn(path, `no secondary uses the key ${key}`, 'name it under a secondary', 'key');
  checkSites(values, report);
}

/** Canonical name -> path. */
function checkKeys(dns: DnsValues, report: Report): Map<string, Path> {
  const keys = new Map<string, Path>();
  for (const key of Object.keys(dns.keys ?? {})) {
    const path = ['dns', 'keys', key];
    const reading = readKeyName(key);
    if (!reading.ok) report.error(path, reading.message, reading.remedy, 'key');
    else if (keys.has(reading.value))
      report.error(path, `the key ${reading.value} stands twice: case does not count`, 'take one away', 'key');
    else keys.set(reading.value, path);
  }
  return keys;
}

function checkSecondary(
  path: Path,
  name: string,
  secondary: SecondaryValues,
  keys: ReadonlyMap<string, Path>,
  zones: ReadonlySet<string>,
  signed: ReadonlySet<string>,
  report: Report,
): void {
  const { key, from, notify } = secondary;
  const isWritten = (part: string) => report.isWritten([...path, part]);
  if (!isWritten('from') && !isWritten('key')) {
    const message = `anybody would get the zones of ${name}: it has neither addresses nor a key`;
    report.error(path, message, 'add from: [192.0.2.100/32], or a key, or both', 'key');
  }
  if (key !== undefined && !keys.has(key)) {
    const nearest = nearestName(key, keys.keys());
    const remedy = nearest === null ? `add ${key} under dns.keys` : `did you mean ${nearest}?`;
    report.error([...path, 'key'], `there is no key ${key}`, remedy);
  }
  for (const [index, prefix] of (from ?? []).entries()) {
    if (prefix?.length !== 0 || isWritten('key')) continue;
    report.error([...path, 'from', index], 'this is everybody', 'write the addresses of the secondary, or add a key');
  }
  if (from !== undefined && !isWritten('key')) {
    const message = 'addresses can be borrowed by whoever is on the way';
    report.warn([...path, 'from'], message, 'add a key, on both sides', 'key');
  }
  const seen = new Set<string>();
  for (const [index, zone] of (secondary.zones ?? []).entries()) {
    if (zone === undefined) continue;
    const zonePath = [...path, 'zones', index];
    if (seen.has(zone)) report.error(zonePath, `${zone} stands twice`, 'take one of the two away');
    seen.add(zone);
    if (signed.has(zone)) {
      const remedy = 'take it away here, or take "dnssec" away from the zone';
      report.error(zonePath, `${zone} is signed, and signed zones are not transferred`, remedy);
    }
    if (zones.has(zone)) continue;
    const nearest = nearestName(zone, zones);
    report.error(
      zonePath,
      `there is no zone ${zone}`,
      nearest === null ? 'name a zone of dns.zones' : `did you mean ${nearest}?`,
    );
  }
  if (!isWritten('notify') && (notify ?? []).length === 0) {
    const message = `${name} is not told of changes and looks by itself, as often as "refresh" says`;
    report.warn(path, message, 'add notify: [ADDRESS]', 'key');
  }
}

/** What secondaries answer for a service has to be VIPs that it has. */
function checkSites(values: FileValues, report: Report): void {
  for (const [service, { secondarySites, vips }] of entriesOf(values.services)) {
    for (const [index, site] of (secondarySites ?? []).entries()) {
      if (site === undefined || vips === undefined || Object.hasOwn(vips, site)) continue;
      const path = ['services', service, 'secondarySites', index];
      const nearest = nearestName(site, Object.keys(vips));
      const remedy = nearest === null ? 'name sites of its VIPs' : `did you mean ${nearest}?`;
      report.error(path, `the service has no VIPs at ${site}`, remedy);
    }
  }
}

/** A zone says its serial, or leaves it to Portico. */
export function checkSerial(path: Path, report: Report): void {
  const isCounted = report.isWritten([...path, 'serial']);
  if (report.isWritten([...path, 'file']) || !report.isWritten([...path, 'soa'])) return;
  const isWritten = report.isWritten([...path, 'soa', 'serial']);
  if (isCounted && isWritten) {
    report.error([...path, 'soa', 'serial'], 'the serial is counted and written', 'take one of the two away', 'key');
  } else if (!isCounted && !isWritten) {
    report.error([...path, 'soa'], '"serial" is missing', 'add serial: 2026010101, or serial: auto to the zone', 'key');
  }
}
