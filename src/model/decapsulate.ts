/** The headers around an encapsulated packet: read, checked, and taken off (bpf/decapsulate.h). */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, readUint16, readUint32, writeUint16 } from '../net/ethernet.ts';
import { PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP } from '../net/packet.ts';
import { GRE_BYTES, GRE_KEY_PRESENT, GUE_BYTES, KEY_BYTES, type Tunnel } from './encapsulate.ts';
import { type IpHeader, parseIp } from './parse.ts';

/** A packet in its encapsulation. */
export interface Wrapped extends Tunnel {
  readonly version: 4 | 6;
  /** Of all headers before the inner packet. */
  readonly headerBytes: number;
  /** Bytes of the outer packet behind those headers. */
  readonly payloadBytes: number;
}

/** What stands between outer and inner IP header. Null: not whole, not as we write it, or neither IPv4 nor IPv6 inside. */
export function readShim(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  if (ip.protocol === PROTOCOL_GRE) return readGre(frame, ip);
  if (ip.protocol === PROTOCOL_UDP) return readGue(frame, ip);
  return wrapped(frame, ip, ip.protocol === PROTOCOL_IPV6, 0, 0);
}

function wrapped(
  frame: Uint8Array,
  ip: IpHeader,
  isIpv6: boolean,
  shimBytes: number,
  key: number,
  sourcePort = 0,
): Wrapped | null {
  const headerBytes = ip.headerBytes + shimBytes;
  if (ip.lengthBytes < headerBytes) return null;
  return {
    protocol: ip.protocol,
    version: isIpv6 ? 6 : 4,
    headerBytes,
    key,
    payloadBytes: ip.lengthBytes - headerBytes,
    sourcePort,
    flowLabel: ip.version === 6 ? readUint32(frame, ip.offset) & 0xfffff : 0,
  };
}

/** Flags other than a key are not understood. */
function readGre(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  const at = ip.offset + ip.headerBytes;
  if (ip.lengthBytes < ip.headerBytes + GRE_BYTES) return null;
  const type = readUint16(frame, at + 2);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return null;
  const isIpv6 = type === ETHERTYPE_IPV6;
  const flags = readUint16(frame, at);
  if (flags === 0) return wrapped(frame, ip, isIpv6, GRE_BYTES, 0);
  if (flags !== GRE_KEY_PRESENT || ip.lengthBytes < ip.headerBytes + GRE_BYTES + KEY_BYTES) return null;
  return wrapped(frame, ip, isIpv6, GRE_BYTES + KEY_BYTES, readUint32(frame, at + 4));
}

/** Version 0, no flags, at most a key. UDP checksums are not looked at. */
function readGue(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  const at = ip.offset + ip.headerBytes;
  if (ip.lengthBytes < ip.headerBytes + GUE_BYTES) return null;
  const protocol = frame[at + 9];
  if ((protocol !== PROTOCOL_IPV4 && protocol !== PROTOCOL_IPV6) || readUint16(frame, at + 10) !== 0) return null;
  if (readUint16(frame, at + 4) !== ip.lengthBytes - ip.headerBytes) return null;
  const isIpv6 = protocol === PROTOCOL_IPV6;
  const sourcePort = readUint16(frame, at);
  if (frame[at + 8] === 0) return wrapped(frame, ip, isIpv6, GUE_BYTES, 0, sourcePort);
  if (frame[at + 8] !== KEY_BYTES / 4 || ip.lengthBytes < ip.headerBytes + GUE_BYTES + KEY_BYTES) return null;
  return wrapped(frame, ip, isIpv6, GUE_BYTES + KEY_BYTES, readUint32(frame, at + 12), sourcePort);
}

/** The Ethernet header with its tags, and the inner packet. */
export function strip(frame: Uint8Array, ip: IpHeader, tunnel: Wrapped): Uint8Array {
  const stripped = new Uint8Array(frame.length - tunnel.headerBytes);
  stripped.set(frame.subarray(0, ip.offset));
  writeUint16(stripped, ip.offset - 2, tunnel.version === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  stripped.set(frame.subarray(ip.offset + tunnel.headerBytes), ip.offset);
  return stripped;
}

/** The inner IP header, if the outer packet holds all of it. */
export function readInner(stripped: Uint8Array, tunnel: Wrapped): IpHeader | null {
  const ip = parseIp(stripped);
  if (ip === null || ip.lengthBytes < ip.headerBytes || ip.lengthBytes > tunnel.payloadBytes) return null;
  return ip;
}
