/** Random frames: mostly sound packets of a few flows to the world's VIPs, of every shape, and broken ones. */
import { foldChecksum, onesSum } from '../../src/net/checksum.ts';
import { writeUint16, writeUint32 } from '../../src/net/ethernet.ts';
import type { Dice } from './dice.ts';
import { randomQuic } from './quic-frames.ts';
import { PORTS, type World } from './world.ts';

const ETHERNET_MIN = 14;

/** At least 14 bytes. */
export function randomFrame(dice: Dice, world: World): Uint8Array {
  if (dice.chance(10)) return randomFragment(dice, world);
  const isIpv6 = dice.chance(45);
  const isMixed = dice.chance(1);
  const link = randomLink(dice, isIpv6 !== isMixed);
  const ip = isIpv6 ? randomIpv6(dice, world) : randomIpv4(dice, world);
  const padding = dice.chance(20) ? dice.bytes(dice.below(50)) : new Uint8Array(0);
  const frame = new Uint8Array(link.length + ip.length + padding.length);
  frame.set(link);
  frame.set(ip, link.length);
  frame.set(padding, link.length + ip.length);
  return dice.chance(18) ? mutate(dice, frame, link.length) : frame;
}

/** Of few datagrams, so that first and later ones meet; one in four comes from another balancer. */
function randomFragment(dice: Dice, world: World): Uint8Array {
  const isIpv6 = dice.chance(45);
  const isRelayed = dice.chance(30);
  const fragment = isIpv6 ? fragmentIpv6(dice, world) : fragmentIpv4(dice, world);
  const isWhole = isRelayed && dice.chance(8);
  const inner = isWhole ? (isIpv6 ? randomIpv6(dice, world) : randomIpv4(dice, world)) : fragment;
  const ip = isRelayed ? relayedBy(dice, world, inner, isIpv6) : inner;
  const link = randomLink(dice, isIpv6 && !isRelayed);
  const padding = dice.chance(20) ? dice.bytes(dice.below(50)) : new Uint8Array(0);
  const frame = Uint8Array.from(Buffer.concat([link, ip, padding]));
  return dice.chance(8) ? mutate(dice, frame, link.length) : frame;
}

/** In GRE, mostly by a balancer of the site. */
function relayedBy(dice: Dice, world: World, inner: Uint8Array, isIpv6: boolean): Uint8Array {
  const key = dice.chance(5) ? dice.bytes(4) : new Uint8Array(0);
  const packet = new Uint8Array(24 + key.length + inner.length);
  packet[0] = 0x45;
  writeUint16(packet, 2, packet.length);
  packet[8] = 64;
  packet[9] = dice.chance(97) ? 47 : dice.pick([4, 17, 41]);
  packet.set(dice.chance(94) ? dice.pick(world.peers) : dice.bytes(4), 12);
  packet.set(world.own, 16);
  writeUint16(packet, 10, foldChecksum(onesSum(packet, 0, 20)));
  writeUint16(packet, 20, key.length > 0 ? 0x2000 : dice.chance(97) ? 0 : 0x8000);
  writeUint16(packet, 22, isIpv6 ? 0x86dd : 0x0800);
  packet.set(key, 24);
  packet.set(inner, 24 + key.length);
  return packet;
}

/** The data of a fragment, with the beginning of its transport header in the first, and where it stands in the whole. */
function fragmentData(dice: Dice, protocol: number): { data: Uint8Array; word: number } {
  const isFirst = dice.chance(40);
  const hasMore = isFirst ? dice.chance(98) : dice.chance(60);
  const offset = isFirst ? 0 : dice.chance(97) ? 1 + dice.below(200) : dice.below(0x2000);
  const whole = isFirst ? firstData(dice, protocol) : dice.bytes(1 + dice.below(64));
  const length = hasMore && dice.chance(96) ? whole.length & ~7 : whole.length;
  return { data: whole.subarray(0, length), word: (offset << 3) | (hasMore ? 1 : 0) };
}

function firstData(dice: Dice, protocol: number): Uint8Array {
  if (protocol === 6) return randomTcp(dice);
  return protocol === 17 ? randomUdp(dice) : dice.bytes(40);
}

/** Mostly the first: so that fragments of one datagram meet. */
function fewOf<T>(dice: Dice, list: readonly T[]): T {
  return dice.chance(80) ? list[0] : dice.pick(list);
}

function fragmentIpv4(dice: Dice, world: World): Uint8Array {
  const headerBytes = 20 + (dice.chance(8) ? 4 * dice.below(11) : 0);
  const protocol = fewOf(dice, [17, 6, 17, dice.chance(50) ? 1 : 47]);
  const { data, word } = fragmentData(dice, protocol);
  const packet = dice.bytes(headerBytes + data.length);
  packet[0] = 0x40 | (headerBytes / 4);
  writeUint16(packet, 2, packet.length);
  writeUint16(packet, 4, fewOf(dice, [7, 8, 9]));
  writeUint16(packet, 6, (word >> 3) | ((word & 1) << 13) | dice.pick([0, 0, 0x4000]));
  packet[8] = randomHops(dice);
  packet[9] = protocol;
  packet.set(fewOf(dice, world.clients4), 12);
  packet.set(fewOf(dice, world.vips4), 16);
  writeUint16(packet, 10, 0);
  writeUint16(packet, 10, foldChecksum(onesSum(packet, 0, headerBytes)));
  packet.set(data, headerBytes);
  return packet;
}

function fragmentIpv6(dice: Dice, world: World): Uint8Array {
  const protocol = fewOf(dice, [17, 6, 17, 58]);
  const { data, word } = fragmentData(dice, protocol);
  const inside = dice.chance(90) ? { first: protocol, bytes: new Uint8Array(0) } : randomExtensions(dice, protocol);
  const header = Uint8Array.of(
    inside.first,
    dice.below(256),
    word >> 8,
    word,
    0,
    0,
    fewOf(dice, [0, 1]),
    fewOf(dice, [3, 4]),
  );
  const before = dice.chance(90) ? { first: 44, bytes: new Uint8Array(0) } : randomExtensions(dice, 44);
  const packet = new Uint8Array(40 + before.bytes.length + 8 + inside.bytes.length + data.length);
  writeUint32(packet, 0, 0x60000000);
  writeUint16(packet, 4, packet.length - 40);
  packet[6] = before.first;
  packet[7] = randomHops(dice);
  packet.set(fewOf(dice, world.clients6), 8);
  packet.set(fewOf(dice, world.vips6), 24);
  packet.set(before.bytes, 40);
  packet.set(header, 40 + before.bytes.length);
  packet.set(inside.bytes, 48 + before.bytes.length);
  packet.set(data, 48 + before.bytes.length + inside.bytes.length);
  return packet;
}

function randomLink(dice: Dice, isIpv6: boolean): Uint8Array {
  const tags = dice.pick([0, 0, 0, 0, 0, 0, 1, 1, 2, dice.chance(10) ? 3 : 2]);
  const link = dice.bytes(ETHERNET_MIN + 4 * tags);
  for (let tag = 0; tag < tags; tag++) writeUint16(link, 12 + 4 * tag, dice.pick([0x8100, 0x88a8]));
  writeUint16(link, link.length - 2, dice.chance(1) ? dice.below(0x10000) : isIpv6 ? 0x86dd : 0x0800);
  return link;
}

function randomIpv4(dice: Dice, world: World): Uint8Array {
  const optionBytes = dice.chance(10) ? 4 * dice.below(11) : 0;
  const { source, destination, payload: made } = randomTraffic(dice, 4, world);
  const { protocol, bytes: payload } = made;
  const headerBytes = 20 + optionBytes;
  const packet = new Uint8Array(headerBytes + payload.length);
  packet.set(dice.bytes(headerBytes));
  packet[0] = 0x40 | (headerBytes / 4);
  writeUint16(packet, 2, packet.length);
  writeUint16(packet, 6, dice.chance(96) ? dice.pick([0, 0x4000, 0x8000]) : dice.below(0x10000));
  packet[8] = randomHops(dice);
  packet[9] = protocol;
  packet.set(source, 12);
  packet.set(destination, 16);
  writeUint16(packet, 10, 0);
  writeUint16(packet, 10, foldChecksum(onesSum(packet, 0, headerBytes)));
  packet.set(payload, headerBytes);
  return packet;
}

function randomIpv6(dice: Dice, world: World): Uint8Array {
  const { source, destination, payload: made } = randomTraffic(dice, 6, world);
  const { protocol, bytes: payload } = made;
  const { first, bytes: extensions } = randomExtensions(dice, protocol);
  const packet = new Uint8Array(40 + extensions.length + payload.length);
  writeUint32(packet, 0, 0x60000000 | (dice.bits() & 0xfffffff));
  writeUint16(packet, 4, packet.length - 40);
  packet[6] = first;
  packet[7] = randomHops(dice);
  packet.set(source, 8);
  packet.set(destination, 24);
  packet.set(extensions, 40);
  packet.set(payload, 40 + extensions.length);
  return packet;
}

interface Payload {
  readonly protocol: number;
  readonly bytes: Uint8Array;
}

interface Traffic {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly payload: Payload;
}

/** To a VIP mostly; sometimes a reply of a backend behind nat. */
function randomTraffic(dice: Dice, version: 4 | 6, world: World): Traffic {
  const isIpv6 = version === 6;
  const client = dice.pick(isIpv6 ? world.clients6 : world.clients4);
  if (dice.chance(8)) {
    const natted = dice.pick(isIpv6 ? world.natted6 : world.natted4);
    return { source: natted, destination: client, payload: replyPayload(dice, version, world, natted) };
  }
  const vip = dice.chance(97) ? dice.pick(isIpv6 ? world.vips6 : world.vips4) : dice.bytes(isIpv6 ? 16 : 4);
  return { source: client, destination: vip, payload: randomPayload(dice, version, world, vip) };
}

/** The ports of a packet to a VIP change places; or an error about such a packet. */
function replyPayload(dice: Dice, version: 4 | 6, world: World, natted: Uint8Array): Payload {
  const isError = dice.chance(30);
  if (isError) return { protocol: version === 4 ? 1 : 58, bytes: randomIcmpError(dice, version, world, natted, true) };
  const payload = randomPayload(dice, version, world, natted);
  const { protocol, bytes } = payload;
  if ((protocol !== 6 && protocol !== 17) || bytes.length < 4) return payload;
  const ports = bytes.slice(0, 4);
  bytes.set(ports.subarray(2), 0);
  bytes.set(ports.subarray(0, 2), 2);
  if (dice.chance(30)) writeUint16(bytes, 0, 8080);
  return payload;
}

function randomHops(dice: Dice): number {
  return dice.chance(97) ? dice.below(256) : dice.below(3);
}

/** A chain of extension headers before `protocol`. */
function randomExtensions(dice: Dice, protocol: number): { first: number; bytes: Uint8Array } {
  const count = dice.chance(82) ? 0 : dice.chance(85) ? 1 + dice.below(3) : 6 + dice.below(4);
  const headers: Uint8Array[] = [];
  let next = protocol;
  for (let i = 0; i < count; i++) {
    const type = dice.pick([0, 43, 60, 51, 44]);
    const words = dice.below(3);
    const header = dice.bytes(type === 44 ? 8 : type === 51 ? 4 * (words + 2) : 8 * (words + 1));
    header[0] = next;
    header[1] = type === 44 ? dice.below(256) : words;
    if (type === 44) writeUint16(header, 2, dice.chance(80) ? dice.pick([0, 2, 4, 6]) : dice.below(0x10000));
    headers.unshift(header);
    next = type;
  }
  const bytes = new Uint8Array(headers.reduce((sum, header) => sum + header.length, 0));
  let at = 0;
  for (const header of headers) {
    bytes.set(header, at);
    at += header.length;
  }
  return { first: next, bytes };
}

/** `vip`: where the packet goes. */
function randomPayload(dice: Dice, version: 4 | 6, world: World, vip: Uint8Array): Payload {
  const roll = dice.below(100);
  if (roll < 52) return { protocol: 6, bytes: randomTcp(dice) };
  if (roll < 77) return { protocol: 17, bytes: randomUdp(dice) };
  const icmp = dice.chance(97) === (version === 4) ? 1 : 58;
  if (roll < 84) return { protocol: icmp, bytes: randomIcmp(dice, version) };
  if (roll < 96) return { protocol: icmp, bytes: randomIcmpError(dice, version, world, vip) };
  return { protocol: dice.pick([47, 50, 59, 132, dice.below(256)]), bytes: dice.bytes(dice.below(60)) };
}

function dataLength(dice: Dice): number {
  return dice.chance(90) ? dice.below(40) : dice.chance(90) ? dice.below(3000) : dice.below(9000);
}

function writePorts(dice: Dice, segment: Uint8Array): void {
  writeUint16(segment, 0, 1024 + dice.below(2));
  writeUint16(segment, 2, dice.chance(94) ? dice.pick(PORTS) : dice.below(0x10000));
}

function randomTcp(dice: Dice): Uint8Array {
  const headerBytes = 20 + (dice.chance(40) ? 4 * dice.below(11) : 0);
  const segment = dice.bytes(headerBytes + dataLength(dice));
  writePorts(dice, segment);
  segment[12] = ((headerBytes / 4) << 4) | dice.below(16);
  segment[13] = dice.pick([0x02, 0x02, 0x10, 0x18, 0x11, 0x04, dice.below(256)]);
  return segment;
}

function randomUdp(dice: Dice): Uint8Array {
  const data = dice.chance(65) ? randomQuic(dice) : dice.bytes(dataLength(dice));
  const datagram = new Uint8Array(8 + data.length);
  datagram.set(dice.bytes(8));
  datagram.set(data, 8);
  writePorts(dice, datagram);
  writeUint16(datagram, 4, dice.chance(90) ? datagram.length : dice.below(datagram.length + 10));
  if (dice.chance(15)) writeUint16(datagram, 6, 0); // none
  return datagram;
}

/** Echo requests with right checksums for the most part: also those that sum up to zero. IPv6 sums lack the pseudo header. */
function randomIcmp(dice: Dice, version: 4 | 6): Uint8Array {
  const message = dice.chance(10) ? new Uint8Array(8 + dice.below(4)) : dice.bytes(8 + dataLength(dice));
  message[0] = dice.chance(80) ? (version === 4 ? 8 : 128) : dice.below(256);
  message[1] = dice.chance(95) ? 0 : dice.below(256);
  if (dice.chance(70)) {
    writeUint16(message, 2, 0);
    writeUint16(message, 2, foldChecksum(onesSum(message, 0, message.length)));
  }
  return dice.chance(97) ? message : message.slice(0, dice.below(8));
}

/** About a packet that the VIP sent to a client, quoted as short as allowed, longer, or too short. */
function randomIcmpError(dice: Dice, version: 4 | 6, world: World, vip: Uint8Array, isFromBackend = false): Uint8Array {
  const quote = version === 4 ? quotedIpv4(dice, world, vip) : quotedIpv6(dice, world, vip);
  if (isFromBackend) turnQuote(dice, quote, version);
  const message = new Uint8Array(8 + quote.length);
  message.set(dice.bytes(8));
  message[0] = dice.chance(5) ? dice.below(256) : dice.pick(version === 4 ? [3, 3, 11, 12] : [1, 2, 3, 4]);
  message.set(quote, 8);
  return dice.chance(92) ? message : message.slice(0, dice.below(message.length));
}

function quotedIpv4(dice: Dice, world: World, vip: Uint8Array): Uint8Array {
  const headerBytes = 20 + (dice.chance(20) ? 4 * dice.below(11) : 0);
  const transport = quotedTransport(dice);
  const quote = dice.bytes(headerBytes + transport.bytes.length);
  quote[0] = ((dice.chance(98) ? 4 : dice.below(16)) << 4) | (headerBytes / 4);
  writeUint16(quote, 6, dice.chance(90) ? dice.pick([0, 0x4000, 0x2000]) : dice.below(0x10000));
  quote[9] = transport.protocol;
  quote.set(dice.chance(95) ? vip : dice.pick(world.vips4), 12);
  quote.set(dice.pick(world.clients4), 16);
  quote.set(transport.bytes, headerBytes);
  return quote;
}

function quotedIpv6(dice: Dice, world: World, vip: Uint8Array): Uint8Array {
  const transport = quotedTransport(dice);
  const { first, bytes: extensions } = randomExtensions(dice, transport.protocol);
  const quote = dice.bytes(40 + extensions.length + transport.bytes.length);
  quote[0] = dice.chance(98) ? 0x60 : dice.below(256);
  quote[6] = first;
  quote.set(dice.chance(95) ? vip : dice.pick(world.vips6), 8);
  quote.set(dice.pick(world.clients6), 24);
  quote.set(extensions, 40);
  quote.set(transport.bytes, 40 + extensions.length);
  return quote;
}

/** As the client's packet came to the backend: addresses and, without options or extension headers, ports change places. */
function turnQuote(dice: Dice, quote: Uint8Array, version: 4 | 6): void {
  const [at, size, transport] = version === 4 ? [12, 4, 4 * (quote[0] & 15)] : [8, 16, 40];
  const swap = (offset: number, bytes: number): void => {
    const first = quote.slice(offset, offset + bytes);
    quote.copyWithin(offset, offset + bytes, offset + 2 * bytes);
    quote.set(first, offset + bytes);
  };
  swap(at, size);
  if (transport + 4 > quote.length) return;
  swap(transport, 2);
  if (dice.chance(30)) writeUint16(quote, transport + 2, 8080);
}

/** From a service to a client: ports that flows of this world have. */
function quotedTransport(dice: Dice): Payload {
  const bytes = dice.bytes(dice.chance(60) ? 8 : 4 + dice.below(40));
  writeUint16(bytes, 0, dice.chance(94) ? dice.pick(PORTS) : dice.below(0x10000));
  writeUint16(bytes, 2, 1024 + dice.below(2));
  if (bytes.length >= 8 && dice.chance(10)) writeUint16(bytes, 6, 0);
  return { protocol: dice.chance(97) ? dice.pick([6, 6, 17]) : dice.below(256), bytes };
}

/** One to three faults: cut off, a byte or a 16-bit field changed, mostly in the headers. */
export function mutate(dice: Dice, frame: Uint8Array, ipOffset: number): Uint8Array {
  let result = frame;
  for (let faults = 1 + dice.below(3); faults > 0; faults--) {
    const roll = dice.below(6);
    const inHeaders = dice.below(Math.min(result.length, ipOffset + 80));
    if (roll === 0) result = result.slice(0, Math.max(ETHERNET_MIN, dice.below(result.length + 1)));
    else if (roll === 1) result[inHeaders] = dice.bits();
    else if (roll === 2) result[inHeaders] ^= 1 << dice.below(8);
    else if (roll === 3 && inHeaders + 1 < result.length) writeUint16(result, inHeaders, dice.below(result.length + 2));
    else if (roll === 4 && result.length > ipOffset + 6) {
      // The length field of IPv4 or IPv6, a little off.
      const at = ipOffset + (result[ipOffset] >> 4 === 6 ? 4 : 2);
      writeUint16(result, at, Math.max(0, result.length - ipOffset - 3 + dice.below(7) - dice.pick([0, 0, 40])));
    } else if (roll === 5) result = result.slice(0, Math.max(ETHERNET_MIN, result.length - dice.below(12)));
  }
  return result;
}
