/**
 * GRE (RFC 2784, key: RFC 2890) around an IP packet, as bpf/encapsulate.h writes it: Ethernet header with its VLAN tags,
 * outer IP, GRE, the packet as it came. Bytes behind the IP packet stay behind it and are not counted in outer lengths.
 */
import { foldChecksum } from '../net/checksum.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, writeUint16, writeUint32 } from '../net/ethernet.ts';
import { IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, PROTOCOL_GRE } from '../net/packet.ts';
import { type EngineBackend, headerSum } from './engine.ts';
import { BACKEND_IPV6 } from './layout.ts';
import type { IpHeader } from './parse.ts';

export const GRE_KEY_PRESENT = 0x2000;
const OUTER_TTL = 64;
const DONT_FRAGMENT = 0x4000;
const MAX_LENGTH = 0xffff;

/**
 * The frame to `backend`, or null if an outer length field could not say its length. `key`: for GRE, 32 bits; 0: none.
 * `flowLabel`: 20 bits, for an outer IPv6 header.
 */
export function encapsulate(
  frame: Uint8Array,
  ip: IpHeader,
  backend: EngineBackend,
  key: number,
  flowLabel: number,
): Uint8Array | null {
  const isIpv6 = (backend.flags & BACKEND_IPV6) !== 0;
  const outerIpBytes = isIpv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
  const outerBytes = outerIpBytes + (key === 0 ? 4 : 8);
  const length = ip.lengthBytes + outerBytes;
  if (length > MAX_LENGTH + (isIpv6 ? IPV6_HEADER_BYTES : 0)) return null;
  const result = new Uint8Array(frame.length + outerBytes);
  result.set(frame.subarray(0, ip.offset));
  result.set(frame.subarray(ip.offset), ip.offset + outerBytes);
  result.set(backend.nextHopMac, 0);
  result.set(backend.ownMac, 6);
  writeUint16(result, ip.offset - 2, isIpv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  if (isIpv6) writeOuterIpv6(result, ip.offset, backend, length, flowLabel);
  else writeOuterIpv4(result, ip.offset, backend, length);
  const gre = ip.offset + outerIpBytes;
  writeUint16(result, gre, key === 0 ? 0 : GRE_KEY_PRESENT);
  writeUint16(result, gre + 2, ip.version === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  if (key !== 0) writeUint32(result, gre + 4, key);
  return result;
}

function writeOuterIpv4(frame: Uint8Array, at: number, backend: EngineBackend, length: number): void {
  frame[at] = 0x45;
  frame[at + 1] = 0;
  writeUint16(frame, at + 2, length);
  writeUint16(frame, at + 4, 0);
  writeUint16(frame, at + 6, DONT_FRAGMENT);
  frame[at + 8] = OUTER_TTL;
  frame[at + 9] = PROTOCOL_GRE;
  writeUint16(frame, at + 10, foldChecksum(headerSum(backend) + length));
  frame.set(backend.source.subarray(12), at + 12);
  frame.set(backend.address.subarray(12), at + 16);
}

function writeOuterIpv6(
  frame: Uint8Array,
  at: number,
  backend: EngineBackend,
  length: number,
  flowLabel: number,
): void {
  writeUint32(frame, at, 0x60000000 | flowLabel);
  writeUint16(frame, at + 4, length - IPV6_HEADER_BYTES);
  frame[at + 6] = PROTOCOL_GRE;
  frame[at + 7] = OUTER_TTL;
  frame.set(backend.source, at + 8);
  frame.set(backend.address, at + 24);
}
