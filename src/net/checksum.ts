/** The Internet checksum (RFC 1071): ones' complement sum of 16-bit words in wire order. */
import type { Address } from './address.ts';

/**
 * Adds the bytes from `start` up to (without) `end` to `seed`, as 16-bit words in wire order; an odd last byte counts as
 * the upper half of a word. Not folded: exact for up to 2^37 bytes. Sums may be added to each other, if each part
 * but the last has an even length.
 */
export function onesSum(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let sum = seed;
  const evenEnd = start + ((end - start) & ~1);
  for (let i = start; i < evenEnd; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  if (evenEnd < end) sum += bytes[evenEnd] << 8;
  return sum;
}

/** A sum folded to 16 bits, end-around carries added, not complemented. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The value of a checksum field: a sum folded to 16 bits and complemented. (UDP sends 0xffff for 0: RFC 768.) */
export function foldChecksum(sum: number): number {
  return ~foldSum(sum) & 0xffff;
}

/** A checksum field after a 16-bit word under it went from `before` to `after`: RFC 1624, equation 3. */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return foldChecksum((~checksum & 0xffff) + (~before & 0xffff) + after);
}

/**
 * Sum of the pseudo header of TCP, UDP (RFC 9293 3.1, RFC 768) and ICMPv6 (RFC 8200 8.1), not folded. `lengthBytes` is that
 * of the transport header and its data. Both addresses are of one family.
 */
export function pseudoHeaderSum(source: Address, destination: Address, protocol: number, lengthBytes: number): number {
  const size = source.bytes.length;
  const addresses = onesSum(destination.bytes, 0, size, onesSum(source.bytes, 0, size));
  return addresses + protocol + (lengthBytes >>> 16) + (lengthBytes & 0xffff);
}
