/** Checks of services: ports, backends, lookup table, health. VIPs: check-vips.ts. */
import { formatPrefix } from '../net/address.ts';
import { checkReference } from './check-machines.ts';
import { isPrime, nearestPrimes } from './prime.ts';
import type { Path, Report } from './problem.ts';
import { backendsAt, entriesOf, type Roster } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';
import { formatDuration } from './units.ts';

/** VIPs and services of a site together: bpf/layout.h, MAX_SUBJECTS without index 0. */
const MAX_SUBJECTS_OF_SITE = 2047;
/** Design of Maglev: the share of a backend is then within 1 % of its due. */
const SLOTS_PER_BACKEND = 100;
/** After this, a lost site keeps users too long. */
const LONG_TTL_SECONDS = 300;

export function checkServices(values: FileValues, roster: Roster, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) {
    const path = ['services', name];
    checkPorts(path, service, report);
    checkBackends(path, service, values, roster, report);
    checkLookupTable(path, service, roster, report);
    checkHealth(path, service, roster, report);
    checkNeed(path, service, roster, report);
    if (service.dnsName !== undefined && (service.ttl ?? 0) > LONG_TTL_SECONDS) {
      const message = `users of a lost site stay with it for ${formatDuration((service.ttl ?? 0) * 1000)}`;
      report.warn([...path, 'ttl'], message, 'use a TTL of 30s to 5m');
    }
  }
  checkSitesInUse(values, roster, report);
}

export function portText(port: { port: number; protocol: string }): string {
  return `${port.port === 0 ? 'any' : port.port}/${port.protocol}`;
}

function checkPorts(path: Path, service: ServiceValues, report: Report): void {
  const ports = service.ports ?? [];
  for (const [index, port] of ports.entries()) {
    if (port === undefined) continue;
    const twin = ports.findIndex((other) => other?.port === port.port && other.protocol === port.protocol);
    if (twin < index) {
      report.error([...path, 'ports', index], `the port ${portText(port)} stands twice`, 'take one of the two away');
    } else if (port.port !== 0 && ports.some((other) => other?.port === 0 && other.protocol === port.protocol)) {
      const message = `${portText(port)} is already within any/${port.protocol}`;
      report.error([...path, 'ports', index], message, 'take it away, or list ports instead of any');
    }
  }
}

function checkBackends(path: Path, service: ServiceValues, values: FileValues, roster: Roster, report: Report): void {
  const listed = service.backends === 'all' ? [] : (service.backends ?? []);
  for (const [index, name] of listed.entries()) {
    const namePath = [...path, 'backends', index];
    if (!checkReference(namePath, name, 'backend', values.backends, report)) continue;
    if (listed.indexOf(name) < index)
      report.error(namePath, `the backend ${name} stands twice`, 'take one of the two away');
    const site = values.backends?.[name]?.site;
    if (site === undefined || service.vips === undefined || Object.hasOwn(service.vips, site)) continue;
    const message = `the backend ${name} is at ${site}, where the service has no VIP`;
    report.error(namePath, message, `add VIPs at ${site}, or take the backend away`);
  }
  if (service.backends === undefined || values.backends === undefined) return;
  for (const site of Object.keys(service.vips ?? {})) {
    const here = roster.get(site);
    if (here === undefined) continue;
    const names = backendsAt(service, site, roster);
    const active = names.filter((name) => here.backends.get(name)?.drain?.isDrained !== true);
    const sitePath = [...path, 'vips', site];
    const remedy = `add backends with site: ${site}${service.backends === 'all' ? '' : ' and list them under backends'}, or take the VIPs away`;
    if (names.length === 0) report.error(sitePath, `the service has no backend at ${site}`, remedy, 'key');
    else if (active.length === 0) {
      report.warn(sitePath, `all backends of the service at ${site} are drained`, 'undrain one', 'key');
    } else if (active.length === 1) {
      const message = `the service has one backend at ${site}: when it fails, the site does`;
      report.warn(sitePath, message, 'add a second backend', 'key');
    }
  }
}

function checkLookupTable(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  const { slots } = service;
  if (slots === undefined) return;
  const slotsPath = [...path, 'slots'];
  if (!isPrime(slots)) {
    const { below, above } = nearestPrimes(slots);
    report.error(slotsPath, 'the size of a lookup table is not a prime', `write ${below} or ${above}`);
  }
  for (const site of Object.keys(service.vips ?? {})) {
    const names = backendsAt(service, site, roster);
    const wanted = names.length * SLOTS_PER_BACKEND;
    if (slots < wanted) {
      const message = `${slots} slots are less than ${SLOTS_PER_BACKEND} for each of the ${names.length} backends at ${site}: shares become uneven`;
      report.warn(slotsPath, message, `write ${nearestPrimes(Math.max(wanted, 65_536)).above}`);
    }
    const weights = names.map((name) => roster.get(site)?.backends.get(name)?.weight ?? 0);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [index, name] of names.entries()) {
      if (weights[index] === 0 || (weights[index] / total) * slots >= 1) continue;
      const message = `${name} weighs so little beside the others that it gets no slot of ${path[1]}`;
      report.warn(['backends', name, 'weight'], message, `write at least ${Number((total / slots).toPrecision(2))}`);
    }
  }
}

function checkHealth(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  const { health } = service;
  if (health === undefined) return;
  const healthPath = [...path, 'health'];
  const { interval, timeout, through, port } = health;
  if (interval !== undefined && timeout !== undefined && timeout >= interval) {
    const message = `the timeout is not less than the interval of ${formatDuration(interval)}`;
    report.error([...healthPath, 'timeout'], message, `write a timeout below ${formatDuration(interval)}`);
  }
  const ports = service.ports ?? [];
  const tcpPorts = ports.filter((each) => each?.protocol === 'tcp');
  const isComplete = service.ports !== undefined && !ports.includes(undefined);
  const firstTcp = tcpPorts.find((each) => each !== undefined && each.port !== 0);
  const isPortWritten = report.isWritten([...healthPath, 'port']);
  if (isComplete && !isPortWritten && firstTcp === undefined) {
    const message = 'the service lists no TCP port that could be probed';
    const hint = tcpPorts.length > 0 ? '' : ' and through: direct';
    report.error(healthPath, message, `name one here: port: 80${hint}`, 'key');
    return;
  }
  if (through === undefined || through === 'direct' || !isComplete) return;
  if (port !== undefined && !tcpPorts.some((each) => each?.port === port || each?.port === 0)) {
    const message = `a probe through the VIP needs a port of the service, and ${port}/tcp is none`;
    report.error([...healthPath, 'port'], message, `add ${port}/tcp to ports, or write through: direct`);
  }
  for (const [site, vips] of entriesOf(service.vips)) {
    for (const [name, balancer] of roster.get(site)?.balancers ?? []) {
      const family = balancer.probes?.address.family;
      if (family === undefined && !report.isWritten(['balancers', name, 'probes'])) {
        const message = `a probe through the VIP needs source addresses, and the balancer ${name} has none`;
        report.error(
          ['balancers', name],
          message,
          'add probes: PREFIX to the balancer, or write through: direct in the health check',
          'key',
        );
      } else if (family !== undefined && vips.every((vip) => vip !== undefined && vip.address.family !== family)) {
        const message = `the probes of ${name} are IPv${family}, and the service has no IPv${family} VIP at ${site}`;
        report.error(
          ['balancers', name, 'probes'],
          message,
          'use a prefix of the family of the VIPs, or through: direct',
        );
      }
    }
  }
}

/** The panic rule takes all backends before fewer than `need` are healthy: then `need` never counts. */
function checkNeed(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  const { need, panic } = service;
  if (need === undefined || need === 0 || panic === undefined) return;
  for (const site of Object.keys(service.vips ?? {})) {
    const count = backendsAt(service, site, roster).length;
    if (count === 0) continue;
    const needPath = [...path, 'need'];
    // The fewest healthy backends with which there is no panic yet.
    const calm = Math.ceil(count * (1 - panic) - 1e-9);
    if (need > count) {
      report.error(needPath, `the service has ${count} backends at ${site}`, `write at most ${count}`);
    } else if (need < calm) {
      const message = `with less than ${calm} healthy backends at ${site} the panic rule uses all ${count}, so a need of ${need} contradicts it`;
      const share = Math.ceil(((count - need) / count) * 100);
      report.error(needPath, message, `write a need of ${calm} or more, or panic: ${share}% or more`);
    }
  }
}

function checkSitesInUse(values: FileValues, roster: Roster, report: Report): void {
  for (const [site, { balancers }] of roster) {
    const services = entriesOf(values.services).filter(
      ([, { vips }]) => vips !== undefined && Object.hasOwn(vips, site),
    );
    if (services.length === 0) continue;
    if (balancers.size === 1) {
      const [name] = balancers.keys();
      const message = `the site has one balancer, ${name}: when it fails, the site does`;
      report.warn(['sites', site], message, `add a second balancer with site: ${site}`, 'key');
    }
    const vips = services.flatMap(([, service]) => (service.vips?.[site] ?? []).map((vip) => vip && formatPrefix(vip)));
    const subjects = services.reduce((sum, [, { ports }]) => sum + (ports?.length ?? 0), new Set(vips).size);
    if (subjects > MAX_SUBJECTS_OF_SITE) {
      const message = `VIPs and ports of the site are ${subjects} in all, and ${MAX_SUBJECTS_OF_SITE} is the limit`;
      report.error(['sites', site], message, 'divide the services over two sites', 'key');
    }
  }
}
