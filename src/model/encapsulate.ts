/**
 * What goes around an IP packet, as bpf/encapsulate.h writes it: Ethernet header with its VLAN tags, outer IP, then GRE
 * (RFC 2784, key: RFC 2890), UDP and GUE (draft-ietf-intarea-gue, version 0) or nothing (IP in IP), and the packet as it
 * came. Bytes behind the IP packet stay behind it and are not counted in outer lengths.
 */
import { foldChecksum } from '../net/checksum.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, readUint16, writeUint16, writeUint32 } from '../net/ethernet.ts';
import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  PROTOCOL_GRE,
  PROTOCOL_IPV4,
  PROTOCOL_IPV6,
  PROTOCOL_UDP,
} from '../net/packet.ts';
import { type EngineBackend, type EngineService, headerSum } from './engine.ts';
import { BACKEND_IPV6, FORWARDING_GUE, FORWARDING_IPIP, FORWARDING_UNSAID } from './layout.ts';
import type { IpHeader } from './parse.ts';

export const GRE_KEY_PRESENT = 0x2000;
export const GUE_PORT = 6080;
export const GRE_BYTES = 4;
/** UDP and GUE. */
export const GUE_BYTES = 12;
/** The other candidates of a second chance: the key of GRE, private data of GUE. */
export const KEY_BYTES = 4;
const OUTER_TTL = 64;
const DONT_FRAGMENT = 0x4000;
const MAX_LENGTH = 0xffff;

/** What differs from packet to packet to one backend. */
export interface Tunnel {
  /** Of the outer IP header: says what stands between the two. */
  readonly protocol: number;
  /** Of GUE. */
  readonly sourcePort: number;
  /** 20 bits, for an outer IPv6 header. */
  readonly flowLabel: number;
  /** Other candidates, 32 bits; 0: none. Only for GRE and GUE. */
  readonly key: number;
}

/** A backend's own mode goes before its service's. */
export function forwardingOf(backend: EngineBackend | undefined, service: Pick<EngineService, 'forwarding'>): number {
  const own = backend?.forwarding ?? FORWARDING_UNSAID;
  return own === FORWARDING_UNSAID ? service.forwarding : own;
}

/** The protocol of the outer IP header. */
export function outerProtocol(forwarding: number, version: 4 | 6): number {
  if (forwarding === FORWARDING_IPIP) return version === 6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
  return forwarding === FORWARDING_GUE ? PROTOCOL_UDP : PROTOCOL_GRE;
}

/** 49152 .. 65535, by 14 bits of the flow hash. */
export function gueSourcePort(flowLabel: number): number {
  return 0xc000 | (flowLabel & 0x3fff);
}

/** Bytes between outer and inner IP header, without the key. */
function shimBytes(protocol: number): number {
  if (protocol === PROTOCOL_GRE) return GRE_BYTES;
  return protocol === PROTOCOL_UDP ? GUE_BYTES : 0;
}

/** Of all headers around the inner packet, without the key. `protocol`: of the outer IP header. */
export function outerBytes(protocol: number, isIpv6: boolean): number {
  return (isIpv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES) + shimBytes(protocol);
}

/** The frame to `backend`, or null if an outer length field could not say its length. */
export function encapsulate(
  frame: Uint8Array,
  ip: IpHeader,
  backend: EngineBackend,
  tunnel: Tunnel,
): Uint8Array | null {
  const isIpv6 = (backend.flags & BACKEND_IPV6) !== 0;
  const outerIpBytes = isIpv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
  const bytes = outerBytes(tunnel.protocol, isIpv6) + (tunnel.key === 0 ? 0 : KEY_BYTES);
  const length = ip.lengthBytes + bytes;
  if (length > MAX_LENGTH + (isIpv6 ? IPV6_HEADER_BYTES : 0)) return null;
  const result = new Uint8Array(frame.length + bytes);
  result.set(frame.subarray(0, ip.offset));
  result.set(frame.subarray(ip.offset), ip.offset + bytes);
  result.set(backend.nextHopMac, 0);
  result.set(backend.ownMac, 6);
  writeUint16(result, ip.offset - 2, isIpv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  if (isIpv6) writeOuterIpv6(result, ip.offset, backend, length, tunnel);
  else writeOuterIpv4(result, ip.offset, backend, length, tunnel);
  const at = ip.offset + outerIpBytes;
  if (tunnel.protocol === PROTOCOL_GRE) writeGre(result, at, ip, tunnel.key);
  else if (tunnel.protocol === PROTOCOL_UDP) writeGue(result, at, ip, tunnel);
  return result;
}

function writeGre(frame: Uint8Array, at: number, ip: IpHeader, key: number): void {
  writeUint16(frame, at, key === 0 ? 0 : GRE_KEY_PRESENT);
  writeUint16(frame, at + 2, ip.version === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  if (key !== 0) writeUint32(frame, at + 4, key);
}

/** The UDP checksum is 0 (RFC 6935, RFC 6936); the key is private data, beyond what flags announce. */
function writeGue(frame: Uint8Array, at: number, ip: IpHeader, { sourcePort, key }: Tunnel): void {
  const keyBytes = key === 0 ? 0 : KEY_BYTES;
  writeUint16(frame, at, sourcePort);
  writeUint16(frame, at + 2, GUE_PORT);
  writeUint16(frame, at + 4, GUE_BYTES + keyBytes + ip.lengthBytes);
  writeUint16(frame, at + 6, 0);
  frame[at + 8] = keyBytes / 4;
  frame[at + 9] = ip.version === 6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
  writeUint16(frame, at + 10, 0);
  if (key !== 0) writeUint32(frame, at + 12, key);
}

/** The lowest bits of the outer source, that vary by flow. */
function sourceLow({ sourceBits = 0 }: EngineBackend, flowLabel: number): number {
  return flowLabel & ((1 << sourceBits) - 1);
}

function writeOuterIpv4(
  frame: Uint8Array,
  at: number,
  backend: EngineBackend,
  length: number,
  { protocol, flowLabel }: Tunnel,
): void {
  frame[at] = 0x45;
  frame[at + 1] = 0;
  writeUint16(frame, at + 2, length);
  writeUint16(frame, at + 4, 0);
  writeUint16(frame, at + 6, DONT_FRAGMENT);
  frame[at + 8] = OUTER_TTL;
  frame[at + 9] = protocol;
  const low = sourceLow(backend, flowLabel);
  writeUint16(frame, at + 10, foldChecksum(headerSum(backend) - PROTOCOL_GRE + protocol + length + low));
  frame.set(backend.source.subarray(12), at + 12);
  writeUint16(frame, at + 14, readUint16(frame, at + 14) | low);
  frame.set(backend.address.subarray(12), at + 16);
}

function writeOuterIpv6(frame: Uint8Array, at: number, backend: EngineBackend, length: number, tunnel: Tunnel): void {
  writeUint32(frame, at, 0x60000000 | tunnel.flowLabel);
  writeUint16(frame, at + 4, length - IPV6_HEADER_BYTES);
  frame[at + 6] = tunnel.protocol;
  frame[at + 7] = OUTER_TTL;
  frame.set(backend.source, at + 8);
  writeUint16(frame, at + 22, readUint16(frame, at + 22) | sourceLow(backend, tunnel.flowLabel));
  frame.set(backend.address, at + 24);
}
