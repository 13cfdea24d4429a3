/** A balancer is a router: it takes one from the TTL or hop limit (bpf/hops.h; RFC 1812, 5.3.1; RFC 8200, 3). */
import { updateChecksum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import type { IpHeader } from './parse.ts';

function hopsOffset({ version, offset }: IpHeader): number {
  return version === 4 ? offset + 8 : offset + 7;
}

/** It must not go any further. */
export function isExpired(frame: Uint8Array, ip: IpHeader): boolean {
  return frame[hopsOffset(ip)] <= 1;
}

/** A copy of the frame with one hop less, and in IPv4 the checksum as RFC 1624 has it. */
export function takeHop(frame: Uint8Array, ip: IpHeader): Uint8Array {
  const result = frame.slice();
  const at = hopsOffset(ip);
  result[at]--;
  if (ip.version === 4) {
    const checksum = updateChecksum(readUint16(frame, at + 2), readUint16(frame, at), readUint16(result, at));
    writeUint16(result, at + 2, checksum);
  }
  return result;
}
