/** Packets through the balancer's kernel program, one at a time: what goes in, what comes out, and how it is counted. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { readEthernet, readUint16 } from '../../src/net/ethernet.ts';
import type { XdpVerdict } from '../../src/serve/vip/bpf.ts';
import type { OutcomeName } from '../../src/serve/vip/layout.gen.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import {
  ACK,
  arrive,
  BALANCER,
  CLIENT4,
  CLIENT6,
  configure,
  forwarder,
  KEY,
  leave,
  overIpv4,
  overIpv6,
  PORT,
  ROUTER,
  run,
  to4,
  to6,
  VIP4,
  VIP6,
} from './bed.ts';
import {
  ethernet,
  flowLabelOf,
  ICMP,
  ICMPV6,
  type IpFields,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  join,
  TCP,
  tcp,
  toHex,
  UDP,
  udp,
} from './frames.ts';

interface Fixture {
  /** A claim. */
  readonly name: string;
  readonly packet: Uint8Array;
  /** Default: the packet as it came. */
  readonly expected?: Uint8Array;
  readonly verdict: XdpVerdict;
  readonly outcome: OutcomeName;
  /** That the packet counts for; default: those of its IP packet as its header says. */
  readonly bytes?: number;
}

const tcp80 = tcp({ from: 40000, to: PORT.toIpv4, flags: ACK }, [1, 2, 3]);
const udp80 = udp(40000, PORT.toIpv4, [1, 2, 3]);
const plain4 = ipv4(to4(TCP), tcp80);
const plain6 = ipv6(to6(UDP), udp80);
const withOptions = ipv4(to4(TCP, { options: [1, 1, 1, 1, 0x94, 4, 0, 0] }), tcp80);
const hopByHop = (next: number) => [next, 0, 1, 4, 0, 0, 0, 0];
const atomicFragment = (next: number) => [next, 0, 0, 0, 0, 0, 0, 1];
const withExtensions = ipv6(to6(0), join(hopByHop(44), atomicFragment(60), [UDP, 1, ...Array(14).fill(1)], udp80));
const jumbo = ipv4(to4(UDP), udp(40000, PORT.wide, Array(8900).fill(0x55)));
const toIpv6Backend4 = ipv4(to4(TCP), tcp({ from: 40000, to: PORT.toIpv6, flags: ACK }));
const toIpv6Backend6 = ipv6(to6(TCP), tcp({ from: 40000, to: PORT.toIpv6, flags: ACK }));
const nineExtensions = Array(9).fill(hopByHop(60)).flat();

const FORWARDED: readonly Fixture[] = [
  {
    name: 'TCP over IPv4 leaves in GRE over IPv4',
    packet: arrive(plain4),
    expected: leave(overIpv4(plain4)),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'UDP over IPv6 leaves in GRE over IPv4',
    packet: arrive(plain6),
    expected: leave(overIpv4(plain6)),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'an IPv6 backend gets GRE over IPv6 with the flow hash as its label',
    packet: arrive(toIpv6Backend4),
    expected: leave(overIpv6(toIpv6Backend4, flowLabelOf(KEY, CLIENT4, VIP4, [40000, PORT.toIpv6], TCP))),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'IPv6 in GRE over IPv6',
    packet: arrive(toIpv6Backend6),
    expected: leave(overIpv6(toIpv6Backend6, flowLabelOf(KEY, CLIENT6, VIP6, [40000, PORT.toIpv6], TCP))),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'one VLAN tag stays',
    packet: arrive(plain4, [0x8100, 0x2005]),
    expected: leave(overIpv4(plain4), [0x8100, 0x2005]),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'two VLAN tags stay, in their order',
    packet: arrive(plain6, [0x88a8, 100, 0x8100, 7]),
    expected: leave(overIpv4(plain6), [0x88a8, 100, 0x8100, 7]),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'IPv4 options do not hide the ports',
    packet: arrive(withOptions),
    expected: leave(overIpv4(withOptions)),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'IPv6 extension headers and an atomic fragment do not hide the ports',
    packet: arrive(withExtensions),
    expected: leave(overIpv4(withExtensions)),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'padding behind the IP packet stays, and the outer length does not count it',
    packet: join(arrive(plain4), [9, 9, 9, 9]),
    expected: join(leave(overIpv4(plain4)), [9, 9, 9, 9]),
    verdict: 'tx',
    outcome: 'settled',
  },
  {
    name: 'a jumbo frame of several buffers is forwarded whole',
    packet: arrive(jumbo),
    expected: leave(overIpv4(jumbo)),
    verdict: 'tx',
    outcome: 'settled',
  },
];

const tcpTo = (port: number, more: Partial<Parameters<typeof tcp>[0]> = {}) =>
  tcp({ from: 40000, to: port, flags: ACK, ...more });

const REFUSED: readonly Fixture[] = [
  {
    name: 'a slot that names nobody drops',
    packet: arrive(ipv4(to4(TCP), tcpTo(PORT.nobody))),
    verdict: 'drop',
    outcome: 'no-backend',
  },
  {
    name: 'a backend without a next hop drops, the frame untouched',
    packet: arrive(ipv4(to4(TCP), tcpTo(PORT.unreachable))),
    verdict: 'drop',
    outcome: 'failed',
  },
  {
    name: 'an IPv4 length beyond the frame is malformed and counts no bytes',
    packet: arrive(ipv4(to4(TCP, { saidLength: 100 }), tcp80)),
    verdict: 'drop',
    outcome: 'malformed',
    bytes: 0,
  },
  {
    name: 'a TCP header that is said to be shorter than it can be is malformed',
    packet: arrive(ipv4(to4(TCP), tcpTo(PORT.toIpv4, { dataOffset: 4 }))),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a TCP header longer than the packet is malformed',
    packet: arrive(ipv4(to4(TCP), tcpTo(PORT.toIpv4, { dataOffset: 6 }))),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a UDP length of 7 is malformed',
    packet: arrive(ipv6(to6(UDP), udp(40000, 80, [], 7))),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a jumbogram is malformed',
    packet: arrive(ipv6(to6(UDP, { saidLength: 0 }), udp80)),
    verdict: 'drop',
    outcome: 'malformed',
    bytes: 40,
  },
  {
    name: 'more than eight extension headers are malformed',
    packet: arrive(ipv6(to6(60), join(nineExtensions, udp80))),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a first fragment without the transport header is malformed',
    packet: arrive(ipv4(to4(TCP, { fragment: 0x2000 }), tcp80.slice(0, 16))),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a first fragment of IPv6 without all of its headers is malformed',
    packet: arrive(ipv6(to6(44), [60, 0, 0, 1, 0, 0, 0, 1, UDP, 1, 1, 4, 0, 0, 0, 0])),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a fragment without data is malformed',
    packet: arrive(ipv6(to6(44), [UDP, 0, 0, 8, 0, 0, 0, 1])),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a fragment that others follow at no multiple of 8 bytes is malformed',
    packet: arrive(ipv4(to4(UDP, { fragment: 0x2010 }), [1, 2, 3, 4, 5, 6, 7])),
    verdict: 'drop',
    outcome: 'malformed',
  },
  {
    name: 'a fragment that reaches beyond 65,535 bytes is malformed',
    packet: arrive(ipv4(to4(UDP, { fragment: 0x1fff }), [1, 2, 3, 4, 5, 6, 7, 8])),
    verdict: 'drop',
    outcome: 'malformed',
  },
];

const PASSED: readonly Fixture[] = [
  {
    name: 'what is no IP is passed',
    packet: join([255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6], Array(28).fill(0)),
    verdict: 'pass',
    outcome: 'not-ip',
    bytes: 0,
  },
  {
    name: 'a third VLAN tag is not looked behind',
    packet: arrive(plain4, [0x8100, 1, 0x8100, 2, 0x8100, 3]),
    verdict: 'pass',
    outcome: 'not-ip',
    bytes: 0,
  },
  {
    name: 'a packet to another address is passed, even a malformed one',
    packet: arrive(ipv4(to4(TCP, { to: '192.0.2.99', saidLength: 100 }), tcp80)),
    verdict: 'pass',
    outcome: 'not-vip',
    bytes: 0,
  },
  {
    name: 'a fragment to another address is passed, even a malformed one',
    packet: arrive(ipv4(to4(UDP, { to: '192.0.2.99', fragment: 0x3fff }), [1])),
    verdict: 'pass',
    outcome: 'not-vip',
  },
  {
    name: 'a fragment of IPv6 to another address is passed',
    packet: arrive(ipv6(to6(44, { to: '2001:db8::99' }), [UDP, 0, 0, 8, 0, 0, 0, 1, 1])),
    verdict: 'pass',
    outcome: 'not-vip',
  },
  {
    name: 'IPv4 options to another address are passed',
    packet: arrive(ipv4(to4(TCP, { to: '192.0.2.99', options: [7, 7, 4, 0, 0, 0, 0, 0] }), tcp80)),
    verdict: 'pass',
    outcome: 'not-vip',
  },
  {
    name: 'a fragment of a protocol without ports is passed',
    packet: arrive(ipv4(to4(50, { fragment: 2 }), [1, 2, 3])),
    verdict: 'pass',
    outcome: 'no-service',
  },
  {
    name: 'a fragment of an echo request is passed',
    packet: arrive(ipv4(to4(ICMP, { fragment: 0x2000 }), [8, 0, 0, 0, 0, 0, 0, 0])),
    verdict: 'pass',
    outcome: 'icmp-other',
  },
  {
    name: 'a port without a service is passed',
    packet: arrive(ipv4(to4(TCP), tcpTo(443))),
    verdict: 'pass',
    outcome: 'no-service',
  },
  {
    name: 'another protocol is passed',
    packet: arrive(ipv4(to4(50), [0, 0, 0, 1, 0, 0, 0, 1])),
    verdict: 'pass',
    outcome: 'no-service',
  },
  {
    name: 'an echo reply is passed',
    packet: arrive(ipv4(to4(ICMP), icmp(0, 1, 1))),
    verdict: 'pass',
    outcome: 'icmp-other',
  },
  {
    name: 'an echo request to a VIP that does not answer is passed',
    packet: arrive(ipv4(to4(ICMP, { to: '192.0.2.11' }), icmp(8, 1, 1))),
    verdict: 'pass',
    outcome: 'icmp-other',
  },
];

const back4: IpFields = { from: VIP4, to: CLIENT4, protocol: ICMP, timeToLive: 64 };
const back6: IpFields = { from: VIP6, to: CLIENT6, protocol: ICMPV6, timeToLive: 64 };
const echoFixture = (name: string, id: number, sequence: number, data: readonly number[]): Fixture => ({
  name,
  packet: arrive(ipv4(to4(ICMP), icmp(8, id, sequence, data))),
  expected: ethernet(ROUTER, BALANCER, ipv4(back4, icmp(0, id, sequence, data))),
  verdict: 'tx',
  outcome: 'icmp-echo',
});

const ANSWERED: readonly Fixture[] = [
  echoFixture('an echo request is answered with right checksums', 77, 3, [1, 2, 3, 4, 5]),
  echoFixture('an echo reply of nothing but zeros has the checksum 0xffff', 0, 0, []),
  {
    name: 'an IPv6 echo request is answered with a right checksum',
    packet: arrive(ipv6(to6(ICMPV6), icmpv6(to6(ICMPV6), 128, 5, [1, 2, 3]))),
    expected: ethernet(ROUTER, BALANCER, ipv6(back6, icmpv6(back6, 129, 5, [1, 2, 3]))),
    verdict: 'tx',
    outcome: 'icmp-echo',
  },
];

/** Of the IP packet, as its header says. */
function saidBytes(frame: Uint8Array): number {
  const ethernetView = readEthernet(frame);
  assert.ok(ethernetView.ok);
  const ip = ethernetView.payloadOffset;
  return frame[ip] >> 4 === 4 ? readUint16(frame, ip + 2) : 40 + readUint16(frame, ip + 4);
}

function checkFixture(fixture: Fixture): void {
  const { packet, expected = packet, verdict, outcome } = fixture;
  const result = run(packet);
  assert.equal(result.verdict, verdict);
  assert.equal(toHex(result.frame), toHex(expected));
  const { bytes = 0, ...others } = result.counted;
  assert.deepEqual(others, { [outcome]: 1 });
  assert.equal(bytes, fixture.bytes ?? saidBytes(packet));
}

/** What a router says of a packet that the VIP sent; `quote` is its beginning. */
const error4 = (type: number, quote: Uint8Array, more: Partial<IpFields> = {}) =>
  ipv4(to4(ICMP, { from: HOP4, ...more }), join([type, 4, 0, 0, 0, 0, 5, 0], quote));
const error6 = (type: number, quote: Uint8Array) =>
  ipv6(to6(ICMPV6, { from: HOP6 }), join([type, 0, 0, 0, 0, 0, 5, 0], quote));
const HOP4 = '203.0.113.1';
const HOP6 = '2001:db8:ff::1';
const sent4 = (port: number, more: Partial<IpFields> = {}) =>
  ipv4({ from: VIP4, to: CLIENT4, protocol: TCP, ...more }, tcp({ from: port, to: 40000, flags: ACK }));
const sent6 = (port: number) =>
  ipv6({ from: VIP6, to: CLIENT6, protocol: TCP }, tcp({ from: port, to: 40000, flags: ACK }));
const sentUdp6 = ipv6({ from: VIP6, to: CLIENT6, protocol: UDP }, udp(PORT.toIpv6, 40000, [1, 2, 3]));
const sentByHops6 = ipv6({ from: VIP6, to: CLIENT6, protocol: 0 }, join(hopByHop(UDP), udp(PORT.toIpv4, 40000, [])));
const tooBig4 = error4(3, sent4(PORT.toIpv4).subarray(0, 28));
const tooBig6 = error6(2, sent6(PORT.toIpv6).subarray(0, 48));
const timeExceeded = error4(11, sent4(PORT.toIpv4, { options: [1, 1, 1, 1] }).subarray(0, 32));
const unreachable6 = error6(1, sentUdp6);
const withHopByHop = error6(4, sentByHops6);
const errorOfIpv6Backend = error4(12, sent4(PORT.toIpv6));

const forwardedError = (name: string, packet: Uint8Array, expected: Uint8Array): Fixture => ({
  name,
  packet: arrive(packet),
  expected: leave(expected),
  verdict: 'tx',
  outcome: 'icmp-error',
});
const passedError = (name: string, packet: Uint8Array): Fixture => ({
  name,
  packet: arrive(packet),
  verdict: 'pass',
  outcome: 'icmp-other',
});

const ERRORS: readonly Fixture[] = [
  forwardedError('a "fragmentation needed" that quotes 8 bytes of TCP goes to the backend', tooBig4, overIpv4(tooBig4)),
  forwardedError('a quote with IPv4 options is read behind them', timeExceeded, overIpv4(timeExceeded)),
  forwardedError('a quote with IPv6 extension headers is read behind them', withHopByHop, overIpv4(withHopByHop)),
  forwardedError(
    'an error goes with the label of the flow that it is about',
    errorOfIpv6Backend,
    overIpv6(errorOfIpv6Backend, flowLabelOf(KEY, CLIENT4, VIP4, [40000, PORT.toIpv6], TCP)),
  ),
  forwardedError(
    'an ICMPv6 "packet too big" that quotes 8 bytes goes to the backend',
    tooBig6,
    overIpv6(tooBig6, flowLabelOf(KEY, CLIENT6, VIP6, [40000, PORT.toIpv6], TCP)),
  ),
  forwardedError(
    'an ICMPv6 "unreachable" about UDP goes to the backend',
    unreachable6,
    overIpv6(unreachable6, flowLabelOf(KEY, CLIENT6, VIP6, [40000, PORT.toIpv6], UDP)),
  ),
  {
    name: 'an error about a flow that nobody serves is dropped',
    packet: arrive(error4(3, sent4(PORT.nobody))),
    verdict: 'drop',
    outcome: 'no-backend',
  },
  passedError('a quote of 7 bytes behind the IP header is passed', error4(3, sent4(PORT.toIpv4).subarray(0, 27))),
  passedError(
    'a quote whose options leave 7 bytes is passed',
    error4(3, sent4(PORT.toIpv4, { options: [1, 1, 1, 1] }).subarray(0, 31)),
  ),
  passedError('an IPv6 quote of 7 bytes behind the IP header is passed', error6(2, sent6(80).subarray(0, 47))),
  passedError(
    'a quote of a packet from another address than the VIP is passed',
    error4(3, ipv4({ from: '192.0.2.11', to: CLIENT4, protocol: TCP }, tcp({ from: 80, to: 40000, flags: ACK }))),
  ),
  passedError('a quote of a later fragment has no ports and is passed', error4(3, sent4(PORT.toIpv4, { fragment: 8 }))),
  passedError('a quote of a port without a service is passed', error4(3, sent4(443))),
  passedError('a redirect is passed', error4(5, sent4(PORT.toIpv4))),
];

describe('balancer', { skip: cannotLoad }, () => {
  before(configure);
  after(() => forwarder.close({ keep: false }));

  for (const fixture of [...FORWARDED, ...REFUSED, ...PASSED, ...ANSWERED, ...ERRORS]) {
    test(fixture.name, () => checkFixture(fixture));
  }
});
