/** For tests: a small configuration with one of everything that DNS answers. */
import assert from 'node:assert/strict';
import type { Config, DnsProtocol, NetworkEntry, Service, StaticRecord, Zone } from '../../config/model.ts';
import { NO_STEERING_STATE, UNMEASURED } from '../../config/steering-model.ts';
import type { Transfers } from '../../config/transfers.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { type Address, hostPrefix, parseAddress, parsePrefix } from '../../net/address.ts';

export const AMSTERDAM = { latitudeDegrees: 52.37, longitudeDegrees: 4.9 };
export const NEW_YORK = { latitudeDegrees: 40.71, longitudeDegrees: -74.01 };
export const TOKYO = { latitudeDegrees: 35.68, longitudeDegrees: 139.69 };

export function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null, text);
  return parsed;
}

export function network(prefix: string, location: typeof AMSTERDAM): NetworkEntry {
  const parsed = parsePrefix(prefix);
  assert.ok(parsed !== null, prefix);
  return { name: prefix, prefix: parsed, location, site: null, demand: null };
}

export function record(name: string, type: string, data: string, ttlSeconds = 3600): StaticRecord {
  return { name, type, data, ttlSeconds, line: 1 };
}

export function zone(name: string, records: readonly StaticRecord[], nameServers = ['ns1.example.test']): Zone {
  return {
    name,
    file: null,
    primaryServer: 'ns1.example.test',
    contact: 'host.master@example.test',
    serial: 4_000_000_001,
    isSerialCounted: false,
    refreshSeconds: 7200,
    retrySeconds: 900,
    expireSeconds: 1209600,
    negativeTtlSeconds: 300,
    ttlSeconds: 3600,
    nameServers,
    records,
    isSigned: false,
  };
}

export function service(name: string, dnsName: string, vips: Record<string, string[]>, ttlSeconds = 30): Service {
  return {
    name,
    dnsName,
    policy: { kind: 'steered', sites: null },
    nothingHealthy: 'all',
    https: null,
    srv: [],
    trafficClass: 'latency',
    ttlSeconds,
    vips: new Map(Object.entries(vips).map(([site, list]) => [site, list.map((text) => hostPrefix(address(text)))])),
    secondarySites: Object.keys(vips),
    ports: [{ protocol: 'tcp', port: 80 }],
    scheduler: 'maglev',
    load: null,
    slowStartMs: 0,
    withoutBackends: 'drop',
    forwarding: 'gre',
    backendPort: null,
    natTuples: false,
    quic: null,
    tcpFastOpen: false,
    kernelAnswers: true,
    slots: 65537,
    backends: new Map(),
    health: {
      type: 'tcp',
      port: 80,
      path: '/',
      host: '',
      expectStatus: 200,
      expectBody: null,
      intervalMs: 1000,
      timeoutMs: 500,
      rise: 2,
      fall: 2,
      through: 'vip',
    },
    panicShare: 0.5,
    need: 0,
    tracking: {
      mode: 'just-enough',
      settleAfterMs: 300000,
      adoptionMs: 30000,
      newPerSecond: 1000,
      tableShare: 0.5,
      prefixNewPerSecond: Number.POSITIVE_INFINITY,
    },
  };
}

const TLSA = `3 1 1 ${'0d6fce2e'.repeat(8)}`;

const RECORDS: readonly StaticRecord[] = [
  record('example.test', 'A', '192.0.2.80'),
  record('example.test', 'MX', '10 mail1'),
  record('example.test', 'MX', '20 mail2.example.test.'),
  record('example.test', 'TXT', '"v=spf1 mx -all"'),
  record('example.test', 'CAA', '0 issue "ca.example.net; x=1"'),
  record('ns1.example.test', 'A', '192.0.2.53'),
  record('ns1.example.test', 'AAAA', '2001:db8::53'),
  record('ns2.example.test', 'A', '198.51.100.53'),
  record('mail1.example.test', 'A', '192.0.2.25'),
  record('web.example.test', 'CNAME', 'www'),
  record('alias1.example.test', 'CNAME', 'alias2'),
  record('alias2.example.test', 'CNAME', 'static'),
  record('gone.example.test', 'CNAME', 'nowhere'),
  record('outside.example.test', 'CNAME', 'www.example.net.'),
  record('cross.example.test', 'CNAME', 'shop.test.'),
  record('static.example.test', 'A', '192.0.2.81'),
  record('static.example.test', 'A', '192.0.2.82'),
  record('static.example.test', 'HTTPS', '1 . alpn="h2,h3" ipv4hint=192.0.2.81'),
  record('_dns.example.test', 'SVCB', '1 ns1 alpn=dot port=853'),
  record('_imap._tcp.example.test', 'SRV', '0 1 143 mail1'),
  record('_25._tcp.mail1.example.test', 'TLSA', TLSA),
  record('ptr.example.test', 'PTR', 'static'),
  record('odd.example.test', 'TYPE731', '\\# 6 abcdef012345'),
  record('naptr.example.test', 'NAPTR', '100 10 "u" "E2U+sip" "!^.*$!sip:info@example.net!" .'),
  record('place.example.test', 'LOC', '52 22 23 N 4 53 32.5 E -2m 30m'),
  record('place.example.test', 'RP', 'admin ptr'),
  record('place.example.test', 'URI', '10 1 "https://static.example.test/"'),
  record('place.example.test', 'SPF', '"v=spf1 -all"'),
  record('place.example.test', 'HINFO', '"cpu" "o s"'),
  record('keys.example.test', 'CERT', 'PKIX 7 ECDSAP256SHA256 AQIDBA=='),
  record('keys.example.test', 'OPENPGPKEY', 'AQIDBAUG'),
  record('keys.example.test', 'SMIMEA', '3 0 0 01ab'),
  record('keys.example.test', 'SSHFP', `4 2 ${'ab'.repeat(32)}`),
  record('keys.example.test', 'CDS', '0 0 0 00'),
  record('keys.example.test', 'CDNSKEY', '0 3 0 AA=='),
  record('moved.example.test', 'DNAME', 'pages'),
  record('*.pages.example.test', 'A', '192.0.2.83'),
  record('*.pages.example.test', 'TXT', '"any name"'),
  record('fixed.pages.example.test', 'A', '192.0.2.84'),
  record('deep.fixed.pages.example.test', 'TXT', '"deep"'),
  record('*.to.example.test', 'CNAME', 'static'),
  ...Array.from({ length: 8 }, (_, i) => record('large.example.test', 'TXT', `"${String(i).repeat(200)}"`)),
  ...Array.from({ length: 40 }, (_, i) => record('many.example.test', 'A', `192.0.2.${100 + i}`)),
  record('sub.example.test', 'NS', 'ns.sub'),
  record('sub.example.test', 'NS', 'ns2.example.test.'),
  record('sub.example.test', 'TYPE43', `\\# 36 ec45 0d 02 ${'ab'.repeat(32)}`),
  record('ns.sub.example.test', 'A', '192.0.2.90'),
  record('x\\.y.example.test', 'TXT', '"dot in a label"'),
];

/** No rate limit: tests ask much from one address. */
export function testProtocol(changes: Partial<DnsProtocol> = {}): DnsProtocol {
  return {
    workers: 1,
    cookies: { isEnabled: true, secrets: [Uint8Array.from({ length: 16 }, (_, i) => i)] },
    rateLimit: { perSecond: 0, provedPerSecond: 10_000, slip: 2, exempt: [] },
    tcp: { maxConnections: 1000, maxPerAddress: 50, maxPerPrefix: 200, idleMs: 10_000, keepaliveMs: 30_000 },
    dnssec: {
      keyFolder: '/nonexistent',
      validityMs: 14 * 86_400_000,
      renewBeforeMs: 7 * 86_400_000,
      denialsPerSecond: 2000,
      clientDenialsPerSecond: 200,
    },
    tell: { version: 'Portico', server: true, epoch: true },
    ...changes,
  };
}

export function testTransfers(changes: Partial<Transfers> = {}): Transfers {
  return { keys: new Map(), secondaries: new Map(), limits: { maxAtOnce: 10, journalBytes: 65_536 }, ...changes };
}

/** Forty addresses at one site: more than 512 bytes hold. */
const MANY_VIPS = Array.from({ length: 40 }, (_, i) => `203.0.113.${i + 1}`);

export function testConfig(changes: Partial<Config> = {}): Config {
  const site = (name: string, location: typeof AMSTERDAM) => {
    return [
      name,
      {
        name,
        location,
        links: [],
        capacityPerSecond: Number.POSITIVE_INFINITY,
        batchCost: 1,
        clientMtuBytes: 1500,
        hashKey: null,
      },
    ] as const;
  };
  const services = [
    service('www', 'www.example.test', {
      eu: ['192.0.2.10', '2001:db8:1::10'],
      us: ['198.51.100.10', '2001:db8:2::10'],
      jp: ['203.0.113.10', '2001:db8:3::10'],
    }),
    service('shop', 'shop.test', { eu: ['192.0.2.11'], us: ['198.51.100.11'] }, 5),
    service('wide', 'wide.example.test', { eu: MANY_VIPS }),
    service('any', '*.any.example.test', { eu: ['192.0.2.12'], us: ['198.51.100.12'] }),
  ];
  return {
    name: 'test',
    sites: new Map([site('eu', AMSTERDAM), site('us', NEW_YORK), site('jp', TOKYO)]),
    balancers: new Map(),
    backends: new Map(),
    services: new Map(services.map((each) => [each.name, each])),
    nameServers: new Map(),
    zones: [
      zone('example.test', RECORDS, ['ns1.example.test', 'ns2.example.test']),
      zone('shop.test', [record('shop.test', 'TXT', '"apex"')]),
    ],
    dnsProtocol: testProtocol(),
    locationFiles: { lists: [], city: null, country: null, asn: null },
    clients: null,
    queryLog: { dnstap: null, json: null },
    delegation: null,
    beacons: null,
    transfers: testTransfers(),
    networks: [
      network('10.0.0.0/8', NEW_YORK),
      // A hole in it, and in the hole a network as around.
      network('10.1.0.0/16', TOKYO),
      network('10.1.2.0/24', NEW_YORK),
      network('2001:db8:e::/48', TOKYO),
      network('2001:db8:f::/48', NEW_YORK),
    ],
    defaultLocation: AMSTERDAM,
    steering: { splitShare: 0.05, maxMovedShare: 1, measured: UNMEASURED },
    steeringState: NO_STEERING_STATE,
    api: { host: '127.0.0.1', port: 0 },
    stateFolder: '/nonexistent',
    ...changes,
  };
}

/** Sites that are down or full, to be changed by tests. */
export function mutableView(): SteeringView & { readonly down: Set<string>; readonly full: Set<string> } {
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) listener();
  };
  const down = new ToldSet(tell);
  const full = new ToldSet(tell);
  return {
    down,
    full,
    siteUp: (_, site) => !down.has(site),
    siteFull: (_, site) => full.has(site),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Tells when something was added or taken away. */
class ToldSet extends Set<string> {
  readonly #tell: () => void;

  constructor(tell: () => void) {
    super();
    this.#tell = tell;
  }

  override add(value: string): this {
    super.add(value);
    this.#tell();
    return this;
  }

  override delete(value: string): boolean {
    const had = super.delete(value);
    this.#tell();
    return had;
  }

  override clear(): void {
    super.clear();
    this.#tell();
  }
}
