/** An `ApiSource` that makes its state up: for tests, and to look at the page without root (`node test/page/serve.ts`). */
import { formatAddress, formatPrefix } from '../net/address.ts';
import type { PlanOrder, PlansApi } from './plans.ts';
import type {
  ApiResult,
  ApiSource,
  BackendStatus,
  BalancerCounters,
  BalancerStatus,
  CaptureQuery,
  Counters,
  DnsTopStatus,
  DrainKind,
  NameServerCounters,
  RunningCapture,
  ShownPacket,
  SiteStatus,
  StateChange,
  Status,
} from './source.ts';
import type { PinOrder, SteeringApi, SteeringStatus } from './steering.ts';

const SHOWN: ShownPacket = {
  timeNs: '1700000000000000000',
  balancer: 'eu-b1',
  outcome: 'settled',
  service: 'www',
  backend: 'eu-1',
  events: [],
  length: 60,
  bytes: '020000000001020000000002',
};

interface FakeSite {
  readonly name: string;
  readonly latitudeDegrees: number;
  readonly longitudeDegrees: number;
  readonly network: string;
  readonly vips: readonly string[];
  /** Packets a second, of the whole site. */
  readonly packetsPerSecond: number;
}

const SITES: readonly FakeSite[] = [
  {
    name: 'eu',
    latitudeDegrees: 52.37,
    longitudeDegrees: 4.9,
    network: '10.10',
    vips: ['192.0.2.10', '2001:db8:1::10'],
    packetsPerSecond: 41_000,
  },
  {
    name: 'us',
    latitudeDegrees: 40.71,
    longitudeDegrees: -74.01,
    network: '10.20',
    vips: ['198.51.100.10', '2001:db8:2::10'],
    packetsPerSecond: 28_500,
  },
];

const SLOTS = 65_537;

export class FakeSource implements ApiSource {
  readonly drained = new Set<string>();
  readonly steering = new FakeSteering();
  readonly plans = new FakePlans();
  readonly #listeners = new Set<(change: StateChange) => void>();
  readonly #nowMs: () => number;
  readonly #beganMs: number;
  epoch = 17;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#beganMs = nowMs();
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  status(): Status {
    return {
      name: 'two-sites',
      version: '0.1.0',
      epoch: this.epoch,
      uptimeSeconds: (this.#nowMs() - this.#beganMs) / 1_000,
      problems: ['us-b2 withdrew its VIPs: a probe packet through the program did not come back.'],
      sites: SITES.map((site) => this.#site(site)),
      measured: null,
      delegations: [
        {
          zone: 'example.test',
          lookedSecondsAgo: 120,
          state: 'same',
          differences: [],
          unknown: [],
          asked: ['192.0.2.1'],
        },
      ],
      nameServers: ['ns1', 'ns2'].map((name, i) => ({
        name,
        listen: [`10.53.0.${i + 1}:53`],
        state: 'answering',
        reason: null,
        epoch: '3fa1c0de9b27',
        logs: [],
        anycast: null,
        secondaries: [],
        signing: [],
        top: fakeTop(name),
      })),
    };
  }

  #site(site: FakeSite): SiteStatus {
    const backends = [1, 2, 3].map((number) => this.#backend(site, number));
    return {
      name: site.name,
      location: { latitudeDegrees: site.latitudeDegrees, longitudeDegrees: site.longitudeDegrees },
      up: true,
      drained: this.drained.has(`site ${site.name}`),
      balancers: [1, 2].map((number) => this.#balancer(site, number)),
      services: [
        {
          name: 'www',
          dnsName: 'www.example.test',
          trafficClass: 'latency',
          vips: site.vips.map((address) => ({ address, announced: true })),
          ports: ['80/tcp', '4433/udp'],
          reached: 'healthy',
          panic: false,
          floods: {
            underPressureSeconds: null,
            top: [
              {
                prefix: '203.0.113.0/24',
                newPerSecond: 40,
                errorPerSecond: 0,
                sinceMs: Date.now() - 60_000,
                refused: 0,
              },
            ],
          },
          slots: SLOTS,
          unsettledSlots: site.name === 'eu' ? 21_845 : 0,
          waitingSlots: 0,
          heldSlots: 0,
          backends,
        },
      ],
    };
  }

  #backend(site: FakeSite, number: number): BackendStatus {
    const name = `${site.name}-${number}`;
    const broken = name === 'us-3';
    const drained = this.drained.has(`backend ${name}`);
    return {
      name,
      address: `${site.network}.2.${number}`,
      verdict: broken ? 'unhealthy' : 'healthy',
      diagnosis: broken ? 'decapsulation misconfigured' : 'healthy',
      reason: broken ? 'no answer within 400 ms' : null,
      drained,
      drain: drained
        ? {
            leftMs: 540_000,
            givenUp: false,
            slots: 812,
            lastPacketAgoMs: 4_300,
            connections: 37,
            oldestMs: 7_260_000,
            topClients: [{ client: '203.0.113.9', connections: 5 }],
          }
        : null,
      weight: 1,
      effectiveWeight: 1,
      weightReason: 'configured',
      utilisation: null,
      slots: broken || drained ? 0 : Math.floor(SLOTS / (site.name === 'us' ? 2 : 3)),
      serverId: null,
    };
  }

  #balancer(site: FakeSite, number: number): BalancerStatus {
    const name = `${site.name}-b${number}`;
    const broken = name === 'us-b2';
    return {
      name,
      state: broken ? 'withdrawn' : 'forwarding',
      reason: broken ? 'a probe packet through the program did not come back' : null,
      attachments: [{ interface: 'eth0', mode: name === 'us-b1' ? 'generic' : 'native' }],
      sessions: [{ router: `${site.network}.0.1`, up: !broken }],
      announced: broken ? [] : site.vips,
    };
  }

  counters(): Counters {
    const seconds = (this.#nowMs() - this.#beganMs) / 1_000;
    return {
      balancers: SITES.flatMap((site) => [1, 2].map((number) => this.#traffic(site, number, seconds))),
      agents: SITES.flatMap((site) =>
        [1, 2, 3].map((number) => ({
          site: site.name,
          backend: `${site.name}-${number}`,
          outcomes: {
            delivered:
              `${site.name}-${number}` === 'us-3'
                ? 0
                : Math.round((site.packetsPerSecond * growing(seconds, number)) / 3),
            not_member: 0,
          },
        })),
      ),
      nameServers: ['ns1', 'ns2'].map((server, i) => nameServerTraffic(server, seconds, i)),
    };
  }

  #traffic(site: FakeSite, number: number, seconds: number): BalancerCounters {
    const working = `${site.name}-b${number}` !== 'us-b2';
    const packets = working ? Math.round((site.packetsPerSecond * growing(seconds, number)) / 2) : 0;
    const tracked = Math.round(packets * 0.2);
    return {
      site: site.name,
      balancer: `${site.name}-b${number}`,
      slowPath: {
        released: 12,
        expired: 1,
        refused_prefix: 0,
        refused: 0,
        split: 7,
        pieces: 14,
        dropped: 0,
        sent: 26,
        unsent: 0,
      },
      subjects: [
        {
          kind: 'none',
          name: '',
          outcomes: { not_ip: 3, not_vip: Math.round(seconds) },
          events: {},
          bytes: 0,
          newConnections: 0,
        },
        {
          kind: 'vip',
          name: site.vips[0] as string,
          outcomes: working ? { icmp_echo: Math.round(seconds), malformed: Math.round(seconds / 7) } : {},
          events: {},
          bytes: working ? Math.round(seconds * 84) : 0,
          newConnections: 0,
        },
        {
          kind: 'service',
          name: 'www',
          outcomes: { settled: packets - tracked, tracked, new: 0, no_backend: 0, failed: 0 },
          events: { inserted: Math.round(tracked / 50), refused_full: 0 },
          bytes: packets * 120,
          newConnections: Math.round(packets / 10),
        },
      ],
    };
  }

  capture(query: CaptureQuery, onPacket: (packet: ShownPacket) => void): ApiResult<RunningCapture> {
    if (query.balancer !== null && query.balancer !== 'eu-b1')
      return { ok: false, error: 'no such balancer', remedy: 'eu-b1' };
    const timer = setInterval(() => onPacket(SHOWN), 5);
    return { ok: true, value: { lost: () => 3, stop: () => clearInterval(timer) } };
  }

  dnsTop(count: number): DnsTopStatus[] {
    return ['ns1', 'ns2'].map((server) => ({ ...fakeTop(server), names: fakeTop(server).names.slice(0, count) }));
  }

  async explainFlow(query: Parameters<ApiSource['explainFlow']>[0]): Promise<ApiResult<object>> {
    const destination = formatAddress(query.destination);
    const site = SITES.find(({ vips }) => vips.includes(destination));
    if (site === undefined) {
      return { ok: false, error: `${destination} is no VIP`, remedy: 'GET /status names the VIPs' };
    }
    return {
      ok: true,
      value: {
        vip: destination,
        site: site.name,
        service: 'www',
        slot: 12_345,
        backend: `${site.name}-2`,
        outcome: 'settled',
      },
    };
  }

  async explainDns(query: Parameters<ApiSource['explainDns']>[0]): Promise<ApiResult<object>> {
    const client = query.ecs === null ? formatAddress(query.from) : formatPrefix(query.ecs);
    return { ok: true, value: { name: query.name, type: query.type, client, site: 'eu', answer: ['192.0.2.10'] } };
  }

  async drain(kind: DrainKind, name: string): Promise<ApiResult<object>> {
    return this.#setDrain(kind, name, true);
  }

  async undrain(kind: DrainKind, name: string): Promise<ApiResult<object>> {
    return this.#setDrain(kind, name, false);
  }

  #setDrain(kind: DrainKind, name: string, drained: boolean): ApiResult<object> {
    const known = kind === 'site' ? /^(eu|us)$/ : kind === 'backend' ? /^(eu|us)-[1-3]$/ : /^(eu|us)-b[12]$/;
    if (!known.test(name))
      return { ok: false, error: `there is no ${kind} "${name}"`, remedy: 'GET /status names them' };
    if (drained) this.drained.add(`${kind} ${name}`);
    else this.drained.delete(`${kind} ${name}`);
    this.epoch++;
    this.tell('info', `${kind} ${name} is ${drained ? 'drained' : 'in use again'}`, { kind, name });
    return { ok: true, value: { kind, name, drained, epoch: this.epoch } };
  }

  async settle(service: string): Promise<ApiResult<object>> {
    if (service !== 'www')
      return { ok: false, error: `there is no service ${service}`, remedy: 'GET /status names them' };
    return { ok: true, value: { service, sites: [] } };
  }

  async reload(): Promise<ApiResult<object>> {
    this.epoch++;
    return { ok: true, value: { epoch: this.epoch } };
  }

  subscribe(listener: (change: StateChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(level: StateChange['level'], message: string, fields: StateChange['fields']): void {
    for (const listener of this.#listeners) listener({ atMs: Date.now(), level, message, fields });
  }
}

/** The integral of a rate that swings around 1. */
function growing(seconds: number, phase: number): number {
  return seconds + 1.2 * (Math.sin(seconds / 4 + phase) - Math.sin(phase)) + 0.3 * Math.sin(seconds * 1.3 + phase);
}

function fakeTop(server: string): DnsTopStatus {
  const count = (key: string, perSecond: number) => ({ key, perSecond, errorPerSecond: 0 });
  return {
    server,
    seconds: 412,
    sampledEvery: 1,
    queriesPerSecond: 420,
    clients: [count('203.0.113.0/24', 240), count('2001:db8:7::/56', 90.5)],
    names: [count('www.example.test.', 400), count('example.test.', 20)],
    nxdomainNames: [count('wpad.example.test.', 0.4)],
    nxdomainParents: [count('example.test.', 0.7)],
  };
}

function nameServerTraffic(server: string, seconds: number, phase: number): NameServerCounters {
  const queries = Math.max(0, Math.round(420 * growing(seconds, phase)));
  const eu = Math.round(queries * 0.57);
  return {
    server,
    queries: { udp: queries, tcp: Math.round(queries / 100) },
    responses: { noerror: queries, nxdomain: 0, refused: 0 },
    dropped: { short: 0 },
    types: { a: eu, aaaa: queries - eu },
    choices: { free: queries, full: 0, static: 0 },
    policies: { steered: queries, weighted: 0, failover: 0, geo: 0, all: 0 },
    sites: { www: { eu, us: queries - eu } },
    tcp: { accepted: Math.round(queries / 100), closed: 0 },
    edns: queries,
    ecs: eu,
    truncated: 0,
    limits: {},
    cookies: {},
    signatures: {},
    transfers: {},
    notifies: {},
    dnssec: {},
    groups: { europe: eu, other: queries - eu },
    logged: {},
    kernel: {},
  };
}

/** Remembers what was ordered. */
class FakeSteering implements SteeringApi {
  readonly ordered: unknown[] = [];

  status(): SteeringStatus {
    return { measured: null, frozenSinceMs: null, pins: [], services: [] };
  }

  #take(what: string, order: unknown = null): Promise<ApiResult<object>> {
    this.ordered.push([what, order]);
    return Promise.resolve({ ok: true, value: {} });
  }

  pin = (order: PinOrder) => this.#take('pin', order);
  resolvers = (question: object) => this.#take('resolvers', question);
  unpin = (order: Pick<PinOrder, 'prefix' | 'service'>) => this.#take('unpin', order);
  freeze = (isFrozen: boolean) => this.#take('freeze', isFrozen);
  diff = () => this.#take('diff');
}

class FakePlans implements PlansApi {
  readonly planned: PlanOrder[] = [];

  async forecast(order: PlanOrder): ReturnType<PlansApi['forecast']> {
    this.planned.push(order);
    const { change, minutes } = order;
    return {
      ok: true,
      value: {
        change,
        basis: 'policies',
        atMs: 0,
        minutes: minutes ?? 10,
        sites: [],
        links: [],
        landing: [],
        movedShare: 0,
        rttMs: null,
        overloads: [],
        settles: [],
        queriesPerSecond: null,
        notes: [],
      },
    };
  }

  followed(): ReturnType<PlansApi['followed']> {
    return [];
  }
}
