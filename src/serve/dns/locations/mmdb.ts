/**
 * Databases in the MaxMind DB format (MMDB, version 2 of its public specification): networks in a binary tree, and what is known of each.
 * Read from bytes that are in memory. A file that is not well-formed gives a reason, never an exception or an endless walk.
 */
import type { AddressSegments } from '../../../net/address-segments.ts';
import { UNWEIGHTED_DENSITY, wordsOf } from '../../../net/address-segments.ts';
import { MmdbData, type MmdbMap } from './mmdb-data.ts';

/** Marks the metadata, which stands in the last 128 KiB. */
const MARKER = Uint8Array.from([0xab, 0xcd, 0xef, ...new TextEncoder().encode('MaxMind.com')]);
const MARKER_WITHIN = 128 * 1024;
/** Between tree and data. */
const SEPARATOR_BYTES = 16;

export type MmdbResult =
  | { readonly ok: true; readonly database: Mmdb }
  | { readonly ok: false; readonly reason: string };

export function openMmdb(bytes: Uint8Array): MmdbResult {
  const start = findMarker(bytes);
  if (start < 0) return { ok: false, reason: 'it is no MMDB file: its metadata are missing' };
  const metadata = new MmdbData(bytes, start, bytes.length).read(start);
  if (!metadata.ok) return metadata;
  if (!(metadata.value instanceof Map)) return { ok: false, reason: 'its metadata are no map' };
  const numberOf = (key: string) => {
    const value = (metadata.value as MmdbMap).get(key);
    return typeof value === 'number' ? value : -1;
  };
  if (numberOf('binary_format_major_version') !== 2) return { ok: false, reason: 'its format is not version 2' };
  const nodes = numberOf('node_count');
  const recordBits = numberOf('record_size');
  const version = numberOf('ip_version');
  if (![24, 28, 32].includes(recordBits))
    return { ok: false, reason: `records of ${recordBits} bits are not possible` };
  if (version !== 4 && version !== 6) return { ok: false, reason: `IP version ${version} is not possible` };
  const treeBytes = (nodes * recordBits) / 4;
  if (!Number.isInteger(nodes) || nodes < 1 || treeBytes + SEPARATOR_BYTES > start) {
    return { ok: false, reason: `${nodes} nodes do not fit into it` };
  }
  const data = new MmdbData(bytes, treeBytes + SEPARATOR_BYTES, start - MARKER.length);
  return { ok: true, database: new Mmdb(bytes, { nodes, recordBits, version, treeBytes }, data) };
}

function findMarker(bytes: Uint8Array): number {
  const first = Math.max(0, bytes.length - MARKER_WITHIN);
  for (let at = bytes.length - MARKER.length; at >= first; at--) {
    if (MARKER.every((byte, index) => bytes[at + index] === byte)) return at + MARKER.length;
  }
  return -1;
}

interface Shape {
  readonly nodes: number;
  readonly recordBits: number;
  readonly version: 4 | 6;
  readonly treeBytes: number;
}

export class Mmdb {
  readonly data: MmdbData;
  readonly #bytes: Uint8Array;
  readonly #shape: Shape;

  constructor(bytes: Uint8Array, shape: Shape, data: MmdbData) {
    this.#bytes = bytes;
    this.#shape = shape;
    this.data = data;
  }

  /** Where what is known of an address stands in the data, and the length of the network that has it; null: nothing is known. */
  find(family: 4 | 6, address: Uint8Array): { readonly offset: number; readonly length: number } | null {
    if (family === 6 && this.#shape.version === 4) return null;
    let record = family === 4 ? this.#ipv4Root() : 0;
    for (let depth = 0; depth <= address.length * 8; depth++) {
      const offset = this.#offsetOf(record);
      if (offset !== null) return offset < 0 ? null : { offset, length: depth };
      if (depth === address.length * 8) break;
      record = this.#record(record, (address[depth >> 3] >> (7 - (depth & 7))) & 1);
    }
    return null;
  }

  /**
   * All networks of a family in order; `numberAt` gives a number for what stands at an offset of the data, `nothing` is that of addresses
   * of which nothing is known. IPv4 stands under ::/96 of IPv6 trees, and is reached there by other prefixes too, as by that of 6to4: those
   * are left out. Null: the tree is deeper than addresses are long, or leads into itself.
   */
  segments(family: 4 | 6, numberAt: (offset: number) => number, nothing: number): AddressSegments | null {
    const walk = new SegmentWalk(family, nothing);
    if (family === 6 && this.#shape.version === 4) return walk.finish();
    const ipv4Root = this.#ipv4Root();
    let left = this.#shape.nodes * 2;
    let isSound = true;
    const visit = (record: number, depth: number): void => {
      const offset = this.#offsetOf(record);
      if (offset !== null) {
        walk.push(offset < 0 ? nothing : numberAt(offset));
        return;
      }
      // In the tree of IPv6, all ways to IPv4.
      if (family === 6 && record === ipv4Root && depth > 0) {
        walk.push(nothing);
        return;
      }
      isSound &&= depth < walk.bits && left-- > 0;
      if (!isSound) return;
      visit(this.#record(record, 0), depth + 1);
      walk.set(depth);
      visit(this.#record(record, 1), depth + 1);
      walk.clear(depth);
    };
    visit(family === 4 ? ipv4Root : 0, 0);
    return isSound ? walk.finish() : null;
  }

  /** The record that ::/96 leads to. */
  #ipv4Root(): number {
    let record = 0;
    for (let depth = 0; this.#shape.version === 6 && depth < 96 && record < this.#shape.nodes; depth++) {
      record = this.#record(record, 0);
    }
    return record;
  }

  /** Null: the record is a node. Below 0: it leads to nothing. */
  #offsetOf(record: number): number | null {
    const { nodes, treeBytes } = this.#shape;
    if (record < nodes) return null;
    return record === nodes ? -1 : record - nodes + treeBytes;
  }

  #record(node: number, side: number): number {
    const { recordBits } = this.#shape;
    const bytes = this.#bytes;
    let at = (node * recordBits) / 4;
    if (recordBits === 28) {
      // The upper four bits of both stand in the byte between.
      const middle = bytes[at + 3];
      const upper = side === 0 ? middle >> 4 : middle & 15;
      if (side === 1) at += 4;
      return (upper << 24) | (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    }
    at += (side * recordBits) / 8;
    const first = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    return recordBits === 24 ? first : first * 256 + bytes[at + 3];
  }
}

/** Collects segments at an address whose bits are set and cleared on the way. */
class SegmentWalk {
  readonly bits: number;
  readonly #family: 4 | 6;
  readonly #address: Uint32Array;
  #starts: Uint32Array;
  #values = new Uint32Array(1024);
  #count = 0;

  constructor(family: 4 | 6, nothing: number) {
    this.#family = family;
    this.bits = family === 4 ? 32 : 128;
    this.#address = new Uint32Array(wordsOf(family));
    this.#starts = new Uint32Array(1024 * wordsOf(family));
    // For a walk that meets nothing.
    this.#values[0] = nothing;
  }

  set(depth: number): void {
    this.#address[depth >> 5] |= 0x8000_0000 >>> (depth & 31);
  }

  clear(depth: number): void {
    this.#address[depth >> 5] &= ~(0x8000_0000 >>> (depth & 31));
  }

  /** From the address on. */
  push(value: number): void {
    const count = this.#count;
    if (count > 0 && this.#values[count - 1] === value) return;
    const words = wordsOf(this.#family);
    if (count === this.#values.length) {
      const [starts, values] = [this.#starts, this.#values];
      this.#starts = new Uint32Array(starts.length * 2);
      this.#starts.set(starts);
      this.#values = new Uint32Array(values.length * 2);
      this.#values.set(values);
    }
    for (let i = 0; i < words; i++) this.#starts[count * words + i] = this.#address[i];
    this.#values[count] = value;
    this.#count++;
  }

  finish(): AddressSegments {
    const count = Math.max(1, this.#count);
    const starts = this.#starts.slice(0, count * wordsOf(this.#family));
    const values = this.#values.slice(0, count);
    return { family: this.#family, count, starts, values, densities: new Float64Array(count).fill(UNWEIGHTED_DENSITY) };
  }
}
