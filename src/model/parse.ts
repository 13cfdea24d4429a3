/** From the first byte of a frame to the ports: what bpf/parse.h makes of it. */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, readEthernet } from '../net/ethernet.ts';
import {
  IPV6_HEADER_BYTES,
  PROTOCOL_NONE,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  readIpv4,
  readIpv6,
  readTcp,
  readUdp,
  walkExtensionHeaders,
} from '../net/packet.ts';

/** The IP header of a frame. Offsets are from the frame's beginning. */
export interface IpHeader {
  readonly version: 4 | 6;
  /** 14, 18 or 22. */
  readonly offset: number;
  /** Header and payload as the header says; 0 if the frame does not hold so much. */
  readonly lengthBytes: number;
  /** Of the fixed header, with options. */
  readonly headerBytes: number;
  /** Of the next header. */
  readonly protocol: number;
  readonly isFragment: boolean;
  readonly sourceOffset: number;
  readonly destinationOffset: number;
  readonly addressBytes: 4 | 16;
}

export interface Transport {
  readonly protocol: number;
  readonly offset: number;
  /** Neither IPv4 options nor IPv6 extension headers. */
  readonly isPlain: boolean;
  /** TCP and UDP; otherwise 0. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly tcpFlags: number;
}

/** Null: no IPv4 or IPv6, or so short or odd that its destination cannot be read. */
export function parseIp(frame: Uint8Array): IpHeader | null {
  const ethernet = readEthernet(frame);
  if (!ethernet.ok) return null;
  const offset = ethernet.payloadOffset;
  const present = frame.length - offset;
  if (ethernet.type === ETHERTYPE_IPV4) {
    const ip = readIpv4(frame, offset);
    if (!ip.ok) return null;
    const { headerBytes, protocol, isFragment, sourceOffset, destinationOffset } = ip;
    const lengthBytes = ip.totalLength <= present ? ip.totalLength : 0;
    const addressBytes = 4;
    return {
      version: 4,
      offset,
      lengthBytes,
      headerBytes,
      protocol,
      isFragment,
      sourceOffset,
      destinationOffset,
      addressBytes,
    };
  }
  if (ethernet.type !== ETHERTYPE_IPV6) return null;
  const ip = readIpv6(frame, offset);
  if (!ip.ok) return null;
  const length = IPV6_HEADER_BYTES + ip.payloadLength;
  return {
    version: 6,
    offset,
    lengthBytes: length <= present ? length : 0,
    headerBytes: IPV6_HEADER_BYTES,
    protocol: ip.nextHeader,
    isFragment: false,
    sourceOffset: ip.sourceOffset,
    destinationOffset: ip.destinationOffset,
    addressBytes: 16,
  };
}

/** The transport header of a packet that is for a VIP. */
export function parseTransport(frame: Uint8Array, ip: IpHeader): Transport | 'malformed' | 'fragment' {
  if (ip.lengthBytes < ip.headerBytes) return 'malformed';
  const end = ip.offset + ip.lengthBytes;
  let { protocol } = ip;
  let at = ip.offset + ip.headerBytes;
  let isPlain = ip.headerBytes === 20;
  if (ip.version === 4) {
    if (ip.isFragment) return 'fragment';
  } else {
    // A payload of 0 announces a jumbogram (RFC 2675), except before "no next header".
    if (ip.lengthBytes === IPV6_HEADER_BYTES && protocol !== PROTOCOL_NONE) return 'malformed';
    const payload = walkExtensionHeaders(frame, at, end, protocol);
    if (!payload.ok) return 'malformed';
    if (payload.isFragment) return 'fragment';
    isPlain = payload.extensionHeaders === 0;
    protocol = payload.protocol;
    at = payload.offset;
  }
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)
    return { protocol, offset: at, isPlain, sourcePort: 0, destinationPort: 0, tcpFlags: 0 };
  const view = protocol === PROTOCOL_TCP ? readTcp(frame, at, end) : readUdp(frame, at, end);
  if (!view.ok) return 'malformed';
  const { sourcePort, destinationPort } = view;
  return { protocol, offset: at, isPlain, sourcePort, destinationPort, tcpFlags: 'flags' in view ? view.flags : 0 };
}
