/**
 * Packets a second over veth, by forwarding mode, beside a program that only redirects: generator, balancer and sink in three
 * namespaces, in one context on one CPU, to which the caller is bound. The programs take turns, sample by sample.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ForwardingMode } from '../src/config/model.ts';
import { parseAddress } from '../src/net/address.ts';
import { foldChecksum, onesSum } from '../src/net/checksum.ts';
import { createXdpLink, runLiveFrames } from '../src/serve/vip/bpf.ts';
import { readBtf } from '../src/serve/vip/btf.ts';
import { type Forwarder, openForwarder } from '../src/serve/vip/forwarder.ts';
import { OUTCOME } from '../src/serve/vip/layout.gen.ts';
import { closeFd, type MappedMemory, mapMemory } from '../src/serve/vip/libc.ts';
import { inNamespace, interfaceIndexIn } from '../src/serve/vip/netns.ts';
import { BpfObject } from '../src/serve/vip/object.ts';
import { type BenchCase, type BenchCheck, checkThat, spreadOf } from './report.ts';
import { threadTimeNs } from './thread-clock.ts';

export const VETH_MODES = ['gre', 'ipip', 'gue', 'l2', 'nat'] as const satisfies readonly ForwardingMode[];
const FLOWS = 50_000;
const SLOTS = 65_537;
const FRAME_BYTES = 64;
/** A signal ends a call early. */
const FRAMES_A_CALL = 10_000;
const BACKEND = '10.99.1.2';
const SOURCE = '10.99.1.1';
/** Of the do-nothing redirect's rate. */
const MIN_SHARE = 0.75;

const OBJECTS = join(import.meta.dirname, '../build/bpf');

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`${text} is no address`);
  return parsed;
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function macOf(namespace: string, device: string): Uint8Array {
  const text = execFileSync('ip', ['-j', '-n', namespace, 'link', 'show', 'dev', device], { encoding: 'utf8' });
  return Uint8Array.from((JSON.parse(text)[0].address as string).split(':'), (part) => Number.parseInt(part, 16));
}

const vipOf = (mode: ForwardingMode): string => `192.0.2.${1 + (VETH_MODES as readonly string[]).indexOf(mode)}`;

/** How long the kernel thread of that CPU that works off packets has run. */
function findSoftirqs(cpu: number): string {
  const id = readdirSync('/proc').find((entry) => {
    return /^\d+$/.test(entry) && nameOfProcess(entry) === `ksoftirqd/${cpu}`;
  });
  if (id === undefined) throw new Error(`CPU ${cpu} has no ksoftirqd that is visible here`);
  return `/proc/${id}/schedstat`;
}

function nameOfProcess(id: string): string {
  try {
    return readFileSync(`/proc/${id}/comm`, 'latin1').trim();
  } catch {
    return ''; // it has ended
  }
}

/** gen0, gen1 - in0 (balancer), in1 (redirect only) - out0 - sink0 */
class VethBed {
  readonly #names = ['gen', 'fwd', 'sink'].map((end) => `bench-${process.pid}-${end}`) as [string, string, string];
  readonly #object = new BpfObject(join(OBJECTS, 'veth.bpf.o'));
  readonly #links: number[] = [];
  readonly #softirqs: string;
  readonly #memory: MappedMemory;
  readonly #view: DataView;
  readonly #offsets: Readonly<Record<'headers' | 'flow' | 'flows' | 'out' | 'sent' | 'arrived', number>>;
  readonly forwarder: Forwarder;

  constructor(cpu: number) {
    this.#softirqs = findSoftirqs(cpu);
    try {
      this.#makeLinks();
      this.#object.load();
      const btf = readBtf(readFileSync(join(OBJECTS, 'veth.bpf.o')));
      const start = btf.sections.get('.data')?.find(({ name }) => name === 'stream_state')?.offset ?? 0;
      this.#offsets = {
        headers: start,
        flow: start + 40,
        flows: start + 44,
        out: start + 48,
        sent: start + 56,
        arrived: start + 64,
      };
      this.#memory = mapMemory(this.#object.mapFd('.data'), start + 72, 'map .data of the bench');
      this.#view = new DataView(this.#memory.buffer);
      this.#attach();
      this.forwarder = this.#openForwarder();
    } catch (error) {
      this.#clean();
      throw error;
    }
  }

  #makeLinks(): void {
    const [gen, fwd, sink] = this.#names;
    for (const name of this.#names) {
      ip('netns', 'add', name);
      // Nothing but the bench's own packets.
      inNamespace(name, () => writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1'));
    }
    for (const [near, device, far, peer] of [
      [gen, 'gen0', fwd, 'in0'],
      [gen, 'gen1', fwd, 'in1'],
      [fwd, 'out0', sink, 'sink0'],
    ] as const) {
      ip('link', 'add', device, 'netns', near, 'type', 'veth', 'peer', 'name', peer, 'netns', far);
      ip('-n', near, 'link', 'set', device, 'up', 'mtu', '1700');
      ip('-n', far, 'link', 'set', peer, 'up', 'mtu', '1700');
    }
  }

  #attach(): void {
    const [gen, fwd, sink] = this.#names;
    const attach = (name: string, device: string, program: string) =>
      this.#links.push(
        inNamespace(name, () =>
          createXdpLink(this.#object.programFd(program), interfaceIndexIn(null, device), 'native'),
        ),
      );
    attach(fwd, 'in1', 'redirect_only');
    attach(sink, 'sink0', 'sink');
    for (const device of ['gen0', 'gen1']) attach(gen, device, 'sink'); // veth sends frames only between two programs
    this.#view.setUint32(this.#offsets.out, interfaceIndexIn(fwd, 'out0'), true);
    this.#view.setUint32(this.#offsets.flows, FLOWS, true);
  }

  #openForwarder(): Forwarder {
    const [, fwd, sink] = this.#names;
    const forwarder = openForwarder({
      name: null,
      netns: fwd,
      interfaces: ['in0'],
      probeInterface: null,
      addresses: [address(SOURCE)],
      buckets: 2 ** 12,
      hashKey: new Uint8Array(16).fill(7),
    });
    const nextHop = {
      mac: macOf(sink, 'sink0'),
      ownMac: macOf(fwd, 'out0'),
      ifindex: interfaceIndexIn(fwd, 'out0'),
      interfaceName: 'out0',
      mtuBytes: 1700,
    };
    forwarder.setBackend(1, { address: address(BACKEND), nextHop, alive: true, agent: false, forwarding: null });
    for (const [i, mode] of VETH_MODES.entries()) {
      const subject = 10 + i;
      forwarder.setVip(address(vipOf(mode)), 1 + i, 0);
      const table = forwarder.createTable(subject, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
      const limits = { lifetimeTicks: 900, newPerSecond: 1e6, shareEntries: 1e6 };
      forwarder.setService(
        { vip: 1 + i, port: 80, protocol: 'tcp' },
        { subject, slots: SLOTS, forwarding: mode, ...limits },
      );
    }
    return forwarder;
  }

  /** CPU time, as others may be on this CPU too: of this thread, and of the kernel's that takes over what is left to do. */
  #cpuTimeNs(): number {
    return threadTimeNs() + Number(readFileSync(this.#softirqs, 'latin1').split(' ', 1)[0]);
  }

  /** Sends `packets` to a mode's VIP (null: past the balancer, by the redirect alone); gives packets a second. All must arrive. */
  measure(mode: ForwardingMode | null, packets: number): number {
    const [gen, fwd] = this.#names;
    const [from, to] = mode === null ? ['gen1', 'in1'] : ['gen0', 'in0'];
    const headers = new Uint8Array(this.#memory.buffer, this.#offsets.headers, 34);
    headers.set(macOf(fwd, to), 0);
    headers.set(macOf(gen, from), 6);
    headers.set([0x08, 0x00, 0x45, 0, 0, FRAME_BYTES - 14, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7], 12);
    headers.set(address(vipOf(mode ?? 'gre')).bytes, 30);
    const sum = foldChecksum(onesSum(headers, 14, 20));
    headers.set([sum >> 8, sum & 0xff], 24);
    this.#view.setUint32(this.#offsets.flow, 0, true);
    const { sent, arrived } = this.#offsets;
    const count = (offset: number) => Number(this.#view.getBigUint64(offset, true));
    const settled = () => (mode === null ? 0 : this.#settled(mode));
    const [sentBefore, arrivedBefore, settledBefore] = [count(sent), count(arrived), settled()];
    const beginNs = this.#cpuTimeNs();
    inNamespace(gen, () => {
      const options = { ingressIfindex: interfaceIndexIn(null, from), repeat: FRAMES_A_CALL };
      const frame = new Uint8Array(FRAME_BYTES);
      while (count(sent) - sentBefore < packets) runLiveFrames(this.#object.programFd('generate'), frame, options);
    });
    const seconds = (this.#cpuTimeNs() - beginNs) / 1e9;
    const all = count(sent) - sentBefore;
    assert.equal(count(arrived) - arrivedBefore, all, `${mode ?? 'redirect'}: packets that arrived`);
    if (mode !== null) assert.equal(settled() - settledBefore, all, `${mode}: packets that the balancer forwarded`);
    return all / seconds;
  }

  #settled(mode: ForwardingMode): number {
    return this.forwarder.counters.read(10 + (VETH_MODES as readonly string[]).indexOf(mode)).outcome[OUTCOME.SETTLED];
  }

  #clean(): void {
    for (const link of this.#links) closeFd(link);
    this.#object.close();
    for (const name of this.#names) if (existsSync(`/var/run/netns/${name}`)) ip('netns', 'del', name);
  }

  close(): void {
    this.forwarder.close({ keep: false });
    this.#memory.unmap();
    this.#clean();
  }
}

/** Some seconds. The share of a mode is the median of those of the rounds. */
export function measureVeth(
  cpu: number,
  rounds: number,
  packets: number,
): { cases: BenchCase[]; checks: BenchCheck[] } {
  const bed = new VethBed(cpu);
  const runs = [null, ...VETH_MODES];
  const rates = runs.map((): number[] => []);
  try {
    for (const mode of runs) bed.measure(mode, packets);
    for (let round = 0; round < rounds; round++) {
      const order = [...runs.entries()];
      // Forth and back: nothing always comes after the same.
      for (const [i, mode] of round % 2 === 0 ? order : order.reverse()) rates[i].push(bed.measure(mode, packets));
    }
  } finally {
    bed.close();
  }
  const cases = runs.map((mode, i): BenchCase => {
    const what = mode === null ? 'a redirect that does nothing else' : `established IPv4 tcp by ${mode}`;
    const params = {
      ip: 4,
      protocol: 'tcp',
      kind: 'veth',
      mode: mode ?? 'redirect',
      flows: FLOWS,
      table: 'stable',
      tracking: 'just-enough',
      sizeBytes: FRAME_BYTES,
    };
    return { case: `over veth: ${what}`, params, unit: 'packets/s', samples: rounds, ...spreadOf(rates[i]) };
  });
  const checks = VETH_MODES.map((mode, i) => {
    const { median, quartiles } = spreadOf(rates[i + 1].map((rate, round) => rate / rates[0][round]));
    const text = `over veth: ${mode} against a redirect that does nothing`;
    return { ...checkThat(text, median, 'at least', MIN_SHARE), quartiles, rounds };
  });
  return { cases, checks };
}
