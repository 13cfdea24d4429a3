/**
 * Packets to a VIP that belong to none of its services, on a host that forwards: they are the host's only where the VIP is an address
 * of it. Otherwise it would send them back to the router that sends them here. The program by test-run, the kernel's tables real.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { inNamespace, interfaceIndexIn } from '../../src/serve/vip/netns.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { address, ethernet, GRE, gre, icmp, ipv4, ipv6, TCP, tcp, UDP, udp } from './frames.ts';

const NAMESPACE = `vip-host-${process.pid}`;
const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
const CLIENT = { 4: '198.51.100.7', 6: '2001:db8:7::7' } as const;
const [ICMP, ICMPV6, FRAGMENT] = [1, 58, 44];
const MORE_FRAGMENTS = 0x2000;
const SYN = 0x02;

let forwarder: Forwarder;
let ifindex: number;

function ip(...args: readonly string[]): void {
  execFileSync('ip', ['-n', NAMESPACE, ...args]);
}

function setForwarding(isOn: boolean): void {
  inNamespace(NAMESPACE, () => {
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'])
      execFileSync('sysctl', ['-qw', `${name}=${isOn ? 1 : 0}`]);
  });
}

const to4 = (protocol: number, payload: Uint8Array | readonly number[], fragment = 0) =>
  ipv4({ from: CLIENT[4], to: VIP[4], protocol, fragment }, payload);
const to6 = (protocol: number, payload: Uint8Array | readonly number[]) =>
  ipv6({ from: CLIENT[6], to: VIP[6], protocol }, payload);
const syn = tcp({ from: 1000, to: 22, flags: SYN });
const inner = ipv4({ from: CLIENT[4], to: '10.0.0.9', protocol: TCP }, syn);
/** A first fragment of UDP. */
const first6 = Uint8Array.from([UDP, 0, 0, 1, 0, 0, 0, 7, ...udp(1, 2, [1, 2, 3, 4, 5, 6, 7, 8])]);

const PACKETS: Readonly<Record<string, Uint8Array>> = {
  'a port that nobody serves': to4(TCP, syn),
  'the same of IPv6': to6(TCP, syn),
  GRE: to4(GRE, gre(inner)),
  'GRE of IPv6': to6(GRE, gre(inner)),
  ESP: to4(50, new Array<number>(40).fill(1)),
  'an ICMP timestamp': to4(ICMP, icmp(13, 1, 1, new Array<number>(12).fill(0))),
  'an ICMP error about a flow of no service': to4(
    ICMP,
    icmp(3, 0, 0, [...ipv4({ from: VIP[4], to: CLIENT[4], protocol: TCP }, syn)], 1),
  ),
  'an ICMPv6 packet that is no error': to6(ICMPV6, [144, 0, 0, 0, 0, 0, 0, 0]),
  'a fragment of ICMP': to4(ICMP, icmp(8, 1, 1, [1, 2, 3, 4, 5, 6, 7, 8]), MORE_FRAGMENTS),
  'a fragment of GRE': to4(GRE, [...gre(inner), 0, 0, 0, 0], MORE_FRAGMENTS),
  'a first fragment to a port that nobody serves': to4(UDP, udp(1, 2, [1, 2, 3, 4, 5, 6, 7, 8], 60), MORE_FRAGMENTS),
  'the same fragment of IPv6': to6(FRAGMENT, first6),
};

function verdictOf(packet: Uint8Array): string {
  return inNamespace(
    NAMESPACE,
    () => runProgram(forwarder.programFd, ethernet(1, 9, packet), { ingressIfindex: ifindex }).verdict,
  );
}

function verdicts(): Record<string, string> {
  return Object.fromEntries(Object.entries(PACKETS).map(([name, packet]) => [name, verdictOf(packet)]));
}

const all = (verdict: string) => Object.fromEntries(Object.keys(PACKETS).map((name) => [name, verdict]));

describe('what is for no service of a VIP', { skip: cannotLoad }, () => {
  before(() => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', 'router0', 'type', 'veth', 'peer', 'name', 'router1');
    for (const device of ['router0', 'router1']) ip('link', 'set', device, 'up');
    ip('addr', 'add', '10.0.0.1/24', 'dev', 'router0');
    ip('addr', 'add', 'fd00::1/64', 'dev', 'router0', 'nodad');
    ip('route', 'add', 'default', 'via', '10.0.0.2');
    ip('-6', 'route', 'add', 'default', 'via', 'fd00::2');
    ifindex = interfaceIndexIn(NAMESPACE, 'router0');
    forwarder = openForwarder({
      name: null,
      netns: NAMESPACE,
      interfaces: [],
      probeInterface: null,
      addresses: [address('10.0.0.1'), address('fd00::1')],
      buckets: 2,
      hashKey: new Uint8Array(16),
    });
    forwarder.setVip(address(VIP[4]), 1, 0);
    forwarder.setVip(address(VIP[6]), 2, 0);
  });
  after(() => {
    forwarder?.close({ keep: false });
    execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('it is dropped where the host would send it back to its router', () => {
    setForwarding(true);
    assert.deepEqual(verdicts(), all('drop'));
  });

  test('it is the host’s where the VIP is an address of the host, or the host forwards nothing', () => {
    for (const family of [4, 6] as const) ip('addr', 'add', VIP[family], 'dev', 'lo');
    assert.deepEqual(verdicts(), all('pass'));
    for (const family of [4, 6] as const) ip('addr', 'del', VIP[family], 'dev', 'lo');
    assert.equal(verdictOf(PACKETS.GRE), 'drop');
    setForwarding(false);
    assert.deepEqual(verdicts(), all('pass'));
  });
});
