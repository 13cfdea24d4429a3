/** What is too long for the way to its backend once all headers are around it (bpf/mtu.h). */
import { readUint16 } from '../net/ethernet.ts';
import { KEY_BYTES, outerBytes, outerProtocol } from './encapsulate.ts';
import { BACKEND_AGENT, BACKEND_IPV6, canNameOthers, FORWARDING_L2, FORWARDING_NAT } from './layout.ts';
import type { IpHeader } from './parse.ts';

/** What every path carries: RFC 791, 3.2; RFC 8200, 5. */
export const LEAST_MTU = { 4: 68, 6: 1280 } as const;
const DONT_FRAGMENT = 0x4000;

/**
 * Bytes of the longest headers that a flow may meet on its way to a backend: the key of a second chance comes and goes with
 * the changes of its slot, and only for backends with the agent. `flags`: BACKEND_*.
 */
export function mostOuterBytes(forwarding: number, version: 4 | 6, flags: number): number {
  if (forwarding === FORWARDING_L2 || forwarding === FORWARDING_NAT) return 0;
  const isKeyed = (flags & BACKEND_AGENT) !== 0 && canNameOthers(forwarding);
  return outerBytes(outerProtocol(forwarding, version), (flags & BACKEND_IPV6) !== 0) + (isKeyed ? KEY_BYTES : 0);
}

/** The longest IP packet that a sender is told of. */
export function limitOf(mtuBytes: number, mostBytes: number, version: 4 | 6): number {
  return Math.max(LEAST_MTU[version], mtuBytes - mostBytes);
}

/** Is it the sender who has to send less at a time? Otherwise fragmentation is ours. */
export function isSendersPart(frame: Uint8Array, ip: IpHeader, limit: number): boolean {
  if (ip.lengthBytes <= limit) return false;
  return ip.version === 6 || (readUint16(frame, ip.offset + 6) & DONT_FRAGMENT) !== 0;
}
