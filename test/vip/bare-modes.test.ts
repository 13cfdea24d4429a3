/**
 * l2 and nat with real sockets: a client, a balancer with two interfaces (it also routes), and a backend in its subnet. What the
 * backend answers goes back by the balancer: as it is by l2, rewritten by nat. Needs root.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ForwardingMode } from '../../src/config/model.ts';
import { type NatReply, natSourceName } from '../../src/decide/nat-replies.ts';
import { createXdpLink, runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { OUTCOME, SERVICE_NAT_TUPLES } from '../../src/serve/vip/layout.gen.ts';
import { closeFd } from '../../src/serve/vip/libc.ts';
import {
  inNamespace,
  interfaceIndexIn,
  openTcpListener,
  openTcpSocket,
  openUdpSocket,
} from '../../src/serve/vip/netns.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';
import { SlowPath } from '../../src/serve/vip/slow-path.ts';
import { address, cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ethernet, ipv4, UDP, udp } from './frames.ts';

const [CLIENT, BALANCER, BACKEND] = ['client', 'balancer', 'backend'].map((role) => `bare-${process.pid}-${role}`);
const VIPS = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
/** Reaches the same port of the same backend as the first. */
const OTHER_VIPS = { 4: '192.0.2.11', 6: '2001:db8::11' } as const;
const BACKENDS = { 4: '10.2.0.2', 6: 'fd02::2' } as const;
const CLIENTS = { 4: '10.1.0.2', 6: 'fd01::2' } as const;
const [PORT, BACKEND_PORT, SLOTS] = [80, 8080, 7];
const LIMIT_MS = 5000;
const FAMILIES = [4, 6] as const;
/** Subjects: VIPs 1 and 2, other VIPs 3 and 4, services from 10. */
const SERVICE = { l2: 10, nat: 20 } as const;

let forwarder: Forwarder;
const links: number[] = [];
const servers: Server[] = [];
const datagrams: UdpSocket[] = [];
let passing: BpfObject;

function ip(namespace: string, ...args: readonly string[]): void {
  execFileSync('ip', ['-n', namespace, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function setSysctl(namespace: string, name: string, value: string): void {
  inNamespace(namespace, () => execFileSync('sysctl', ['-qw', `${name}=${value}`]));
}

/** A link of the balancer to a machine, as `near` there and `far` at the balancer; the machine's default route leads over it. */
function joinTo(machine: string, near: string, far: string, net: number): void {
  execFileSync('ip', ['link', 'add', near, 'netns', machine, 'type', 'veth', 'peer', 'name', far, 'netns', BALANCER]);
  for (const [namespace, device, host] of [
    [machine, near, 2],
    [BALANCER, far, 1],
  ] as const) {
    ip(namespace, 'addr', 'add', `10.${net}.0.${host}/24`, 'dev', device);
    ip(namespace, 'addr', 'add', `fd0${net}::${host}/64`, 'dev', device, 'nodad');
    ip(namespace, 'link', 'set', device, 'up');
    // Nobody adds the checksums that the kernel leaves to a network card.
    inNamespace(namespace, () => execFileSync('ethtool', ['-K', device, 'tx', 'off'], { stdio: 'ignore' }));
  }
  for (const gateway of [`10.${net}.0.1`, `fd0${net}::1`]) ip(machine, 'route', 'add', 'default', 'via', gateway);
  // Frames that a program sends over a veth are delivered only when the other end has a program too.
  const attach = () => createXdpLink(passing.programFd('pass'), interfaceIndexIn(null, near), 'native');
  links.push(inNamespace(machine, attach));
}

function buildNetwork(): void {
  passing = new BpfObject(join(import.meta.dirname, '../../build/bpf/pass.bpf.o'));
  passing.load();
  for (const namespace of [CLIENT, BALANCER, BACKEND]) {
    execFileSync('ip', ['netns', 'add', namespace]);
    ip(namespace, 'link', 'set', 'lo', 'up');
    for (const name of ['all', 'default']) setSysctl(namespace, `net.ipv4.conf.${name}.rp_filter`, '0');
  }
  setSysctl(BALANCER, 'net.ipv4.ip_forward', '1');
  setSysctl(BALANCER, 'net.ipv6.conf.all.forwarding', '1');
  joinTo(CLIENT, 'near0', 'clients0', 1);
  joinTo(BACKEND, 'eth0', 'backends0', 2);
  for (const vip of Object.values(VIPS)) ip(BACKEND, 'addr', 'add', vip, 'dev', 'lo');
}

async function openBalancer(): Promise<void> {
  forwarder = openForwarder({
    name: null,
    netns: BALANCER,
    interfaces: ['clients0', 'backends0'],
    probeInterface: null,
    addresses: [address('10.2.0.1'), address('fd02::1')],
    buckets: 2,
    hashKey: new Uint8Array(16).fill(3),
  });
  for (const [i, family] of FAMILIES.entries()) {
    const to = address(BACKENDS[family]);
    const nextHop = await resolveNextHop(BALANCER, to, { direct: true });
    forwarder.setBackend(i + 1, { address: to, nextHop, alive: true, agent: false, forwarding: null });
    forwarder.setVip(address(VIPS[family]), i + 1, 0);
    forwarder.setVip(address(OTHER_VIPS[family]), i + 3, 0);
  }
}

/** The services of both VIPs on PORT, TCP and UDP, in a mode. */
function setServices(
  forwarding: 'l2' | 'nat',
  { natPort = null, flags = 0 }: { natPort?: number | null; flags?: number },
): void {
  for (const vip of [1, 2, 3, 4])
    for (const protocol of ['tcp', 'udp'] as const) {
      const subject = SERVICE[forwarding] + vip;
      const table = forwarder.createTable(subject, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, vip % 2 === 1 ? 1 : 2, 0, 0, false);
      const limits = { lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 };
      const fields = { subject, slots: SLOTS, forwarding: forwarding as ForwardingMode, natPort, flags, ...limits };
      forwarder.setService({ vip, port: PORT, protocol }, fields);
    }
}

function setReplies(hasTuples: boolean, port = BACKEND_PORT): void {
  const replies = new Map<string, NatReply>();
  for (const [i, family] of FAMILIES.entries())
    for (const protocol of ['tcp', 'udp'] as const) {
      const reply: NatReply = {
        backend: address(BACKENDS[family]),
        protocol,
        port,
        vip: address(VIPS[family]),
        vipPort: PORT,
        subject: SERVICE.nat + i + 1,
        hasTuples,
        rivals: [],
      };
      replies.set(natSourceName(reply), reply);
    }
  forwarder.natReplies.setAll(replies, () => true);
}

/** Greets with the address and port that it was reached at, then sends back what it gets. UDP: both in one datagram. */
async function startEcho(port: number): Promise<void> {
  for (const family of FAMILIES) {
    const any = address(family === 4 ? '0.0.0.0' : '::');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(`${socket.localAddress} ${socket.localPort}\n`);
      socket.pipe(socket);
    });
    server.listen({ fd: openTcpListener(BACKEND, any, port) });
    await once(server, 'listening');
    servers.push(server);
    // Bound to the address of the machine, as an answer from "any" would come from another.
    const udp = createSocket(family === 4 ? 'udp4' : 'udp6');
    udp.on('message', (message, from) => udp.send(message, from.port, from.address));
    const own = address(port === PORT ? VIPS[family] : BACKENDS[family]);
    udp.bind({ fd: openUdpSocket(BACKEND, own, port) });
    datagrams.push(udp);
  }
}

/** Where the server says that the client reached it; 200 kB go there and back before. */
async function talk(vip: string): Promise<string> {
  const to = address(vip);
  const fd = openTcpSocket(CLIENT, to, { bind: false });
  const socket = new Socket({ fd });
  const received: Buffer[] = [];
  const data = Buffer.alloc(200_000, 'portico ');
  try {
    socket.connect({ host: vip, port: PORT });
    await once(socket, 'connect', { signal: AbortSignal.timeout(LIMIT_MS) });
    const ended = once(socket, 'end', { signal: AbortSignal.timeout(LIMIT_MS) });
    socket.on('data', (chunk) => received.push(chunk));
    socket.end(data);
    await ended;
  } finally {
    socket.destroy();
  }
  const all = Buffer.concat(received);
  const greeting = all.subarray(0, all.indexOf('\n'));
  assert.ok(all.subarray(greeting.length + 1).equals(data), 'the data came back as they went');
  return greeting.toString();
}

/** The source of the answer to a datagram, which has the same data. */
async function ask(vip: string, data = 'x'): Promise<string> {
  const to = address(vip);
  const socket = createSocket(to.family === 4 ? 'udp4' : 'udp6');
  try {
    socket.bind({ fd: openUdpSocket(CLIENT, address(CLIENTS[to.family]), 0) });
    const answered = once(socket, 'message', { signal: AbortSignal.timeout(LIMIT_MS) });
    socket.send(data, PORT, vip);
    const [answer, from] = (await answered) as [Buffer, { address: string; port: number }];
    assert.equal(answer.toString(), data);
    return `${from.address} ${from.port}`;
  } finally {
    socket.close();
  }
}

function count(subject: number, outcome: number): number {
  return forwarder.counters.read(subject).outcome[outcome];
}

describe('modes without a tunnel', { skip: cannotLoad }, () => {
  before(async () => {
    buildNetwork();
    await openBalancer();
    await startEcho(PORT);
    await startEcho(BACKEND_PORT);
  });
  after(() => {
    for (const server of servers) server.close();
    for (const socket of datagrams) socket.close();
    forwarder?.close({ keep: false });
    for (const link of links) closeFd(link);
    passing?.close();
    for (const name of [CLIENT, BALANCER, BACKEND]) {
      if (existsSync(`/var/run/netns/${name}`)) execFileSync('ip', ['netns', 'del', name]);
    }
  });

  for (const [i, family] of FAMILIES.entries()) {
    const vip = VIPS[family];

    test(`l2 over IPv${family}: the backend is reached at the VIP, and answers by itself`, async () => {
      setServices('l2', {});
      assert.equal(await talk(vip), `${vip} ${PORT}`);
      assert.equal(await ask(vip), `${vip} ${PORT}`);
      assert.ok(count(SERVICE.l2 + i + 1, OUTCOME.SETTLED) > 10);
      assert.equal(count(SERVICE.l2 + i + 1, OUTCOME.NAT_REPLY), 0);
    });

    test(`nat over IPv${family}: the backend is reached at its own address and another port, and the client sees the VIP`, async () => {
      setServices('nat', { natPort: BACKEND_PORT });
      setReplies(false);
      const subject = SERVICE.nat + i + 1;
      assert.equal(await talk(vip), `${BACKENDS[family]} ${BACKEND_PORT}`);
      assert.equal(await ask(vip), `${vip} ${PORT}`);
      assert.ok(count(subject, OUTCOME.SETTLED) > 10);
      assert.ok(count(subject, OUTCOME.NAT_REPLY) > 10);
    });

    test(`nat over IPv${family}: nobody listens, and the client is told by the backend's error about its own packet`, async () => {
      setServices('nat', { natPort: 9999 });
      setReplies(false, 9999);
      const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
      const fd = openUdpSocket(CLIENT, address(CLIENTS[family]), 0);
      socket.bind({ fd });
      try {
        // Only a connected socket is told, and only if the quote names its own packet.
        socket.connect(PORT, vip);
        await once(socket, 'connect');
        const refused = once(socket, 'error', { signal: AbortSignal.timeout(LIMIT_MS) });
        socket.send('x');
        const [error] = (await refused) as [NodeJS.ErrnoException];
        assert.equal(error.code, 'ECONNREFUSED');
      } finally {
        socket.close();
      }
    });

    test(`nat over IPv${family}: two VIPs reach the same port of a backend, and each client sees its own`, async () => {
      setServices('nat', { natPort: BACKEND_PORT, flags: SERVICE_NAT_TUPLES });
      setReplies(true);
      for (const one of [vip, OTHER_VIPS[family], vip]) {
        assert.equal(await talk(one), `${BACKENDS[family]} ${BACKEND_PORT}`);
        assert.equal(await ask(one), `${one} ${PORT}`);
      }
      assert.ok(count(SERVICE.nat + i + 3, OUTCOME.NAT_REPLY) > 10);
    });
  }

  for (const [i, family] of FAMILIES.entries())
    test(`nat over IPv${family}: what is answered in packets too long for the way to the client, the backend is told`, async () => {
      setServices('nat', { natPort: BACKEND_PORT });
      setReplies(false);
      const network = family === 4 ? '10.1.0.0/24' : 'fd01::/64';
      // A forwarding host goes by the MTU of a route only where that is locked.
      const route = (mtu: string) =>
        execFileSync('ip', [
          ...['-n', BALANCER, `-${family}`, 'route', 'replace', network, 'dev', 'clients0', 'mtu', 'lock', mtu],
          ...(family === 6 ? ['metric', '256'] : []),
        ]);
      const told = () => count(SERVICE.nat + i + 1, OUTCOME.TOO_BIG);
      const before = told();
      route('1300');
      try {
        assert.equal(await talk(VIPS[family]), `${BACKENDS[family]} ${BACKEND_PORT}`);
        assert.ok(told() > before);
      } finally {
        route('1500');
        execFileSync('ip', ['-n', BACKEND, `-${family}`, 'route', 'flush', 'cache']);
      }
    });

  test('nat: an answer to a flow that is remembered no longer is dropped, and comes from no other VIP', () => {
    const udpFromBackend = ipv4(
      { from: BACKENDS[4], to: CLIENTS[4], protocol: UDP },
      udp(BACKEND_PORT, 4242, [1, 2, 3]),
    );
    const run = () => runProgram(forwarder.programFd, ethernet(1, 9, udpFromBackend)).verdict;
    setServices('nat', { natPort: BACKEND_PORT, flags: SERVICE_NAT_TUPLES });
    setReplies(true);
    const failed = () => count(SERVICE.nat + 1, OUTCOME.FAILED);
    const before = failed();
    assert.deepEqual([run(), failed() - before], ['drop', 1]);
    setReplies(false);
    assert.deepEqual([run(), failed() - before], ['pass', 1]);
  });

  test('nat over IPv4: what is too long for the way to the backend goes there in fragments, to its port', async () => {
    const to = address(BACKENDS[4]);
    const nextHop = await resolveNextHop(BALANCER, to, { direct: true });
    const entry = { address: to, alive: true, agent: false, forwarding: null };
    const errors: Error[] = [];
    const slowPath = new SlowPath({ forwarder, netns: BALANCER, onError: (error) => errors.push(error) });
    setServices('nat', { natPort: BACKEND_PORT });
    setReplies(false);
    forwarder.setBackend(1, { ...entry, nextHop: { ...nextHop, mtuBytes: 1000 } });
    // Without DF.
    setSysctl(CLIENT, 'net.ipv4.ip_no_pmtu_disc', '1');
    try {
      assert.equal(await ask(VIPS[4], 'long '.repeat(280)), `${VIPS[4]} ${PORT}`);
      assert.deepEqual(
        { split: slowPath.status().split, pieces: slowPath.status().pieces, errors },
        { split: 1, pieces: 2, errors: [] },
      );
    } finally {
      setSysctl(CLIENT, 'net.ipv4.ip_no_pmtu_disc', '0');
      slowPath.stop();
      forwarder.setBackend(1, { ...entry, nextHop });
    }
  });

  test('while the map of replies is empty nobody looks at them, and they come from the backend itself', async () => {
    forwarder.natReplies.setAll(new Map(), () => true);
    setServices('nat', { natPort: BACKEND_PORT });
    const before = count(SERVICE.nat + 1, OUTCOME.NAT_REPLY);
    assert.equal(await ask(VIPS[4]), `${BACKENDS[4]} ${BACKEND_PORT}`);
    assert.equal(count(SERVICE.nat + 1, OUTCOME.NAT_REPLY), before);
  });
});
