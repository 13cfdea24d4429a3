/**
 * Longest-prefix match that also tells how widely its answer holds, in one flat array that threads share and the kernel walks too. DNS
 * answers by client prefix (RFC 7871) are cached for the scope that the answer names, so a scope may be neither wider than the
 * answer is true nor overlap another's: the scope of an address is the shortest prefix of it under which every address has the same value.
 *
 * The array, which bpf/dns.bpf.c walks as well: `words` are 32-bit words in the machine's byte order, cut into nodes.
 *
 *   wide node    256 words, one for each value of the next byte of the address. Stands at bytes' boundaries only.
 *   narrow node   16 words, one for each value of the next four bits: at a byte's boundary its upper four, else its lower four. So a
 *                 byte is walked by one wide node, or by a narrow one and, where that has children, narrow ones beneath.
 *   roots        wide: IPv4's begins at word 0, IPv6's at word 256.
 *
 *   word, bit 31 set     a child: bit 30 set: it is narrow; bits 29 to 0: its first word divided by 16.
 *   word, bit 31 clear   a leaf: bits 30 to 8 the value (`NO_VALUE`: no prefix covers the address), bits 7 to 0 the scope, 0 to 128.
 *
 * A walk takes the address byte by byte from the root until it meets a leaf: at most 4 or 16 bytes, so at most 8 or 32 words. A leaf's scope
 * is at most the bits that were walked with its word. A leaf answers a query whose source length is at least its scope; another source is too
 * short. `dominants`, which the kernel does not have, then tells the value of most weight: that of the first `left` bits `known` below
 * a node stands at the node's first word + (1 << left | known), for `left` from 0 to 7, or to 3 in a narrow node; where a leaf
 * answers, nothing stands there.
 */

export interface PrefixMap {
  /** In a SharedArrayBuffer. */
  readonly words: Uint32Array<SharedArrayBuffer>;
  /** As long as `words`. */
  readonly dominants: Uint16Array<SharedArrayBuffer> | Uint32Array<SharedArrayBuffer>;
}

/** First words of the roots. */
export const ROOT_WORD = { 4: 0, 6: 256 } as const;
export const WIDE_WORDS = 256;
export const NARROW_WORDS = 16;
export const CHILD_BIT = 0x8000_0000;
export const NARROW_BIT = 0x4000_0000;
export const CHILD_PLACE = 0x3fff_ffff;

/** Of addresses that no prefix covers. Values are below it. */
export const NO_VALUE = 0x7f_ffff;

/**
 * The leaf for the first `sourceLength` bits of the address at `start` in `bytes`; when they do not suffice, the value of most weight under
 * them with scope = source. `prefixValue` and `prefixScope` take it apart. Bytes beyond the source are not read, and bits not looked at.
 * Cost: at most 32 dependent reads; nothing is allocated.
 */
export function lookupPrefix(
  map: PrefixMap,
  family: 4 | 6,
  bytes: Uint8Array,
  start: number,
  sourceLength: number,
): number {
  const { words } = map;
  let base: number = family === 4 ? ROOT_WORD[4] : ROOT_WORD[6];
  let bits = 8;
  let depth = 0;
  while (depth + bits <= sourceLength) {
    const byte = bytes[start + (depth >> 3)];
    const place = bits === 8 ? byte : (depth & 4) === 0 ? byte >> 4 : byte & 15;
    // As a signed number a child is below 0.
    const word = words[base + place] | 0;
    if (word >= 0) return word;
    depth += bits;
    bits = (word & NARROW_BIT) === 0 ? 8 : 4;
    base = (word & CHILD_PLACE) * NARROW_WORDS;
  }
  return lookupShort(map, base, bits, depth, bytes, start, sourceLength);
}

/** The source ends in the node at `base`. */
function lookupShort(
  map: PrefixMap,
  base: number,
  bits: number,
  depth: number,
  bytes: Uint8Array,
  start: number,
  sourceLength: number,
): number {
  const left = sourceLength - depth;
  const byte = left === 0 ? 0 : bytes[start + (depth >> 3)];
  const place = bits === 8 ? byte : (depth & 4) === 0 ? byte >> 4 : byte & 15;
  const known = place >> (bits - left);
  const word = map.words[base + (known << (bits - left))] | 0;
  if (word >= 0 && prefixScope(word) <= sourceLength) return word;
  return (map.dominants[base + ((1 << left) | known)] << 8) | sourceLength;
}

/** The value of what `lookupPrefix` found. */
export function prefixValue(found: number): number {
  return found >>> 8;
}

/** The answer holds for every address that shares this many first bits with the query. */
export function prefixScope(found: number): number {
  return found & 0xff;
}
