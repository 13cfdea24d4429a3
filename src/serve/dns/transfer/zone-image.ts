/**
 * A zone as secondaries get it: all records but the SOA, one after the other in wire form, uncompressed. Names of services have the VIPs of
 * fixed sites there, so an image changes with static data only, never with health.
 */
import type { Config } from '../../../config/model.ts';
import { setOfSites } from '../choice-sets.ts';
import type { Name } from '../wire/name.ts';
import { CLASS, RECORD_TYPE } from '../wire/numbers.ts';
import { read16, read32 } from '../wire/query.ts';
import { joinBytes, type RecordData } from '../wire/record-data.ts';
import type { CompiledZone, CompiledZones, RecordSet, SteeredName, ZoneNode } from '../zones.ts';

export interface ZoneImage {
  /** In the operator's words. */
  readonly text: string;
  readonly name: Name;
  /** The SOA record, whole. */
  readonly soa: Uint8Array;
  readonly serial: number;
  /** Packed. */
  readonly records: Uint8Array;
  readonly count: number;
}

/** Type, class, TTL and length of the data: what stands between owner and data. */
export const FIXED_BYTES = 10;
const SOA_NUMBERS_BYTES = 20;

/** Images of the zones that `isWanted`. Cost: about a microsecond a record. */
export function imageZones(
  config: Config,
  zones: CompiledZones,
  isWanted: (zone: CompiledZone) => boolean,
): Map<string, ZoneImage> {
  const packers = new Map<CompiledZone, Packer>();
  for (const zone of zones.zones) if (isWanted(zone)) packers.set(zone, new Packer());
  if (packers.size > 0) for (const node of zones.names.values()) packNode(config, node, packers.get(node.zone));
  return new Map([...packers].map(([zone, packer]) => [zone.text, imageOf(zone, packer)]));
}

function imageOf(zone: CompiledZone, packer: Packer): ZoneImage {
  const own = new Packer();
  own.add(zone.name, RECORD_TYPE.SOA, zone.soa.ttlSeconds, zone.soa.records[0]);
  const soa = own.take();
  return { text: zone.text, name: zone.name, soa, serial: serialOf(soa), records: packer.take(), count: packer.count };
}

function packNode(config: Config, node: ZoneNode, packer: Packer | undefined): void {
  if (packer === undefined) return;
  for (const set of node.sets.values()) if (set.type !== RECORD_TYPE.SOA) packer.addSet(node.name, set);
  const { steered } = node;
  if (steered === null) return;
  const sites = sitesOf(config, steered);
  for (const sets of [steered.ipv4, steered.ipv6, steered.https]) {
    if (sets !== null) packer.addSet(node.name, setOfSites(sets, sites));
  }
}

/** Indexes of the sites whose VIPs secondaries answer with. */
function sitesOf(config: Config, { service, steering }: SteeredName): number[] {
  const wanted = config.services.get(service)?.secondarySites ?? [];
  const sites = [...steering.sites.keys()].filter((index) => wanted.includes(steering.sites[index]));
  return sites.length > 0 ? sites : [...steering.sites.keys()];
}

const FIRST_BYTES = 4096;

class Packer {
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;
  count = 0;

  /** Without doubles: sites may have one VIP together. */
  addSet(owner: Name, { type, ttlSeconds, records }: RecordSet): void {
    for (const [index, data] of records.entries()) {
      const isDouble = records.length < 1000 && records.slice(0, index).some((other) => sameData(other, data));
      if (!isDouble) this.add(owner, type, ttlSeconds, data);
    }
  }

  add(owner: Name, type: number, ttlSeconds: number, { bytes }: RecordData): void {
    const begin = this.#length;
    const end = begin + owner.length + FIXED_BYTES + bytes.length;
    if (end > this.#bytes.length) this.#grow(end);
    const out = this.#bytes;
    out.set(owner, begin);
    const fixed = new DataView(out.buffer, begin + owner.length, FIXED_BYTES);
    fixed.setUint16(0, type);
    fixed.setUint16(2, CLASS.IN);
    fixed.setUint32(4, ttlSeconds);
    fixed.setUint16(8, bytes.length);
    out.set(bytes, begin + owner.length + FIXED_BYTES);
    this.#length = end;
    this.count++;
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

function sameData(a: RecordData, b: RecordData): boolean {
  return a.bytes.length === b.bytes.length && a.bytes.every((byte, index) => byte === b.bytes[index]);
}

/** End of the uncompressed name that begins at `position`; of bytes that are none, beyond their end. */
export function nameEnd(bytes: Uint8Array, position: number): number {
  let end = position;
  while (end < bytes.length && bytes[end] !== 0) end += bytes[end] + 1;
  return end + 1;
}

/** End of the packed record that begins at `position`. */
export function recordEnd(bytes: Uint8Array, position: number): number {
  const fixed = nameEnd(bytes, position);
  return fixed + FIXED_BYTES + read16(bytes, fixed + 8);
}

/** Of a packed SOA record. */
export function serialOf(soa: Uint8Array): number {
  return read32(soa, soa.length - SOA_NUMBERS_BYTES);
}

/** The same SOA record with another serial. */
export function withSerial(soa: Uint8Array, serial: number): Uint8Array {
  const copy = soa.slice();
  new DataView(copy.buffer).setUint32(copy.length - SOA_NUMBERS_BYTES, serial);
  return copy;
}

export interface Difference {
  readonly removed: Uint8Array;
  readonly added: Uint8Array;
}

/** Packed records that only one of two images has. Takes about 100 bytes of memory a record while it runs. */
export function differenceOf(before: Uint8Array, after: Uint8Array): Difference {
  const old = new Map<string, Uint8Array>();
  for (const record of recordsOf(before)) old.set(textOf(record), record);
  const added: Uint8Array[] = [];
  for (const record of recordsOf(after)) if (!old.delete(textOf(record))) added.push(record);
  return { removed: joinAll([...old.values()]), added: joinAll(added) };
}

export function* recordsOf(packed: Uint8Array): Iterable<Uint8Array> {
  for (let position = 0; position < packed.length; ) {
    const end = recordEnd(packed, position);
    yield packed.subarray(position, end);
    position = end;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function joinAll(parts: readonly Uint8Array[]): Uint8Array {
  return joinBytes(
    parts,
    parts.reduce((sum, { length }) => sum + length, 0),
  );
}
