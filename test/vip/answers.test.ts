/** ICMP errors that the balancer sends: what is answered, to the byte, and what must not be. Needs root. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import {
  ACK,
  arrive,
  BALANCER,
  CLIENT4,
  CLIENT6,
  configure,
  forwarder,
  leave,
  overIpv4,
  PORT,
  ROUTER,
  run,
  SYN,
  to4,
  to6,
  VIP4,
  VIP6,
} from './bed.ts';
import {
  ethernet,
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

const DF = 0x4000;
/** The bed's backends have paths of 1,500 bytes: less outer IPv4, GRE and the key that may come. */
const LIMIT4 = 1500 - 20 - 4 - 4;
/** The same by outer IPv6. */
const LIMIT6 = 1500 - 40 - 4 - 4;

const data = (count: number) => Array.from({ length: count }, (_, i) => (i * 7 + 1) & 0xff);
/** An IPv4 packet of `bytes` in all. */
const packet4 = (bytes: number, port: number, more: Partial<IpFields> = { fragment: DF }) =>
  ipv4(to4(TCP, more), tcp({ from: 40000, to: port, flags: ACK }, data(bytes - 40 - (more.options?.length ?? 0))));
const packet6 = (bytes: number, port: number, more: Partial<IpFields> = {}) =>
  ipv6(to6(TCP, more), tcp({ from: 40000, to: port, flags: ACK }, data(bytes - 60)));

/** What comes back; `about` is the packet, `quoted` how much of it. */
function answer4(about: Uint8Array, quoted: number, type: number, code: number, mtu = 0, tags: number[] = []) {
  const message = icmp(type, 0, mtu, [...about.subarray(0, quoted)], code);
  const packet = ipv4({ from: VIP4, to: CLIENT4, protocol: ICMP, timeToLive: 64, fragment: DF, tos: 0xc0 }, message);
  return ethernet(ROUTER, BALANCER, packet, tags);
}

function answer6(about: Uint8Array, quoted: number, type: number, code: number, mtu = 0, tags: number[] = []) {
  const fields = { from: VIP6, to: CLIENT6, protocol: ICMPV6, timeToLive: 64 };
  const message = icmpv6(fields, type, mtu >> 16, [...about.subarray(0, quoted)], mtu & 0xffff, code);
  return ethernet(ROUTER, BALANCER, ipv6(fields, message), tags);
}

interface Case {
  readonly name: string;
  readonly packet: Uint8Array;
  readonly tags?: number[];
  /** Null: none. */
  readonly answer: Uint8Array | null;
  readonly outcome: string;
}

const tooBig4 = packet4(1477, PORT.toIpv4);
const tooBig6 = packet6(1477, PORT.toIpv4);
const viaIpv6 = packet6(LIMIT6 + 5, PORT.toIpv6);
const jumbo4 = packet4(8999, PORT.toIpv4);
const jumbo6 = packet6(8999, PORT.toIpv4);
const withOptions = packet4(1477, PORT.toIpv4, { fragment: DF, options: [1, 1, 1, 1, 1, 1, 1, 1] });
const narrow = packet6(1281, PORT.narrow);
const tags = [0x88a8, 7, 0x8100, 8];
const short4 = ipv4(to4(UDP, { timeToLive: 1 }), udp(40000, PORT.toIpv4, [1, 2, 3]));
const short6 = ipv6(to6(UDP, { timeToLive: 1 }), udp(40000, PORT.toIpv4, [1, 2, 3]));
const atEnd4 = ipv4(to4(UDP, { timeToLive: 0 }), udp(40000, PORT.toIpv4, []));
const atEnd6 = ipv6(to6(UDP, { timeToLive: 0 }), udp(40000, PORT.toIpv4, []));
const untold4 = ipv4(to4(TCP), tcp({ from: 40000, to: PORT.told, flags: SYN }));
const untold6 = ipv6(to6(TCP), tcp({ from: 40000, to: PORT.told, flags: SYN }));

const ANSWERED: readonly Case[] = [
  { name: 'IPv4 with DF', packet: tooBig4, answer: answer4(tooBig4, 52, 3, 4, LIMIT4), outcome: 'too-big' },
  { name: 'IPv6', packet: tooBig6, answer: answer6(tooBig6, 1232, 2, 0, LIMIT4), outcome: 'too-big' },
  { name: 'IPv6 by outer IPv6', packet: viaIpv6, answer: answer6(viaIpv6, 1232, 2, 0, LIMIT6), outcome: 'too-big' },
  {
    name: 'IPv4 with options',
    packet: withOptions,
    answer: answer4(withOptions, 60, 3, 4, LIMIT4),
    outcome: 'too-big',
  },
  {
    name: 'IPv4 of several buffers',
    packet: jumbo4,
    answer: answer4(jumbo4, 52, 3, 4, LIMIT4),
    outcome: 'too-big',
  },
  { name: 'IPv6 of several buffers', packet: jumbo6, answer: answer6(jumbo6, 1232, 2, 0, LIMIT4), outcome: 'too-big' },
  {
    name: 'IPv4 with two VLAN tags',
    packet: tooBig4,
    tags,
    answer: answer4(tooBig4, 52, 3, 4, LIMIT4, tags),
    outcome: 'too-big',
  },
  {
    name: 'IPv6 with two VLAN tags',
    packet: tooBig6,
    tags,
    answer: answer6(tooBig6, 1232, 2, 0, LIMIT4, tags),
    outcome: 'too-big',
  },
  {
    name: 'IPv6 where the path cannot do 1,280',
    packet: narrow,
    answer: answer6(narrow, 1232, 2, 0, 1280),
    outcome: 'too-big',
  },
  { name: 'a used up TTL', packet: short4, answer: answer4(short4, 31, 11, 0), outcome: 'ttl-expired' },
  { name: 'a used up hop limit', packet: short6, answer: answer6(short6, 51, 3, 0), outcome: 'ttl-expired' },
  { name: 'a TTL of 0', packet: atEnd4, answer: answer4(atEnd4, 28, 11, 0), outcome: 'ttl-expired' },
  { name: 'a hop limit of 0', packet: atEnd6, answer: answer6(atEnd6, 48, 3, 0), outcome: 'ttl-expired' },
  {
    name: 'IPv4 to a service without a backend that wants it',
    packet: untold4,
    answer: answer4(untold4, 40, 3, 3),
    outcome: 'no-backend',
  },
  {
    name: 'IPv6 to a service without a backend that wants it',
    packet: untold6,
    answer: answer6(untold6, 60, 1, 4),
    outcome: 'no-backend',
  },
];

const quoteOf = (port: number) =>
  ipv4({ from: VIP4, to: CLIENT4, protocol: TCP }, tcp({ from: port, to: 40000, flags: ACK }, data(1500)));
const errorAbout = (port: number, timeToLive: number) =>
  ipv4(to4(ICMP, { from: '203.0.113.1', fragment: DF, timeToLive }), icmp(3, 0, 1300, [...quoteOf(port)], 4));
const toMany = (packet: Uint8Array) => {
  const frame = arrive(packet);
  frame[0] |= 1;
  return frame;
};

const SILENT: readonly (Case & { readonly frame?: Uint8Array })[] = [
  {
    name: 'IPv4 without DF, which is fragmented',
    packet: packet4(1477, PORT.toIpv4, {}),
    answer: null,
    outcome: 'oversized',
  },
  {
    name: 'IPv6 that every path must carry, and this one does not',
    packet: packet6(1280, PORT.narrow),
    answer: null,
    outcome: 'oversized',
  },
  { name: 'an ICMP error that does not fit', packet: errorAbout(PORT.toIpv4, 64), answer: null, outcome: 'too-big' },
  { name: 'an ICMP error to nobody', packet: errorAbout(PORT.told, 64), answer: null, outcome: 'no-backend' },
  { name: 'an ICMP error at its end', packet: errorAbout(PORT.toIpv4, 1), answer: null, outcome: 'ttl-expired' },
  { name: 'a frame to many', packet: tooBig4, frame: toMany(tooBig4), answer: null, outcome: 'too-big' },
  ...['0.0.0.7', '127.0.0.1', '224.0.0.1', '255.255.255.255'].map((from) => ({
    name: `a packet that says it is from ${from}`,
    packet: packet4(1477, PORT.toIpv4, { from, fragment: DF }),
    answer: null,
    outcome: 'too-big',
  })),
  ...['::', '::1', 'ff02::1'].map((from) => ({
    name: `a packet that says it is from ${from}`,
    packet: packet6(1477, PORT.toIpv4, { from }),
    answer: null,
    outcome: 'too-big',
  })),
  {
    name: 'what goes to a service without a backend that does not want it',
    packet: packet4(100, PORT.nobody),
    answer: null,
    outcome: 'no-backend',
  },
];

describe('ICMP errors of the balancer', { skip: cannotLoad }, () => {
  before(configure);
  after(() => forwarder.close({ keep: false }));

  for (const { name, packet, answer, outcome, tags } of ANSWERED)
    test(`answers ${name}`, () => {
      assert.ok(answer !== null);
      const result = run(arrive(packet, tags));
      assert.equal(result.verdict, 'tx');
      assert.equal(toHex(result.frame), toHex(answer));
      assert.deepEqual(result.counted, { [outcome]: 1, answered: 1, bytes: packet.length });
    });

  for (const { name, packet, frame = arrive(packet), outcome } of SILENT)
    test(`does not answer ${name}`, () => {
      const result = run(frame);
      assert.equal(result.verdict, 'drop');
      assert.equal(toHex(result.frame), toHex(frame));
      const handedUp = outcome === 'oversized' ? { 'handed-up': 1 } : {};
      assert.deepEqual(result.counted, { [outcome]: 1, ...handedUp, bytes: packet.length });
    });

  test('what is behind the packet in its frame is not quoted', () => {
    const result = run(join(arrive(short4), [9, 9, 9, 9, 9]));
    assert.equal(toHex(result.frame), toHex(answer4(short4, 31, 11, 0)));
  });

  test('the longest that fits is forwarded, and is longer than what is told', () => {
    const packet = packet4(1476, PORT.toIpv4);
    const result = run(arrive(packet));
    assert.equal(toHex(result.frame), toHex(leave(overIpv4(packet))));
    assert.ok(packet.length > LIMIT4);
  });
});
