/**
 * The connection table in another size. An entry does not say which flow it is of, only which bucket it is in, and buckets
 * are low bits of the flow's hashes. So:
 *
 * - Larger: what was in bucket b may belong into any bucket with b's low bits, and goes into all of them. Every flow finds its
 *   entry; copies that nobody asks for expire. (A flow whose two buckets were one by chance, one in as many as there are buckets, had
 *   its second one moved aside; such an entry, if the first bucket was full, may be lost.)
 * - Smaller: the live entries of all buckets that become one must fit into it, else the change is refused.
 *
 * No flow may be inserted from before the copy until the exchange of programs: `pauseInserts`.
 */

import { listKeys, lookupElement, updateElement } from './bpf.ts';
import type { Btf, Type } from './btf.ts';
import { Unconvertible } from './conversion.ts';
import { waitForGracePeriod } from './grace-period.ts';
import {
  AGE_MASK,
  BUCKET_ENTRIES,
  ENTRY_AGE_SHIFT,
  ENTRY_STATE_SHIFT,
  INDEX_MASK,
  MAX_BACKENDS,
  STATE_COUNTED,
  TICK_SHIFT,
} from './layout.gen.ts';
import { coarseClockNs } from './libc.ts';
import { MAX_LIFETIME_TICKS } from './limits.ts';
import { mapArray, type OpenMap } from './map-copies.ts';

function fieldOffset(btf: Btf, struct: string, field: string): number {
  const found = btf.structs.get(struct)?.fields.find(({ name }) => name === field);
  const isWord = (type: Type) => type.kind === 'scalar' && type.sizeBytes === 4;
  if (found === undefined || !isWord(found.type)) throw new Unconvertible(`struct ${struct} has no number ${field}`);
  return found.offsetBits / 8;
}

/** Programs look services up anew. */
export function raiseGeneration(btf: Btf, settings: OpenMap): void {
  const offset = fieldOffset(btf, 'settings', 'generation');
  const memory = mapArray(settings);
  Atomics.add(new Uint32Array(memory.buffer), offset / 4, 1);
  memory.unmap();
}

/**
 * Sets the limit of new tracked flows of all services to 0 and waits until each packet has seen it; the result puts it back.
 * New flows of unsettled slots then go to `previous`, and their later packets too, with or without the new table.
 */
export function pauseInserts(btf: Btf, services: OpenMap, settings: OpenMap): () => void {
  const limitAt = fieldOffset(btf, 'service', 'new_per_second');
  const { keySizeBytes, valueSizeBytes } = services.definition;
  const before = listKeys(services.fd, keySizeBytes).flatMap((key) => {
    const value = new Uint8Array(valueSizeBytes);
    return lookupElement(services.fd, key, value) ? [{ key, value }] : [];
  });
  const resume = () => {
    for (const { key, value } of before) updateElement(services.fd, key, value);
    raiseGeneration(btf, settings);
  };
  for (const { key, value } of before) {
    const paused = value.slice();
    new DataView(paused.buffer).setUint32(limitAt, 0, true);
    updateElement(services.fd, key, paused);
  }
  raiseGeneration(btf, settings);
  waitForGracePeriod();
  return resume;
}

/** The longest lifetime of any service's entries, in ticks. */
export function longestLifetime(btf: Btf, services: OpenMap): number {
  const offset = fieldOffset(btf, 'service', 'lifetime_ticks');
  const value = new Uint8Array(services.definition.valueSizeBytes);
  let longest = 0;
  for (const key of listKeys(services.fd, services.definition.keySizeBytes)) {
    if (!lookupElement(services.fd, key, value)) continue;
    longest = Math.max(longest, new DataView(value.buffer).getUint32(offset, true));
  }
  return Math.min(longest, MAX_LIFETIME_TICKS);
}

const COUNTED = STATE_COUNTED << ENTRY_STATE_SHIFT;

/** Only the first copy of an entry stays one of its backend's active connections. */
function grow(old: ArrayBuffer, fresh: ArrayBuffer): void {
  const source = new Uint32Array(old);
  const target = new Uint32Array(fresh);
  target.set(source);
  for (let at = source.length; at < target.length; at += 2) {
    target[at] = source[at % source.length] & ~COUNTED;
    target[at + 1] = source[(at + 1) % source.length];
  }
}

function shrink(old: Uint32Array, fresh: Uint32Array, now: number, lifetimeTicks: number): Uint32Array {
  const uncounted = new Uint32Array(MAX_BACKENDS);
  const isLive = (low: number) => {
    const age = (now - (low >>> ENTRY_AGE_SHIFT)) & AGE_MASK;
    return age === AGE_MASK || age <= lifetimeTicks;
  };
  const bucketWords = 2 * BUCKET_ENTRIES;
  let without = 0;
  for (let bucket = 0; bucket < fresh.length; bucket += bucketWords) {
    let next = bucket;
    for (let from = bucket; from < old.length; from += fresh.length) {
      for (let at = from; at < from + bucketWords; at += 2) {
        const [low, high] = [old[at], old[at + 1]];
        if (low === 0 && high === 0) continue;
        if (!isLive(low)) {
          if (low & COUNTED) uncounted[low & INDEX_MASK]++;
        } else if (next < bucket + bucketWords) {
          fresh[next++] = low;
          fresh[next++] = high;
        } else without++;
      }
    }
  }
  if (without > 0) {
    throw new Unconvertible(
      `${without} live connections have no place among ${fresh.length / 2} entries instead of ${old.length / 2}: keep the size, or wait until there are fewer`,
    );
  }
  return uncounted;
}

/**
 * Copies all connections into an empty table of another number of buckets. 16 million entries: some 0.1 s. The result: how many
 * expired entries that counted as active connections were left out, by backend index.
 */
export function resizeConnections(from: OpenMap, to: OpenMap, lifetimeTicks: number): Uint32Array {
  const source = mapArray(from);
  const target = mapArray(to);
  try {
    if (target.buffer.byteLength < source.buffer.byteLength) {
      const now = Number((coarseClockNs() >> BigInt(TICK_SHIFT)) & 0xffffffffn);
      return shrink(new Uint32Array(source.buffer), new Uint32Array(target.buffer), now, lifetimeTicks);
    }
    grow(source.buffer, target.buffer);
    return new Uint32Array(MAX_BACKENDS);
  } finally {
    source.unmap();
    target.unmap();
  }
}
