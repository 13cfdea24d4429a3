/** Frames with DNS messages for the kernel program, and what comes back taken apart and checked. */
import assert from 'node:assert/strict';
import type { Address } from '../../src/net/address.ts';
import { foldChecksum, onesSum, pseudoHeaderSum } from '../../src/net/checksum.ts';

export interface FrameOptions {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** VLAN tags, 0 to 2. */
  readonly tags?: number;
  /** `none`: 0, IPv4 only; `partial`: as a device that computes it gets it. */
  readonly checksum?: 'whole' | 'none' | 'partial';
}

const NEAR_MAC = [2, 0, 0, 0, 0, 1];
const FAR_MAC = [2, 0, 0, 0, 0, 2];
const UDP = 17;

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function headerChecksum(bytes: Uint8Array, start: number): number {
  return foldChecksum(onesSum(bytes, start, start + 20));
}

export function makeFrame(message: Uint8Array, options: FrameOptions): Uint8Array {
  const { source, destination, tags = 0, checksum = 'whole' } = options;
  const isIpv6 = source.family === 6;
  const ip = 14 + 4 * tags;
  const udp = ip + (isIpv6 ? 40 : 20);
  const length = 8 + message.length;
  const frame = new Uint8Array(udp + length);
  frame.set(FAR_MAC);
  frame.set(NEAR_MAC, 6);
  for (let tag = 0; tag < tags; tag++) {
    put16(frame, 12 + 4 * tag, tag === 0 && tags === 2 ? 0x88a8 : 0x8100);
    put16(frame, 14 + 4 * tag, 100 + tag);
  }
  put16(frame, ip - 2, isIpv6 ? 0x86dd : 0x0800);
  if (isIpv6) {
    frame.set([0x60, 0x12, 0x34, 0x56], ip);
    put16(frame, ip + 4, length);
    frame.set([UDP, 17], ip + 6);
    frame.set(source.bytes, ip + 8);
    frame.set(destination.bytes, ip + 24);
  } else {
    frame.set([0x45, 8], ip);
    put16(frame, ip + 2, 20 + length);
    put16(frame, ip + 4, 0x4321);
    frame.set([17, UDP], ip + 8);
    frame.set(source.bytes, ip + 12);
    frame.set(destination.bytes, ip + 16);
    put16(frame, ip + 10, headerChecksum(frame, ip));
  }
  put16(frame, udp, options.sourcePort);
  put16(frame, udp + 2, options.destinationPort);
  put16(frame, udp + 4, length);
  frame.set(message, udp + 8);
  const pseudo = pseudoHeaderSum(source, destination, UDP, length);
  if (checksum === 'whole') put16(frame, udp + 6, foldChecksum(onesSum(frame, udp, frame.length, pseudo)) || 0xffff);
  if (checksum === 'partial') put16(frame, udp + 6, ~foldChecksum(pseudo) & 0xffff);
  return frame;
}

/** The message of the frame that answers `query`; everything around it is checked. */
export function openReply(reply: Uint8Array, query: Uint8Array, options: FrameOptions): Uint8Array {
  const { source, tags = 0 } = options;
  const isIpv6 = source.family === 6;
  const ip = 14 + 4 * tags;
  const udp = ip + (isIpv6 ? 40 : 20);
  const length = reply.length - udp;
  assert.deepEqual(reply.subarray(0, 6), query.subarray(6, 12), 'MAC addresses are swapped');
  assert.deepEqual(reply.subarray(6, 12), query.subarray(0, 6), 'MAC addresses are swapped');
  assert.deepEqual(reply.subarray(12, ip), query.subarray(12, ip), 'tags and type are as they came');
  const addresses = isIpv6 ? [ip + 8, ip + 24, 16] : [ip + 12, ip + 16, 4];
  const [from, to, bytes] = addresses as [number, number, number];
  assert.deepEqual(reply.subarray(from, from + bytes), query.subarray(to, to + bytes), 'addresses are swapped');
  assert.deepEqual(reply.subarray(to, to + bytes), query.subarray(from, from + bytes), 'addresses are swapped');
  if (isIpv6) {
    assert.deepEqual([...reply.subarray(ip, ip + 8)], [0x60, 0, 0, 0, length >> 8, length & 0xff, UDP, 64]);
  } else {
    const total = 20 + length;
    assert.deepEqual([...reply.subarray(ip, ip + 10)], [0x45, 0, total >> 8, total & 0xff, 0, 0, 0x40, 0, 64, UDP]);
    assert.equal(headerChecksum(reply, ip), 0, 'checksum of the IPv4 header');
  }
  assert.equal(get16(reply, udp), options.destinationPort);
  assert.equal(get16(reply, udp + 2), options.sourcePort);
  assert.equal(get16(reply, udp + 4), length, 'length of UDP');
  assert.notEqual(get16(reply, udp + 6), 0);
  const pseudo = pseudoHeaderSum(options.destination, source, UDP, length);
  assert.equal(foldChecksum(onesSum(reply, udp, reply.length, pseudo)), 0, 'checksum of UDP');
  return reply.subarray(udp + 8);
}
