/** A site as large as it may be, with one balancer in a kernel of its own: what `bench scale` measures. Everything but the machines is real. */
import { readFileSync } from 'node:fs';
import type { Backend, Config, Service } from '../src/config/model.ts';
import type { SlotTable as Slots } from '../src/decide/slots.ts';
import type { BalancerRole } from '../src/fleet/balancer-role.ts';
import { fixtureConfig } from '../src/fleet/fleet-fixture.ts';
import { HealthBook } from '../src/fleet/health-book.ts';
import { planBackendProbes } from '../src/fleet/probe-plan.ts';
import type { PlannedBackend, SitePlan } from '../src/fleet/site-plan.ts';
import { SiteRuntime } from '../src/fleet/site-runtime.ts';
import { type Address, parseAddress } from '../src/net/address.ts';
import { type Forwarder, openForwarder } from '../src/serve/vip/forwarder.ts';
import { closeFd } from '../src/serve/vip/libc.ts';
import { openInner, type SlotTable } from '../src/serve/vip/slot-table.ts';

export const SLOTS = 65_537;
export const BACKENDS_PER_SERVICE = 100;
export const MEMBERS = 4_000;
export const BUCKETS = 2 ** 21;
const SITE = 'eu';
const LOOPBACK = 1;

/** What the kernel has set aside for a map, in bytes (Documentation/bpf/maps: fdinfo, memlock). */
function memlockBytes(fd: number): number {
  return Number(/^memlock:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? 0);
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(text);
  return address;
}

const backendName = (number: number): string => `backend-${number}`;

/** Each service has 100 of 4,000 backends, so that a backend is in 25 of 1,000. */
function largeConfig(services: number): Config {
  const small = fixtureConfig();
  const [www, backend] = [small.services.get('www') as Service, small.backends.get('eu-1') as Backend];
  const names = Array.from({ length: MEMBERS }, (_, i) => backendName(i + 1));
  const groups = MEMBERS / BACKENDS_PER_SERVICE;
  const serviceOf = (number: number): Service => {
    const first = (number % groups) * BACKENDS_PER_SERVICE;
    const vip = { address: addressOf(`198.18.${number >> 8}.${number & 0xff}`), length: 32 };
    return {
      ...www,
      name: `service-${number}`,
      slots: SLOTS,
      vips: new Map([[SITE, [vip]]]),
      backends: new Map([[SITE, names.slice(first, first + BACKENDS_PER_SERVICE)]]),
      health: { ...www.health, through: 'direct' },
    };
  };
  const backendOf = (name: string, i: number): Backend => {
    const address = addressOf(`10.254.${(i + 1) >> 8}.${(i + 1) & 0xff}`);
    return { ...backend, name, address };
  };
  const all = Array.from({ length: services }, (_, number) => serviceOf(number));
  return {
    ...small,
    balancers: new Map([...small.balancers].filter(([name]) => name === 'eu-b1')),
    backends: new Map(names.map((name, i) => [name, backendOf(name, i)])),
    services: new Map(all.map((service) => [service.name, service])),
  };
}

/** The role of a balancer but for routes, neighbours and BIRD, which a bench has not. */
class BedBalancer {
  readonly name = 'eu-b1';
  readonly adopted = false;
  readonly drained = false;
  readonly withdrawnFor = null;
  readonly lacking = new Set<number>();
  readonly prober = null;
  readonly peers = { set: () => {}, resolve: async () => {} };
  readonly forwarder: Forwarder;
  readonly kernel = new Map<number, SlotTable>();

  constructor(forwarder: Forwarder) {
    this.forwarder = forwarder;
  }

  async setPlan(plan: SitePlan, known: readonly PlannedBackend[]): Promise<void> {
    const macs = { mac: new Uint8Array(6), ownMac: new Uint8Array(6) };
    const nextHop = { ...macs, ifindex: LOOPBACK, mtuBytes: 9000, interfaceName: 'lo' };
    for (const { backend, index } of known)
      this.forwarder.setBackend(index, { ...backend, nextHop, alive: true, agent: true, weight: 1 });
    for (const { subject, vips } of plan.services) {
      this.kernel.set(subject, this.forwarder.createTable(subject, SLOTS));
      for (const vip of vips) {
        this.forwarder.setVip(vip.prefix, vip.subject, 0);
        this.forwarder.setService(
          { vip: vip.subject, port: 80, protocol: 'tcp' },
          { subject, slots: SLOTS, forwarding: 'gre', lifetimeTicks: 840, newPerSecond: 1e9, shareEntries: 1e9 },
        );
      }
    }
  }

  async writeSlots(subject: number, table: Slots, slots: ArrayLike<number>): Promise<void> {
    this.kernel.get(subject)?.writeFrom(table, slots);
  }

  setAlive(index: number, alive: boolean): void {
    this.forwarder.setBackendAlive(index, alive);
  }

  table(): undefined {}

  followed(): Uint8Array {
    return this.forwarder.connections.followed();
  }

  async writePicks(): Promise<void> {}
  async announce(): Promise<void> {}

  async close(): Promise<void> {
    for (const table of this.kernel.values()) table.close();
    this.forwarder.close({ keep: false });
  }
}

const SILENT = { info: () => {}, warn: () => {}, error: () => {} };

export class ScaleBed {
  readonly services: number;
  readonly site: SiteRuntime;
  readonly forwarder: Forwarder;
  readonly #config: Config;
  readonly #balancer: BedBalancer;
  readonly #health: HealthBook;
  /** The refresh that waits for its turn. */
  #refreshed: Promise<void> = Promise.resolve();

  constructor(services: number) {
    this.services = services;
    this.#config = largeConfig(services);
    this.forwarder = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [addressOf('10.255.0.1')],
      buckets: BUCKETS,
      hashKey: Uint8Array.from({ length: 16 }, (_, i) => i),
    });
    const nowMs = performance.now.bind(performance);
    this.#health = new HealthBook(nowMs, ({ service }) => {
      this.#refreshed = this.site.refresh([service]);
    });
    const own = { site: SITE, health: this.#health, nowMs, wallMs: Date.now, hashKey: () => undefined };
    this.site = new SiteRuntime({ ...own, log: SILENT });
    this.#balancer = new BedBalancer(this.forwarder);
  }

  /** Every service has its table, and every backend is healthy. */
  async fill(): Promise<void> {
    this.site.addBalancer(this.#balancer as unknown as BalancerRole, this.#config);
    await this.site.apply(this.#config);
    const [balancer] = this.#config.balancers.values();
    if (balancer === undefined) throw new Error('no balancer');
    const plan = planBackendProbes(this.#config, balancer, (name) => this.site.indices.numberOf(name));
    this.#health.watch(balancer.name, plan, () => ({ rise: 1, fall: 1 }));
    for (const { target } of plan) this.#take(target.id, null);
    await this.#refreshed;
  }

  #take(id: string, reason: string | null): void {
    this.#health.take('eu-b1', { id, reason, tookMs: 1 });
  }

  /** Of each service that has one of the backends. */
  probesOf(numbers: readonly number[]): string[] {
    const names = new Set(numbers.map(backendName));
    return [...this.#config.services.values()].flatMap(({ name, backends }) =>
      (backends.get(SITE) ?? []).filter((backend) => names.has(backend)).map((backend) => `${name}/${backend}/direct`),
    );
  }

  /** These probes find their backends dead. Resolves when all tables are written. */
  async fail(probes: readonly string[]): Promise<void> {
    for (const probe of probes) this.#take(probe, 'refused');
    await this.#refreshed;
  }

  /** Maps of the forwarder, and its lookup tables. */
  kernelBytes(): number {
    let sum = 0;
    for (const fd of Object.values(this.forwarder.maps)) sum += memlockBytes(fd);
    for (const subject of this.#balancer.kernel.keys()) {
      const fd = openInner(this.forwarder.maps.slot_tables, subject);
      if (fd === null) throw new Error(`subject ${subject} has no table`);
      sum += memlockBytes(fd);
      closeFd(fd);
    }
    return sum;
  }

  async close(): Promise<void> {
    await this.site.close(() => false);
  }
}
