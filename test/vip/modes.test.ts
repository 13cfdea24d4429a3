/** How packets leave by IP in IP, GUE, l2 and nat: every mix of families, byte by byte. GRE is in balancer.test.ts. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ForwardingMode } from '../../src/config/model.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import {
  ACK,
  arrive,
  configure,
  forwarder,
  KEY,
  LIFETIME_TICKS,
  leave,
  NEXT_HOP,
  PORT,
  run,
  SLOTS,
  to4,
  to6,
} from './bed.ts';
import {
  address,
  afterHop,
  flowLabelOf,
  GRE,
  gre,
  gue,
  IPV4,
  IPV6,
  type IpFields,
  ipv4,
  ipv6,
  TCP,
  tcp,
  toHex,
  UDP,
} from './frames.ts';

type Inner = 4 | 6;
type Outer = 'toIpv4' | 'toIpv6';
const FAMILIES: readonly (readonly [Inner, Outer])[] = [
  [4, 'toIpv4'],
  [6, 'toIpv4'],
  [4, 'toIpv6'],
  [6, 'toIpv6'],
];

function packetOf(inner: Inner, port: number): Uint8Array {
  const segment = tcp({ from: 40000, to: port, flags: ACK }, [1, 2, 3]);
  return inner === 4 ? ipv4(to4(TCP), segment) : ipv6(to6(TCP), segment);
}

function labelOf(inner: Inner, port: number): number {
  const { from, to } = inner === 4 ? to4(TCP) : to6(TCP);
  return flowLabelOf(KEY, from, to, [40000, port], TCP);
}

/** The outer packet. */
function wrap(outer: Outer, protocol: number, label: number, payload: Uint8Array): Uint8Array {
  const fields: Partial<IpFields> = { protocol, timeToLive: 64 };
  if (outer === 'toIpv4')
    return ipv4({ from: '10.0.0.1', to: '10.0.1.1', fragment: 0x4000, ...fields, protocol }, payload);
  return ipv6({ from: 'fd00::1', to: 'fd00::2', flowLabel: label, ...fields, protocol }, payload);
}

/** All TCP services that are settled on one backend. */
function setService(forwarding: ForwardingMode): void {
  for (const [vip, base] of [
    [1, 10],
    [2, 30],
  ])
    for (const [i, port] of [PORT.toIpv4, PORT.toIpv6].entries())
      forwarder.setService(
        { vip, port, protocol: 'tcp' },
        {
          subject: base + 2 * i,
          slots: SLOTS,
          forwarding,
          lifetimeTicks: LIFETIME_TICKS,
          newPerSecond: 1000,
          shareEntries: 1000,
        },
      );
}

function setUnsettled(forwarding: ForwardingMode): void {
  const limits = { lifetimeTicks: LIFETIME_TICKS, newPerSecond: 1000, shareEntries: 1000 };
  forwarder.setService(
    { vip: 1, port: PORT.unsettled, protocol: 'tcp' },
    { subject: 18, slots: SLOTS, forwarding, ...limits },
  );
}

function setBackend(forwarding: ForwardingMode | null, vlan?: number | 'none'): void {
  const [mac, ownMac] = [Uint8Array.of(2, 0, 0, 0, 0, NEXT_HOP), Uint8Array.of(2, 0, 0, 0, 0, 1)];
  const nextHop = {
    mac,
    ownMac,
    ifindex: 1,
    interfaceName: 'lo',
    mtuBytes: 1500,
    ...(vlan === undefined ? {} : { vlan }),
  };
  forwarder.setBackend(1, { address: address('10.0.1.1'), nextHop, alive: true, agent: true, forwarding });
}

function assertLeaves(
  packet: Uint8Array,
  expected: Uint8Array,
  tags: readonly number[] = [],
  arrivesWith: readonly number[] = tags,
): void {
  const result = run(arrive(packet, arrivesWith));
  assert.equal(result.verdict, 'tx');
  assert.equal(toHex(result.frame), toHex(leave(expected, tags)));
}

describe('forwarding modes', { skip: cannotLoad }, () => {
  before(configure);
  after(() => forwarder.close({ keep: false }));

  for (const [inner, outer] of FAMILIES) {
    const name = `IPv${inner} over ${outer === 'toIpv4' ? 'IPv4' : 'IPv6'}`;
    const packet = packetOf(inner, PORT[outer]);
    const label = labelOf(inner, PORT[outer]);

    test(`IP in IP: ${name}`, () => {
      setService('ipip');
      const expected = wrap(outer, inner === 4 ? IPV4 : IPV6, label, afterHop(packet));
      assertLeaves(packet, expected);
      assertLeaves(packet, expected, [0x8100, 5]);
    });

    test(`GUE: ${name}, with the source port by the flow and no UDP checksum`, () => {
      setService('gue');
      const expected = wrap(outer, UDP, label, gue(0xc000 | (label & 0x3fff), afterHop(packet)));
      assertLeaves(packet, expected);
      assertLeaves(packet, expected, [0x88a8, 1, 0x8100, 2]);
    });
  }

  for (const inner of [4, 6] as const) {
    test(`l2: IPv${inner} leaves as it came, with a hop less and the MAC addresses of the way`, () => {
      setService('l2');
      for (const outer of ['toIpv4', 'toIpv6'] as const) {
        const packet = packetOf(inner, PORT[outer]);
        assertLeaves(packet, afterHop(packet));
        assertLeaves(packet, afterHop(packet), [0x8100, 5]);
      }
    });
  }

  test('to a VLAN packets leave with its tag alone, and beside VLANs without any, in every mode', () => {
    for (const [mode, expected] of [
      ['gre', (packet: Uint8Array) => wrap('toIpv4', GRE, 0, gre(afterHop(packet)))],
      ['ipip', (packet: Uint8Array) => wrap('toIpv4', IPV4, 0, afterHop(packet))],
      ['l2', afterHop],
    ] as const) {
      setService(mode);
      const packet = packetOf(4, PORT.toIpv4);
      for (const tags of [[], [0x8100, 5], [0x88a8, 1, 0x8100, 2]]) {
        setBackend(null, 7);
        assertLeaves(packet, expected(packet), [0x8100, 7], tags);
        setBackend(null, 'none');
        assertLeaves(packet, expected(packet), [], tags);
      }
    }
    setBackend(null);
  });

  test('what a backend says goes before what its service says, until it says nothing', () => {
    const packet = packetOf(4, PORT.toIpv4);
    const label = labelOf(4, PORT.toIpv4);
    setService('ipip');
    setBackend('gue');
    assertLeaves(packet, wrap('toIpv4', UDP, label, gue(0xc000 | (label & 0x3fff), afterHop(packet))));
    setBackend('gre');
    assertLeaves(packet, wrap('toIpv4', GRE, label, gre(afterHop(packet))));
    setBackend(null);
    assertLeaves(packet, wrap('toIpv4', IPV4, label, afterHop(packet)));
  });

  test('in an unsettled slot GUE names the other candidates in private data, and IP in IP and l2 none', () => {
    const table = forwarder.createTable(18, SLOTS, 30_000);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 4, 1, 2, true);
    const packet = packetOf(4, PORT.unsettled);
    const label = labelOf(4, PORT.unsettled);
    setUnsettled('gue');
    assertLeaves(packet, wrap('toIpv4', UDP, label, gue(0xc000 | (label & 0x3fff), afterHop(packet), [2, 4])));
    assert.equal(run(arrive(packet)).counted.keyed, 1);
    setUnsettled('ipip');
    assertLeaves(packet, wrap('toIpv4', IPV4, label, afterHop(packet)));
    assert.equal(run(arrive(packet)).counted.keyed, undefined);
    setUnsettled('l2');
    assertLeaves(packet, afterHop(packet));
    assert.equal(run(arrive(packet)).counted.keyed, undefined);
    table.close();
  });
});
