/**
 * Views on IP packets and their transport headers: where things stand and what the fixed fields say. Nothing is copied and
 * nothing is trusted: what does not fit gives a refusal with the offset. Offsets are from the beginning of `bytes`.
 */
import { type Refusal, readUint16, readUint32 } from './ethernet.ts';

export const PROTOCOL_HOP_BY_HOP = 0;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPV4 = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_ROUTING = 43;
export const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_AH = 51;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_NONE = 59;
export const PROTOCOL_DESTINATION_OPTIONS = 60;

export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
export const TCP_HEADER_BYTES = 20;
export const UDP_HEADER_BYTES = 8;

/** RFC 8200 sets no bound; more than this is nobody's honest packet. */
export const MAX_EXTENSION_HEADERS = 8;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;

/** The fixed part of an IPv4 header: of the lengths only IHL >= 5 is checked. */
export interface Ipv4View {
  readonly ok: true;
  readonly headerBytes: number;
  readonly totalLength: number;
  readonly protocol: number;
  readonly timeToLive: number;
  /** MF set or offset not 0. */
  readonly isFragment: boolean;
  readonly sourceOffset: number;
  readonly destinationOffset: number;
}

/** Reads the fixed IPv4 header at `start`. Refuses: shorter than 20 bytes, another version, IHL below 5. */
export function readIpv4(bytes: Uint8Array, start: number): Ipv4View | Refusal {
  if (bytes.length - start < IPV4_HEADER_BYTES) return refuse('shorter than an IPv4 header', bytes.length);
  if (bytes[start] >> 4 !== 4) return refuse('IP version is not 4', start);
  const headerBytes = (bytes[start] & 15) * 4;
  if (headerBytes < IPV4_HEADER_BYTES) return refuse('IPv4 header length below 20 bytes', start);
  return {
    ok: true,
    headerBytes,
    totalLength: readUint16(bytes, start + 2),
    protocol: bytes[start + 9],
    timeToLive: bytes[start + 8],
    isFragment: (readUint16(bytes, start + 6) & 0x3fff) !== 0,
    sourceOffset: start + 12,
    destinationOffset: start + 16,
  };
}

/** The fixed IPv6 header: lengths not checked beyond it. */
export interface Ipv6View {
  readonly ok: true;
  readonly payloadLength: number;
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly flowLabel: number;
  readonly sourceOffset: number;
  readonly destinationOffset: number;
}

/** Reads the fixed IPv6 header at `start`. Refuses: shorter than 40 bytes, another version. */
export function readIpv6(bytes: Uint8Array, start: number): Ipv6View | Refusal {
  if (bytes.length - start < IPV6_HEADER_BYTES) return refuse('shorter than an IPv6 header', bytes.length);
  if (bytes[start] >> 4 !== 6) return refuse('IP version is not 6', start);
  return {
    ok: true,
    payloadLength: readUint16(bytes, start + 4),
    nextHeader: bytes[start + 6],
    hopLimit: bytes[start + 7],
    flowLabel: readUint32(bytes, start) & 0xfffff,
    sourceOffset: start + 8,
    destinationOffset: start + 24,
  };
}

/** What follows the extension headers of an IPv6 packet. */
export interface Ipv6Payload {
  readonly ok: true;
  /** First protocol that is no known extension header; meaningless for a fragment. */
  readonly protocol: number;
  readonly offset: number;
  readonly extensionHeaders: number;
  /** A fragment header that is not atomic was met; the walk ends there. */
  readonly isFragment: boolean;
}

/**
 * Walks the extension headers from `offset`, whose type is `nextHeader`, up to `end` (the end of the IP packet): hop-by-hop,
 * routing, destination options, AH, atomic fragment headers (RFC 6946). Refuses: a header beyond `end`, more than eight.
 */
export function walkExtensionHeaders(
  bytes: Uint8Array,
  offset: number,
  end: number,
  nextHeader: number,
): Ipv6Payload | Refusal {
  let protocol = nextHeader;
  let at = offset;
  for (let headers = 0; ; headers++) {
    if (!isExtensionHeader(protocol))
      return { ok: true, protocol, offset: at, extensionHeaders: headers, isFragment: false };
    if (headers === MAX_EXTENSION_HEADERS) return refuse('more than eight extension headers', at);
    if (end - at < 8) return refuse('ends within an extension header', end);
    if (protocol === PROTOCOL_FRAGMENT && (readUint16(bytes, at + 2) & 0xfff9) !== 0) {
      return { ok: true, protocol, offset: at, extensionHeaders: headers, isFragment: true };
    }
    const lengthBytes = extensionHeaderBytes(protocol, bytes[at + 1]);
    if (end - at < lengthBytes) return refuse('extension header is longer than the packet', at + 1);
    protocol = bytes[at];
    at += lengthBytes;
  }
}

function isExtensionHeader(protocol: number): boolean {
  return (
    protocol === PROTOCOL_HOP_BY_HOP ||
    protocol === PROTOCOL_ROUTING ||
    protocol === PROTOCOL_FRAGMENT ||
    protocol === PROTOCOL_AH ||
    protocol === PROTOCOL_DESTINATION_OPTIONS
  );
}

function extensionHeaderBytes(protocol: number, lengthField: number): number {
  if (protocol === PROTOCOL_FRAGMENT) return 8;
  if (protocol === PROTOCOL_AH) return (lengthField + 2) * 4; // RFC 4302 2.2: 32-bit words minus 2
  return (lengthField + 1) * 8; // RFC 8200 4: 64-bit words without the first
}

export interface TcpView {
  readonly ok: true;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly headerBytes: number;
  /** FIN, SYN, RST, PSH, ACK, URG, ECE, CWR from the lowest bit. */
  readonly flags: number;
}

/** Reads a TCP header at `start` in an IP payload that ends at `end`. Refuses: under 20 bytes, data offset below 5 or beyond `end`. */
export function readTcp(bytes: Uint8Array, start: number, end: number): TcpView | Refusal {
  if (end - start < TCP_HEADER_BYTES) return refuse('shorter than a TCP header', end);
  const headerBytes = (bytes[start + 12] >> 4) * 4;
  if (headerBytes < TCP_HEADER_BYTES) return refuse('TCP data offset below 5', start + 12);
  if (headerBytes > end - start) return refuse('TCP header is longer than the packet', start + 12);
  return {
    ok: true,
    sourcePort: readUint16(bytes, start),
    destinationPort: readUint16(bytes, start + 2),
    sequence: readUint32(bytes, start + 4),
    acknowledgement: readUint32(bytes, start + 8),
    headerBytes,
    flags: bytes[start + 13],
  };
}

export interface UdpView {
  readonly ok: true;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of header and data. */
  readonly lengthBytes: number;
}

/** Reads a UDP header at `start` in an IP payload that ends at `end`. Refuses: under 8 bytes, length field below 8 or beyond `end`. */
export function readUdp(bytes: Uint8Array, start: number, end: number): UdpView | Refusal {
  if (end - start < UDP_HEADER_BYTES) return refuse('shorter than a UDP header', end);
  const lengthBytes = readUint16(bytes, start + 4);
  if (lengthBytes < UDP_HEADER_BYTES) return refuse('UDP length below 8', start + 4);
  if (lengthBytes > end - start) return refuse('UDP length is longer than the packet', start + 4);
  return {
    ok: true,
    sourcePort: readUint16(bytes, start),
    destinationPort: readUint16(bytes, start + 2),
    lengthBytes,
  };
}

function refuse(reason: string, offset: number): Refusal {
  return { ok: false, reason, offset };
}
