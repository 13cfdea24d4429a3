/** Complete values of the section `dns.beacons` to `BeaconSettings`; and what is checked before. */
import { formatAddress } from '../net/address.ts';
import { readDomainName } from './dns-names.ts';
import type { BeaconSettings } from './model.ts';
import { listNames, type Report } from './problem.ts';
import type { FileValues } from './schema.ts';

export type BeaconValues = NonNullable<NonNullable<FileValues['dns']>['beacons']>;

function canonical(name: string): string | null {
  const reading = readDomainName(name);
  return reading.ok ? reading.value.toLowerCase() : null;
}

export function buildBeacons(values: BeaconValues | undefined): BeaconSettings | null {
  if (values === undefined) return null;
  const name = canonical(values.name ?? '');
  if (name === null) throw new Error('a checked configuration has a gap');
  const listen = (values.listen ?? []).flatMap((endpoint) =>
    endpoint === undefined ? [] : [{ host: formatAddress(endpoint.address), port: endpoint.port }],
  );
  return { name, listen, certificate: values.certificate ?? null, key: values.key ?? null };
}

export function checkBeacons(values: FileValues, report: Report): void {
  const path = ['dns', 'beacons'];
  if (!report.isWritten(path)) return;
  const beacons = values.dns?.beacons;
  const name = canonical(beacons?.name ?? '');
  if (name === null) {
    if (beacons?.name !== undefined)
      report.error([...path, 'name'], 'this is not a domain name', 'write a name like b.example.test');
    return;
  }
  const zones = Object.keys(values.dns?.zones ?? {}).flatMap((zone) => canonical(zone) ?? []);
  if (!zones.some((zone) => name.endsWith(`.${zone}`))) {
    const remedy = zones.length === 0 ? 'add its zone under dns.zones' : `take a name below ${listNames(zones)}`;
    report.error([...path, 'name'], 'no zone is above this name', remedy);
  }
  if ((beacons?.certificate === undefined) !== (beacons?.key === undefined))
    report.error(path, 'a certificate needs its key, and the key a certificate', 'write both or none', 'key');
}
