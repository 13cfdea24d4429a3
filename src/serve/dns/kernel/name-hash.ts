/** Names as `bpf/dns-name.h` looks them up: words of eight bytes in lower case, and their hash. */
import { DNS_BUCKET_NAMES, DNS_NAME_WORDS } from '../../vip/layout.gen.ts';
import { LOWER_CASE, type Name } from '../wire/name.ts';

const FACTOR = 0x9fb21c651e98df25n;
const WORD = 0xffff_ffff_ffff_ffffn;

/** Null: its labels hold a byte 0, which the kernel takes for the end. */
export function nameWords(name: Name): BigUint64Array | null {
  if (name.indexOf(0) !== name.length - 1) return null;
  const bytes = new Uint8Array(DNS_NAME_WORDS * 8);
  for (const [index, byte] of name.entries()) bytes[index] = LOWER_CASE[byte];
  return new BigUint64Array(bytes.buffer, 0, (name.length + 7) >> 3);
}

export function hashWords(words: BigUint64Array): bigint {
  let hash = 0n;
  for (const word of words) {
    hash = ((hash ^ word) * FACTOR) & WORD;
    hash ^= hash >> 32n;
  }
  return hash;
}

/** Buckets of `DNS_BUCKET_NAMES` slots, a power of two of them, in which each name has room: its index is its place in `hashes`. */
export function nameBuckets(hashes: readonly bigint[]): BigUint64Array {
  for (let buckets = 1; ; buckets *= 2) {
    if (buckets * DNS_BUCKET_NAMES < hashes.length * 2) continue;
    const filled = fillBuckets(hashes, buckets);
    if (filled !== null) return filled;
  }
}

function fillBuckets(hashes: readonly bigint[], buckets: number): BigUint64Array | null {
  const slots = new BigUint64Array(buckets * DNS_BUCKET_NAMES);
  for (const [index, hash] of hashes.entries()) {
    const bucket = Number(hash & BigInt(buckets - 1)) * DNS_BUCKET_NAMES;
    const free = slots.indexOf(0n, bucket);
    if (free < 0 || free >= bucket + DNS_BUCKET_NAMES) return null;
    slots[free] = ((hash >> 32n) << 32n) | BigInt(index + 1);
  }
  return slots;
}
