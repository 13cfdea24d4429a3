/**
 * Clients behind a delay line, a router, a balancer and a backend machine with its agent, each a network namespace:
 *
 *     clients ==delay line== router --- balancer (XDP)
 *                               \------ backend (XDP, agent, server on the VIP)
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { type DelayLine, startDelayLine } from '../../src/lab/delay-line.ts';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { createXdpLink } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { SERVICE_HANDSHAKES } from '../../src/serve/vip/layout.gen.ts';
import { closeFd } from '../../src/serve/vip/libc.ts';
import { inNamespace, interfaceIndexIn, openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';
import { address } from '../../src/serve/vip/test-network.ts';

export const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
export const PORT = 80;
export const SUBJECT = 1;
/** Of two /24 and a /48. */
export const CLIENTS = ['198.51.100.7', '203.0.113.9', '2001:db8:7::7'] as const;
const BALANCER = '10.1.0.2';
const BACKEND = '10.2.0.2';
const SLOTS = 7;
const BATCH = 30;

export interface RttBed {
  readonly agent: Agent;
  readonly forwarder: Forwarder;
  /** Opens it as a new process would. */
  restartAgent(): Promise<Agent>;
  readonly line: DelayLine;
  /** Opens connections from each of CLIENTS and closes them: so often one from each at once. */
  connect(times: number): Promise<void>;
  /** So many, in batches. */
  connectAtOnce(flows: number): Promise<void>;
  close(): Promise<void>;
}

/** `name` of the agent: its pins. */
export async function openRttBed(name: string): Promise<RttBed> {
  const spaces = ['c', 'r', 'b', 's'].map((end) => `rtt-${process.pid}-${end}`);
  const [clients, router, balancer, backend] = spaces;
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    ip(null, ...spaces.map((space) => `netns add ${space}`));
    closers.push(() => ip(null, ...spaces.map((space) => `netns del ${space}`)));
    for (const space of spaces) {
      const settings = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
      for (const scope of ['all', 'default']) settings.push(`net.ipv4.conf.${scope}.rp_filter=0`);
      inNamespace(space, () => execFileSync('sysctl', ['-qw', ...settings]));
    }
    // The line's thread, which is punctual only when it gets a CPU at once, inherits it.
    setPriority(constants.priority.PRIORITY_HIGHEST);
    const ends = [clients, router].map((netns) => ({ netns, device: 'wan0' })) as never;
    const line = await startDelayLine({ ends, delayMs: 0 });
    closers.push(() => line.stop());
    joinMachines(spaces);
    closers.push(passAt(router, 'toward-b'));
    const start = async () => {
      const agent = openAgent({ name, netns: backend, interfaces: ['eth0'], addresses: [address(BACKEND)] });
      closers.push(() => agent.close({ keep: false }));
      agent.setMembers([address(BALANCER)]);
      await agent.setVips([address(VIP[4]), address(VIP[6])]);
      return agent;
    };
    const agent = await start();
    for (const vip of Object.values(VIP)) {
      const server = createServer((socket) =>
        socket
          .on('error', () => {})
          .resume()
          .end(),
      );
      server.listen({ fd: openTcpListener(backend, address(vip), PORT) });
      closers.push(() => server.close());
    }
    const forwarder = await openBalancer(balancer);
    closers.push(() => forwarder.close({ keep: false }));
    const one = (from: string) => connectOnce(clients, from);
    const connectAll = async (times: number) => {
      for (let i = 0; i < times; i++) await Promise.all(CLIENTS.map(one));
    };
    const connectAtOnce = async (flows: number) => {
      for (let left = flows; left > 0; left -= BATCH)
        await Promise.all(Array.from({ length: BATCH }, (_, i) => one(CLIENTS[i % CLIENTS.length])));
    };
    return { agent, forwarder, line, restartAgent: start, connect: connectAll, connectAtOnce, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Several commands of one process, in a namespace (null: this one). */
function ip(netns: string | null, ...commands: string[]): void {
  const where = netns === null ? [] : ['-n', netns];
  execFileSync('ip', [...where, '-batch', '-'], {
    input: `${commands.join('\n')}\n`,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}

function joinMachines([clients, router, balancer, backend]: string[]): void {
  const hosts = CLIENTS.map((client) => `${client}/${client.includes(':') ? 128 : 32}`);
  ip(
    clients,
    ...['lo', 'wan0'].map((device) => `link set ${device} up`),
    ...hosts.map((host) => `addr add ${host} dev lo`),
    ...[`${VIP[4]}/32`, `${VIP[6]}/128`].map((vip) => `route add ${vip} dev wan0`),
  );
  const far: [string, string, number][] = [
    [balancer, 'toward-b', 1],
    [backend, 'toward-s', 2],
  ];
  ip(
    null,
    ...far.map(([space, device]) => `link add ${device} netns ${router} type veth peer name eth0 netns ${space}`),
  );
  const own = (device: string, net: number, end: number) => [
    `addr add 10.${net}.0.${end}/24 dev ${device}`,
    `addr add fd0${net}::${end}/64 dev ${device} nodad`,
    `link set ${device} up`,
  ];
  for (const [space, , net] of far) {
    const routes = [`route add default via 10.${net}.0.1`, `route add ::/0 via fd0${net}::1`];
    ip(space, 'link set lo up', ...own('eth0', net, 2), ...routes);
  }
  ip(
    router,
    'link set wan0 up',
    ...far.flatMap(([, device, net]) => own(device, net, 1)),
    ...hosts.map((host) => `route add ${host} dev wan0`),
    `route add ${VIP[4]}/32 via ${BALANCER}`,
    `route add ${VIP[6]}/128 via fd01::2`,
  );
}

/** Frames that a program sends back over a veth are delivered only when the other end has a program too. */
function passAt(netns: string, device: string): () => void {
  const object = new BpfObject(join(import.meta.dirname, '../../build/bpf/pass.bpf.o'));
  object.load();
  const link = inNamespace(netns, () =>
    createXdpLink(object.programFd('pass'), interfaceIndexIn(null, device), 'native'),
  );
  return () => {
    closeFd(link);
    object.close();
  };
}

async function openBalancer(netns: string): Promise<Forwarder> {
  const forwarder = openForwarder({
    name: null,
    netns,
    interfaces: ['eth0'],
    probeInterface: null,
    addresses: [address(BALANCER)],
    buckets: 64,
    hashKey: new Uint8Array(16).fill(7),
  });
  try {
    const nextHop = await resolveNextHop(netns, address(BACKEND), { source: address(BALANCER) });
    forwarder.setBackend(1, { address: address(BACKEND), nextHop, alive: true, agent: true, forwarding: null });
    const table = forwarder.createTable(SUBJECT, SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
    for (const [at, vip] of Object.values(VIP).entries()) {
      forwarder.setVip(address(vip), 2 + at, 0);
      const limits = { forwarding: 'gre', lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 } as const;
      const key = { vip: 2 + at, port: PORT, protocol: 'tcp' } as const;
      forwarder.setService(key, { subject: SUBJECT, slots: SLOTS, flags: SERVICE_HANDSHAKES, ...limits });
    }
    forwarder.takeTraffic([], () => {}); // from now on it measures
    return forwarder;
  } catch (error) {
    forwarder.close({ keep: false });
    throw error;
  }
}

async function connectOnce(netns: string, from: string): Promise<void> {
  const vip = VIP[from.includes(':') ? 6 : 4];
  const fd = openTcpSocket(netns, address(from), { bind: true });
  const socket: Socket = connect({ fd, host: vip, port: PORT } as never);
  socket.on('error', () => {}).resume();
  await once(socket, 'close');
  if (socket.bytesRead === 0 && socket.errored) throw socket.errored;
}
