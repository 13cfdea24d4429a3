/** Checks of VIPs: of each service by itself, against other services, and against what else has addresses. */
import {
  formatAddress,
  formatHostOrPrefix,
  formatPrefix,
  hostPrefix,
  isHost,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  samePrefix,
} from '../net/address.ts';
import { checkReference, checkUsable, ownedAddresses } from './check-machines.ts';
import { portText } from './check-services.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf, type Roster } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';
import { type Reached, serviceKeys } from './service-keys.ts';

/** bpf/layout.h: MAX_VIP_PREFIXES, and MAX_SUBJECTS as the size of the map of services. */
const MAX_PREFIXES_OF_SITE = 256;
const MAX_KEYS_OF_SITE = 2048;

/** A VIP where it stands in the file. */
interface Written {
  readonly service: string;
  readonly site: string;
  readonly vip: Prefix;
  readonly path: Path;
}

export function checkVips(values: FileValues, roster: Roster, report: Report): void {
  for (const [name, service] of entriesOf(values.services))
    checkVipsOf(['services', name], service, values, roster, report);
  const written = writtenVips(values);
  checkSharedVips(written, values, report);
  checkOwners(written, values, report);
  checkOtherSites(written, report);
  checkRoom(values, roster, report);
}

function writtenVips(values: FileValues): Written[] {
  return entriesOf(values.services).flatMap(([service, { vips }]) =>
    entriesOf(vips).flatMap(([site, list]) =>
      list.flatMap((vip, index) => {
        return vip === undefined ? [] : { service, site, vip, path: ['services', service, 'vips', site, index] };
      }),
    ),
  );
}

function checkVipsOf(path: Path, service: ServiceValues, values: FileValues, roster: Roster, report: Report): void {
  const sites = entriesOf(service.vips);
  if (service.vips !== undefined && Object.keys(service.vips).length === 0) {
    report.error([...path, 'vips'], 'the service has no VIP', 'write the VIPs of each site: eu: [192.0.2.10]');
  }
  checkFamiliesOf(path, service, report);
  for (const [site, vips] of sites) {
    const sitePath = [...path, 'vips', site];
    if (!checkReference(sitePath, site, 'site', values.sites, report)) continue;
    const seen = new Set<string>();
    for (const [index, vip] of vips.entries()) {
      if (vip === undefined) continue;
      const text = formatHostOrPrefix(vip);
      if (seen.has(text))
        report.error([...sitePath, index], `the VIP ${text} stands twice`, 'take one of the two away');
      seen.add(text);
      if (service.dnsName !== undefined) checkAnswer([...sitePath, index], service.dnsName, vip, vips, report);
    }
    if (values.balancers !== undefined && roster.get(site)?.balancers.size === 0) {
      const remedy = `add a balancer with site: ${site}, or take the VIPs away`;
      report.error(sitePath, `the site ${site} has no balancer for these VIPs`, remedy, 'key');
    }
  }
}

/** Resolvers ask for families whatever site answers. */
function checkFamiliesOf(path: Path, service: ServiceValues, report: Report): void {
  const sites = entriesOf(service.vips);
  const familiesOf = (site: string) => new Set((service.vips?.[site] ?? []).map((vip) => vip?.address.family));
  const all = new Set(sites.flatMap(([site]) => [...familiesOf(site)]));
  for (const [site] of sites) {
    for (const family of [4, 6] as const) {
      const here = familiesOf(site);
      if (!all.has(family) || here.has(family) || here.has(undefined)) continue;
      const elsewhere = sites.map(([other]) => other).filter((other) => familiesOf(other).has(family));
      const message = `the service has an IPv${family} VIP at ${listNames(elsewhere)}, and none at ${site}: resolvers keep "no such address" for all of their users`;
      report.error(
        [...path, 'vips', site],
        message,
        `add an IPv${family} VIP at ${site}, or take those of the other sites away`,
        'key',
      );
    }
  }
}

/** DNS answers with addresses; which of a prefix, only the operator knows. */
function checkAnswer(
  path: Path,
  dnsName: string,
  vip: Prefix,
  all: readonly (Prefix | undefined)[],
  report: Report,
): void {
  const { family } = vip.address;
  if (isHost(vip) || all.some((other) => other === undefined || (isHost(other) && other.address.family === family)))
    return;
  const message = `${dnsName} cannot be answered with a prefix, and there is no IPv${family} address beside ${formatPrefix(vip)}`;
  report.error(path, message, 'list the addresses for DNS too, or take dnsName away');
}

/** Two services may share a VIP when their ports differ; the same VIP at several sites is anycast. */
function checkSharedVips(written: readonly Written[], values: FileValues, report: Report): void {
  const users = new Map<string, string>();
  const sitesOfVip = new Map<string, string>();
  for (const { service, site, vip, path } of written) {
    const text = formatHostOrPrefix(vip);
    const otherSite = sitesOfVip.get(text) ?? site;
    sitesOfVip.set(text, otherSite);
    if (otherSite !== site) {
      const message = `${text} is a VIP of ${otherSite} too: routers decide which of the two sites a user reaches, not DNS`;
      report.warn(path, message, 'give each site VIPs of its own, unless anycast is meant');
    }
    for (const port of values.services?.[service]?.ports ?? []) {
      if (port === undefined) continue;
      const key = `${site} ${text} ${portText(port)}`;
      const first = users.get(key) ?? service;
      users.set(key, first);
      if (first === service) continue;
      const message = `${portText(port)} of ${text} at ${site} already belongs to the service ${first}`;
      report.error(path, message, 'use another VIP or another port');
    }
  }
}

/** What is in a VIP is nobody else's: balancers would forward it, and backends would take it for their own. `sourcePrefix` has a check of its
 * own. */
function checkOwners(written: readonly Written[], values: FileValues, report: Report): void {
  const owned = ownedAddresses(values);
  const owners = new Map([...owned].reverse().map(({ owner, address }) => [formatAddress(address), owner]));
  const around: { readonly owner: string; readonly prefix: Prefix }[] = [];
  for (const [name, { bgp, probes }] of entriesOf(values.balancers)) {
    for (const router of bgp?.routers ?? [])
      if (router?.address !== undefined)
        around.push({ owner: `a router of ${name}`, prefix: hostPrefix(router.address) });
    if (probes !== undefined) around.push({ owner: `the probes of ${name}`, prefix: probes });
  }
  for (const { vip, path } of written) {
    checkUsable(path, vip, report);
    const text = formatHostOrPrefix(vip);
    if (isHost(vip)) {
      const owner = owners.get(text);
      const remedy = 'give the service a VIP of its own, and machines theirs';
      if (owner !== undefined) report.error(path, `${text} is also an address of ${owner}`, remedy);
      continue;
    }
    const remedy = 'use a prefix that nothing else is in';
    const inside = owned.find(({ address }) => prefixContains(vip, address));
    if (inside !== undefined)
      report.error(path, `${text} contains ${formatAddress(inside.address)}, an address of ${inside.owner}`, remedy);
    const overlapping = around.find(({ prefix }) => prefixesOverlap(vip, prefix));
    if (overlapping !== undefined)
      report.error(path, `${text} overlaps ${formatHostOrPrefix(overlapping.prefix)}, ${overlapping.owner}`, remedy);
  }
}

/** The longest way wins also between sites: while the site with the longer one announces nothing, the other gets its users. */
function checkOtherSites(written: readonly Written[], report: Report): void {
  const prefixes = written.filter(({ vip }) => !isHost(vip));
  for (const { vip, site, path } of written) {
    const wider = prefixes.find(
      (one) => one.site !== site && prefixesOverlap(one.vip, vip) && one.vip.length < vip.length,
    );
    if (wider === undefined || samePrefix(wider.vip, vip)) continue;
    const message = `${formatHostOrPrefix(vip)} is in ${formatPrefix(wider.vip)} of ${wider.site}, which gets its users while ${site} does not announce it`;
    report.warn(path, message, 'give each site prefixes of its own, unless that is meant');
  }
}

/** Of the kernel's maps. */
function checkRoom(values: FileValues, roster: Roster, report: Report): void {
  for (const site of roster.keys()) {
    const services = entriesOf(values.services).map(([, service]): Reached => {
      const vips = (service.vips?.[site] ?? []).filter((vip) => vip !== undefined);
      return { vips, ports: (service.ports ?? []).filter((port) => port !== undefined) };
    });
    const prefixes = services.flatMap(({ vips }) => vips.filter((vip) => !isHost(vip)).map(formatPrefix));
    const count = new Set(prefixes).size;
    if (count > MAX_PREFIXES_OF_SITE) {
      const message = `${count} VIPs of the site are prefixes, and ${MAX_PREFIXES_OF_SITE} is the limit`;
      report.error(['sites', site], message, 'use fewer and wider ones', 'key');
    }
    const keys = serviceKeys(services).length;
    if (keys > MAX_KEYS_OF_SITE) {
      const message = `the VIPs of the site have ${keys} ports in all, and ${MAX_KEYS_OF_SITE} is the limit`;
      report.error(['sites', site], message, 'use any/tcp or any/udp, or divide the services over two sites', 'key');
    }
  }
}
