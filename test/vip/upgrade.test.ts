/** Another version of the programs takes over balancer and backend while packets arrive as fast as it is taken. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  makeVersion,
  OTHER_LAYOUT,
  type Patch,
  removeVersion,
  takeOver,
} from '../../src/lab/breakage/other-version.ts';
import type { AgentReport, BalancerReport } from '../../src/lab/breakage/take-over.ts';
import { openAgent } from '../../src/serve/vip/agent.ts';
import { type Forwarder, type ForwarderOptions, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { AGENT_OUTCOME, OUTCOME } from '../../src/serve/vip/layout.gen.ts';
import { inNamespace, interfaceIndexIn, openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { removeInstance } from '../../src/serve/vip/pins.ts';
import { address, cannotLoad, pinsOf, until } from '../../src/serve/vip/test-network.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAMES = { balancer: `upgrade-b-${process.pid}`, agent: `upgrade-k-${process.pid}` };
const [CLIENT, BALANCER, BACKEND] = ['c', 'b', 'k'].map((end) => `upgrade-${process.pid}-${end}`);
const VIP = '192.0.2.10';
const CLIENT_ADDRESS = '198.51.100.7';
const SLOTS = 101;
const SUBJECT = { vip: 1, udp: 2, tcp: 3 } as const;
const CONNECTIONS = 40;
const BUCKETS = 1024;
const KEY = new Uint8Array(16).fill(7);

const versions: string[] = [];
let server: Server | null = null;
const clients: Socket[] = [];

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function macOf(namespace: string, name: string): Uint8Array {
  const text = execFileSync('ip', ['-j', '-n', namespace, 'link', 'show', 'dev', name], { encoding: 'utf8' });
  return Uint8Array.from((JSON.parse(text)[0].address as string).split(':'), (part) => Number.parseInt(part, 16));
}

/** Client - balancer - backend, and a way from the backend to the client that does not pass the balancer. */
function makeNamespaces(): void {
  for (const name of [CLIENT, BALANCER, BACKEND]) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    const settings = ['all', 'default'].map((where) => `net.ipv4.conf.${where}.rp_filter=0`);
    inNamespace(name, () => execFileSync('sysctl', ['-qw', ...settings]));
  }
  const link = (left: string, one: string, oneIp: string, right: string, other: string, otherIp: string) => {
    ip('link', 'add', one, 'netns', left, 'type', 'veth', 'peer', 'name', other, 'netns', right);
    for (const [namespace, device, own] of [
      [left, one, oneIp],
      [right, other, otherIp],
    ]) {
      ip('-n', namespace, 'addr', 'add', `${own}/24`, 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up');
      inNamespace(namespace, () => execFileSync('ethtool', ['-K', device, 'tx', 'off'], { stdio: 'ignore' }));
    }
  };
  link(CLIENT, 'c0', '10.78.0.1', BALANCER, 'b0', '10.78.0.2');
  link(BALANCER, 'b1', '10.78.1.1', BACKEND, 'k0', '10.78.1.2');
  link(BACKEND, 'k1', '10.78.2.2', CLIENT, 'c1', '10.78.2.1');
  ip('-n', CLIENT, 'addr', 'add', `${CLIENT_ADDRESS}/32`, 'dev', 'lo');
  ip('-n', CLIENT, 'route', 'add', '192.0.2.0/24', 'via', '10.78.0.2', 'src', CLIENT_ADDRESS);
  ip('-n', BACKEND, 'route', 'add', `${CLIENT_ADDRESS}/32`, 'via', '10.78.2.1');
}

const FORWARDER = { name: NAMES.balancer, netns: BALANCER, interfaces: ['b0'], probeInterface: null, buckets: BUCKETS };
const AGENT = { name: NAMES.agent, netns: BACKEND, interfaces: ['k0'] };

function openBalancer(changes: Partial<ForwarderOptions> = {}): Forwarder {
  return openForwarder({ ...FORWARDER, hashKey: KEY, addresses: [address('10.78.1.1')], ...changes });
}

/** All slots of the TCP service: unsettled. */
function writeSlots(forwarder: Forwarder, current: number, previous: number, third: number): void {
  const table = forwarder.createTable(SUBJECT.tcp, SLOTS);
  for (let i = 0; i < SLOTS; i++) table.write(i, current, previous, third, true);
}

/** Backend 1 is there, backend 2 is not. */
async function configure(): Promise<void> {
  const forwarder = openBalancer();
  const nextHop = {
    mac: macOf(BACKEND, 'k0'),
    ownMac: macOf(BALANCER, 'b1'),
    ifindex: interfaceIndexIn(BALANCER, 'b1'),
    interfaceName: 'b1',
    mtuBytes: 1500,
  };
  const common = { nextHop, alive: true, agent: false, forwarding: null };
  forwarder.setBackend(1, { address: address('10.78.1.2'), ...common });
  forwarder.setBackend(2, { address: address('10.78.1.9'), ...common });
  forwarder.setVip(address(VIP), SUBJECT.vip, 0);
  const table = forwarder.createTable(SUBJECT.udp, SLOTS);
  for (let i = 0; i < SLOTS; i++) table.write(i, 1, 0, 0, false);
  writeSlots(forwarder, 1, 2, 0);
  const limits = {
    slots: SLOTS,
    lifetimeTicks: 900,
    newPerSecond: 1000,
    shareEntries: 1000,
    forwarding: 'gre',
  } as const;
  const vip = SUBJECT.vip;
  forwarder.setService({ vip, port: 5000, protocol: 'udp' }, { subject: SUBJECT.udp, ...limits });
  forwarder.setService({ vip, port: 80, protocol: 'tcp' }, { subject: SUBJECT.tcp, ...limits, salt: 77 });
  forwarder.close({ keep: true });
  const agent = openAgent({ ...AGENT, addresses: [address('10.78.1.2')] });
  agent.setMembers([address('10.78.1.1')]);
  await agent.setVips([address(VIP)]);
  await agent.close({ keep: true });
}

/** Connections whose client sends number after number and checks that they come back. */
class Talkers {
  /** Numbers that came back, by connection. */
  readonly heard: number[] = [];
  readonly broken: string[] = [];
  #timer: NodeJS.Timeout | null = null;

  async start(): Promise<void> {
    server = createServer((socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    const fd = openTcpListener(BACKEND, address(VIP), 80, { backlog: CONNECTIONS });
    await new Promise<void>((resolve) => server!.listen({ fd }, resolve));
    for (let i = 0; i < CONNECTIONS; i++) await this.#connect(i);
    let next = 0;
    this.#timer = setInterval(() => {
      for (const client of clients) client.write(Uint8Array.of(next & 0xff));
      next++;
    }, 10);
  }

  async #connect(i: number): Promise<void> {
    const fd = openTcpSocket(CLIENT, address(CLIENT_ADDRESS), { bind: true });
    const socket = new Socket({ fd } as never);
    clients.push(socket);
    this.heard[i] = 0;
    socket.on('data', (bytes) => {
      for (const byte of bytes) {
        if (byte !== (this.heard[i] & 0xff)) this.broken.push(`connection ${i} got ${byte}`);
        this.heard[i]++;
      }
    });
    socket.on('close', () => this.broken.push(`connection ${i} was closed`));
    socket.on('error', (error) => this.broken.push(`connection ${i}: ${error.message}`));
    socket.connect(80, VIP);
    await once(socket, 'connect');
  }

  /** Every connection has heard a number that was sent after now. */
  async untilAllHear(what: string): Promise<void> {
    const enough = this.heard.map((count) => count + 200);
    await until(() => this.heard.every((count, i) => count >= enough[i]), `all connections go on ${what}`, 20_000);
    assert.deepEqual(this.broken, [], what);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const client of clients) client.removeAllListeners('close').destroy();
    server?.close();
  }
}

/** Datagrams that the backend's kernel has seen, whether or not anybody wants them. */
function countReceived(): number {
  const [names, numbers] = inNamespace(BACKEND, () => readFileSync('/proc/thread-self/net/snmp', 'utf8'))
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '));
  const column = (name: string) => Number(numbers[names.indexOf(name)]);
  return column('InDatagrams') + column('NoPorts') + column('InErrors');
}

class Flood {
  readonly #child: ChildProcess;
  #said = '';

  constructor() {
    const script = join(import.meta.dirname, 'flood.ts');
    this.#child = spawn(process.execPath, [script, CLIENT, CLIENT_ADDRESS, VIP, '5000', BACKEND], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout?.on('data', (data) => {
      this.#said += data;
    });
  }

  async begin(): Promise<void> {
    await until(() => this.#said.includes('ready'), 'the flood begins', 10_000);
  }

  /** How many frames were sent. */
  async end(): Promise<number> {
    const ended = once(this.#child, 'exit');
    this.#child.stdin?.write('stop\n');
    await ended;
    return Number(this.#said.trim().split('\n').at(-1));
  }
}

async function upgrade(
  root: string,
  buckets = BUCKETS,
): Promise<{ readonly balancer: BalancerReport; readonly agent: AgentReport }> {
  const hashKey = Buffer.from(KEY).toString('hex');
  const { balancers, agents } = await takeOver(root, {
    balancers: [{ ...FORWARDER, buckets, hashKey, addresses: ['10.78.1.1'] }],
    agents: [{ ...AGENT, addresses: ['10.78.1.2'] }],
  });
  return { balancer: balancers[0], agent: agents[0] };
}

async function addVersion(patches: readonly Patch[]): Promise<string> {
  const root = await makeVersion(patches);
  versions.push(root);
  return root;
}

const withoutClang = cannotLoad || (!existsSync('/usr/bin/clang') && 'needs clang');

describe('upgrade in place', { skip: withoutClang }, () => {
  const talkers = new Talkers();

  before(async () => {
    await addVersion(OTHER_LAYOUT);
    makeNamespaces();
    await configure();
    await talkers.start();
    // From now on only their entries lead the connections to backend 1: untracked means 2.
    const forwarder = openBalancer();
    writeSlots(forwarder, 2, 2, 1);
    forwarder.close({ keep: true });
    await talkers.untilAllHear('with tracked flows');
  });

  after(() => {
    talkers.stop();
    for (const name of Object.values(NAMES)) removeInstance(name);
    for (const name of [CLIENT, BALANCER, BACKEND]) if (existsSync(`/var/run/netns/${name}`)) ip('netns', 'del', name);
    for (const root of versions) removeVersion(root);
  });

  test('versions with other layouts take over from each other under full load and lose no packet', async (t) => {
    const before = countReceived();
    const flood = new Flood();
    await flood.begin();
    const begun = performance.now();
    const reports = [];
    for (const root of [versions[0], ROOT, versions[0], ROOT]) {
      reports.push(await upgrade(root));
      await talkers.untilAllHear(`after ${reports.length} exchanges`);
    }
    const seconds = (performance.now() - begun) / 1000;
    const sent = await flood.end();
    await until(() => countReceived() - before >= sent, `all ${sent} packets arrive`).catch(() => {});
    const received = countReceived() - before;
    t.diagnostic(`${sent} packets in ${seconds.toFixed(1)} s, ${Math.round(sent / seconds)}/s, received ${received}`);
    assert.equal(received, sent, 'packets were lost');
    assert.ok(sent > 500_000, `only ${sent} packets`);
    for (const report of reports) {
      const [balancer, agent] = [report.balancer.inheritance, report.agent.inheritance];
      const migrated = balancer?.migrated.map(({ map }) => map) ?? [];
      for (const map of ['services', 'backends', 'settings', 'counters']) assert.ok(migrated.includes(map), map);
      for (const map of ['connections', 'slot_tables', 'vips']) assert.ok(balancer?.kept.includes(map), map);
      assert.deepEqual(agent?.migrated.map(({ map }) => map).sort(), [
        'agent_candidates',
        'agent_counters',
        'agent_settings',
      ]);
    }
    assert.deepEqual(reports[0].balancer.services, reports[1].balancer.services);
    assert.deepEqual(reports[0].balancer.backends, reports[3].balancer.backends);
    const last = openBalancer();
    assert.equal(last.counters.read(SUBJECT.udp).outcome[OUTCOME.SETTLED], sent, 'counts of all versions');
    assert.ok(last.connections.countEntries() >= CONNECTIONS);
    last.close({ keep: true });
    const agent = openAgent({ ...AGENT, addresses: [address('10.78.1.2')] });
    assert.ok((agent.counters.read()[AGENT_OUTCOME.DELIVERED] as number) >= sent);
    await agent.close({ keep: true });
  });

  test('connections stay when the connection table becomes larger and smaller', async () => {
    for (const buckets of [4 * BUCKETS, BUCKETS / 2, BUCKETS]) {
      const { inheritance, services } = (await upgrade(ROOT, buckets)).balancer;
      assert.ok(inheritance?.migrated.some(({ map }) => map === 'connections'));
      assert.ok(services.every((service) => (service as { newPerSecond: number }).newPerSecond === 1000));
      await talkers.untilAllHear(`with ${buckets} buckets`);
    }
  });

  test('a table that does not fit is refused, and what ran before goes on', async () => {
    const pins = pinsOf(NAMES.balancer);
    await assert.rejects(upgrade(ROOT, 2), /live connections have no place[\s\S]*goes on as it was/);
    assert.deepEqual(pinsOf(NAMES.balancer), pins);
    await talkers.untilAllHear('after a refusal');
  });

  test('a program that the verifier refuses changes nothing', async () => {
    const wrong = await addVersion([
      ['balancer.bpf.c', 'return offer_to_others(ctx, process_and_count(ctx));', 'return *(int *)(long)ctx->data_end;'],
    ]);
    const pins = pinsOf(NAMES.balancer);
    await assert.rejects(upgrade(wrong), /load of [\s\S]*goes on as it was/);
    assert.deepEqual(pinsOf(NAMES.balancer), pins);
    await talkers.untilAllHear('after a refusal by the verifier');
  });

  test('connections that another version packs otherwise are refused, and it says what would break', async () => {
    const other = await addVersion([['layout.h', 'PACKING_ENTRY = 1', 'PACKING_ENTRY = 2']]);
    await assert.rejects(upgrade(other), /connections cannot be taken over: .*tracked flows would not be known/);
    await talkers.untilAllHear('after a refusal for the packing');
  });
});
