/**
 * Capture files: pcap (both byte orders, microseconds and nanoseconds) and pcapng are read, pcapng is written, with
 * comments (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). Frames of other links become Ethernet frames (link-frames.ts).
 */
import type { Refusal } from '../net/ethernet.ts';
import { isKnownLink, KNOWN_LINKS, toEthernet } from './link-frames.ts';

export interface CapturedFrame {
  /** Since 1970, in ns. */
  readonly timeNs: bigint;
  /** As captured: maybe less than was on the wire. */
  readonly bytes: Uint8Array;
  readonly originalBytes: number;
  /** What the file says of it; empty: nothing. */
  readonly comment: string;
}

export interface Capture {
  readonly ok: true;
  readonly frames: readonly CapturedFrame[];
}

const LINK_ETHERNET = 1;
const PCAP_MICROSECONDS = 0xa1b2c3d4;
const PCAP_NANOSECONDS = 0xa1b23c4d;
const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const OPTION_COMMENT = 1;
const OPTION_TIME_RESOLUTION = 9;
const SECOND_NS = 1_000_000_000n;

/** Reads a whole capture file of either kind. */
export function readCapture(file: Uint8Array): Capture | Refusal {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (file.length < 12) return refuse('shorter than the header of any capture file', file.length);
  if (view.getUint32(0, false) === SECTION_HEADER) return readPcapng(view);
  for (const isLittle of [true, false]) {
    const magic = view.getUint32(0, isLittle);
    if (magic === PCAP_MICROSECONDS) return readPcap(view, isLittle, 1000n);
    if (magic === PCAP_NANOSECONDS) return readPcap(view, isLittle, 1n);
  }
  return refuse('neither pcap nor pcapng', 0);
}

function readPcap(view: DataView, isLittle: boolean, unitNs: bigint): Capture | Refusal {
  if (view.byteLength < 24) return refuse('ends within the pcap header', view.byteLength);
  const link = view.getUint32(20, isLittle) & 0xffff;
  if (!isKnownLink(link)) return refuse(`link type ${link} is none of ${KNOWN_LINKS}`, 20);
  const frames: CapturedFrame[] = [];
  for (let at = 24; at < view.byteLength; ) {
    if (view.byteLength - at < 16) return refuse('ends within a packet header', view.byteLength);
    const captured = view.getUint32(at + 8, isLittle);
    if (view.byteLength - at - 16 < captured) return refuse('ends within a packet', view.byteLength);
    const timeNs = BigInt(view.getUint32(at, isLittle)) * SECOND_NS + BigInt(view.getUint32(at + 4, isLittle)) * unitNs;
    frames.push(frameOf(view, at + 16, captured, view.getUint32(at + 12, isLittle), timeNs, link));
    at += 16 + captured;
  }
  return { ok: true, frames };
}

interface CaptureInterface {
  readonly link: number;
  /** Length of a time unit: 1 s / `unitsPerSecond`. */
  readonly unitsPerSecond: bigint;
  /** 0: all of a packet. */
  readonly snapBytes: number;
}

function readPcapng(view: DataView): Capture | Refusal {
  const frames: CapturedFrame[] = [];
  let interfaces: CaptureInterface[] = [];
  let isLittle = true;
  for (let at = 0; at < view.byteLength; ) {
    if (view.byteLength - at < 12) return refuse('ends within a block', view.byteLength);
    const isSection = view.getUint32(at, false) === SECTION_HEADER;
    if (isSection) {
      isLittle = view.getUint32(at + 8, true) === BYTE_ORDER;
      if (!isLittle && view.getUint32(at + 8, false) !== BYTE_ORDER) return refuse('byte order is unknown', at + 8);
      interfaces = [];
    }
    const type = view.getUint32(at, isLittle);
    const length = view.getUint32(at + 4, isLittle);
    if (length < 12 || length % 4 !== 0 || length > view.byteLength - at)
      return refuse('block length does not fit', at + 4);
    const block: Block = { view, isLittle, start: at + 8, end: at + length - 4 };
    if (type === INTERFACE_DESCRIPTION) {
      const description = readInterface(block);
      if ('ok' in description) return description;
      interfaces.push(description);
    } else if (type === ENHANCED_PACKET || type === SIMPLE_PACKET) {
      const frame = type === ENHANCED_PACKET ? readEnhanced(block, interfaces) : readSimple(block, interfaces);
      if ('ok' in frame) return frame;
      frames.push(frame);
    }
    at += length;
  }
  return { ok: true, frames };
}

/** What stands between a block's two lengths. */
interface Block {
  readonly view: DataView;
  readonly isLittle: boolean;
  readonly start: number;
  readonly end: number;
}

function readInterface({ view, isLittle, start, end }: Block): CaptureInterface | Refusal {
  if (end - start < 8) return refuse('interface block is too short', start);
  const link = view.getUint16(start, isLittle);
  if (!isKnownLink(link)) return refuse(`link type ${link} is none of ${KNOWN_LINKS}`, start);
  let unitsPerSecond = 1_000_000n;
  for (let at = start + 8; end - at >= 4; ) {
    const code = view.getUint16(at, isLittle);
    const length = view.getUint16(at + 2, isLittle);
    if (code === 0 || end - at - 4 < length) break;
    if (code === OPTION_TIME_RESOLUTION && length === 1) {
      const resolution = view.getUint8(at + 4);
      unitsPerSecond = resolution < 128 ? 10n ** BigInt(resolution) : 2n ** BigInt(resolution - 128);
    }
    at += 4 + padding(length);
  }
  return { link, unitsPerSecond, snapBytes: view.getUint32(start + 4, isLittle) };
}

function readEnhanced(
  { view, isLittle, start, end }: Block,
  interfaces: readonly CaptureInterface[],
): CapturedFrame | Refusal {
  if (end - start < 20) return refuse('packet block is too short', start);
  const description = interfaces[view.getUint32(start, isLittle)];
  if (description === undefined) return refuse('packet of an interface that was not described', start);
  const units = (BigInt(view.getUint32(start + 4, isLittle)) << 32n) | BigInt(view.getUint32(start + 8, isLittle));
  const captured = view.getUint32(start + 12, isLittle);
  if (end - start - 20 < captured) return refuse('packet is longer than its block', start + 12);
  const timeNs = (units * SECOND_NS) / description.unitsPerSecond;
  const comment = readComments({ view, isLittle, start, end }, start + 20 + padding(captured));
  return frameOf(view, start + 20, captured, view.getUint32(start + 16, isLittle), timeNs, description.link, comment);
}

function readSimple(
  { view, isLittle, start, end }: Block,
  interfaces: readonly CaptureInterface[],
): CapturedFrame | Refusal {
  const description = interfaces[0];
  if (end - start < 4 || description === undefined) return refuse('packet block is too short', start);
  const original = view.getUint32(start, isLittle);
  const limit = description.snapBytes === 0 ? original : Math.min(original, description.snapBytes);
  const captured = Math.min(limit, end - start - 4);
  return frameOf(view, start + 4, captured, original, 0n, description.link);
}

function frameOf(
  view: DataView,
  at: number,
  captured: number,
  original: number,
  timeNs: bigint,
  link: number,
  comment = '',
): CapturedFrame {
  const bytes = toEthernet(link, new Uint8Array(view.buffer, view.byteOffset + at, captured));
  return { timeNs, bytes, originalBytes: original + bytes.length - captured, comment };
}

/** The comments among a block's options, joined by lines. */
function readComments({ view, isLittle, end }: Block, start: number): string {
  const comments: string[] = [];
  for (let at = start; end - at >= 4; ) {
    const code = view.getUint16(at, isLittle);
    const length = view.getUint16(at + 2, isLittle);
    if (code === 0 || end - at - 4 < length) break;
    if (code === OPTION_COMMENT)
      comments.push(new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 4, length)));
    at += 4 + padding(length);
  }
  return comments.join('\n');
}

/** The next multiple of 4. */
function padding(length: number): number {
  return (length + 3) & ~3;
}

export interface CommentedFrame {
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
  readonly originalBytes: number;
  /** UTF-8, at most 65,535 bytes. */
  readonly comment: string;
}

/** A pcapng file of Ethernet frames, little-endian, times in ns. */
export function writePcapng(frames: readonly CommentedFrame[]): Uint8Array {
  return joined([pcapngHeader(), ...frames.map(pcapngFrame)]);
}

/** What such a file begins with. */
export function pcapngHeader(): Uint8Array {
  return joined([
    block(SECTION_HEADER, [uint32(BYTE_ORDER), uint32(1), uint32(0xffffffff, 0xffffffff)]),
    // Snap length: no limit. The option: 10^-9 s.
    block(INTERFACE_DESCRIPTION, [
      uint32(LINK_ETHERNET),
      uint32(0),
      option(OPTION_TIME_RESOLUTION, Uint8Array.of(9)),
      uint32(0),
    ]),
  ]);
}

/** A frame in such a file. */
export function pcapngFrame({ timeNs, bytes, originalBytes, comment }: CommentedFrame): Uint8Array {
  return block(ENHANCED_PACKET, [
    uint32(0, Number(timeNs >> 32n), Number(timeNs & 0xffffffffn), bytes.length, originalBytes),
    padded(bytes),
    option(OPTION_COMMENT, new TextEncoder().encode(comment)),
    uint32(0),
  ]);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = 12 + parts.reduce((sum, part) => sum + part.length, 0);
  return joined([uint32(type, length), ...parts, uint32(length)]);
}

function option(code: number, value: Uint8Array): Uint8Array {
  return joined([uint32(code | (value.length << 16)), padded(value)]);
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(padding(bytes.length));
  result.set(bytes);
  return result;
}

function uint32(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  return new Uint8Array(view.buffer);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function refuse(reason: string, offset: number): Refusal {
  return { ok: false, reason, offset };
}
