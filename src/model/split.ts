/** Fragmentation of IPv4 packets by a router (RFC 791, 2.3 and 3.2), also of what is a fragment already. */
import { foldChecksum, onesSum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import { IPV4_HEADER_BYTES } from '../net/packet.ts';
import type { IpHeader } from './parse.ts';

const DONT_FRAGMENT = 0x4000;
const MORE = 0x2000;
const OFFSET_MASK = 0x1fff;
/** Options of which later fragments get a copy have this bit in their type. */
const COPIED = 0x80;
const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;

/** The options that later fragments carry, padded to whole words. Options that are not sound end the list. */
function copiedOptions(frame: Uint8Array, from: number, end: number): Uint8Array {
  const kept: number[] = [];
  for (let at = from; at < end && frame[at] !== END_OF_OPTIONS; ) {
    const length = frame[at] === NO_OPERATION ? 1 : frame[at + 1];
    if (at + 1 >= end || length < 1 || (length === 1 && frame[at] !== NO_OPERATION) || at + length > end) break;
    if ((frame[at] & COPIED) !== 0) kept.push(...frame.subarray(at, at + length));
    at += length;
  }
  while (kept.length % 4 !== 0) kept.push(END_OF_OPTIONS);
  return Uint8Array.from(kept);
}

/**
 * Frames whose IP packets are at most `maxBytes` long, in order, each with the link's header of `frame`. Null: the packet must not be
 * fragmented (DF), or not even 8 bytes of data fit.
 */
export function splitIpv4(frame: Uint8Array, ip: IpHeader, maxBytes: number): Uint8Array[] | null {
  const word = readUint16(frame, ip.offset + 6);
  if (ip.version !== 4 || (word & DONT_FRAGMENT) !== 0) return null;
  const end = ip.offset + ip.lengthBytes;
  const first = frame.subarray(ip.offset, ip.offset + ip.headerBytes);
  const options = copiedOptions(frame, ip.offset + IPV4_HEADER_BYTES, ip.offset + ip.headerBytes);
  const later = new Uint8Array(IPV4_HEADER_BYTES + options.length);
  later.set(first.subarray(0, IPV4_HEADER_BYTES));
  later.set(options, IPV4_HEADER_BYTES);
  later[0] = 0x40 | (later.length / 4);
  const pieces: Uint8Array[] = [];
  let offset = word & OFFSET_MASK;
  for (let at = ip.offset + ip.headerBytes; at < end; ) {
    const header = pieces.length === 0 ? first : later;
    const room = maxBytes - header.length;
    const isLast = end - at <= room;
    const bytes = isLast ? end - at : room & ~7;
    if (bytes < 8 && !isLast) return null;
    const hasMore = !isLast || (word & MORE) !== 0;
    pieces.push(makePiece(frame.subarray(0, ip.offset), header, frame.subarray(at, at + bytes), offset, hasMore));
    offset += bytes / 8;
    at += bytes;
  }
  return pieces;
}

function makePiece(
  link: Uint8Array,
  header: Uint8Array,
  data: Uint8Array,
  offset: number,
  hasMore: boolean,
): Uint8Array {
  const at = link.length;
  const piece = new Uint8Array(at + header.length + data.length);
  piece.set(link);
  piece.set(header, at);
  piece.set(data, at + header.length);
  writeUint16(piece, at + 2, header.length + data.length);
  writeUint16(piece, at + 6, offset | (hasMore ? MORE : 0));
  writeUint16(piece, at + 10, 0);
  writeUint16(piece, at + 10, foldChecksum(onesSum(piece, at, at + header.length)));
  return piece;
}
