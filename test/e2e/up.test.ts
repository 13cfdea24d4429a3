import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type MachineState, machineState } from './machine-state.ts';

const PORTICO = fileURLToPath(new URL('../../portico', import.meta.url));
const LIMIT_MS = 20_000;
const label = `up${process.pid}`;
const client = `${label}-c`;
const balancer = `${label}-b`;
const backends: readonly [string, string] = [`${label}-s1`, `${label}-s2`];
const VIP = '192.0.2.77';
/** A VIP that is a prefix, of a service of its own. */
const WIDE = '198.51.100.64/26';
const IN_WIDE = ['198.51.100.64', '198.51.100.65', '198.51.100.100', '198.51.100.127'];
const folder = mkdtempSync(join(tmpdir(), 'portico-up-'));
const file = join(folder, 'portico.yaml');
const began = ownState();
const children: ChildProcess[] = [];
let ready = false;
let closed = false;

function ownState(): MachineState {
  return machineState((name) => name.includes(label) || name === 'portico-probe');
}

function ip(line: string): void {
  execFileSync('ip', line.split(' '), { stdio: ['ignore', 'ignore', 'pipe'] });
}

function inside(namespace: string, command: readonly string[]): string[] {
  // Not "ip netns exec": it would hide /sys/fs/bpf behind a /sys of its own.
  return ['nsenter', `--net=/run/netns/${namespace}`, ...command];
}

function run(namespace: string, command: readonly string[]): string {
  const [program, ...args] = inside(namespace, command) as [string, ...string[]];
  return execFileSync(program, args, { encoding: 'utf8', timeout: LIMIT_MS, stdio: ['ignore', 'pipe', 'pipe'] });
}

function configuration(members: readonly string[], slots = 65_537): string {
  const address = (name: string) => `10.66.${backends.indexOf(name) + 2}.2`;
  return `
name: ${label}
sites: { here: { location: { latitude: 52, longitude: 5 } } }
balancers:
  b:
    site: here
    addresses: [10.66.1.2]
    interfaces: [eth0]
    probes: 10.66.201.0/26
    connections: 65536
backends:
${members.map((name) => `  ${name}: { site: here, address: ${address(name)} }`).join('\n')}
services:
  web:
    vips: { here: [${VIP}] }
    ports: [80/tcp]
    backends: all
    slots: ${slots}
    health: { type: http, port: 80, path: /, interval: 200ms, timeout: 150ms, rise: 1, fall: 2, through: both }
  wide:
    vips: { here: [${WIDE}] }
    ports: [80/tcp]
    health: { port: 80, interval: 200ms, timeout: 150ms, rise: 1, fall: 2, through: vip }
state: ${folder}/state
`;
}

interface Up {
  readonly child: ChildProcess;
  /** Resolves with the first log line that has this message. */
  until(message: string): Promise<Record<string, unknown>>;
  end(signal: NodeJS.Signals): Promise<void>;
}

function up(namespace: string, machine: string, ...more: string[]): Up {
  assert.ok(!closed, 'the test is being ended');
  const [program, ...args] = inside(namespace, [PORTICO, 'up', file, '--machine', machine, ...more]) as [string];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  children.push(child);
  const lines: Record<string, unknown>[] = [];
  const texts: string[] = [];
  let wake = (): void => {};
  createInterface({ input: child.stderr! }).on('line', (line) => {
    texts.push(line);
    if (line.startsWith('{')) lines.push(JSON.parse(line) as Record<string, unknown>);
    wake();
  });
  const ended = once(child, 'exit');
  const until = async (message: string): Promise<Record<string, unknown>> => {
    const limit = AbortSignal.timeout(LIMIT_MS);
    for (;;) {
      const found = lines.find((line) => line.msg === message);
      if (found !== undefined) return found;
      assert.ok(!limit.aborted && child.exitCode === null, `no "${message}" in:\n${texts.join('\n')}`);
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), sleep(500, undefined, { ref: false })]);
    }
  };
  return {
    child,
    until,
    async end(signal) {
      child.kill(signal);
      const [code] = await ended;
      assert.equal(code, 0, texts.join('\n'));
    },
  };
}

/** Backends that answer `count` new connections. */
function ask(count: number, hosts: readonly string[] = [VIP]): Set<string> {
  const urls = hosts.flatMap((host) => Array.from({ length: count }, () => `http://${host}/`));
  const answer = run(client, ['curl', '-sS', '--max-time', '3', '--no-keepalive', '-H', 'Connection: close', ...urls]);
  return new Set(answer.trim().split('\n'));
}

async function untilAnswering(expected: readonly string[], hosts: readonly string[] = [VIP]): Promise<void> {
  const limitAt = performance.now() + LIMIT_MS;
  for (;;) {
    let seen = '';
    try {
      seen = [...ask(40, hosts)].sort().join(' ');
    } catch (error) {
      seen = (error as Error).message;
    }
    if (seen === [...expected].sort().join(' ')) return;
    assert.ok(performance.now() < limitAt, `answered by: ${seen}; expected: ${expected.join(' ')}`);
    await sleep(100);
  }
}

/** The second service's probes go through its VIP only, and find both backends. */
async function untilProbedThrough(vip: string): Promise<void> {
  const limitAt = performance.now() + LIMIT_MS;
  for (;;) {
    const [, { vips, backends: found }] = JSON.parse(run(balancer, [PORTICO, 'status', '--json'])).sites[0].services;
    assert.equal(vips[0].address, vip);
    const verdicts = found.map(({ verdict }: { verdict: string }) => verdict).join(' ');
    if (verdicts === 'healthy healthy') return;
    assert.ok(performance.now() < limitAt, verdicts);
    await sleep(100);
  }
}

const WEB = `require('node:http').createServer((q, r) => r.end(process.argv[1] + '\\n')).listen(80, '0.0.0.0')`;

function machine(namespace: string, subnet: number): void {
  const device = `to-${subnet}`;
  ip(`netns add ${namespace}`);
  ip(`link add name ${device} mtu 1600 netns ${client} type veth peer name eth0 mtu 1600 netns ${namespace}`);
  for (const [netns, dev] of [
    [client, device],
    [namespace, 'eth0'],
  ])
    execFileSync('ip', ['netns', 'exec', netns as string, 'ethtool', '-K', dev as string, 'tx', 'off'], {
      stdio: 'ignore',
    });
  const pass = fileURLToPath(new URL('../../build/bpf/pass.bpf.o', import.meta.url));
  const attach = ['-n', client, 'link', 'set', 'dev', device, 'xdpdrv', 'object', pass, 'section', 'xdp.frags'];
  execFileSync('ip', attach, { stdio: ['ignore', 'ignore', 'pipe'] });
  ip(`-n ${client} addr add 10.66.${subnet}.1/24 dev ${device}`);
  ip(`-n ${client} link set ${device} up`);
  ip(`-n ${namespace} addr add 10.66.${subnet}.2/24 dev eth0`);
  ip(`-n ${namespace} link set lo up`);
  ip(`-n ${namespace} link set eth0 up`);
  ip(`-n ${namespace} route add default via 10.66.${subnet}.1`);
}

before(() => {
  ip(`netns add ${client}`);
  ip(`-n ${client} link set lo up`);
  machine(balancer, 1);
  for (const [i, name] of backends.entries()) {
    machine(name, i + 2);
    const [program, ...args] = inside(name, [process.execPath, '-e', WEB, name]) as [string];
    children.push(spawn(program, args, { stdio: 'inherit' }));
  }
  for (const vip of [`${VIP}/32`, WIDE]) ip(`-n ${client} route add ${vip} via 10.66.1.2`);
  ip(`-n ${client} route add 10.66.201.0/26 via 10.66.1.2`);
  run(client, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0']);
  writeFileSync(file, configuration(backends.slice(0, 1)));
  ready = true;
});

/** Whatever was made, also by a `before` that failed half-way. */
async function takeDown(): Promise<void> {
  closed = true;
  for (const child of children) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  const isThere = (name: string): boolean => existsSync(`/run/netns/${name}`);
  try {
    writeFileSync(file, configuration(backends));
    for (const name of [balancer, ...backends].filter(isThere))
      run(name, [PORTICO, 'down', file, '--machine', name === balancer ? 'b' : name]);
  } finally {
    for (const name of [client, balancer, ...backends].filter(isThere)) ip(`netns del ${name}`);
    rmSync(folder, { recursive: true, force: true });
  }
}

// Ctrl-C ends the process without `after`.
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => {
    takeDown().then(
      () => process.exit(status),
      (error: Error) => {
        process.stderr.write(`${error.message}\n`);
        process.exit(status);
      },
    );
  });

after(async () => {
  try {
    await takeDown();
    assert.deepEqual(ownState(), began, 'something was left behind');
    assert.ok(!existsSync(`/run/portico/${label}`), 'nor run files');
  } catch (error) {
    // The tests say why `before` failed; this would stand in its place.
    if (ready) throw error;
    process.stderr.write(`after a failed before: ${(error as Error).message}\n`);
  }
});

test('a balancer and a backend that `up` runs serve a VIP and every address of one that is a prefix, and go on when the processes have ended', async () => {
  const first = up(backends[0], backends[0], '--only', 'backend');
  await first.until('Portico is up');
  const one = up(balancer, 'b');
  await one.until('Portico is up');
  await untilAnswering([backends[0]]);
  for (const host of IN_WIDE) assert.deepEqual([...ask(5, [host])], [backends[0]], `${host} of ${WIDE}`);
  await one.end('SIGTERM');
  await first.end('SIGTERM');
  assert.deepEqual([...ask(20)], [backends[0]], 'forwarding outlives the processes');
  assert.deepEqual([...ask(5, IN_WIDE)], [backends[0]]);
});

test('a process that starts again adopts what is in the kernel, and takes a changed file over', async () => {
  const one = up(balancer, 'b');
  await one.until('Portico is up');
  const status = JSON.parse(run(balancer, [PORTICO, 'status', '--json']));
  assert.equal(status.sites[0].services[0].slots, 65_537);
  assert.equal(status.sites[0].services[0].unsettledSlots, 0, 'an adopted table stays settled');
  writeFileSync(file, configuration(backends));
  await one.until('configuration applied');
  const second = up(backends[1], backends[1], '--only', 'backend');
  await second.until('Portico is up');
  await untilAnswering(backends);
  const flow = run(balancer, [PORTICO, 'explain', 'flow', '10.66.1.1:40000', `${VIP}:80`]);
  assert.match(flow, /is a VIP of service web/);
  await untilAnswering(backends, IN_WIDE);
  await untilProbedThrough(WIDE);
  const inside = run(balancer, [PORTICO, 'explain', 'flow', '10.66.1.1:40000', `${IN_WIDE[2]}:80`]);
  assert.match(inside, /198\.51\.100\.100 is in 198\.51\.100\.64\/26, a VIP of service wide/);
  writeFileSync(file, 'name: [broken');
  await one.until('configuration refused: the last good one stays');
  assert.equal(ask(40).size, 2, 'a broken file changes nothing');
  writeFileSync(file, configuration(backends));
  await second.end('SIGTERM');
  await one.end('SIGTERM');
});

/** Runs `portico ARGUMENTS` in the balancer's namespace, where it must fail; gives what it said. */
function refused(...args: string[]): string {
  const [program, ...rest] = inside(balancer, [PORTICO, ...args]) as [string, ...string[]];
  const { status, stderr } = spawnSync(program, rest, { encoding: 'utf8', timeout: LIMIT_MS });
  assert.equal(status, 1, stderr);
  return stderr.trim().split('\n').at(-1) as string;
}

interface ServiceNow {
  readonly unsettledSlots: number;
  readonly backends: readonly { readonly name: string; readonly drained: boolean; readonly share: number }[];
}

function serviceNow(): ServiceNow {
  return JSON.parse(run(balancer, [PORTICO, 'status', '--json'])).sites[0].services[0] as ServiceNow;
}

test('a restart moves no slot, and drains outlive it', async () => {
  const agents = backends.map((name) => up(name, name, '--only', 'backend'));
  for (const agent of agents) await agent.until('Portico is up');
  const one = up(balancer, 'b');
  await one.until('Portico is up');
  await untilAnswering(backends);
  const shares = () => serviceNow().backends.map(({ share }) => share);
  const before = shares();
  await one.end('SIGTERM');
  const two = up(balancer, 'b');
  await two.until('Portico is up');
  for (let look = 0; look < 10; look++) {
    assert.deepEqual(shares(), before, 'while nothing is known of health the table stays');
    await sleep(50);
  }
  run(balancer, [PORTICO, 'drain', 'backend', backends[0]]);
  await untilAnswering([backends[1]]);
  assert.match(refused('drain', 'backend', backends[1]), /last backend in service/);
  assert.match(refused('drain', 'balancer', 'b'), /announces nothing/);
  await two.end('SIGTERM');
  const three = up(balancer, 'b');
  await three.until('Portico is up');
  assert.deepEqual(
    serviceNow().backends.map(({ drained }) => drained),
    [true, false],
  );
  assert.deepEqual([...ask(40)], [backends[1]]);
  run(balancer, [PORTICO, 'undrain', 'backend', backends[0]]);
  await untilAnswering(backends);
  await three.end('SIGTERM');
  for (const agent of agents) await agent.end('SIGTERM');
});

test('what a process cannot take over it refuses, and goes on as it was', async () => {
  const one = up(balancer, 'b');
  await one.until('Portico is up');
  assert.match(refused('up', file, '--machine', 'b'), /is run by process \d+ already/);
  assert.match(refused('down', file, '--machine', 'b'), /is run by process \d+/);
  writeFileSync(file, configuration(backends, 251));
  const told = await one.until('configuration not applied');
  assert.match(String(told.reason), /services\.web\.slots cannot change/);
  assert.equal(ask(40).size, 2);
  await one.end('SIGTERM');
  assert.match(refused('up', file, '--machine', 'b'), /services\.web\.slots: balancer b forwards with .* 65537 slots/);
  assert.equal(ask(40).size, 2, 'a start that fails leaves what went on');
  assert.match(refused('down', file, '--machine', 'nobody'), /There is no machine "nobody"/);
  writeFileSync(file, configuration(backends));
});

test('a backend that has gone from the file while nothing ran keeps its connections until they end', async () => {
  writeFileSync(file, configuration(backends.slice(0, 1)));
  const one = up(balancer, 'b');
  await one.until('Portico is up');
  await untilAnswering([backends[0]]);
  const flow = run(balancer, [PORTICO, 'explain', 'flow', '10.66.1.1:40000', `${VIP}:80`]);
  assert.match(flow, /the slot is (un)?settled/);
  assert.ok(serviceNow().unsettledSlots > 0, 'flows may be on the one that is gone');
  writeFileSync(file, configuration(backends));
  await one.until('configuration applied');
  await untilAnswering(backends);
  await one.end('SIGTERM');
});

test('SIGTERM during the start is obeyed when the start is done', async () => {
  const one = up(balancer, 'b');
  const lock = `/run/portico/${label}/b/up.pid`;
  const limitAt = performance.now() + LIMIT_MS;
  while (!existsSync(lock)) {
    assert.ok(performance.now() < limitAt, `no ${lock}`);
    await sleep(5);
  }
  await one.end('SIGTERM');
  assert.equal(ask(40).size, 2);
});

test('`down` takes programs, maps, addresses and the prober away', () => {
  const taken = run(balancer, [PORTICO, 'down', file, '--machine', 'b']);
  assert.match(taken, /programs and maps of b/);
  assert.match(taken, /prober of b/);
  for (const name of backends) {
    run(name, [PORTICO, 'down', file, '--machine', name]);
    assert.ok(!run(name, ['ip', '-4', 'addr', 'show', 'dev', 'lo']).includes(VIP), 'the VIP is off the loopback');
  }
  assert.deepEqual(ownState().pins, []);
  assert.equal(run(balancer, [PORTICO, 'down', file, '--machine', 'b']), 'Nothing was there.\n');
});
