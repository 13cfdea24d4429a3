/**
 * The packet that an ICMP error quotes (bpf/quote.h): its IP header and at least 8 bytes (RFC 792; RFC 4443, 2.4 c). Nothing
 * in it is believed but what the bytes at hand bear out.
 */
import { readUint16 } from '../net/ethernet.ts';
import { IPV6_HEADER_BYTES, readIpv4, readIpv6, walkExtensionHeaders } from '../net/packet.ts';
import { isIcmp } from './icmp.ts';
import type { IpHeader, Transport } from './parse.ts';

const ICMP_BYTES = 8;
/** Of the transport header, that every quote has. */
const QUOTE_TRANSPORT_BYTES = 8;
const IPV4_OFFSET_MASK = 0x1fff;
/** Unreachable, time exceeded, parameter problem; unreachable, too big, time exceeded, parameter problem. */
const ERROR_TYPES = { 4: [3, 11, 12], 6: [1, 2, 3, 4] } as const;

/** The flow of the quoted packet as the client sends it. */
export interface QuotedFlow {
  /** Of the client, then of the VIP, each of 4 or 16 bytes. */
  readonly addresses: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  /** In the frame: of the quoted IP header and of the transport header behind it. */
  readonly offset: number;
  readonly transportOffset: number;
}

/**
 * Null: `transport` is no ICMP error, or none about a packet that its own destination sent, or nothing in it that ports
 * can be read from. The quoted length is not looked at: some routers change it.
 */
export function readQuote(frame: Uint8Array, ip: IpHeader, transport: Transport): QuotedFlow | null {
  if (!isIcmp(ip, transport)) return null;
  const end = ip.offset + ip.lengthBytes;
  const at = transport.offset + ICMP_BYTES;
  const types: readonly number[] = ERROR_TYPES[ip.version];
  if (at > end || !types.includes(frame[transport.offset])) return null;
  const quote = ip.version === 4 ? quotedIpv4(frame, at, end) : quotedIpv6(frame, at, end);
  if (quote === null || quote.transportOffset + QUOTE_TRANSPORT_BYTES > end) return null;
  const { addressBytes } = ip;
  for (let i = 0; i < addressBytes; i++)
    if (frame[quote.sourceOffset + i] !== frame[ip.destinationOffset + i]) return null;
  const addresses = new Uint8Array(2 * addressBytes);
  addresses.set(frame.subarray(quote.destinationOffset, quote.destinationOffset + addressBytes));
  addresses.set(frame.subarray(quote.sourceOffset, quote.sourceOffset + addressBytes), addressBytes);
  return {
    addresses,
    sourcePort: readUint16(frame, quote.transportOffset + 2),
    destinationPort: readUint16(frame, quote.transportOffset),
    protocol: quote.protocol,
    offset: at,
    transportOffset: quote.transportOffset,
  };
}

interface QuotedIp {
  readonly sourceOffset: number;
  readonly destinationOffset: number;
  readonly transportOffset: number;
  readonly protocol: number;
}

function quotedIpv4(frame: Uint8Array, at: number, end: number): QuotedIp | null {
  const ip = readIpv4(frame.subarray(0, end), at);
  if (!ip.ok || (readUint16(frame, at + 6) & IPV4_OFFSET_MASK) !== 0) return null;
  const { sourceOffset, destinationOffset, protocol } = ip;
  return { sourceOffset, destinationOffset, protocol, transportOffset: at + ip.headerBytes };
}

function quotedIpv6(frame: Uint8Array, at: number, end: number): QuotedIp | null {
  const ip = readIpv6(frame.subarray(0, end), at);
  if (!ip.ok) return null;
  const payload = walkExtensionHeaders(frame, at + IPV6_HEADER_BYTES, end, ip.nextHeader);
  if (!payload.ok || payload.isFragment) return null;
  const { sourceOffset, destinationOffset } = ip;
  return { sourceOffset, destinationOffset, protocol: payload.protocol, transportOffset: payload.offset };
}
