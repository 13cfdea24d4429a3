/**
 * What an attacker sends to VIPs, as whole Ethernet frames. All of it comes from two prefixes that nobody else uses, inside
 * tunnels too: by them a program can tell the attack from traffic. Pure; randomness is an argument.
 */

import type { Address } from '../../net/address.ts';
import { foldChecksum, onesSum, pseudoHeaderSum } from '../../net/checksum.ts';

export const ATTACK_KINDS = ['syn', 'ack', 'fragments', 'malformed', 'encapsulated', 'icmp'] as const;
export type AttackKind = (typeof ATTACK_KINDS)[number];

/** Benchmarking addresses (RFC 2544) and documentation addresses (RFC 3849) that no machine of the lab has. */
export const ATTACK_PREFIXES = ['198.18.64.0/18', '2001:db8:bad::/48'] as const;

export type Random = () => number;

export interface AttackTarget {
  readonly vip: Address;
  readonly port: number;
}

const ETHERNET_BYTES = 14;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
const GRE = 47;
const IPIP = 4;
const IPV6_IN_IP = 41;
const SYN = 0x02;
const ACK = 0x10;
const TTL = 61;

function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function attacker(family: 4 | 6, random: Random): Uint8Array {
  const any = below(random, 1 << 14);
  if (family === 4) return Uint8Array.of(198, 18, 64 | (any >> 8), any & 255);
  const out = Buffer.from('20010db80bad00000000000000000000', 'hex');
  out.writeUInt32BE(below(random, 2 ** 32), 6);
  out.writeUInt32BE(below(random, 2 ** 32), 12);
  return out;
}

interface Ip {
  readonly source: Uint8Array;
  readonly destination: Address;
  readonly protocol: number;
  /** IPv4: flags and offset; IPv6: none is sent. */
  readonly fragment?: number;
  readonly id?: number;
}

/** An IP packet around `payload`. */
function ip({ source, destination, protocol, fragment = 0, id = 0 }: Ip, payload: Uint8Array): Buffer {
  if (destination.family === 6) {
    const out = Buffer.alloc(40 + payload.length);
    out[0] = 0x60;
    out.writeUInt16BE(payload.length, 4);
    out[6] = protocol;
    out[7] = TTL;
    out.set(source, 8);
    out.set(destination.bytes, 24);
    out.set(payload, 40);
    return out;
  }
  const out = Buffer.alloc(20 + payload.length);
  out[0] = 0x45;
  out.writeUInt16BE(out.length, 2);
  out.writeUInt16BE(id, 4);
  out.writeUInt16BE(fragment, 6);
  out[8] = TTL;
  out[9] = protocol;
  out.set(source, 12);
  out.set(destination.bytes, 16);
  out.writeUInt16BE(foldChecksum(onesSum(out, 0, 20)), 10);
  out.set(payload, 20);
  return out;
}

function segment(source: Uint8Array, { vip, port }: AttackTarget, flags: number, random: Random): Buffer {
  const out = Buffer.alloc(20);
  out.writeUInt16BE(1024 + below(random, 60_000), 0);
  out.writeUInt16BE(port, 2);
  out.writeUInt32BE(below(random, 2 ** 32), 4);
  if (flags & ACK) out.writeUInt32BE(below(random, 2 ** 32), 8);
  out[12] = 0x50;
  out[13] = flags;
  out.writeUInt16BE(0xffff, 14);
  const from = { family: vip.family, bytes: source } as Address;
  out.writeUInt16BE(foldChecksum(onesSum(out, 0, 20, pseudoHeaderSum(from, vip, TCP, 20))), 16);
  return out;
}

function tcp(target: AttackTarget, flags: number, random: Random): Buffer {
  const source = attacker(target.vip.family, random);
  return ip({ source, destination: target.vip, protocol: TCP }, segment(source, target, flags, random));
}

function noise(length: number, random: Random): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) out.writeUInt32LE(below(random, 2 ** 32), at);
  return out;
}

/** First, later and last ones, overlapping ones, ones that nothing follows. */
function fragment({ vip }: AttackTarget, random: Random): Buffer {
  const source = attacker(vip.family, random);
  const offset = random() < 0.4 ? 0 : below(random, 1000);
  const more = random() < 0.7 ? 1 : 0;
  const protocol = random() < 0.5 ? TCP : UDP;
  const body = noise(8 * (1 + below(random, 60)), random);
  // Few ids, so that some meet.
  const id = below(random, 256);
  if (vip.family === 4) return ip({ source, destination: vip, protocol, id, fragment: (more << 13) | offset }, body);
  const header = Buffer.alloc(8);
  header[0] = protocol;
  header.writeUInt16BE((offset << 3) | more, 2);
  header.writeUInt32BE(id, 4);
  return ip({ source, destination: vip, protocol: 44 }, Buffer.concat([header, body]));
}

/** A packet with one or two bytes of its headers changed, or cut. The addresses stay, or no router would bring it. */
function malformed(target: AttackTarget, random: Random): Buffer {
  const packet = tcp(target, random() < 0.5 ? SYN : ACK, random);
  const four = target.vip.family === 4;
  const header = four ? 20 : 40;
  // The version stays: it says how the frame is read at all. A router drops a wrong IPv4 checksum, so it is put right.
  const places = four ? [1, 2, 3, 4, 5, 6, 7, 9] : [4, 5, 6];
  for (let count = 1 + below(random, 2); count > 0; count--) {
    const inIp = random() < 0.5;
    const at = inIp ? (places[below(random, places.length)] as number) : header + below(random, 20);
    packet[at] = below(random, 256);
  }
  if (four && random() < 0.2) packet[0] = 0x40 | below(random, 16);
  if (four) {
    packet.writeUInt16BE(0, 10);
    const length = Math.min(packet.length, 4 * ((packet[0] as number) & 15));
    packet.writeUInt16BE(foldChecksum(onesSum(packet, 0, length)), 10);
  }
  return random() < 0.3 ? packet.subarray(0, header + below(random, 20)) : packet;
}

/** As if it came from a balancer: GRE with a key, GUE and IP in IP around a packet to the VIP. */
function encapsulated(target: AttackTarget, random: Random): Buffer {
  const { vip } = target;
  const inner = tcp(target, ACK, random);
  const source = attacker(vip.family, random);
  const kind = below(random, 3);
  if (kind === 0) return ip({ source, destination: vip, protocol: vip.family === 4 ? IPIP : IPV6_IN_IP }, inner);
  if (kind === 1) {
    const gre = Buffer.alloc(8);
    gre.writeUInt16BE(0x2000, 0);
    gre.writeUInt16BE(vip.family === 4 ? 0x0800 : 0x86dd, 2);
    gre.writeUInt32BE(below(random, 2 ** 32), 4);
    return ip({ source, destination: vip, protocol: GRE }, Buffer.concat([gre, inner]));
  }
  const gue = Buffer.alloc(12);
  gue.writeUInt16BE(1024 + below(random, 60_000), 0);
  gue.writeUInt16BE(6080, 2);
  gue.writeUInt16BE(12 + inner.length, 4);
  gue[9] = vip.family === 4 ? IPIP : IPV6_IN_IP;
  return ip({ source, destination: vip, protocol: UDP }, Buffer.concat([gue, inner]));
}

/** Echo requests, and errors that quote flows of the VIP that may or may not be there. */
function icmp(target: AttackTarget, random: Random): Buffer {
  const { vip } = target;
  const source = attacker(vip.family, random);
  const four = vip.family === 4;
  const isEcho = random() < 0.4;
  const head = Buffer.alloc(8);
  head[0] = isEcho ? (four ? 8 : 128) : ((four ? [3, 11, 12] : [1, 2, 3])[below(random, 3)] as number);
  head[1] = isEcho ? 0 : below(random, four ? 5 : 2);
  head.writeUInt32BE(isEcho ? below(random, 2 ** 32) : 1280, 4);
  // What is quoted is a packet that the VIP would have sent to the attacker.
  const quoted = Buffer.alloc(four ? 28 : 48);
  quoted[0] = four ? 0x45 : 0x60;
  quoted[four ? 9 : 6] = TCP;
  quoted.set(vip.bytes, four ? 12 : 8);
  quoted.set(source, four ? 16 : 24);
  quoted.writeUInt16BE(target.port, four ? 20 : 40);
  quoted.writeUInt16BE(1024 + below(random, 60_000), four ? 22 : 42);
  const message = Buffer.concat([head, isEcho ? noise(8 * below(random, 100), random) : quoted]);
  const from = { family: vip.family, bytes: source } as Address;
  const seed = four ? 0 : pseudoHeaderSum(from, vip, ICMPV6, message.length);
  message.writeUInt16BE(foldChecksum(onesSum(message, 0, message.length, seed)), 2);
  return ip({ source, destination: vip, protocol: four ? ICMP : ICMPV6 }, message);
}

const MAKERS: Readonly<Record<AttackKind, (target: AttackTarget, random: Random) => Buffer>> = {
  syn: (target, random) => tcp(target, SYN, random),
  ack: (target, random) => tcp(target, ACK, random),
  fragments: fragment,
  malformed,
  encapsulated,
  icmp,
};

/** A frame to the next hop `mac`. */
export function attackFrame(kind: AttackKind, target: AttackTarget, mac: Uint8Array, random: Random): Uint8Array {
  const packet = MAKERS[kind](target, random);
  const frame = new Uint8Array(ETHERNET_BYTES + packet.length);
  frame.set(mac, 0);
  frame[6] = 2; // a locally administered sender
  frame.set(target.vip.family === 4 ? [0x08, 0x00] : [0x86, 0xdd], 12);
  frame.set(packet, ETHERNET_BYTES);
  return frame;
}
