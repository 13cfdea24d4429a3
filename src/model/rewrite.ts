/**
 * An address and a port of a packet change in place, and with them the checksums over them (bpf/rewrite.h,
 * bpf/rewrite-error.h; RFC 1624, equation 3). Frames are changed: the caller has made a copy.
 */
import { foldChecksum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/packet.ts';
import type { IpHeader, Transport } from './parse.ts';
import type { QuotedFlow } from './quote.ts';

/** What one end of a packet becomes. */
export interface End {
  /** 16 bytes, IPv4-mapped. */
  readonly address: Uint8Array;
  readonly port: number;
  readonly isSource: boolean;
}

/** Words of 16 bits that change, each as the complement of what was and what is. Gives the sum of those differences, not folded. */
function store(frame: Uint8Array, offset: number, bytes: Uint8Array): number {
  let difference = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    difference += (~readUint16(frame, offset + i) & 0xffff) + readUint16(bytes, i);
  }
  frame.set(bytes, offset);
  return difference;
}

function storeWord(frame: Uint8Array, offset: number, value: number): number {
  return store(frame, offset, Uint8Array.of(value >>> 8, value));
}

function fixed(checksum: number, difference: number): number {
  return foldChecksum((~checksum & 0xffff) + difference);
}

/** UDP: no checksum stays none, and a sum of 0 is written as 0xffff (RFC 768). */
function fixedTransport(protocol: number, checksum: number, difference: number): number {
  if (protocol !== PROTOCOL_UDP) return fixed(checksum, difference);
  return checksum === 0 ? 0 : fixed(checksum, difference) || 0xffff;
}

function checksumOffset(protocol: number): number {
  return protocol === PROTOCOL_TCP ? 16 : 6;
}

/** In the IP header, with its checksum. Gives the difference for checksums over the pseudo header. */
export function rewriteAddress(
  frame: Uint8Array,
  ip: IpHeader,
  { address, isSource }: Pick<End, 'address' | 'isSource'>,
): number {
  const offset = isSource ? ip.sourceOffset : ip.destinationOffset;
  const difference = store(frame, offset, address.subarray(16 - ip.addressBytes));
  if (ip.version === 4) writeUint16(frame, ip.offset + 10, fixed(readUint16(frame, ip.offset + 10), difference));
  return difference;
}

/** A packet of TCP or UDP. */
export function rewriteEnd(frame: Uint8Array, ip: IpHeader, { protocol, offset }: Transport, end: End): void {
  const difference = rewriteAddress(frame, ip, end) + storeWord(frame, offset + (end.isSource ? 0 : 2), end.port);
  const at = offset + checksumOffset(protocol);
  writeUint16(frame, at, fixedTransport(protocol, readUint16(frame, at), difference));
}

/** An ICMP error: an end of the packet that it quotes, and the other end of its own, since who sent that gets the error. */
export function rewriteError(
  frame: Uint8Array,
  ip: IpHeader,
  transport: Transport,
  quoted: QuotedFlow,
  end: End,
): void {
  const { address, port, isSource } = end;
  const addressOffset = quoted.offset + { 4: isSource ? 12 : 16, 6: isSource ? 8 : 24 }[ip.version];
  let difference = store(frame, addressOffset, address.subarray(16 - ip.addressBytes));
  let sum = difference;
  if (ip.version === 4) {
    const at = quoted.offset + 10;
    sum += storeWord(frame, at, fixed(readUint16(frame, at), difference));
  }
  const portDifference = storeWord(frame, quoted.transportOffset + (isSource ? 0 : 2), port);
  difference += portDifference;
  sum += portDifference;
  const at = quoted.transportOffset + checksumOffset(quoted.protocol);
  if (at + 2 <= ip.offset + ip.lengthBytes)
    sum += storeWord(frame, at, fixedTransport(quoted.protocol, readUint16(frame, at), difference));
  const own = rewriteAddress(frame, ip, { address, isSource: !isSource });
  if (ip.version === 6) sum += own;
  writeUint16(frame, transport.offset + 2, fixed(readUint16(frame, transport.offset + 2), sum));
}
