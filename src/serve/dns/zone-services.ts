/** What services add to zones: steered names, and the records that lead to them. */

import type { Config, Service } from '../../config/model.ts';
import { percent } from '../../decide/steer/explain-policy.ts';
import { compileSteering, type ServiceSteering } from '../../decide/steer/policy.ts';
import { type Address, isHost } from '../../net/address.ts';
import { encodeParameters, PARAMETER } from './presentation/parameters.ts';
import { lowerName, type Name, parseName, ROOT_NAME } from './wire/name.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import { joinBytes } from './wire/record-data.ts';
import type { Origin, ZoneReport } from './zone-draft.ts';
import { addToSet, deepestZone, ensureNode, type NodeTable } from './zone-tree.ts';
import type { CompiledZone, RecordSet } from './zones.ts';

export function addServices(config: Config, names: NodeTable, report: ZoneReport): void {
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
      https: httpsSets(service, sites),
    };
    node.steeredOrigin = origin;
    warnAboutWeights(serviceSteering, report);
    addServiceRecords(service, name, zone, names, report);
  }
}

/** More than rounding: units that are too large for the weights. */
const MISSED_SHARE = 0.01;

function warnAboutWeights({ service, weighted }: ServiceSteering, report: ZoneReport): void {
  for (const { parts, demand } of weighted) {
    const missed = parts.filter(({ share, predicted }) => Math.abs(predicted - share) > MISSED_SHARE);
    if (demand === 0 || missed.length === 0) continue;
    const origin: Origin = { path: ['services', service, 'policy'], value: 'weighted', line: 1 };
    const shares = missed.map(
      ({ name, share, predicted }) => `${name} gets ${percent(predicted)} instead of ${percent(share)}`,
    );
    const remedy = 'give networks with much demand as several prefixes, or more of the demand that there is';
    report.warn(origin, `weights are missed: of the predicted demand ${shares.join(', ')}`, remedy);
  }
}

/** VIPs that are prefixes are no addresses to answer with. */
function answersAt(service: Service, site: string, family: 4 | 6): Address[] {
  const vips = (service.vips.get(site) ?? []).filter(isHost).map(({ address }) => address);
  return vips.filter((address) => address.family === family);
}

function addressSets(
  service: Service,
  sites: readonly string[],
  family: 4 | 6,
  report: ZoneReport,
): RecordSet[] | null {
  const type = family === 4 ? RECORD_TYPE.A : RECORD_TYPE.AAAA;
  const sets = sites.map((site): RecordSet => {
    const records = answersAt(service, site, family).map(({ bytes }) => ({ bytes, names: [] }));
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

/** RFC 9460: one record of ServiceMode a site, at the name itself (".") and with the VIPs that A and AAAA tell there. */
function httpsSets(service: Service, sites: readonly string[]): RecordSet[] | null {
  const { https, ttlSeconds } = service;
  if (https === null) return null;
  const common = new Map<number, Uint8Array>();
  if (https.alpn.length > 0) {
    const items = https.alpn.map((id) => Uint8Array.of(id.length, ...new TextEncoder().encode(id)));
    common.set(PARAMETER.ALPN, joinAll(items));
  }
  if (https.port !== null) common.set(PARAMETER.PORT, Uint8Array.of(https.port >> 8, https.port));
  return sites.map((site): RecordSet => {
    const parameters = new Map(common);
    for (const [key, family] of [
      [PARAMETER.IPV4HINT, 4],
      [PARAMETER.IPV6HINT, 6],
    ] as const) {
      const vips = answersAt(service, site, family);
      if (vips.length > 0) parameters.set(key, joinAll(vips.map(({ bytes }) => bytes)));
    }
    // Priority 1, target ".".
    const bytes = joinAll([Uint8Array.of(0, 1, 0), encodeParameters(parameters)]);
    return { type: RECORD_TYPE.HTTPS, ttlSeconds, records: [{ bytes, names: [] }], additionals: [] };
  });
}

function joinAll(parts: readonly Uint8Array[]): Uint8Array {
  return joinBytes(
    parts,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
}

/** SRV records below the name of a service (RFC 2782); they lead to it, or to another host. */
function addServiceRecords(
  service: Service,
  name: Name,
  zone: CompiledZone,
  names: NodeTable,
  report: ZoneReport,
): void {
  for (const [index, { name: labels, port, priority, weight, target }] of service.srv.entries()) {
    const origin: Origin = { path: ['services', service.name, 'srv', index], value: labels, line: 1 };
    const owner = parseName(labels, name);
    const host = target === null ? { ok: true as const, name } : parseName(target, ROOT_NAME);
    if (!owner.ok || !host.ok) {
      const refused = owner.ok ? host : owner;
      report.error(origin, refused.ok ? '' : refused.reason, 'shorten the name');
      continue;
    }
    const node = ensureNode(lowerName(owner.name), zone, names);
    const other = node?.sets
      .get(RECORD_TYPE.SRV)
      ?.origins.find(({ path }) => path[0] !== 'services' || path[1] !== service.name);
    if (node === null || other !== undefined) {
      const what = node === null ? 'belongs to another zone that is served too' : 'has SRV records of its own';
      report.error(origin, `${labels}.${service.dnsName} ${what}`, 'take one of the two away');
      continue;
    }
    const numbers = [priority, weight, port].flatMap((value) => [value >> 8, value & 0xff]);
    const data = { bytes: joinAll([Uint8Array.from(numbers), lowerName(host.name)]), names: [] };
    addToSet(node, RECORD_TYPE.SRV, service.ttlSeconds, data, origin);
  }
}
