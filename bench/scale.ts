/**
 * `portico bench scale`: what a large site costs one balancer. Kernel memory of 1,000 services and the places of 8,000,000
 * tracked flows; how many of 8,000,000 flows find no place; and how long a change of backends takes until it stands in all tables, while
 * packets go on.
 */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { OUTCOME_NAMES } from '../src/serve/vip/layout.gen.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';
import { BACKENDS_PER_SERVICE, BUCKETS, MEMBERS, ScaleBed, SLOTS } from './scale-bed.ts';
import { refusedFlows } from './scale-flows.ts';
import { threadTimeNs } from './thread-clock.ts';

const FLOWS = 8_000_000;
const MIB = 1024 * 1024;

/** Some 90 s, `quick` 15 s with a tenth of the services; needs root. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const services = options.quick ? 100 : 1_000;
  const cases: BenchCase[] = [];
  const checks: BenchCheck[] = [];
  const availableBefore = availableMib();
  const bed = new ScaleBed(services);
  try {
    options.progress?.(`${services} tables`);
    await bed.fill();
    measureMemory(bed, availableBefore, cases, checks);
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

function measureMemory(bed: ScaleBed, availableBefore: number, cases: BenchCase[], checks: BenchCheck[]): void {
  const { services } = bed;
  const params = { services, slots: SLOTS, entries: BUCKETS * 8 };
  const mapped = bed.kernelBytes() / MIB;
  const available = availableBefore - availableMib();
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
    const probes = bed.probesOf([1 + sample * 101]);
    tables = probes.length;
    one.push(await timed(() => bed.fail(probes)));
  }
  const groups = MEMBERS / BACKENDS_PER_SERVICE;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const everywhere = bed.probesOf(Array.from({ length: groups }, (_, group) => group * BACKENDS_PER_SERVICE + 50));
  const all = await timed(() => bed.fail(everywhere));
  delay.disable();
  const idle = await timed(() => bed.site.refresh());
  const sent = await packets.stop();
  const lost = sent.lost + dropped(bed) - before;
  const params = { services: bed.services, backends: BACKENDS_PER_SERVICE, slots: SLOTS };
  const cpu = one.map(({ cpuMs }) => cpuMs);
  const passed = one.map(({ passedMs }) => passedMs);
  const name = `one backend leaves its ${tables} tables`;
  const allName = 'a backend of every service leaves';
  const idleName = 'every service is looked at, nothing changes';
  cases.push(benchCase(`${name}, CPU time`, { measure: 'change', clock: 'cpu', ...params, tables }, 'ms', cpu));
  cases.push(benchCase(name, { measure: 'change', clock: 'wall', ...params, tables }, 'ms', passed));
  cases.push(benchCase(`${allName}, CPU time`, { measure: 'change-all', clock: 'cpu', ...params }, 'ms', [all.cpuMs]));
  cases.push(benchCase(allName, { measure: 'change-all', clock: 'wall', ...params }, 'ms', [all.passedMs]));
  cases.push(benchCase('longest wait of timers meanwhile', { measure: 'stall', ...params }, 'ms', [delay.max / 1e6]));
  cases.push(benchCase(`${idleName}, CPU time`, { measure: 'look', clock: 'cpu', ...params }, 'ms', [idle.cpuMs]));
  cases.push(benchCase('packets meanwhile', { measure: 'packets', ...params }, 'packets', [sent.packets]));
  checks.push(checkThat(`${name}: median of CPU time, ms`, spreadOf(cpu).median, 'at most', 50));
  checks.push(checkThat(`${allName} (${bed.services}): CPU time, ms`, all.cpuMs, 'at most', 5_000));
  checks.push(checkThat(`packets lost of ${sent.packets} sent meanwhile`, lost, 'at most', 0));
}

/** Packets of services that ended otherwise than on their way to a backend. */
function dropped(bed: ScaleBed): number {
  let sum = 0;
  for (const { subject } of bed.site.plan.services) {
    const { outcome } = bed.forwarder.counters.read(subject);
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
