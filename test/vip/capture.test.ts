/** Packets of the balancer's program as a capture shows them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { CapturedPacket } from '../../src/serve/vip/capture.ts';
import { CAPTURED } from '../../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../../src/serve/vip/libc.ts';
import { cannotLoad, until } from '../../src/serve/vip/test-network.ts';
import { ACK, arrive, CLIENT4, configure, forwarder, PORT, run, SYN, to4, to6, VIP6 } from './bed.ts';
import { address, ipv4, ipv6, TCP, tcp, toHex } from './frames.ts';

const to = (port: number, flags: number, data: number[] = []) => tcp({ from: 40000, to: port, flags }, data);
const settled = arrive(ipv4(to4(TCP), to(PORT.toIpv4, ACK)));
const nobody = arrive(ipv4(to4(TCP), to(PORT.nobody, SYN)));
const ipv6Frame = arrive(ipv6(to6(TCP), to(PORT.toIpv6, ACK)), [0x8100, 5]);
const notForUs = arrive(ipv4({ from: CLIENT4, to: '203.0.113.1', protocol: TCP }, to(80, ACK)));

describe('capture', { skip: cannotLoad }, () => {
  const seen: CapturedPacket[] = [];
  const options = {
    every: 1,
    address: null,
    onPacket: (packet: CapturedPacket) => seen.push(packet),
    onError: (error: Error) => {
      throw error;
    },
  };
  before(configure);
  after(() => forwarder.close({ keep: false }));

  test('every packet for a VIP is shown as it came, with outcome, backend and time; others are not', async () => {
    const capture = forwarder.startCapture(options);
    assert.ok(capture !== null);
    assert.equal(forwarder.startCapture(options), null, 'one at a time');
    const beginMs = Date.now();
    for (const frame of [settled, notForUs, nobody, ipv6Frame]) run(frame);
    await until(() => seen.length === 3, 'three packets are shown');
    assert.deepEqual(
      seen.map(({ outcome, backendIndex }) => [outcome, backendIndex]),
      [
        ['settled', 1],
        ['no-backend', 0],
        ['settled', 2],
      ],
    );
    assert.deepEqual(
      seen.map(({ frame }) => toHex(frame)),
      [settled, nobody, ipv6Frame].map(toHex),
    );
    for (const { timeNs } of seen) assert.ok(Math.abs(Number(timeNs / 1_000_000n) - beginMs) < 60_000);
    assert.equal(capture.lost, 0);
    forwarder.stopCapture();
    run(settled);
    assert.equal(forwarder.startCapture(options) === null, false);
    run(nobody);
    await until(() => seen.length === 4, 'only what came after the start is shown');
    assert.equal(seen[3].outcome, 'no-backend');
    forwarder.stopCapture();
    seen.length = 0;
  });

  test('one in so many, and only those to one address', async () => {
    forwarder.startCapture({ ...options, every: 3, address: address(VIP6) });
    for (let i = 0; i < 9; i++) for (const frame of [settled, ipv6Frame]) run(frame);
    await until(() => seen.length === 3, 'a third of the packets to the address is shown');
    for (const { frame } of seen) assert.equal(toHex(frame), toHex(ipv6Frame));
    forwarder.stopCapture();
    seen.length = 0;
  });

  test('a long packet is cut, its length is told; a ring that nobody reads loses packets and counts them', async () => {
    pinToCpu(0); // each CPU tells what it lost
    const long = arrive(ipv4(to4(TCP), to(PORT.toIpv4, ACK, new Array(1200).fill(7))));
    const capture = forwarder.startCapture(options);
    for (let i = 0; i < 10_000; i++) run(long);
    // The ring's 4 MiB, a record and its header each.
    const fit = Math.floor(2 ** 22 / (CAPTURED.sizeBytes + 8));
    await until(() => seen.length === fit, 'the ring is read');
    assert.equal(seen[0].originalBytes, long.length);
    assert.equal(toHex(seen[0].frame), toHex(long.subarray(0, 512)));
    run(settled);
    await until(() => seen.length === fit + 1, 'the next packet is shown');
    assert.equal(capture?.lost, 10_000 - fit, 'what is not shown is counted');
    forwarder.stopCapture();
  });
});
