/**
 * Signatures as plain data: made once by the main thread, handed to the threads that answer and to the kernel's tables, so that all send the
 * same bytes; and taken over at a reload.
 */
import type { Name } from '../wire/name.ts';
import type { CompiledZones, RecordSet, ZoneNode } from '../zones.ts';
import { type EarlierSignatures, type Signature, type SignedZone, signableSets, steeredSetsOf } from './signed-zone.ts';
import type { Signing } from './signing.ts';

export interface ExportedSignature {
  /** Of the set: owner (lower case, with the `*` of a wildcard), type, TTL, and the data of its records in any order. */
  readonly owner: Name;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly records: readonly Uint8Array[];
  readonly signature: Signature;
}

/** Handed over; of zones with more sets, a thread makes the others when they are asked for. */
export const MAX_EXPORTED = 20_000;

/** All that are made, at most `MAX_EXPORTED`. */
export function exportSignatures(signing: Signing, zones: CompiledZones): ExportedSignature[] {
  const exported: ExportedSignature[] = [];
  for (const signed of signing.zones) {
    for (const [owner, set] of signableSets(signed, zones.names.values())) {
      if (exported.length >= MAX_EXPORTED) return exported;
      const signature = signed.known(set);
      if (signature === undefined) continue;
      const { type, ttlSeconds } = set;
      exported.push({ owner, type, ttlSeconds, records: set.records.map(({ bytes }) => bytes), signature });
    }
  }
  return exported;
}

/** For `SignedZone.earlier`. */
export function importedSignatures(exported: readonly ExportedSignature[]): EarlierSignatures {
  const byText = new Map(exported.map((each) => [textOf(each.owner, each.type, each.ttlSeconds, each.records), each]));
  return (owner, { type, ttlSeconds, records }) => {
    const data = records.map(({ bytes }) => bytes);
    return byText.get(textOf(owner, type, ttlSeconds, data))?.signature;
  };
}

/** What the same zone's signer has. `zones`: those that it was made with. */
export function signaturesOf(signed: SignedZone, zones: CompiledZones): EarlierSignatures {
  return (owner, set) => {
    const node = zones.names.get(owner);
    if (node === undefined || node.zone !== signed.zone) return undefined;
    for (const candidate of candidates(signed, node, set.type)) {
      if (isSame(candidate, set)) return signed.known(candidate);
    }
    return undefined;
  };
}

function* candidates(signed: SignedZone, node: ZoneNode, type: number): Generator<RecordSet> {
  const own = node.sets.get(type) ?? signed.apexSet(type);
  if (own !== undefined) yield own;
  if (node.steered === null) return;
  for (const [, set] of steeredSetsOf(signed, node.name, node.steered)) if (set.type === type) yield set;
}

function isSame(a: RecordSet, b: RecordSet): boolean {
  if (a.records.length !== b.records.length || a.ttlSeconds !== b.ttlSeconds) return false;
  const texts = ({ records }: RecordSet) => records.map(({ bytes }) => latin(bytes)).sort();
  const [aTexts, bTexts] = [texts(a), texts(b)];
  return aTexts.every((text, index) => text === bTexts[index]);
}

function textOf(owner: Name, type: number, ttlSeconds: number, records: readonly Uint8Array[]): string {
  return `${latin(owner)} ${type} ${ttlSeconds} ${records.map(latin).sort().join('|')}`;
}

function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
