/**
 * For tests of fragments: a client that reaches two balancers directly, a router, and two backends with the agent behind it, each
 * in a namespace. What the client sends to one balancer or the other is its choice, as a router's would be.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fragmentOwners } from '../../src/decide/fragment-owners.ts';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { createXdpLink } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { OUTCOME_NAMES, OWNER_SLOTS } from '../../src/serve/vip/layout.gen.ts';
import { closeFd } from '../../src/serve/vip/libc.ts';
import { inNamespace, interfaceIndexIn } from '../../src/serve/vip/netns.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';
import { SlowPath } from '../../src/serve/vip/slow-path.ts';
import { address } from './frames.ts';

export const VIP4 = '192.0.2.10';
export const VIP6 = '2001:db8::10';
export const CLIENT4 = '198.51.100.2';
export const CLIENT6 = '2001:db8:7::2';
export const UDP_PORT = 9000;
export const TCP_PORT = 80;
const SLOTS = 7;
const SUBJECTS = { [VIP4]: 1, [VIP6]: 2 } as const;

export interface FragmentNetwork {
  readonly client: string;
  readonly backends: readonly string[];
  readonly balancers: readonly Balancer[];
  /** Interface of the client that leads to balancer 0 or 1, and both ends' MAC addresses. */
  readonly links: readonly { readonly ifindex: number; readonly mac: Uint8Array; readonly ownMac: Uint8Array }[];
  remove(): void;
}

export interface Balancer {
  readonly forwarder: Forwarder;
  readonly slowPath: SlowPath;
  /** Packets of all subjects by outcome. */
  counts(): Record<string, number>;
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function macOf(namespace: string, name: string): Uint8Array {
  const text = execFileSync('ip', ['-j', '-n', namespace, 'link', 'show', 'dev', name], { encoding: 'utf8' });
  return Uint8Array.from((JSON.parse(text)[0].address as string).split(':'), (part) => Number.parseInt(part, 16));
}

function sysctl(namespace: string, ...settings: readonly string[]): void {
  inNamespace(namespace, () => execFileSync('sysctl', ['-qw', ...settings]));
}

/** A veth between two namespaces; each end is `name address4 address6`. */
function connect(a: readonly string[], b: readonly string[], aNamespace: string, bNamespace: string): void {
  ip('link', 'add', a[0], 'netns', aNamespace, 'type', 'veth', 'peer', 'name', b[0], 'netns', bNamespace);
  for (const [namespace, [name, ...addresses]] of [
    [aNamespace, a],
    [bNamespace, b],
  ] as const) {
    for (const one of addresses)
      ip('-n', namespace, 'addr', 'add', one, 'dev', name, ...(one.includes(':') ? ['nodad'] : []));
    ip('-n', namespace, 'link', 'set', name, 'up');
    // XDP meets packets before their checksums are made by a device that does not exist.
    inNamespace(namespace, () => execFileSync('ethtool', ['-K', name, 'tx', 'off'], { stdio: 'ignore' }));
  }
}

/** Numbers of the far ends' subnets: 1 and 2 are balancers, 3 and 4 backends. */
const own4 = (number: number): string => `10.0.${number}.2`;
const own6 = (number: number): string => `fd00:${number}::2`;

function build(names: Record<'client' | 'router' | 'b1' | 'b2' | 's1' | 's2', string>): void {
  const { client, router } = names;
  for (const name of Object.values(names)) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  sysctl(router, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  connect(['r0', `${CLIENT4}/24`, `${CLIENT6}/64`], ['rc', '198.51.100.1/24', '2001:db8:7::1/64'], client, router);
  [names.b1, names.b2, names.s1, names.s2].forEach((name, i) => {
    const number = i + 1;
    connect(
      ['r0', `${own4(number)}/24`, `${own6(number)}/64`],
      [`r${number}`, `10.0.${number}.1/24`, `fd00:${number}::1/64`],
      name,
      router,
    );
    ip('-n', name, 'route', 'add', 'default', 'via', `10.0.${number}.1`);
    ip('-n', name, '-6', 'route', 'add', 'default', 'via', `fd00:${number}::1`);
    if (number > 2) for (const vip of [`${VIP4}/32`, `${VIP6}/128`]) ip('-n', name, 'addr', 'add', vip, 'dev', 'lo');
    else
      connect(
        [`c${number}`, `172.16.${number}.2/24`, `fd16:${number}::2/64`],
        ['c0', `172.16.${number}.1/24`, `fd16:${number}::1/64`],
        client,
        name,
      );
  });
  ip('-n', client, 'route', 'add', VIP4, 'via', '172.16.1.1', 'src', CLIENT4);
  ip('-n', client, '-6', 'route', 'add', VIP6, 'via', 'fd16:1::1', 'src', CLIENT6);
}

async function openBalancer(netns: string, number: number): Promise<Balancer> {
  const forwarder = openForwarder({
    name: null,
    netns,
    interfaces: ['r0', 'c0'],
    probeInterface: null,
    addresses: [address(own4(number)), address(own6(number))],
    buckets: 64,
    hashKey: new Uint8Array(16).fill(9),
  });
  const other = 3 - number;
  for (const [index, to] of [3, 4].entries()) {
    const nextHop = await resolveNextHop(netns, address(own4(to)));
    forwarder.setBackend(index + 1, {
      address: address(own4(to)),
      nextHop,
      alive: true,
      agent: true,
      forwarding: null,
    });
  }
  for (const [vip, subject] of Object.entries(SUBJECTS)) {
    forwarder.setVip(address(vip), subject, 0);
    for (const [i, protocol] of (['udp', 'tcp'] as const).entries()) {
      const service = 10 * subject + i;
      const table = forwarder.createTable(service, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1 + (slot % 2), 0, 0, false);
      forwarder.setService(
        { vip: subject, port: protocol === 'udp' ? UDP_PORT : TCP_PORT, protocol },
        { subject: service, slots: SLOTS, forwarding: 'gre', lifetimeTicks: 100, newPerSecond: 1e6, shareEntries: 1e6 },
      );
    }
  }
  forwarder.setBalancer(other, address(own4(other)), await resolveNextHop(netns, address(own4(other))));
  forwarder.acceptFragments(
    [address(own4(number)), address(own6(number))],
    [address(own4(other)), address(own6(other))],
  );
  const names = ['b1', 'b2'];
  forwarder.setFragmentOwners(fragmentOwners(OWNER_SLOTS, names, new Set(names), names[number - 1]));
  const slowPath = new SlowPath({
    forwarder,
    netns,
    onError(error) {
      throw error;
    },
  });
  const counts = () => {
    const sums: Record<string, number> = {};
    for (let subject = 0; subject < 30; subject++) {
      const { outcome } = forwarder.counters.read(subject);
      OUTCOME_NAMES.forEach((name, i) => {
        if (outcome[i] > 0) sums[name] = (sums[name] ?? 0) + outcome[i];
      });
    }
    return sums;
  };
  return { forwarder, slowPath, counts };
}

async function startAgent(netns: string, number: number): Promise<Agent> {
  const agent = openAgent({
    name: null,
    netns,
    interfaces: ['r0'],
    addresses: [address(own4(number)), address(own6(number))],
  });
  await agent.setVips([address(VIP4), address(VIP6)]);
  agent.setMembers([1, 2].flatMap((each) => [address(own4(each)), address(own6(each))]));
  return agent;
}

export async function makeFragmentNetwork(): Promise<FragmentNetwork> {
  const name = (end: string): string => `frag-${process.pid}-${end}`;
  const names = {
    client: name('c'),
    router: name('r'),
    b1: name('b1'),
    b2: name('b2'),
    s1: name('s1'),
    s2: name('s2'),
  };
  const undo: (() => void)[] = [];
  const remove = () => {
    for (const each of undo.splice(0).reverse()) each();
    for (const each of Object.values(names)) if (existsSync(`/var/run/netns/${each}`)) ip('netns', 'del', each);
  };
  try {
    build(names);
    // Frames that programs send over a veth are delivered only when its other end has a program too.
    const pass = new BpfObject(join(import.meta.dirname, '../../build/bpf/pass.bpf.o'));
    undo.push(() => pass.close());
    pass.load();
    for (const [netns, end] of [
      [names.router, 'r1'],
      [names.router, 'r2'],
      [names.client, 'c1'],
      [names.client, 'c2'],
    ] as const) {
      const link = inNamespace(netns, () =>
        createXdpLink(pass.programFd('pass'), interfaceIndexIn(null, end), 'native'),
      );
      undo.push(() => closeFd(link));
    }
    for (const [netns, number] of [
      [names.s1, 3],
      [names.s2, 4],
    ] as const) {
      const agent = await startAgent(netns, number);
      undo.push(() => agent.close({ keep: false }));
    }
    const balancers: Balancer[] = [];
    for (const [netns, number] of [
      [names.b1, 1],
      [names.b2, 2],
    ] as const) {
      const balancer = await openBalancer(netns, number);
      balancers.push(balancer);
      undo.push(() => {
        balancer.slowPath.stop();
        balancer.forwarder.close({ keep: false });
      });
    }
    const links = (
      [
        ['c1', names.b1],
        ['c2', names.b2],
      ] as const
    ).map(([end, netns]) => ({
      ifindex: interfaceIndexIn(names.client, end),
      mac: macOf(netns, 'c0'),
      ownMac: macOf(names.client, end),
    }));
    return { client: names.client, backends: [names.s1, names.s2], balancers, links, remove };
  } catch (error) {
    remove();
    throw error;
  }
}
