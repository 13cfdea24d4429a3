/**
 * `portico bench scale`: what a large site costs one balancer. Kernel memory of 1,000 services and the places of 8,000,000
 * tracked flows; how many of 8,000,000 flows find no place; and how long a change of backends takes until it stands in all tables, while
 * packets go on.
 */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { SiteTables } from '../src/fleet/site-tables.ts';
import type { TableMember, TableTarget } from '../src/fleet/table-target.ts';
import { parseAddress } from '../src/net/address.ts';
import { type Forwarder, openForwarder } from '../src/serve/vip/forwarder.ts';
import { OUTCOME_NAMES } from '../src/serve/vip/layout.gen.ts';
import { closeFd } from '../src/serve/vip/libc.ts';
import { openInner, type SlotTable } from '../src/serve/vip/slot-table.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';
import { refusedFlows } from './scale-flows.ts';
import { threadTimeNs } from './thread-clock.ts';

const SLOTS = 65_537;
const BACKENDS_PER_SERVICE = 100;
const MEMBERS = 4_000;
const BUCKETS = 2 ** 21;
const FLOWS = 8_000_000;
const FIRST_SERVICE = 1;
const FIRST_VIP = 1_024;
const LOOPBACK = 1;
const MIB = 1024 * 1024;

/** Some 90 s, `quick` 15 s with a tenth of the services; needs root. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const services = options.quick ? 100 : 1_000;
  const cases: BenchCase[] = [];
  const checks: BenchCheck[] = [];
  const bed = new ScaleBed(services);
  try {
    options.progress?.(`${services} tables`);
    await bed.fill();
    measureMemory(bed, services, cases, checks);
    options.progress?.('changes');
    await measureChanges(bed, options.quick ? 9 : 21, cases, checks);
  } finally {
    await bed.close();
  }
  options.progress?.(`${FLOWS} flows`);
  const { refused, inserted } = refusedFlows(FLOWS, BUCKETS);
  const rate = (refused / FLOWS) * 10_000;
  cases.push(
    benchCase('refused inserts', { measure: 'refused', flows: FLOWS, entries: BUCKETS * 8 }, 'per 10,000', [rate]),
  );
  checks.push(checkThat(`${FLOWS} flows in ${BUCKETS * 8} entries: refused of 10,000`, rate, 'at most', 1));
  checks.push(checkThat('each flow was inserted or refused', inserted + refused, 'at least', FLOWS));
  return { bench: 'scale', cases, checks };
}

function benchCase(name: string, params: BenchCase['params'], unit: string, samples: readonly number[]): BenchCase {
  return { case: name, params, unit, ...spreadOf(samples), samples: samples.length };
}

function availableMib(): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(match?.[1] ?? 0) / 1024;
}

/** What the kernel has set aside for a map, in bytes (Documentation/bpf/maps: fdinfo, memlock). */
function memlockBytes(fd: number): number {
  return Number(/^memlock:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? 0);
}

/** A balancer with as many services, each with a VIP and 100 of 4,000 backends, so that a backend is in 25 of 1,000. */
class ScaleBed implements TableTarget {
  readonly name = 'balancer';
  readonly services: number;
  readonly forwarder: Forwarder;
  readonly tables = new SiteTables(performance.now.bind(performance), (_, error) => {
    throw error;
  });
  readonly availableBefore = availableMib();
  readonly #kernel = new Map<number, SlotTable>();
  readonly #dead = new Set<number>();

  constructor(services: number) {
    this.services = services;
    const source = parseAddress('10.255.0.1');
    if (source === null) throw new Error('no source');
    this.forwarder = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [source],
      buckets: BUCKETS,
      hashKey: Uint8Array.from({ length: 16 }, (_, i) => i),
    });
  }

  membersOf(service: number): TableMember[] {
    const groups = MEMBERS / BACKENDS_PER_SERVICE;
    const first = (service % groups) * BACKENDS_PER_SERVICE;
    return Array.from({ length: BACKENDS_PER_SERVICE }, (_, i) => first + i + 1)
      .filter((index) => !this.#dead.has(index))
      .map((index) => ({ name: `backend-${index}`, index, weight: 1 }));
  }

  async fill(): Promise<void> {
    const nextHop = { ifindex: LOOPBACK, mac: new Uint8Array(6), ownMac: new Uint8Array(6), mtuBytes: 9000 };
    for (let index = 1; index <= MEMBERS; index++) {
      const address = parseAddress(`10.254.${index >> 8}.${index & 0xff}`);
      if (address === null) throw new Error('no address');
      const way = { ...nextHop, interfaceName: 'lo' } as Parameters<Forwarder['setBackend']>[1]['nextHop'];
      this.forwarder.setBackend(index, { address, nextHop: way, alive: true, agent: true, forwarding: null });
    }
    await this.tables.addTarget(this);
    for (let service = 0; service < this.services; service++) {
      const subject = FIRST_SERVICE + service;
      this.#kernel.set(subject, this.forwarder.createTable(subject, SLOTS));
      const address = parseAddress(vipText(service));
      if (address === null) throw new Error('no VIP');
      this.forwarder.setVip(address, FIRST_VIP + service, 0);
      this.forwarder.setService(
        { vip: FIRST_VIP + service, port: 80, protocol: 'tcp' },
        { subject, slots: SLOTS, forwarding: 'gre', lifetimeTicks: 840, newPerSecond: 1e9, shareEntries: 1e9 },
      );
      await this.setMembers(service);
    }
  }

  setMembers(service: number): Promise<void> {
    const options = { subject: FIRST_SERVICE + service, slots: SLOTS, settleAfterMs: 3_600_000, adopted: null };
    return this.tables.setMembers(`service-${service}`, options, this.membersOf(service), new Set());
  }

  /** A backend leaves the tables that it is in. Resolves when all of them are written. */
  async change(index: number): Promise<{ readonly tables: number } & Took> {
    this.#dead.add(index);
    const groups = MEMBERS / BACKENDS_PER_SERVICE;
    const group = Math.floor((index - 1) / BACKENDS_PER_SERVICE);
    let tables = 0;
    const took = await timed(async () => {
      for (let service = group; service < this.services; service += groups, tables++) await this.setMembers(service);
    });
    return { ...took, tables };
  }

  async writeSlots(
    subject: number,
    table: Parameters<TableTarget['writeSlots']>[1],
    slots: Parameters<TableTarget['writeSlots']>[2],
  ): Promise<void> {
    this.#kernel.get(subject)?.writeFrom(table, slots);
  }

  async closeSlots(): Promise<number[]> {
    return [];
  }

  async writePicks(): Promise<void> {}

  async vetoSettling(_subject: number, _silenceMs: number, may: Uint8Array): Promise<void> {
    may.fill(0);
  }

  /** Maps of the forwarder, and its lookup tables. */
  kernelBytes(): number {
    let sum = 0;
    for (const fd of Object.values(this.forwarder.maps)) sum += memlockBytes(fd);
    for (const subject of this.#kernel.keys()) {
      const fd = openInner(this.forwarder.maps.slot_tables, subject);
      if (fd === null) throw new Error(`subject ${subject} has no table`);
      sum += memlockBytes(fd);
      closeFd(fd);
    }
    return sum;
  }

  async close(): Promise<void> {
    for (const table of this.#kernel.values()) table.close();
    this.forwarder.close({ keep: false });
  }
}

/** `cpuMs`: of this thread; on a machine with nothing else to do it is the time that passes. */
interface Took {
  readonly cpuMs: number;
  readonly passedMs: number;
}

async function timed(run: () => Promise<void>): Promise<Took> {
  const begin = performance.now();
  const beginNs = threadTimeNs();
  await run();
  return { cpuMs: (threadTimeNs() - beginNs) / 1e6, passedMs: performance.now() - begin };
}

function vipText(service: number): string {
  return `198.18.${service >> 8}.${service & 0xff}`;
}

function measureMemory(bed: ScaleBed, services: number, cases: BenchCase[], checks: BenchCheck[]): void {
  const params = { services, slots: SLOTS, entries: BUCKETS * 8 };
  const mapped = bed.kernelBytes() / MIB;
  const available = bed.availableBefore - availableMib();
  cases.push(benchCase('kernel memory of all maps', { measure: 'memory', ...params }, 'MiB', [mapped]));
  cases.push(benchCase('memory that is no longer available', { measure: 'available', ...params }, 'MiB', [available]));
  const megabytes = (mapped * MIB) / 1e6;
  checks.push(checkThat(`kernel memory of ${services} services and ${FLOWS} flows, MB`, megabytes, 'at most', 700));
}

async function measureChanges(bed: ScaleBed, samples: number, cases: BenchCase[], checks: BenchCheck[]): Promise<void> {
  const packets = startPackets(bed);
  const before = dropped(bed);
  const one: Took[] = [];
  let tables = 0;
  for (let sample = 0; sample < samples; sample++) {
    const took = await bed.change(1 + sample * 101);
    tables = took.tables;
    one.push(took);
  }
  const all = await timed(async () => {
    for (let group = 0; group < MEMBERS / BACKENDS_PER_SERVICE; group++)
      await bed.change(group * BACKENDS_PER_SERVICE + 50);
  });
  const sent = await packets.stop();
  const lost = sent.lost + dropped(bed) - before;
  const params = { services: bed.services, backends: BACKENDS_PER_SERVICE, slots: SLOTS };
  const cpu = one.map(({ cpuMs }) => cpuMs);
  const passed = one.map(({ passedMs }) => passedMs);
  const name = `one backend leaves its ${tables} tables`;
  const allName = 'a backend of every service leaves';
  cases.push(benchCase(`${name}, CPU time`, { measure: 'change', clock: 'cpu', ...params, tables }, 'ms', cpu));
  cases.push(benchCase(name, { measure: 'change', clock: 'wall', ...params, tables }, 'ms', passed));
  cases.push(benchCase(`${allName}, CPU time`, { measure: 'change-all', clock: 'cpu', ...params }, 'ms', [all.cpuMs]));
  cases.push(benchCase(allName, { measure: 'change-all', clock: 'wall', ...params }, 'ms', [all.passedMs]));
  cases.push(benchCase('packets meanwhile', { measure: 'packets', ...params }, 'packets', [sent.packets]));
  checks.push(checkThat(`${name}: median of CPU time, ms`, spreadOf(cpu).median, 'at most', 50));
  checks.push(checkThat(`${allName} (${bed.services}): CPU time, ms`, all.cpuMs, 'at most', 5_000));
  checks.push(checkThat(`packets lost of ${sent.packets} sent meanwhile`, lost, 'at most', 0));
}

/** Packets of services that ended otherwise than on their way to a backend. */
function dropped(bed: ScaleBed): number {
  let sum = 0;
  for (let service = 0; service < bed.services; service++) {
    const { outcome } = bed.forwarder.counters.read(FIRST_SERVICE + service);
    OUTCOME_NAMES.forEach((name, i) => {
      if (!['settled', 'tracked', 'new', 'untracked'].includes(name)) sum += outcome[i] ?? 0;
    });
  }
  return sum;
}

/** A thread of its own, so that packets meet tables while they are written. */
function startPackets(bed: ScaleBed): { stop(): Promise<{ packets: number; lost: number }> } {
  const worker = new Worker(new URL('./scale-packets.ts', import.meta.url), {
    workerData: { programFd: bed.forwarder.programFd, services: bed.services },
  });
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        worker.once('message', (sums) => {
          void worker.terminate();
          resolve(sums);
        });
        worker.once('error', reject);
        worker.postMessage('stop');
      }),
  };
}
