/** Names to values by their wire bytes, letters without case. A lookup allocates nothing. */
import { LOWER_CASE, labelStarts, lowerName, MAX_LABELS, type Name } from './wire/name.ts';
import { hashSuffixes } from './wire/query.ts';

interface Entry<V> {
  /** Lower case. */
  readonly name: Name;
  readonly hash: number;
  readonly value: V;
}

/** A name hashed for lookups: `hashes[i]` belongs to the suffix that starts at `starts[i]`; the last is the root. */
export interface HashedName {
  readonly bytes: Uint8Array;
  /** After the root byte. */
  readonly end: number;
  readonly labels: number;
  readonly starts: Uint16Array | readonly number[];
  readonly hashes: Uint32Array;
}

export function hashName(name: Name): HashedName {
  const starts = labelStarts(name);
  const labels = starts.length - 1;
  const hashes = new Uint32Array(labels + 1);
  hashSuffixes(name, starts, labels, name.length, hashes);
  return { bytes: name, end: name.length, labels, starts, hashes };
}

const scratchStarts = new Uint16Array(MAX_LABELS + 1);
const scratchHashes = new Uint32Array(MAX_LABELS + 1);

/** Of the whole name, as `hashName` has it first. Allocates nothing: a zone has millions of names. */
function hashWhole(name: Name): number {
  let labels = 0;
  for (let position = 0; name[position] !== 0; position += name[position] + 1) scratchStarts[labels++] = position;
  hashSuffixes(name, scratchStarts, labels, name.length, scratchHashes);
  return scratchHashes[0];
}

export class NameTable<V> {
  readonly #values: V[] = [];
  /** Power of two of short lists. */
  #buckets: Entry<V>[][] = [[]];

  get size(): number {
    return this.#values.length;
  }

  get(name: Name): V | undefined {
    return this.#lookUp(name, 0, name.length, hashWhole(name));
  }

  /** The value of the suffix of `name` that starts with its label number `label`. */
  find(name: HashedName, label: number): V | undefined {
    return this.#lookUp(name.bytes, name.starts[label], name.end, name.hashes[label]);
  }

  #lookUp(bytes: Uint8Array, start: number, end: number, hash: number): V | undefined {
    const bucket = this.#buckets[hash & (this.#buckets.length - 1)];
    for (let i = 0; i < bucket.length; i++) {
      const entry = bucket[i];
      if (entry.hash === hash && equalsAt(entry.name, bytes, start, end)) return entry.value;
    }
    return undefined;
  }

  /** Adds a name that is not there yet. */
  add(name: Name, value: V): void {
    if (this.get(name) !== undefined) throw new Error('the name is in the table already');
    const lower = lowerName(name);
    const hash = hashWhole(lower);
    this.#buckets[hash & (this.#buckets.length - 1)].push({ name: lower, hash, value });
    this.#values.push(value);
    if (this.#values.length > this.#buckets.length) this.#grow();
  }

  /** In the order in which they were added. */
  values(): readonly V[] {
    return this.#values;
  }

  #grow(): void {
    const buckets: Entry<V>[][] = Array.from({ length: this.#buckets.length * 2 }, () => []);
    for (const bucket of this.#buckets)
      for (const entry of bucket) buckets[entry.hash & (buckets.length - 1)].push(entry);
    this.#buckets = buckets;
  }
}

function equalsAt(lower: Name, bytes: Uint8Array, start: number, end: number): boolean {
  if (lower.length !== end - start) return false;
  for (let i = 0; i < lower.length; i++) if (lower[i] !== LOWER_CASE[bytes[start + i]]) return false;
  return true;
}
