/** Copies what is in a map into one of another layout or size. Nobody writes the old one meanwhile, or what they write is added later. */
import {
  BPF_F_MMAPABLE,
  BPF_NOEXIST,
  listKeys,
  lookupElement,
  MAP_TYPE_ARRAY,
  MAP_TYPE_HASH,
  MAP_TYPE_LPM_TRIE,
  MAP_TYPE_LRU_HASH,
  type MapDefinition,
  mapFdById,
  updateBatch,
  updateElement,
} from './bpf.ts';
import { type Conversion, Unconvertible } from './conversion.ts';
import { closeFd, type MappedMemory, mapMemory } from './libc.ts';

export interface OpenMap {
  readonly fd: number;
  readonly definition: MapDefinition;
}

/** The kernel rounds values of arrays up. */
function strideOf({ valueSizeBytes }: MapDefinition): number {
  return Math.ceil(valueSizeBytes / 8) * 8;
}

export function mapArray({ fd, definition }: OpenMap): MappedMemory {
  return mapMemory(fd, definition.maxEntries * strideOf(definition), `map ${definition.name}`);
}

function viewAt(memory: MappedMemory, definition: MapDefinition, index: number): DataView {
  return new DataView(memory.buffer, index * strideOf(definition), definition.valueSizeBytes);
}

/** Indices of elements that are not all zero. */
function usedIndices(memory: MappedMemory, definition: MapDefinition): number[] {
  const words = new BigUint64Array(memory.buffer);
  const step = strideOf(definition) / 8;
  const used: number[] = [];
  for (let i = 0; i < definition.maxEntries; i++) {
    for (let word = i * step; word < (i + 1) * step; word++) {
      if (words[word] === 0n) continue;
      used.push(i);
      break;
    }
  }
  return used;
}

function copyHash(from: OpenMap, to: OpenMap, key: Conversion, value: Conversion): void {
  const keys = listKeys(from.fd, from.definition.keySizeBytes);
  const { name, maxEntries } = to.definition;
  if (keys.length > maxEntries)
    throw new Unconvertible(`it has ${keys.length} elements, and room for ${maxEntries} now`);
  const old = new Uint8Array(from.definition.valueSizeBytes);
  for (const oldKey of keys) {
    if (!lookupElement(from.fd, oldKey, old)) continue;
    const newKey = new Uint8Array(to.definition.keySizeBytes);
    const fresh = new Uint8Array(to.definition.valueSizeBytes);
    key.convert(new DataView(oldKey.buffer), new DataView(newKey.buffer));
    value.convert(new DataView(old.buffer), new DataView(fresh.buffer));
    try {
      updateElement(to.fd, newKey, fresh, BPF_NOEXIST);
    } catch (error) {
      throw new Unconvertible(`an element of ${name} has no place: ${(error as Error).message}`);
    }
  }
}

function copyArray(from: OpenMap, to: OpenMap, value: Conversion): void {
  const source = mapArray(from);
  const target = mapArray(to);
  try {
    for (const index of usedIndices(source, from.definition)) {
      const { maxEntries } = to.definition;
      if (index >= maxEntries) throw new Unconvertible(`element ${index} is in use, and it has ${maxEntries} now`);
      value.convert(viewAt(source, from.definition, index), viewAt(target, to.definition, index));
    }
  } finally {
    source.unmap();
    target.unmap();
  }
}

const KEYED_TYPES = [MAP_TYPE_HASH, MAP_TYPE_LRU_HASH, MAP_TYPE_LPM_TRIE];

/** Element by element. Throws `Unconvertible` where an element has no place in the new map. */
export function copyElements(from: OpenMap, to: OpenMap, key: Conversion, value: Conversion): void {
  const { type, flags, name } = from.definition;
  if (KEYED_TYPES.includes(type)) copyHash(from, to, key, value);
  else if (type === MAP_TYPE_ARRAY && flags & BPF_F_MMAPABLE) copyArray(from, to, value);
  else throw new Unconvertible(`maps like ${name} cannot be copied`);
}

/** Descriptors that are open at a time. */
const TABLES_AT_ONCE = 256;

/** The inner maps of `from` are put into `to` too, in batches: each waits for a grace period. */
export function shareTables(from: OpenMap, to: OpenMap): void {
  const id = new Uint32Array(1);
  const idBytes = new Uint8Array(id.buffer);
  let subjects: number[] = [];
  let fds: number[] = [];
  const put = () => {
    try {
      const bytes = (numbers: readonly number[]) => new Uint8Array(Uint32Array.from(numbers).buffer);
      if (subjects.length > 0) updateBatch(to.fd, bytes(subjects), bytes(fds), subjects.length);
    } finally {
      for (const fd of fds) closeFd(fd);
      subjects = [];
      fds = [];
    }
  };
  for (let subject = 0; subject < from.definition.maxEntries; subject++) {
    if (!lookupElement(from.fd, new Uint8Array(Uint32Array.of(subject).buffer), idBytes)) continue;
    if (subject >= to.definition.maxEntries) {
      throw new Unconvertible(`subject ${subject} has a table, and there is room for ${to.definition.maxEntries} now`);
    }
    subjects.push(subject);
    fds.push(mapFdById(id[0]));
    if (fds.length === TABLES_AT_ONCE) put();
  }
  put();
}

/**
 * Adds the old counters' sums, with elements at [subject * strides.from + cpu], to the last element of each subject in the
 * new map, which no CPU writes. The old ones must stand still.
 */
export function addCounters(
  from: OpenMap,
  to: OpenMap,
  value: Conversion,
  strides: { from: number; to: number },
): void {
  const source = mapArray(from);
  const target = mapArray(to);
  try {
    for (const index of usedIndices(source, from.definition)) {
      const place = Math.floor(index / strides.from) * strides.to + strides.to - 1;
      if (place >= to.definition.maxEntries) continue; // of a subject that cannot be any more
      value.add(viewAt(source, from.definition, index), viewAt(target, to.definition, place));
    }
  } finally {
    source.unmap();
    target.unmap();
  }
}

/** Adds old numbers of 64 bits to those that packets are adding to at the same time. */
export function addAtomically(from: OpenMap, to: OpenMap): void {
  const source = mapArray(from);
  const target = mapArray(to);
  try {
    const old = new BigInt64Array(source.buffer);
    const fresh = new BigInt64Array(target.buffer);
    for (let i = 0; i < Math.min(old.length, fresh.length); i++) if (old[i] !== 0n) Atomics.add(fresh, i, old[i]);
  } finally {
    source.unmap();
    target.unmap();
  }
}
