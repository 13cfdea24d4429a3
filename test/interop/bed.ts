/** Namespaces around a virtual machine: a client, and a balancer with the machine behind a TAP device. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { ForwardingMode } from '../../src/config/model.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { inNamespace } from '../../src/serve/vip/netns.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';
import { address } from '../../src/serve/vip/test-network.ts';
import { type Guest, startGuest } from './guest.ts';

export const VIP4 = '192.0.2.10';
export const VIP6 = '2001:db8::10';
/** Addresses of the links: the balancer's end and the machine's. */
export const OWN4 = '10.81.0.1';
export const OWN6 = 'fd81::1';
export const MACHINE4 = '10.81.0.2';
export const MACHINE6 = 'fd81::2';
export const CLIENT4 = '10.80.0.2';
export const CLIENT6 = 'fd80::2';
const SLOTS = 7;
const SUBJECT = { vip4: 1, vip6: 2, service4: 3, service6: 4 } as const;

export interface Bed {
  readonly client: string;
  readonly balancer: string;
  readonly guest: Guest;
  readonly forwarder: Forwarder;
  /** From now on both VIPs lead to the machine, by `to` and in that mode. */
  forwardBy(mode: ForwardingMode, to: string): Promise<void>;
  /** What the client gets from http://VIP/; rejects when it gets nothing within 3 s. */
  fetch(vip: string, path: string): string;
  close(): Promise<void>;
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function set(namespace: string, ...settings: readonly string[]): void {
  inNamespace(namespace, () => execFileSync('sysctl', ['-q', '-w', ...settings]));
}

/** `label` names the namespaces, with the process id; `taps` are the machine's interfaces on the balancer. */
export async function makeBed(label: string, taps: readonly string[]): Promise<Bed> {
  const [client, balancer] = ['c', 'b'].map((end) => `${label}-${process.pid}-${end}`) as [string, string];
  let guest: Guest | null = null;
  let forwarder: Forwarder | null = null;
  const close = async (): Promise<void> => {
    forwarder?.close({ keep: false });
    await guest?.stop();
    for (const name of [client, balancer]) if (existsSync(`/var/run/netns/${name}`)) ip('netns', 'del', name);
  };
  try {
    makeNamespaces(client, balancer, taps);
    guest = await startGuest(balancer, taps);
    forwarder = openForwarder({
      name: null,
      netns: balancer,
      interfaces: ['client0', ...taps],
      probeInterface: null,
      addresses: [address(OWN4), address(OWN6)],
      buckets: 2,
      hashKey: new Uint8Array(16).fill(7),
    });
    forwarder.setVip(address(VIP4), SUBJECT.vip4, 0);
    forwarder.setVip(address(VIP6), SUBJECT.vip6, 0);
    for (const subject of [SUBJECT.service4, SUBJECT.service6]) {
      const table = forwarder.createTable(subject, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
    }
  } catch (error) {
    await close();
    throw error;
  }
  const made = { guest, forwarder };
  return {
    client,
    balancer,
    ...made,
    forwardBy: (mode, to) => forwardBy(made.forwarder, balancer, mode, to),
    fetch: (vip, path) => fetchBy(client, vip, path),
    close,
  };
}

function makeNamespaces(client: string, balancer: string, taps: readonly string[]): void {
  for (const name of [client, balancer]) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  set(balancer, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0');
  ip('link', 'add', 'eth0', 'netns', client, 'type', 'veth', 'peer', 'name', 'client0', 'netns', balancer);
  // A checksum that the sender leaves to its interface never gets there: XDP sees packets before that.
  inNamespace(client, () => execFileSync('ethtool', ['-K', 'eth0', 'tx', 'off'], { stdio: 'ignore' }));
  address2(client, 'eth0', `${CLIENT4}/24`, `${CLIENT6}/64`);
  address2(balancer, 'client0', '10.80.0.1/24', 'fd80::1/64');
  ip('-n', client, 'route', 'add', 'default', 'via', '10.80.0.1');
  ip('-n', client, '-6', 'route', 'add', 'default', 'via', 'fd80::1');
  for (const [number, tap] of taps.entries()) {
    ip('-n', balancer, 'tuntap', 'add', tap, 'mode', 'tap');
    if (number === 0) address2(balancer, tap, `${OWN4}/24`, `${OWN6}/64`);
    else ip('-n', balancer, 'link', 'set', tap, 'up');
  }
}

function address2(namespace: string, device: string, ...addresses: readonly string[]): void {
  for (const each of addresses)
    ip('-n', namespace, 'addr', 'add', each, 'dev', device, ...(each.includes(':') ? ['nodad'] : []));
  ip('-n', namespace, 'link', 'set', device, 'up');
}

async function forwardBy(forwarder: Forwarder, balancer: string, mode: ForwardingMode, to: string): Promise<void> {
  const nextHop = await resolveNextHop(balancer, address(to), { direct: mode === 'l2' });
  forwarder.setBackend(1, { address: address(to), nextHop, alive: true, agent: false, forwarding: mode });
  const limits = { lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 };
  for (const [vip, subject] of [
    [SUBJECT.vip4, SUBJECT.service4],
    [SUBJECT.vip6, SUBJECT.service6],
  ] as const)
    forwarder.setService({ vip, port: 80, protocol: 'tcp' }, { subject, slots: SLOTS, forwarding: mode, ...limits });
}

function fetchBy(client: string, vip: string, path: string): string {
  const url = `http://${vip.includes(':') ? `[${vip}]` : vip}/${path}`;
  return inNamespace(client, () => execFileSync('curl', ['-sS', '--max-time', '3', url], { encoding: 'utf8' }));
}
