/** Complete values of the file to a `Config`. Only called when there is no error: what is missing here is our fault. */
import { formatAddress } from '../net/address.ts';
import { buildBeacons } from './build-beacons.ts';
import { buildDelegation } from './build-delegation.ts';
import { buildNameServer } from './build-name-server.ts';
import { buildQueryLogs } from './build-query-logs.ts';
import { ownTtlSeconds, recordsOf } from './check-records.ts';
import { absoluteName, readDomainName } from './dns-names.ts';
import type { FileReference, LocationFiles } from './location-files.ts';
import {
  type Backend,
  type Balancer,
  type Config,
  type DnsProtocol,
  followsLoad,
  type HealthCheck,
  isHashScheduler,
  type LoadSource,
  type Location,
  type NetworkEntry,
  type QuicIds,
  type Service,
  type ServiceRecord,
  type Site,
  type StaticRecord,
  type TrackingMode,
  type Zone,
} from './model.ts';
import { readPolicyOf } from './policy.ts';
import type { Path } from './problem.ts';
import { backendsAt, createRoster, entriesOf, type Roster } from './roster.ts';
import type { BackendValues, BalancerValues, Entry, FileValues, ServiceValues, ZoneValues } from './schema.ts';
import { NO_STEERING_STATE, type SteeringLimits } from './steering-model.ts';
import type { Secondary, TransferKey, Transfers } from './transfers.ts';

/** `lineOf` tells the line of a path in the file, from 1. Throws only when the values have gaps: a broken invariant. */
export function buildConfig(values: FileValues, lineOf: (path: Path) => number): Config {
  const roster = createRoster(values);
  const api = given(values.api?.listen);
  const dns = given(values.dns);
  const siteMtu = (site: string | undefined) => values.sites?.[site ?? '']?.mtu;
  return {
    name: given(values.name),
    sites: mapOf(values.sites, buildSite),
    balancers: mapOf(values.balancers, (name, balancer) => buildBalancer(name, balancer, siteMtu(balancer.site))),
    backends: mapOf(values.backends, (name, backend) => buildBackend(name, backend, siteMtu(backend.site))),
    services: mapOf(values.services, (name, service) => buildService(name, service, roster, values)),
    nameServers: mapOf(dns.servers, buildNameServer),
    zones: entriesOf(dns.zones).map(([key, zone]) => buildZone(key, zone, lineOf)),
    dnsProtocol: buildProtocol(dns, given(values.state)),
    queryLog: buildQueryLogs(given(dns.log)),
    delegation: buildDelegation(dns.delegation),
    beacons: buildBeacons(dns.beacons),
    transfers: buildTransfers(dns),
    networks: entriesOf(dns.networks).flatMap(([name, network]): NetworkEntry[] =>
      given(network.prefixes).map((prefix) => ({
        name,
        prefix: given(prefix),
        location: buildLocation(network.location),
        site: network.site ?? null,
        demand: network.demand === undefined ? null : network.demand / given(network.prefixes).length,
      })),
    ),
    locationFiles: buildLocationFiles(dns, lineOf),
    clients: null,
    defaultLocation: buildLocation(dns.defaultLocation),
    steering: buildSteering(given(dns.steering)),
    steeringState: NO_STEERING_STATE,
    api: { host: formatAddress(api.address), port: api.port },
    stateFolder: given(values.state),
  };
}

function buildLocationFiles(dns: NonNullable<FileValues['dns']>, lineOf: (path: Path) => number): LocationFiles {
  const geo = given(dns.geo);
  const database = (key: 'city' | 'country' | 'asn'): FileReference | null => {
    const path = geo[key];
    return path === undefined ? null : { path, line: lineOf(['dns', 'geo', key]) };
  };
  const lists = (dns.networkLists ?? []).map((path, index) => {
    return { path: given(path), line: lineOf(['dns', 'networkLists', index]) };
  });
  return { lists, city: database('city'), country: database('country'), asn: database('asn') };
}

function buildProtocol(dns: NonNullable<FileValues['dns']>, stateFolder: string): DnsProtocol {
  const dnssec = given(dns.dnssec);
  const [cookies, rateLimit, tcp, tell] = [given(dns.cookies), given(dns.rateLimit), given(dns.tcp), given(dns.tell)];
  const version = given(tell.version);
  return {
    workers: dns?.workers ?? null,
    cookies: { isEnabled: given(cookies.enabled), secrets: (cookies.secrets ?? []).map(given) },
    rateLimit: {
      perSecond: given(rateLimit.answers),
      provedPerSecond: given(rateLimit.provedAnswers),
      slip: given(rateLimit.slip),
      exempt: (rateLimit.exempt ?? []).map(given),
    },
    tcp: {
      maxConnections: given(tcp.connections),
      maxPerAddress: given(tcp.perAddress),
      maxPerPrefix: given(tcp.perPrefix),
      idleMs: given(tcp.idle),
      keepaliveMs: given(tcp.keepalive),
    },
    dnssec: {
      keyFolder: dnssec.keys ?? `${stateFolder}/dnssec`,
      validityMs: given(dnssec.validity),
      renewBeforeMs: given(dnssec.renewBefore),
      denialsPerSecond: given(dnssec.denials),
      clientDenialsPerSecond: given(dnssec.denialsPerClient),
    },
    tell: { version: version === false ? null : version, server: given(tell.server), epoch: given(tell.epoch) },
  };
}

function buildSteering(values: NonNullable<NonNullable<FileValues['dns']>['steering']>): SteeringLimits {
  return {
    splitShare: given(values.splitAbove),
    maxMovedShare: given(values.maxMoved),
    measured: {
      mode: given(values.measured),
      intervalMs: given(values.interval),
      stepShare: given(values.step),
      deadBandShare: given(values.deadBand),
      holdMs: given(values.hold),
      reserveShare: given(values.reserve),
      exploreShare: given(values.explore),
      slackShare: given(values.slack),
      maxGroups: given(values.groups),
      sharedLinks: new Map(entriesOf(values.sharedLinks)),
    },
  };
}

function buildTransfers(dns: NonNullable<FileValues['dns']>): Transfers {
  const limits = given(dns.transfers);
  const keys = entriesOf(dns.keys).map(([text, { algorithm, secret }]): TransferKey => {
    const reading = readDomainName(text);
    const name = given(reading.ok ? reading.value : undefined);
    return { name, algorithm: given(algorithm), secret: given(secret) };
  });
  return {
    keys: new Map(keys.map((key) => [key.name, key])),
    secondaries: mapOf(
      dns.secondaries,
      (name, values): Secondary => ({
        name,
        from: (values.from ?? []).map(given),
        notify: (values.notify ?? []).map(given),
        key: values.key ?? null,
        zones: values.zones === undefined ? null : values.zones.map(given),
      }),
    ),
    limits: { maxAtOnce: given(limits.atOnce), journalBytes: given(limits.journal) },
  };
}

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a checked configuration has a gap');
  return value;
}

function mapOf<V, T>(
  section: Readonly<Record<string, V | undefined>> | undefined,
  build: (name: string, values: V) => T,
) {
  return new Map(entriesOf(section).map(([name, values]) => [name, build(name, values)]));
}

type LocationValues = { readonly latitude: number | undefined; readonly longitude: number | undefined };

function buildLocation(values: LocationValues | undefined): Location | null {
  if (values === undefined) return null;
  return { latitudeDegrees: given(values.latitude), longitudeDegrees: given(values.longitude) };
}

function buildSite(name: string, values: Entry<FileValues['sites']>): Site {
  const links = entriesOf(values.links).map(([link, its]) => ({ name: link, ...its }));
  return {
    name,
    location: given(buildLocation(values.location) ?? undefined),
    links,
    capacityPerSecond: values.capacity ?? Number.POSITIVE_INFINITY,
    batchCost: given(values.batchCost),
    clientMtuBytes: given(values.clientMtu),
    hashKey: values.hashKey ?? null,
  };
}

function buildBalancer(name: string, values: BalancerValues, siteMtu: number | undefined): Balancer {
  const routers = (values.bgp?.routers ?? []).map(given);
  return {
    name,
    site: given(values.site),
    addresses: given(values.addresses).map(given),
    interfaces: given(values.interfaces),
    networks: (values.networks ?? []).map(given),
    sourcePrefix: values.sourcePrefix ?? null,
    mtuBytes: values.mtu ?? siteMtu ?? null,
    probePrefix: values.probes ?? null,
    asn: values.bgp?.asn ?? 0,
    routers: routers.map((router) => ({ address: given(router.address), asn: given(router.asn) })),
    connections: given(values.connections),
  };
}

function buildBackend(name: string, values: BackendValues, siteMtu: number | undefined): Backend {
  const drain = given(values.drain);
  return {
    name,
    site: given(values.site),
    address: given(values.address),
    weight: given(values.weight),
    agent: given(values.agent),
    forwarding: values.forwarding ?? null,
    interfaces: given(values.interfaces),
    drain: drain.isDrained,
    drainDeadlineMs: drain.deadlineMs,
    serverId: values.serverId ?? null,
    mtuBytes: values.mtu ?? siteMtu ?? null,
  };
}

function buildService(name: string, values: ServiceValues, roster: Roster, file: FileValues): Service {
  const vips = entriesOf(values.vips);
  const tracking = given(values.tracking);
  return {
    name,
    dnsName: values.dnsName ?? null,
    policy: given(readPolicyOf(name, values, file, null) ?? undefined),
    nothingHealthy: given(values.nothingHealthy),
    https:
      values.https === undefined
        ? null
        : { alpn: (values.https.alpn ?? []).map(given), port: values.https.port ?? null },
    srv: (values.srv ?? []).map(given).map(buildServiceRecord),
    trafficClass: given(values.class),
    ttlSeconds: given(values.ttl),
    vips: new Map(vips.map(([site, addresses]) => [site, addresses.map(given)])),
    secondarySites: values.secondarySites?.map(given) ?? vips.map(([site]) => site),
    ports: given(values.ports).map(given),
    scheduler: given(values.scheduler),
    load: buildLoad(values),
    slowStartMs: given(values.slowStart),
    withoutBackends: given(values.withoutBackends),
    forwarding: given(values.forwarding),
    backendPort: values.backendPort ?? null,
    natTuples: values.nat?.tuples ?? false,
    quic: buildQuic(values),
    tcpFastOpen: given(values.tcpFastOpen),
    kernelAnswers: given(values.kernelAnswers),
    slots: given(values.slots),
    backends: new Map(vips.map(([site]) => [site, backendsAt(values, site, roster)])),
    health: buildHealth(name, values),
    panicShare: given(values.panic),
    need: given(values.need),
    tracking: {
      mode: trackingModeOf(values),
      settleAfterMs: given(tracking.settleAfter),
      adoptionMs: given(tracking.adoption),
      newPerSecond: given(tracking.newPerSecond),
      tableShare: given(tracking.tableShare),
      prefixNewPerSecond: tracking.perPrefix ?? Number.POSITIVE_INFINITY,
    },
  };
}

type ServiceRecordValues = NonNullable<NonNullable<ServiceValues['srv']>[number]>;

function buildServiceRecord(values: ServiceRecordValues): ServiceRecord {
  return {
    name: given(values.name),
    port: given(values.port),
    priority: given(values.priority),
    weight: given(values.weight),
    target: values.target ?? null,
  };
}

/** What the file says, else what the scheduler needs: only a hash leads a later packet to the same backend without an entry. */
function trackingModeOf(values: ServiceValues): TrackingMode {
  return values.tracking?.mode ?? (isHashScheduler(given(values.scheduler)) ? 'just-enough' : 'full');
}

function buildLoad(values: ServiceValues): LoadSource | null {
  if (!followsLoad(given(values.scheduler))) return null;
  return {
    port: values.load?.port ?? healthPortOf(values),
    path: values.load?.path ?? '/load',
    intervalMs: values.load?.interval ?? 1000,
  };
}

function buildQuic({ quic }: ServiceValues): QuicIds | null {
  return quic === undefined ? null : { configId: given(quic.configId), serverIdBytes: given(quic.serverIdBytes) };
}

function healthPortOf(values: ServiceValues): number {
  const firstTcp = given(values.ports).find((port) => port?.protocol === 'tcp' && port.port !== 0);
  return given(values.health?.port ?? firstTcp?.port);
}

function buildHealth(name: string, values: ServiceValues): HealthCheck {
  const health = given(values.health);
  return {
    type: given(health.type),
    port: healthPortOf(values),
    path: given(health.path),
    host: health.host ?? values.dnsName ?? name,
    expectStatus: given(health.status),
    expectBody: health.body ?? null,
    intervalMs: given(health.interval),
    timeoutMs: given(health.timeout),
    rise: given(health.rise),
    fall: given(health.fall),
    through: given(health.through),
  };
}

function buildZone(key: string, values: ZoneValues, lineOf: (path: Path) => number): Zone {
  const reading = readDomainName(key);
  const name = given(reading.ok ? reading.value : undefined);
  const ttlSeconds = given(values.ttl);
  const records: StaticRecord[] = [];
  for (const [owner, types] of entriesOf(values.records)) {
    for (const [type, texts] of recordsOf(types)) {
      for (const [index, data] of texts.entries()) {
        records.push({
          name: absoluteName(owner, name),
          type,
          ttlSeconds: ownTtlSeconds(types) ?? ttlSeconds,
          data,
          line: lineOf(['dns', 'zones', key, 'records', owner, type, index]),
        });
      }
    }
  }
  const isSigned = given(values.dnssec);
  const common = { name, ttlSeconds, records, isSigned, isSerialCounted: values.serial === 'auto' };
  if (values.file !== undefined) {
    const file = { path: values.file, line: lineOf(['dns', 'zones', key, 'file']), records: null, files: [] };
    return { ...common, ...UNREAD_AUTHORITY, file };
  }
  const soa = given(values.soa);
  return {
    ...common,
    file: null,
    primaryServer: given(soa.primary),
    contact: given(soa.contact),
    serial: soa.serial ?? 0,
    refreshSeconds: given(soa.refresh),
    retrySeconds: given(soa.retry),
    expireSeconds: given(soa.expire),
    negativeTtlSeconds: given(soa.negativeTtl),
    nameServers: given(values.nameServers).map(given),
  };
}

/** Of a zone whose file was not read yet. */
const UNREAD_AUTHORITY = {
  primaryServer: '',
  contact: '',
  serial: 0,
  refreshSeconds: 0,
  retrySeconds: 0,
  expireSeconds: 0,
  negativeTtlSeconds: 0,
  nameServers: [],
};
