/** Names to values by their wire bytes, letters without case. A lookup allocates nothing. */
import { LOWER_CASE, labelStarts, lowerName, MAX_LABELS, type Name } from './wire/name.ts';
import { hashSuffixes } from './wire/query.ts';

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

/** Open addressing over flat arrays: a zone has millions of names, and each object beside them would cost more than the name. */
export class NameTable<V> {
  /** Lower case; with `#values` and `#hashes` by the order of arrival. */
  readonly #names: Name[] = [];
  readonly #values: V[] = [];
  #hashes = new Uint32Array(16);
  /** Power of two; index of a name and 1, 0: free. At most half are taken. */
  #places = new Uint32Array(32);

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
    const mask = this.#places.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const index = this.#places[place] - 1;
      if (index < 0) return undefined;
      if (this.#hashes[index] === hash && equalsAt(this.#names[index], bytes, start, end)) return this.#values[index];
    }
  }

  /** Adds a name that is not there yet. One in lower case is kept as it is: it must not change. */
  add(name: Name, value: V): void {
    if (this.get(name) !== undefined) throw new Error('the name is in the table already');
    const index = this.#values.length;
    if (index === this.#hashes.length) this.#grow();
    const lower = lowerName(name);
    this.#hashes[index] = hashWhole(lower);
    this.#names.push(lower);
    this.#values.push(value);
    this.#put(index);
  }

  /** In the order in which they were added. */
  values(): readonly V[] {
    return this.#values;
  }

  #put(index: number): void {
    const mask = this.#places.length - 1;
    let place = this.#hashes[index] & mask;
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    this.#places[place] = index + 1;
  }

  #grow(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#places = new Uint32Array(hashes.length * 2);
    for (let index = 0; index < this.#values.length; index++) this.#put(index);
  }
}

function equalsAt(lower: Name, bytes: Uint8Array, start: number, end: number): boolean {
  if (lower.length !== end - start) return false;
  for (let i = 0; i < lower.length; i++) if (lower[i] !== LOWER_CASE[bytes[start + i]]) return false;
  return true;
}
