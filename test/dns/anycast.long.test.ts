/**
 * Two sites announce one name server address each with real BIRD; a client's queries move to the other site when one's process is drained,
 * killed or hangs.
 *
 *     client - r1 (AS 65001) - r2 (AS 65002)
 *                |                |
 *              ns1 (65011)      ns2 (65012)     both: 192.0.2.53
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BirdProcess, startBird } from '../../src/announce/bird-process.ts';
import { readLivePid } from '../../src/announce/pid-file.ts';
import { guardPidPath } from '../../src/fleet/anycast-guard.ts';
import { encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { openUdpSocket } from '../../src/serve/vip/netns.ts';
import { address } from '../../src/serve/vip/test-network.ts';

const SERVICE = '192.0.2.53';
const SERVICE6 = '2001:db8:53::53';
const QUERY_MS = 5;
const skip = process.getuid?.() !== 0 ? 'needs root' : false;

const folder = mkdtempSync(join(tmpdir(), 'any-'));
const name = (machine: string): string => `any-${process.pid}-${machine}`;
const configName = `any-${process.pid}`;
const birds: BirdProcess[] = [];
const servers = new Map<string, ChildProcess>();

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** `a` and `b` are machine, device and address. */
function join2(a: readonly [string, string, string], b: readonly [string, string, string]): void {
  ip('link', 'add', a[1], 'netns', name(a[0]), 'type', 'veth', 'peer', 'name', b[1], 'netns', name(b[0]));
  for (const [machine, device, own] of [a, b]) {
    ip('-n', name(machine), 'addr', 'add', own, 'dev', device);
    ip('-n', name(machine), 'link', 'set', device, 'up');
  }
}

function routerConfig(own: number, clients: string): string {
  const other = 3 - own;
  const channel = 'ipv4 { import all; export all; next hop self; };';
  return `router id 10.66.${own}.1;
log stderr all;
protocol device { scan time 1; }
protocol direct { ipv4; interface "${clients}"; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
protocol bgp server { local 10.66.${own}.1 as ${65000 + own}; neighbor 10.66.${own}.2 as ${65010 + own}; direct; passive; bfd; ipv4 { import all; export none; }; }
protocol bgp peer { local 10.66.9.${own} as ${65000 + own}; neighbor 10.66.9.${other} as ${65000 + other}; direct; connect delay time 1; connect retry time 1; ${channel} }
`;
}

const CONFIG = `name: ${configName}
state: ${folder}/state
sites:
  eu: { location: { latitude: 52.37, longitude: 4.90 } }
dns:
  rateLimit: { answers: off }
  servers:
${[1, 2]
  .map(
    (i) =>
      `    ns${i}: { listen: [10.66.${i}.2], anycast: { addresses: [${SERVICE}, "${SERVICE6}"], asn: ${65010 + i}, routers: [{ address: 10.66.${i}.1, asn: ${65000 + i} }] } }`,
  )
  .join('\n')}
  zones:
    example.test:
      nameServers: [ns.example.test, ns-b.example.net]
      soa: { primary: ns.example.test, contact: hostmaster@example.test, serial: 1 }
      records: { ns: { A: ${SERVICE} } }
`;

function startServer(machine: string): void {
  const program = join(import.meta.dirname, '../../portico');
  const args = [
    'netns',
    'exec',
    name(machine),
    program,
    'up',
    join(folder, 'portico.yaml'),
    '--machine',
    machine,
    '--only',
    'dns',
  ];
  const child = spawn('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  servers.set(machine, child);
}

/** In the namespace of the machine, where its API is. */
function portico(machine: string, ...args: string[]): string {
  const program = join(import.meta.dirname, '../../portico');
  return execFileSync('ip', ['netns', 'exec', name(machine), program, ...args], { encoding: 'utf8' });
}

async function endServer(machine: string, signal: NodeJS.Signals): Promise<void> {
  const child = servers.get(machine);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

interface Exchange {
  readonly sentMs: number;
  answeredBy: string | null;
}

/** Asks all the time, each query by another socket's port so that flows do not stick. */
class Client {
  readonly exchanges: Exchange[] = [];
  readonly #socket = createSocket('udp4');
  #timer: NodeJS.Timeout | undefined;

  async start(): Promise<void> {
    const parsed = parseName('id.server', ROOT_NAME);
    assert.ok(parsed.ok);
    const question = { name: parsed.name, type: 16, class: 3 };
    this.#socket.on('message', (answer) => {
      const exchange = this.exchanges[answer.readUInt16BE(0)];
      if (exchange !== undefined)
        exchange.answeredBy = /ns[12]$/.exec(answer.toString('latin1'))?.[0] ?? 'nobody known';
    });
    this.#socket.on('error', () => {}); // unreachable for a while
    const fd = openUdpSocket(name('client'), address('10.66.3.2'), 0);
    await new Promise<void>((resolve) => this.#socket.bind({ fd }, resolve));
    this.#timer = setInterval(() => {
      this.#socket.send(encodeQuery(this.exchanges.length, question, null), 53, SERVICE, () => {});
      this.exchanges.push({ sentMs: performance.now(), answeredBy: null });
    }, QUERY_MS);
  }

  /** Who answered the last queries, if it is one and the same. */
  get server(): string | null {
    const last = this.exchanges.slice(-40, -20);
    const by = last[0]?.answeredBy ?? null;
    return last.length > 0 && last.every(({ answeredBy }) => answeredBy === by) ? by : null;
  }

  async until(server: string, limitMs: number): Promise<void> {
    for (const limitAt = performance.now() + limitMs; this.server !== server; await sleep(10))
      assert.ok(performance.now() < limitAt, `${server} does not answer after ${limitMs} ms but ${this.server}`);
  }

  /** From `sinceMs` on: queries without an answer, and how long after it the first by `server` came. */
  movedTo(server: string, sinceMs: number): { readonly lost: number; readonly movedMs: number } {
    const since = this.exchanges.slice(0, -20).filter(({ sentMs }) => sentMs >= sinceMs);
    const first = since.find(({ answeredBy }) => answeredBy === server);
    assert.ok(first !== undefined);
    return { lost: since.filter(({ answeredBy }) => answeredBy === null).length, movedMs: first.sentMs - sinceMs };
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#socket.close();
  }
}

const client = new Client();

before(async () => {
  if (skip !== false) return;
  for (const machine of ['client', 'r1', 'r2', 'ns1', 'ns2']) {
    ip('netns', 'add', name(machine));
    ip('-n', name(machine), 'link', 'set', 'lo', 'up');
  }
  join2(['client', 'c0', '10.66.3.2/24'], ['r1', 'cli0', '10.66.3.1/24']);
  join2(['r1', 'ns0', '10.66.1.1/24'], ['ns1', 'eth0', '10.66.1.2/24']);
  join2(['r2', 'ns0', '10.66.2.1/24'], ['ns2', 'eth0', '10.66.2.2/24']);
  join2(['r1', 'peer0', '10.66.9.1/24'], ['r2', 'peer0', '10.66.9.2/24']);
  for (const [machine, gateway] of [
    ['client', '10.66.3.1'],
    ['ns1', '10.66.1.1'],
    ['ns2', '10.66.2.1'],
  ] as const)
    ip('-n', name(machine), 'route', 'add', 'default', 'via', gateway);
  for (const [index, machine] of ['r1', 'r2'].entries()) {
    execFileSync('ip', ['netns', 'exec', name(machine), 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    const birdFolder = join(folder, machine);
    mkdirSync(birdFolder);
    const config = routerConfig(index + 1, index === 0 ? 'cli*' : 'none*');
    birds.push(await startBird({ netns: name(machine), folder: birdFolder, config }));
  }
  writeFileSync(join(folder, 'portico.yaml'), CONFIG);
  await client.start();
});

after(async () => {
  if (skip !== false) return;
  client.stop();
  for (const machine of servers.keys()) {
    servers.get(machine)?.kill('SIGCONT');
    await endServer(machine, 'SIGTERM');
    portico(machine, 'down', join(folder, 'portico.yaml'), '--machine', machine);
  }
  for (const bird of birds) await bird.stop();
  for (const machine of ['client', 'r1', 'r2', 'ns1', 'ns2'])
    if (existsSync(`/var/run/netns/${name(machine)}`)) ip('netns', 'del', name(machine));
  rmSync(folder, { recursive: true, force: true });
});

test('queries go to the near site, and to the other while it is drained, without one lost', { skip }, async () => {
  startServer('ns1');
  startServer('ns2');
  await client.until('ns1', 20_000);
  // The other has to be there before the first can go.
  for (const limitAt = performance.now() + 10_000; !/announced/.test(portico('ns2', 'status')); await sleep(100))
    assert.ok(performance.now() < limitAt, 'ns2 does not announce');
  const drainedMs = performance.now();
  portico('ns1', 'drain', 'nameserver', 'ns1');
  await client.until('ns2', 5_000);
  const away = client.movedTo('ns2', drainedMs);
  const backMs = performance.now();
  portico('ns1', 'undrain', 'nameserver', 'ns1');
  await client.until('ns1', 5_000);
  const back = client.movedTo('ns1', backMs);
  console.log({ drained: away, undrained: back });
  assert.equal(away.lost + back.lost, 0);
});

test('when the process of the near site is killed, the other site answers within a second', { skip }, async () => {
  const killedMs = performance.now();
  await endServer('ns1', 'SIGKILL');
  await client.until('ns2', 5_000);
  const away = client.movedTo('ns2', killedMs);
  console.log({ killed: away });
  assert.ok(away.movedMs < 1000 && away.lost <= 1000 / QUERY_MS, JSON.stringify(away));
  const startedMs = performance.now();
  startServer('ns1');
  await client.until('ns1', 15_000);
  assert.equal(client.movedTo('ns1', startedMs).lost, 0, 'queries are lost when it comes back');
});

test('a guard that is killed is started again, and no query is lost', { skip }, async () => {
  const pidPath = guardPidPath(join('/run/portico', configName, 'ns1'));
  const before = readLivePid(pidPath);
  assert.ok(before !== null);
  const killedMs = performance.now();
  process.kill(before, 'SIGKILL');
  for (const limitAt = performance.now() + 5_000; (readLivePid(pidPath) ?? before) === before; await sleep(20))
    assert.ok(performance.now() < limitAt, 'no other guard');
  // It takes BIRD over and asks a few times.
  const asked = client.exchanges.length;
  while (client.exchanges.length < asked + 200) await sleep(20);
  assert.equal(client.server, 'ns1');
  const since = client.exchanges.slice(0, -20).filter(({ sentMs }) => sentMs >= killedMs);
  assert.ok(since.every(({ answeredBy }) => answeredBy === 'ns1'));
});

test('when the process of the near site hangs, the other site answers within three seconds, until it goes on', {
  skip,
}, async () => {
  const stoppedMs = performance.now();
  servers.get('ns1')?.kill('SIGSTOP');
  await client.until('ns2', 8_000);
  const away = client.movedTo('ns2', stoppedMs);
  console.log({ hung: away });
  assert.ok(away.movedMs < 3000, JSON.stringify(away));
  servers.get('ns1')?.kill('SIGCONT');
  await client.until('ns1', 5_000);
});

test('a process that is told to end gives its queries away first', { skip }, async () => {
  const endedMs = performance.now();
  await endServer('ns1', 'SIGTERM');
  await client.until('ns2', 5_000);
  const away = client.movedTo('ns2', endedMs);
  console.log({ ended: away });
  assert.equal(away.lost, 0);
});
