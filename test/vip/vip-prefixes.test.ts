/** VIPs that are prefixes, in the kernel: what packets to their addresses meet, and what a change or a restart makes of it. Needs root. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type Prefix, parsePrefix } from '../../src/net/address.ts';
import { runProgram, type XdpVerdict } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { OUTCOME_NAMES, type OutcomeName, VIP_ECHO } from '../../src/serve/vip/layout.gen.ts';
import { removeInstance } from '../../src/serve/vip/pins.ts';
import { address, cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ethernet, ICMP, icmp, ipv4, ipv6, TCP, tcp } from './frames.ts';

const NAME = `vip-prefixes-${process.pid}`;
const CLIENTS = { 4: '203.0.113.7', 6: '2001:db8:7::7' } as const;
const SLOTS = 7;
/** Subjects: of VIPs, and of the service of each 10 more. */
const VIPS: readonly (readonly [vip: string, subject: number, ports: readonly number[]])[] = [
  ['192.0.2.0/24', 1, [80]],
  ['192.0.2.0/25', 2, [81, 80]],
  ['192.0.2.10/32', 3, [443, 80]],
  ['2001:db8:5::/64', 4, [80]],
  ['2001:db8:5::10/128', 5, [80]],
];
/** Of the balancer itself, in a VIP. */
const OWN = '192.0.2.200';

let forwarder: Forwarder;

function prefix(text: string): Prefix {
  return parsePrefix(text) as Prefix;
}

function open(): Forwarder {
  return openForwarder({
    name: NAME,
    netns: null,
    interfaces: [],
    probeInterface: null,
    addresses: [address('10.0.0.1')],
    buckets: 2,
    hashKey: new Uint8Array(16).fill(9),
  });
}

function configure(): void {
  const nextHop = {
    mac: Uint8Array.of(2, 0, 0, 0, 0, 5),
    ownMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    ifindex: 1,
    interfaceName: 'lo',
    mtuBytes: 1500,
  };
  for (const [vip, subject, ports] of VIPS) {
    forwarder.setBackend(subject, {
      address: address(`10.0.1.${subject}`),
      nextHop,
      alive: true,
      agent: true,
      forwarding: null,
    });
    forwarder.setVip(prefix(vip), subject, VIP_ECHO);
    const table = forwarder.createTable(10 + subject, SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, subject, 0, 0, false);
    for (const port of ports) {
      const limits = { forwarding: 'gre', lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 } as const;
      forwarder.setService({ vip: subject, port, protocol: 'tcp' }, { subject: 10 + subject, slots: SLOTS, ...limits });
    }
  }
  forwarder.acceptFragments([address(OWN)], []);
}

interface Result {
  readonly verdict: XdpVerdict;
  /** Whose counters the packet went to; 0: nobody's. */
  readonly subject: number;
  readonly outcome: OutcomeName;
  readonly frame: Uint8Array;
}

function outcomes(subject: number): readonly number[] {
  return [...forwarder.counters.read(subject).outcome];
}

function run(frame: Uint8Array): Result {
  const subjects = Array.from({ length: 20 }, (_, subject) => subject);
  const before = subjects.map(outcomes);
  const { verdict, frame: left } = runProgram(forwarder.programFd, frame);
  for (const subject of subjects) {
    const after = outcomes(subject);
    const moved = after.findIndex((count, i) => count !== before[subject]?.[i]);
    if (moved >= 0) return { verdict, subject, outcome: OUTCOME_NAMES[moved] as OutcomeName, frame: left };
  }
  return assert.fail('nothing was counted');
}

function send(to: string, port = 80): Result {
  const segment = tcp({ from: 40_000, to: port, flags: 0x10 });
  const isIpv6 = to.includes(':');
  const from = CLIENTS[isIpv6 ? 6 : 4];
  const packet = isIpv6 ? ipv6({ from, to, protocol: TCP }, segment) : ipv4({ from, to, protocol: TCP }, segment);
  return run(ethernet(1, 9, packet));
}

/** Subject of the service that the packet went to, by its backend too; 0: it was for no VIP. */
function servedBy(to: string, port = 80): number {
  const { verdict, subject, outcome, frame } = send(to, port);
  if (outcome === 'not-vip') return 0;
  assert.equal(outcome, 'settled', to);
  assert.equal(verdict, 'tx');
  assert.equal(frame[33], subject - 10, 'the outer destination is the backend of the service');
  return subject;
}

describe('VIPs that are prefixes', { skip: cannotLoad }, () => {
  before(() => {
    forwarder = open();
  });
  beforeEach(configure);
  after(() => {
    forwarder?.close({ keep: false });
    removeInstance(NAME);
  });

  test('the longest VIP around an address serves it, one of the very address before all', () => {
    const expected: readonly (readonly [string, number])[] = [
      ['192.0.1.255', 0],
      ['192.0.2.0', 12],
      ['192.0.2.9', 12],
      ['192.0.2.10', 13],
      ['192.0.2.11', 12],
      ['192.0.2.127', 12],
      ['192.0.2.128', 11],
      ['192.0.2.255', 11],
      ['192.0.3.0', 0],
      ['2001:db8:4:ffff:ffff:ffff:ffff:ffff', 0],
      ['2001:db8:5::', 14],
      ['2001:db8:5::10', 15],
      ['2001:db8:5:0:ffff:ffff:ffff:ffff', 14],
      ['2001:db8:5:1::', 0],
    ];
    // Twice, so that the second time the answers are remembered ones.
    for (let time = 0; time < 2; time++)
      for (const [to, subject] of expected) assert.equal(servedBy(to), subject, `${to}, time ${time}`);
  });

  test('ports are those of the longest VIP alone: what it does not serve is counted for it', () => {
    assert.equal(servedBy('192.0.2.11', 81), 12);
    assert.deepEqual([send('192.0.2.10', 81).outcome, send('192.0.2.10', 81).subject], ['no-service', 3]);
    assert.deepEqual([send('192.0.2.128', 81).outcome, send('192.0.2.128', 81).subject], ['no-service', 1]);
  });

  test('an address of the balancer itself is none of the VIP that it is in', () => {
    assert.equal(servedBy(OWN), 0);
    assert.equal(servedBy('192.0.2.201'), 11);
  });

  test('echo is answered by the very address, while its VIP is up', () => {
    const ping = (to: string) => run(ethernet(1, 9, ipv4({ from: CLIENTS[4], to, protocol: ICMP }, icmp(8, 1, 1))));
    const { verdict, subject, frame } = ping('192.0.2.77');
    assert.deepEqual([verdict, subject], ['tx', 2]);
    assert.deepEqual([...frame.subarray(26, 34)], [192, 0, 2, 77, ...address(CLIENTS[4]).bytes]);
    forwarder.setVip(prefix('192.0.2.0/25'), 2, 0);
    assert.equal(ping('192.0.2.77').outcome, 'icmp-other');
    assert.equal(ping('192.0.2.177').outcome, 'icmp-echo');
  });

  test('an ICMP error about a flow of any of its addresses goes to the backend of the flow', () => {
    const quoted = ipv4(
      { from: '192.0.2.99', to: CLIENTS[4], protocol: TCP },
      tcp({ from: 80, to: 40_000, flags: 0x10 }),
    );
    const error = icmp(3, 0, 1280, [...quoted.slice(0, 28)], 4);
    const { verdict, subject, outcome } = run(
      ethernet(1, 9, ipv4({ from: '10.9.9.9', to: '192.0.2.99', protocol: ICMP }, error)),
    );
    assert.deepEqual([verdict, subject, outcome], ['tx', 12, 'icmp-error']);
  });

  test('a VIP that is taken away leaves its addresses to the next longer one, at once', () => {
    assert.equal(servedBy('192.0.2.11'), 12);
    assert.equal(forwarder.removeVip(prefix('192.0.2.0/25')), true);
    assert.equal(forwarder.removeVip(prefix('192.0.2.0/25')), false);
    assert.equal(servedBy('192.0.2.11'), 11);
    assert.equal(servedBy('192.0.2.10'), 13);
    forwarder.removeVip(address('192.0.2.10'));
    assert.equal(servedBy('192.0.2.10'), 11);
    forwarder.removeVip(prefix('192.0.2.0/24'));
    assert.equal(servedBy('192.0.2.10'), 0);
    assert.equal(servedBy('2001:db8:5::11'), 14, 'the other family stays');
    forwarder.removeVip(prefix('2001:db8:5::/64'));
    assert.equal(servedBy('2001:db8:5::11'), 0);
    assert.equal(servedBy('2001:db8:5::10'), 15);
  });

  test('a process that starts anew finds them', () => {
    const list = () =>
      forwarder.vips.list().map(({ prefix: vip, subject }) => `${vip.address.bytes}/${vip.length} ${subject}`);
    const before = list().sort();
    assert.equal(before.length, VIPS.length + 1);
    forwarder.close({ keep: true });
    forwarder = open();
    assert.equal(forwarder.adopted, true);
    assert.deepEqual(list().sort(), before);
    assert.equal(servedBy('192.0.2.11'), 12);
    assert.equal(servedBy('2001:db8:5::11'), 14);
  });
});
