/** Flows of an unsettled slot: where the connection table, or its absence, sends them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BUCKET_ENTRIES, type EventName, type OutcomeName, TICK_SHIFT } from '../../src/serve/vip/layout.gen.ts';
import { mapMemory } from '../../src/serve/vip/libc.ts';
import { cannotLoad, until } from '../../src/serve/vip/test-network.ts';
import {
  ACK,
  arrive,
  BUCKETS,
  CLIENT4,
  configure,
  forwarder,
  LIFETIME_TICKS,
  leave,
  NOW_TICKS,
  overIpv4,
  PORT,
  type Result,
  RST,
  run,
  SLOTS,
  SYN,
  to4,
  VIP4,
} from './bed.ts';
import { ICMP, ipv4, TCP, tcp, toHex, UDP, udp } from './frames.ts';

/** How one flow of the unsettled service fares from packet to packet. Slots: current 4 (no agent), previous 1, third 2. */
describe('balancer, unsettled', { skip: cannotLoad }, () => {
  before(() => {
    configure();
    for (const subject of [18, 19]) {
      const table = forwarder.createTable(subject, SLOTS, 30_000);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 4, 1, 2, true);
    }
  });
  after(() => forwarder.close({ keep: false }));

  const send = (from: number, flags: number) => run(arrive(ipv4(to4(TCP), tcp({ from, to: PORT.unsettled, flags }))));
  const sendUdp = (from: number) => run(arrive(ipv4(to4(UDP), udp(from, PORT.unsettled, []))));
  const destinationOf = ({ frame }: Result) => frame.slice(30, 34).join('.');
  /** Without the bytes. */
  const countedOf = ({ counted: { bytes: _, ...others } }: Result) =>
    others as Partial<Record<OutcomeName | EventName, number>>;
  const setTicks = (ticks: number) => forwarder.setTestClock(BigInt(ticks) << BigInt(TICK_SHIFT));

  test('a flow that is not known goes to previous and is not entered, with the other candidates in the key, last the one without the agent', () => {
    const packet = ipv4(to4(TCP), tcp({ from: 1000, to: PORT.unsettled, flags: ACK }));
    for (let i = 0; i < 2; i++) {
      const result = run(arrive(packet));
      assert.equal(toHex(result.frame), toHex(leave(overIpv4(packet, [2, 4]))));
      assert.deepEqual(countedOf(result), { untracked: 1, keyed: 1 });
    }
  });

  test('a SYN goes to current and its flow follows it, while a SYN with RST is none', () => {
    assert.deepEqual(countedOf(send(1001, SYN | RST)), { untracked: 1, keyed: 1 });
    const first = send(1001, SYN);
    assert.deepEqual(countedOf(first), { new: 1, inserted: 1 });
    assert.equal(destinationOf(first), '10.0.1.4');
    const second = send(1001, ACK);
    assert.deepEqual(countedOf(second), { tracked: 1 });
    assert.equal(destinationOf(second), '10.0.1.4');
  });

  test('a datagram counts as old within the adoption time, and the flow stays where it was', () => {
    const first = sendUdp(2000);
    assert.deepEqual(countedOf(first), { adopted: 1, inserted: 1, keyed: 1 });
    assert.equal(destinationOf(first), '10.0.1.1');
    setTicks(NOW_TICKS + 10);
    assert.deepEqual(countedOf(sendUdp(2000)), { tracked: 1, keyed: 1 });
    const fresh = sendUdp(2001);
    assert.deepEqual(countedOf(fresh), { new: 1, inserted: 1 });
    assert.equal(destinationOf(fresh), '10.0.1.4');
  });

  test('a datagram that could not be entered for pressure stays where it went when it can be', () => {
    const limit = (newPerSecond: number) =>
      forwarder.setService(
        { vip: 1, port: PORT.unsettled, protocol: 'udp' },
        {
          subject: 19,
          slots: SLOTS,
          forwarding: 'gre',
          lifetimeTicks: 100,
          newPerSecond,
          shareEntries: 1000,
          flags: 0,
        },
      );
    setTicks(NOW_TICKS + 20);
    limit(0);
    const refused = sendUdp(3000);
    assert.deepEqual(countedOf(refused), { untracked: 1, 'refused-pressure': 1, keyed: 1 });
    assert.equal(destinationOf(refused), '10.0.1.1');
    limit(1000);
    assert.deepEqual(countedOf(sendUdp(3000)), { adopted: 1, inserted: 1, keyed: 1 });
    setTicks(NOW_TICKS + 30);
    assert.equal(destinationOf(sendUdp(3000)), '10.0.1.1');
    assert.deepEqual(countedOf(sendUdp(3001)), { new: 1, inserted: 1 }, 'the time is over again');
  });

  test('an ICMP error goes where its flow is, enters nobody, and has the other candidates in the key', () => {
    const errorAbout = (protocol: number, quote: Uint8Array) =>
      run(
        arrive(
          ipv4(to4(ICMP, { from: '203.0.113.1' }), [
            ...[3, 4, 0, 0, 0, 0, 5, 0],
            ...ipv4({ from: VIP4, to: CLIENT4, protocol }, quote).subarray(0, 28),
          ]),
        ),
      );
    const aboutTcp = (port: number) => errorAbout(TCP, tcp({ from: PORT.unsettled, to: port, flags: ACK }));
    const known = aboutTcp(1001);
    assert.deepEqual(countedOf(known), { 'icmp-error': 1 });
    assert.equal(destinationOf(known), '10.0.1.4');
    const unknownUdp = () => errorAbout(UDP, udp(PORT.unsettled, 2002, []));
    for (const unknown of [aboutTcp(1002), unknownUdp(), unknownUdp()]) {
      assert.deepEqual(countedOf(unknown), { 'icmp-error': 1, keyed: 1 });
      assert.equal(destinationOf(unknown), '10.0.1.1');
    }
  });

  test('a full table takes nobody in and evicts nobody', () => {
    const known = [1001, 2000, 2001, 3000, 3001];
    const outcomes = new Map<string, number>();
    for (let port = 3000; port < 3100; port++) {
      const counted = countedOf(send(port, SYN));
      const outcome = counted['refused-full'] === 1 ? 'refused' : 'entered';
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (outcome === 'refused') assert.equal(counted.untracked, 1);
    }
    assert.equal(outcomes.get('entered'), BUCKETS * BUCKET_ENTRIES - known.length);
    assert.deepEqual(countedOf(send(1001, ACK)), { tracked: 1 });
  });

  test('the sweeper clears entries that are older than any lifetime, and no others', async () => {
    setTicks(NOW_TICKS);
    const [old, young] = [LIFETIME_TICKS + 1, LIFETIME_TICKS].map(
      (age) => (1n << 28n) | (BigInt((NOW_TICKS - age) & 0xfff) << 16n) | 4n,
    );
    const memory = mapMemory(forwarder.maps.connections, BUCKETS * BUCKET_ENTRIES * 8, 'connections');
    const words = new BigUint64Array(memory.buffer);
    words.fill(0n);
    words[0] = old;
    words[1] = young;
    words[15] = old;
    await until(() => words[0] === 0n && words[15] === 0n, 'the old entries are cleared');
    assert.equal(words[1], young);
    memory.unmap();
  });
});
