/** IPv4 and IPv6 addresses and prefixes. */

export interface Address {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, wire order. */
  readonly bytes: Uint8Array;
}

export interface Prefix {
  readonly address: Address;
  /** 0 to 32 or 0 to 128; bits beyond it are zero. */
  readonly length: number;
}

const MAPPED_START = 12; // ::ffff:0:0/96, RFC 4291 2.5.5.2

/**
 * Reads an address in text: dotted decimal without leading zeros (RFC 6943 3.1.1: others are read as octal by some),
 * or RFC 4291 2.2, with the last 32 bits in dotted decimal if wished. No zone, no brackets, no spaces. Null: not an address.
 * `::ffff:192.0.2.1` stays IPv6 (16 bytes).
 */
export function parseAddress(text: string): Address | null {
  if (text.length > 45) return null;
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  return bytes === null ? null : { family: bytes.length === 4 ? 4 : 6, bytes };
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(parts[i])) return null;
    const value = Number(parts[i]);
    if (value > 255) return null;
    bytes[i] = value;
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseWords(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? parseWords(halves[1], true) : [];
  if (head === null || tail === null) return null;
  // "::" stands for at least one word.
  if (halves.length === 1 ? head.length !== 8 : head.length + tail.length > 7) return null;
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < head.length; i++) view.setUint16(i * 2, head[i]);
  for (let i = 0; i < tail.length; i++) view.setUint16(16 - (tail.length - i) * 2, tail[i]);
  return bytes;
}

/** The 16-bit words of a part of an IPv6 address; `isEnd`: its last two may be written as an IPv4 address. */
function parseWords(text: string, isEnd: boolean): number[] | null {
  if (text === '') return [];
  const words: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    if (/^[0-9a-fA-F]{1,4}$/.test(parts[i])) {
      words.push(Number.parseInt(parts[i], 16));
      continue;
    }
    const ipv4 = isEnd && i === parts.length - 1 ? parseIpv4(parts[i]) : null;
    if (ipv4 === null) return null;
    words.push((ipv4[0] << 8) | ipv4[1], (ipv4[2] << 8) | ipv4[3]);
  }
  return words;
}

/** The address in canonical text: RFC 5952, IPv4-mapped ones in mixed notation (its section 5). */
export function formatAddress(address: Address): string {
  const { bytes } = address;
  if (address.family === 4) return bytes.join('.');
  if (isMapped(bytes)) return `::ffff:${bytes.subarray(MAPPED_START).join('.')}`;
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((bytes[i] << 8) | bytes[i + 1]);
  const [start, length] = longestZeroRun(words);
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(':');
  // RFC 5952 4.2.2: "::" does not stand for a single word.
  if (length < 2) return hex(words);
  return `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`;
}

function longestZeroRun(words: number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let start = 0;
  for (let i = 0; i < words.length; i++) {
    if (words[i] !== 0) start = i + 1;
    else if (i + 1 - start > best[1]) best = [start, i + 1 - start];
  }
  return best;
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** 16 bytes as in the kernel's maps: IPv6 as it is, IPv4 as ::ffff:a.b.c.d. A copy. */
export function toMapped(address: Address): Uint8Array {
  if (address.family === 6) return address.bytes.slice();
  const bytes = new Uint8Array(16);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  bytes.set(address.bytes, MAPPED_START);
  return bytes;
}

/** The opposite of `toMapped`: `bytes` has 16 bytes; an IPv4-mapped address becomes IPv4. A copy. */
export function fromMapped(bytes: Uint8Array): Address {
  if (isMapped(bytes)) return { family: 4, bytes: bytes.slice(MAPPED_START, 16) };
  return { family: 6, bytes: bytes.slice(0, 16) };
}

/** Width of a family's addresses in bits: 32 or 128. */
export function addressBits(family: 4 | 6): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.bytes.every((byte, i) => byte === b.bytes[i]);
}

/** Negative, zero or positive: IPv4 before IPv6, then by number. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let i = 0; i < a.bytes.length; i++) if (a.bytes[i] !== b.bytes[i]) return a.bytes[i] - b.bytes[i];
  return 0;
}

/** The address with all bits beyond the first `length` cleared. A copy. */
export function maskAddress(address: Address, length: number): Address {
  const bytes = address.bytes.slice();
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, length - i * 8));
    bytes[i] &= 0xff00 >> keep;
  }
  return { family: address.family, bytes };
}

/**
 * The address `offset` (0 to 2^32 - 1) after the first of a prefix, or null when the prefix ends before it.
 * Used to number probe sources and client addresses.
 */
export function addressInPrefix(prefix: Prefix, offset: number): Address | null {
  const freeBits = addressBits(prefix.address.family) - prefix.length;
  if (offset >= 2 ** Math.min(freeBits, 32)) return null;
  const bytes = prefix.address.bytes.slice();
  for (let i = 0; i < 4; i++) bytes[bytes.length - 1 - i] |= Math.floor(offset / 2 ** (8 * i)) & 0xff;
  return { family: prefix.address.family, bytes };
}

/** Reads `address/length`; null: not a prefix, or bits beyond the length are set. */
export function parsePrefix(text: string): Prefix | null {
  const loose = parseLoosePrefix(text);
  if (loose === null) return null;
  return sameAddress(loose.address, maskAddress(loose.address, loose.length)) ? loose : null;
}

/** As `parsePrefix`, but bits beyond the length may be set (and stay in `address`): an interface's address, a typing error. */
export function parseLoosePrefix(text: string): Prefix | null {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = match === null ? null : parseAddress(match[1]);
  if (match === null || address === null) return null;
  const length = Number(match[2]);
  return length <= addressBits(address.family) ? { address, length } : null;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

/** The prefix that this address alone is in. */
export function hostPrefix(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}

/** Whether it has one address only. */
export function isHost({ address, length }: Prefix): boolean {
  return length === addressBits(address.family);
}

/** As people write it: without the length where it is one address. */
export function formatHostOrPrefix(prefix: Prefix): string {
  return isHost(prefix) ? formatAddress(prefix.address) : formatPrefix(prefix);
}

/** Bits of the prefix where IPv4 addresses are mapped (`toMapped`): 0 to 128. */
export function mappedBits({ address, length }: Prefix): number {
  return length + 128 - addressBits(address.family);
}

export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.length === b.length && sameAddress(a.address, b.address);
}

/** Negative, zero or positive: by address, then the shorter first. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  return compareAddresses(a.address, b.address) || a.length - b.length;
}

/**
 * The first address that a host may have: where there are others not the very first, which names the network (IPv4) or any of its
 * routers (RFC 4291 2.6.1).
 */
export function firstHost(prefix: Prefix): Address {
  const isSmall = addressBits(prefix.address.family) - prefix.length < 2;
  return (isSmall ? null : addressInPrefix(prefix, 1)) ?? prefix.address;
}

/** Whether all of `inner` lies in `outer`. */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return outer.length <= inner.length && prefixContains(outer, inner.address);
}

/** Whether the address lies in the prefix; false for another family. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  return sameAddress(prefix.address, maskAddress(address, prefix.length));
}

/** Whether the two prefixes have an address in common. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? prefixContains(a, b.address) : prefixContains(b, a.address);
}
