/** Limits by client prefix in the kernel program: new flows of a service, ICMP errors, and who is named. Needs root. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { OUTCOME } from '../../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../../src/serve/vip/libc.ts';
import { ICMP_PER_PREFIX } from '../../src/serve/vip/limits.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ACK, arrive, configure, forwarder, PORT, run, SLOTS, SYN, to4, to6 } from './bed.ts';
import { ipv4, ipv6, TCP, tcp, UDP, udp } from './frames.ts';

const SECOND_NS = 1n << 30n;
const LIMIT = 5;
const LIMITED_SUBJECT = 60;
const LIMITED_PORT = 90;
let nowNs = 5000n * SECOND_NS;

function passSeconds(count: bigint): void {
  nowNs += count * SECOND_NS;
  forwarder.setTestClock(nowNs);
}

const syn4 = (from: string, port: number, flags = SYN, sourcePort = 40000) =>
  arrive(ipv4(to4(TCP, { from }), tcp({ from: sourcePort, to: port, flags })));
const syn6 = (from: string, port: number) =>
  arrive(ipv6(to6(TCP, { from }), tcp({ from: 40000, to: port, flags: SYN })));

function sendMany(frames: readonly Uint8Array[]): void {
  for (const frame of frames) runProgram(forwarder.programFd, frame);
}

describe('limits by client prefix', { skip: cannotLoad }, () => {
  before(() => {
    pinToCpu(0);
    configure();
    for (const vip of [1, 2]) {
      const subject = LIMITED_SUBJECT + vip;
      const table = forwarder.createTable(subject, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
      const fields = { subject, slots: SLOTS, forwarding: 'gre' as const, lifetimeTicks: 100 };
      const limits = { newPerSecond: 1000, shareEntries: 1000, prefixNewPerSecond: LIMIT };
      forwarder.setService({ vip, port: LIMITED_PORT, protocol: 'tcp' }, { ...fields, ...limits });
    }
  });
  beforeEach(() => passSeconds(100n));
  after(() => forwarder.close({ keep: false }));

  const counted = () => forwarder.counters.read(LIMITED_SUBJECT + 1).outcome[OUTCOME.LIMITED];

  test('new flows of a prefix above its limit are dropped and counted, until the second is over', () => {
    const before = counted();
    const frames = Array.from({ length: 12 }, (_, i) => syn4(`198.51.100.${i}`, LIMITED_PORT, SYN, 1024 + i));
    const kept = frames.filter((frame) => runProgram(forwarder.programFd, frame).verdict === 'tx');
    assert.equal(kept.length, LIMIT);
    assert.equal(counted() - before, 12 - LIMIT);
    passSeconds(1n);
    assert.equal(runProgram(forwarder.programFd, frames[0]).verdict, 'tx');
  });

  test('the neighbour /24 and established flows are not touched', () => {
    for (let i = 0; i < 20; i++) runProgram(forwarder.programFd, syn4('198.51.100.1', LIMITED_PORT, SYN, 2000 + i));
    assert.equal(runProgram(forwarder.programFd, syn4('198.51.100.1', LIMITED_PORT)).verdict, 'drop');
    assert.equal(runProgram(forwarder.programFd, syn4('198.51.101.1', LIMITED_PORT)).verdict, 'tx');
    assert.equal(runProgram(forwarder.programFd, syn4('198.51.100.1', LIMITED_PORT, ACK)).verdict, 'tx');
    assert.equal(runProgram(forwarder.programFd, syn4('198.51.100.1', PORT.toIpv4)).verdict, 'tx');
  });

  test('an IPv6 prefix is a /48', () => {
    const sent = Array.from({ length: 9 }, (_, i) => syn6(`2001:db8:9:${i}::1`, LIMITED_PORT));
    const kept = sent.filter((frame) => runProgram(forwarder.programFd, frame).verdict === 'tx');
    assert.equal(kept.length, LIMIT);
    assert.equal(runProgram(forwarder.programFd, syn6('2001:db8:a::1', LIMITED_PORT)).verdict, 'tx');
  });

  test('a prefix gets so many ICMP errors a second, another as many of its own', () => {
    const expired = (from: string) => arrive(ipv4(to4(UDP, { from, timeToLive: 1 }), udp(4000, PORT.toIpv4, [])));
    const answered = (from: string) =>
      Array.from({ length: ICMP_PER_PREFIX + 20 }, () => runProgram(forwarder.programFd, expired(from)).verdict).filter(
        (verdict) => verdict === 'tx',
      ).length;
    assert.equal(answered('198.51.100.9'), ICMP_PER_PREFIX);
    assert.equal(answered('203.0.113.9'), ICMP_PER_PREFIX);
    const last = run(expired('198.51.100.8'));
    assert.deepEqual([last.verdict, last.counted.unanswered, last.counted['ttl-expired']], ['drop', 1, 1]);
    passSeconds(1n);
    assert.equal(run(expired('198.51.100.8')).verdict, 'tx');
  });

  test('no flood of other errors keeps away what tells a size, neither from the same prefix nor from all others', () => {
    const expired = (from: string) => arrive(ipv4(to4(UDP, { from, timeToLive: 1 }), udp(4000, PORT.toIpv4, [])));
    const tooBig = (from: string) =>
      arrive(ipv4(to4(UDP, { from, fragment: 0x4000 }), udp(4000, PORT.toIpv4, new Array<number>(1449).fill(1))));
    const isAnswered = (frame: Uint8Array) => runProgram(forwarder.programFd, frame).verdict === 'tx';
    let left = 0;
    // Fewer than its limit from each prefix, until all CPUs that the kernel puts us on have had enough.
    for (let i = 0, refused = 0; refused < 2_000 && i < 100_000; i++)
      refused = isAnswered(expired(`10.${i & 255}.${(i >> 8) & 255}.1`)) ? 0 : refused + 1;
    for (let i = 0; i < 20; i++) if (isAnswered(expired(`11.0.${i}.1`))) left++;
    assert.equal(left, 0, 'the CPU has sent enough');
    let answered = 0;
    for (let i = 0; i < ICMP_PER_PREFIX + 20; i++) if (isAnswered(tooBig('10.0.0.1'))) answered++;
    assert.equal(answered, ICMP_PER_PREFIX, 'but a prefix gets no more of these either');
    passSeconds(1n);
    while (isAnswered(expired('10.0.0.1')));
    assert.ok(isAnswered(tooBig('10.0.0.1')), 'the prefix has had enough of the others');
  });

  test('a flood from 40,000 prefixes does not hide the three that send most', () => {
    const heavy = ['192.0.2', '198.18.7', '203.0.113'];
    const flood: Uint8Array[] = [];
    for (let i = 0; i < 40_000; i++) {
      flood.push(syn4(`11.${i >> 8}.${i & 255}.1`, LIMITED_PORT));
      if (i % 40 < 6) flood.push(syn4(`${heavy[i % 40 < 3 ? 0 : i % 40 < 5 ? 1 : 2]}.7`, LIMITED_PORT));
    }
    sendMany(flood);
    passSeconds(1n);
    const top = forwarder.prefixes.top(3, nowNs).get(LIMITED_SUBJECT + 1) ?? [];
    assert.deepEqual(
      top.map(({ prefix }) => prefix),
      heavy.map((text) => `${text}.0/24`),
    );
    // Half of a second's count, in seconds of 10^9 ns: 3,000 and 2,000 and 1,000 of 40,000.
    const halves = top.map(({ newPerSecond, errorPerSecond }) => [newPerSecond, errorPerSecond]);
    for (const [i, real] of [3000, 2000, 1000].entries()) {
      const [rate, error] = halves[i];
      const exact = (real / 2) * (1e9 / 2 ** 30);
      assert.ok(rate >= exact - 1 && rate - error <= exact + 1, `${rate} +- ${error}, not ${exact}`);
    }
    assert.ok(top[0].refused > 2900);
  });

  test('of services without a limit samples name who sends most', () => {
    const flood: Uint8Array[] = [];
    for (let i = 0; i < 30_000; i++)
      flood.push(syn4(i % 3 === 0 ? '192.0.2.7' : `10.${i & 255}.${(i >> 8) & 255}.1`, PORT.toIpv4, SYN, i & 0xffff));
    sendMany(flood);
    passSeconds(1n);
    const [first] = forwarder.prefixes.top(1, nowNs).get(10) ?? [];
    assert.equal(first.prefix, '192.0.2.0/24');
    const exact = 5000 * (1e9 / 2 ** 30);
    assert.ok(first.newPerSecond > exact * 0.75 && first.newPerSecond < exact * 1.25, String(first.newPerSecond));
    assert.equal(first.refused, 0);
    assert.equal(forwarder.counters.read(10).newConnections >= 30_000, true);
  });

  test('a removed service leaves no prefixes behind', () => {
    runProgram(forwarder.programFd, syn4('198.51.100.1', LIMITED_PORT));
    passSeconds(1n);
    for (let i = 0; i < 4; i++) runProgram(forwarder.programFd, syn4('198.51.100.1', LIMITED_PORT));
    passSeconds(1n);
    assert.ok(forwarder.prefixes.top(9, nowNs).has(LIMITED_SUBJECT + 1));
    forwarder.clearSubject(LIMITED_SUBJECT + 1);
    assert.equal(forwarder.prefixes.top(9, nowNs).has(LIMITED_SUBJECT + 1), false);
  });
});
