/**
 * Fragments, as bpf/fragment.h knows them: what the headers of one say, which balancer owns its datagram, and where the
 * first one of the datagram went.
 */
import { readUint16, readUint32 } from '../net/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, readTcp, walkExtensionHeaders } from '../net/packet.ts';
import type { Engine } from './engine.ts';
import { hashAddresses } from './flow-hash.ts';
import {
  type Clock,
  clockFine,
  FRAGMENT_AGE_MASK,
  FRAGMENT_ENTRIES,
  FRAGMENT_KNOWN,
  FRAGMENT_LIFETIME,
  FRAGMENT_REGION_BUCKETS,
  FRAGMENT_REGIONS,
  FRAGMENT_TCP,
  OWNER_SLOTS,
} from './layout.ts';
import type { IpHeader, Transport } from './parse.ts';
import { SIPHASH_1_3_128, sipHash } from './siphash.ts';

const IPV4_MORE = 0x2000;
const MAX_LENGTH = 0xffff;
const FRAGMENT_HEADER_BYTES = 8;

export interface Fragment {
  readonly isFirst: boolean;
  /** Identification, 16 or 32 bits. */
  readonly id: number;
  /** That all fragments of the datagram have: 0 for IPv6, where only the first one's counts (RFC 8200, 4.5). */
  readonly commonProtocol: number;
  /** Of the transport, in the first. */
  readonly protocol: number;
  /** Where its data begins; of the first: the transport header. */
  readonly dataOffset: number;
  /** Neither IPv4 options nor extension headers. */
  readonly isPlain: boolean;
}

/** `ip` is that of a fragment (`parseTransport` said so). */
export function parseFragment(frame: Uint8Array, ip: IpHeader): Fragment | 'malformed' {
  return ip.version === 4 ? parseIpv4(frame, ip) : parseIpv6(frame, ip);
}

/** A fragment that others follow has a multiple of 8 bytes; none reaches beyond what the length of the whole can say. */
function areLengthsSound(offset: number, bytes: number, headerBytes: number, hasMore: boolean): boolean {
  return bytes > 0 && !(hasMore && bytes % 8 !== 0) && offset + bytes + headerBytes <= MAX_LENGTH;
}

function parseIpv4(frame: Uint8Array, ip: IpHeader): Fragment | 'malformed' {
  const word = readUint16(frame, ip.offset + 6);
  const offset = (word & 0x1fff) * 8;
  const { headerBytes, protocol } = ip;
  if (!areLengthsSound(offset, ip.lengthBytes - headerBytes, headerBytes, (word & IPV4_MORE) !== 0)) return 'malformed';
  return {
    isFirst: offset === 0,
    id: readUint16(frame, ip.offset + 4),
    commonProtocol: protocol,
    protocol,
    dataOffset: ip.offset + headerBytes,
    isPlain: headerBytes === 20,
  };
}

function parseIpv6(frame: Uint8Array, ip: IpHeader): Fragment | 'malformed' {
  const end = ip.offset + ip.lengthBytes;
  const found = walkExtensionHeaders(frame, ip.offset + ip.headerBytes, end, ip.protocol);
  if (!found.ok || !found.isFragment) return 'malformed';
  const word = readUint16(frame, found.offset + 2);
  const offset = word & 0xfff8;
  let dataOffset = found.offset + FRAGMENT_HEADER_BYTES;
  let protocol = frame[found.offset];
  if (!areLengthsSound(offset, end - dataOffset, 0, (word & 1) !== 0)) return 'malformed';
  if (offset === 0) {
    const payload = walkExtensionHeaders(frame, dataOffset, end, protocol);
    if (!payload.ok || payload.isFragment) return 'malformed';
    protocol = payload.protocol;
    dataOffset = payload.offset;
  }
  const id = readUint32(frame, found.offset + 4);
  return { isFirst: offset === 0, id, commonProtocol: 0, protocol, dataOffset, isPlain: false };
}

/** Of a first fragment. */
export function firstTransport(frame: Uint8Array, ip: IpHeader, fragment: Fragment): Transport | 'malformed' {
  const { protocol, dataOffset: offset, isPlain } = fragment;
  const end = ip.offset + ip.lengthBytes;
  if (protocol === PROTOCOL_TCP) {
    const tcp = readTcp(frame, offset, end);
    if (!tcp.ok) return 'malformed';
    return { protocol, offset, isPlain, ...tcp, tcpFlags: tcp.flags };
  }
  if (protocol !== PROTOCOL_UDP) return { protocol, offset, isPlain, sourcePort: 0, destinationPort: 0, tcpFlags: 0 };
  // Its length is that of the whole datagram.
  if (end - offset < 8 || readUint16(frame, offset + 4) < 8) return 'malformed';
  const sourcePort = readUint16(frame, offset);
  return { protocol, offset, isPlain, sourcePort, destinationPort: readUint16(frame, offset + 2), tcpFlags: 0 };
}

const message = new Uint8Array(33);
const output = new Uint32Array(4);

/** What tells apart those that fragments are counted for: /24 of IPv4, /48 of IPv6. */
export function prefixRegion(key: Uint32Array, frame: Uint8Array, ip: IpHeader): number {
  const bytes = ip.version === 4 ? 3 : 6;
  for (let i = 0; i < bytes; i++) message[i] = frame[ip.sourceOffset + i];
  sipHash(key, message, output, SIPHASH_1_3_128, bytes);
  return Math.floor((output[1] * FRAGMENT_REGIONS) / 0x100000000);
}

/** Index of the balancer that owns the datagram (0: this one), and the flow label of all its fragments. */
export function ownerOf(
  engine: Engine,
  frame: Uint8Array,
  ip: IpHeader,
  { commonProtocol }: Fragment,
): { readonly owner: number; readonly flowLabel: number } {
  const end = 2 * ip.addressBytes;
  for (let i = 0; i < end; i++) message[i] = frame[ip.sourceOffset + i];
  message[end] = commonProtocol;
  sipHash(engine.key, message, output, SIPHASH_1_3_128, end + 1);
  const slot = Math.floor((output[1] * OWNER_SLOTS) / 0x100000000);
  return { owner: engine.fragmentOwners[slot], flowLabel: output[0] & 0xfffff };
}

/** Where a datagram is remembered. */
export interface DatagramPlace {
  readonly bucket: number;
  readonly datagramLow: number;
  readonly datagramHigh: number;
  /** 20 bits. */
  readonly check: number;
}

export function placeOf(key: Uint32Array, frame: Uint8Array, ip: IpHeader, fragment: Fragment): DatagramPlace {
  const { id, commonProtocol: protocol } = fragment;
  const ports =
    ip.version === 4
      ? { sourcePort: id, destinationPort: 0, protocol }
      : { sourcePort: id >>> 16, destinationPort: id & 0xffff, protocol };
  const hash = hashAddresses(key, frame, ip.sourceOffset, ip.addressBytes, ports);
  const bucket =
    prefixRegion(key, frame, ip) * FRAGMENT_REGION_BUCKETS + (hash.firstLow & (FRAGMENT_REGION_BUCKETS - 1));
  return { bucket, datagramLow: hash.secondLow, datagramHigh: hash.secondHigh, check: hash.firstHigh & 0xfffff };
}

/** What became of a first fragment. */
export interface Home {
  /** 0: no service had its port. */
  readonly backend: number;
  /** Destination. */
  readonly port: number;
  readonly isTcp: boolean;
}

const HOMES = 2 * FRAGMENT_ENTRIES;

function ageOf(high: number, clock: Clock): number {
  return (clockFine(clock) - high) & FRAGMENT_AGE_MASK;
}

/** `words`: of the bucket. Null: nothing is known of the datagram. */
export function findHome(words: Uint32Array | undefined, place: DatagramPlace, clock: Clock): Home | null {
  if (words === undefined) return null;
  for (let i = 0; i < FRAGMENT_ENTRIES; i++) {
    if (words[2 * i] !== place.datagramLow || words[2 * i + 1] !== place.datagramHigh) continue;
    const low = words[HOMES + 2 * i];
    const high = words[HOMES + 2 * i + 1];
    if ((low & FRAGMENT_KNOWN) === 0 || high >>> 12 !== place.check || ageOf(high, clock) > FRAGMENT_LIFETIME) continue;
    return { backend: low & 0xfff, port: low >>> 16, isTcp: (low & FRAGMENT_TCP) !== 0 };
  }
  return null;
}

/** In place of what is known of the datagram, else in an empty place, else in the oldest. */
export function rememberHome(engine: Engine, place: DatagramPlace, home: Home, clock: Clock): void {
  const words = engine.fragments.get(place.bucket) ?? new Uint32Array(4 * FRAGMENT_ENTRIES);
  engine.fragments.set(place.bucket, words);
  let best = 0;
  let bestAge = 0;
  for (let i = 0; i < FRAGMENT_ENTRIES; i++) {
    let age = FRAGMENT_AGE_MASK + 2;
    if ((words[HOMES + 2 * i] & FRAGMENT_KNOWN) !== 0) {
      const isOwn = words[2 * i] === place.datagramLow && words[2 * i + 1] === place.datagramHigh;
      age = isOwn ? FRAGMENT_AGE_MASK + 3 : ageOf(words[HOMES + 2 * i + 1], clock) + 1;
    }
    if (age <= bestAge) continue;
    best = i;
    bestAge = age;
  }
  words[2 * best] = place.datagramLow;
  words[2 * best + 1] = place.datagramHigh;
  words[HOMES + 2 * best] = home.backend | FRAGMENT_KNOWN | (home.isTcp ? FRAGMENT_TCP : 0) | (home.port << 16);
  words[HOMES + 2 * best + 1] = (clockFine(clock) & FRAGMENT_AGE_MASK) | (place.check << 12);
}

/** Has the prefix bytes left in this window? Counts them. */
export function mayHandUp(engine: Engine, region: number, bytes: number, clock: Clock): boolean {
  const name = clockFine(clock);
  const known = engine.handUpWindows.get(region);
  const used = known?.window === name ? known.bytes : 0;
  if (used + bytes > engine.handUpBytes) return false;
  engine.handUpWindows.set(region, { window: name, bytes: used + bytes });
  return true;
}
