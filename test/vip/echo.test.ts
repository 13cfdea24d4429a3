/** Echo requests of all lengths, answered by the kernel program with checksums that a receiver accepts. Needs root. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { foldSum, onesSum, pseudoHeaderSum } from '../../src/net/checksum.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { arrive, configure, forwarder, run, to4, to6, VIP4, VIP6 } from './bed.ts';
import { address, ICMP, ICMPV6, icmp, icmpv6, ipv4, ipv6, join, toHex } from './frames.ts';

/** Every length that a packet of 1,500 bytes has room for, then those of several buffers. */
const LENGTHS = [...Array.from({ length: 1473 }, (_, i) => i), 3000, 3473, 4001, 8191, 8950, 8951];
const CLIENT4 = to4(ICMP).from;
const CLIENT6 = to6(ICMPV6).from;

/** Ones' complement sums over what a checksum covers are 0xffff with it. */
function assertAnswer(frame: Uint8Array, request: Uint8Array, family: 4 | 6): void {
  const headerBytes = family === 4 ? 20 : 40;
  const packet = frame.subarray(14);
  assert.equal(packet.length, request.length);
  if (family === 4) assert.equal(foldSum(onesSum(packet, 0, 20)), 0xffff, 'header');
  const messageBytes = packet.length - headerBytes;
  const pseudo = family === 4 ? 0 : pseudoHeaderSum(address(VIP6), address(CLIENT6), ICMPV6, messageBytes);
  assert.equal(foldSum(onesSum(packet, headerBytes, packet.length, pseudo)), 0xffff, `message of ${messageBytes}`);
  assert.equal(packet[headerBytes], family === 4 ? 0 : 129);
  // Identifier, sequence and data come back as they were.
  assert.equal(toHex(packet.subarray(headerBytes + 4)), toHex(request.subarray(headerBytes + 4)));
  const [from, to] = family === 4 ? [VIP4, CLIENT4] : [VIP6, CLIENT6];
  const at = family === 4 ? 12 : 8;
  assert.equal(toHex(packet.subarray(at, headerBytes)), toHex(join(address(from).bytes, address(to).bytes)));
}

describe('echo', { skip: cannotLoad }, () => {
  before(configure);
  after(() => forwarder.close({ keep: false }));

  test('IPv4 of every length', () => {
    for (const length of LENGTHS) {
      const request = ipv4(to4(ICMP), icmp(8, 0x1234, length & 0xffff, [...randomBytes(length)]));
      const { verdict, frame, counted } = run(arrive(request));
      assert.deepEqual([verdict, counted['icmp-echo']], ['tx', 1]);
      assertAnswer(frame, request, 4);
    }
  });

  test('IPv6 of every length', () => {
    for (const length of LENGTHS) {
      const request = ipv6(to6(ICMPV6), icmpv6(to6(ICMPV6), 128, 0x4321, [...randomBytes(length)], length & 0xffff));
      const { verdict, frame, counted } = run(arrive(request));
      assert.deepEqual([verdict, counted['icmp-echo']], ['tx', 1]);
      assertAnswer(frame, request, 6);
    }
  });

  test('data that make the sum zero or all ones', () => {
    for (const data of [[], [0], [0, 0], [0xff, 0xff], [0xff, 0xfe, 0, 1], [0xf7, 0xff]]) {
      const request = ipv4(to4(ICMP), icmp(8, 0, 0, data));
      assertAnswer(run(arrive(request)).frame, request, 4);
    }
  });

  test('with IPv4 options or IPv6 extension headers it is left to the host', () => {
    const options = ipv4(to4(ICMP, { options: [7, 7, 4, 0, 0, 0, 0, 0] }), icmp(8, 1, 1, [1, 2, 3]));
    const extended = ipv6(to6(0), join([ICMPV6, 0, 1, 4, 0, 0, 0, 0], icmpv6(to6(ICMPV6), 128, 5, [1, 2, 3])));
    for (const request of [options, extended]) {
      const { verdict, frame, counted } = run(arrive(request));
      assert.deepEqual([verdict, counted['icmp-other']], ['pass', 1]);
      assert.equal(toHex(frame), toHex(arrive(request)));
    }
  });
});
