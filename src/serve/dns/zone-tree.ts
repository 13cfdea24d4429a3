/** The tree of names while zones are being built: nodes, their ancestors, their sets. */
import type { NameTable } from './name-table.ts';
import { SetList } from './set-list.ts';
import { labelStarts, type Name, parentName } from './wire/name.ts';
import type { RecordData } from './wire/record-data.ts';
import type { NodeDraft, Origin, SetDraft } from './zone-draft.ts';
import type { CompiledZone } from './zones.ts';

export type NodeTable = NameTable<NodeDraft>;

export function createNode(name: Name, zone: CompiledZone): NodeDraft {
  const links = { cname: null, dname: null, redirectedBy: null, cut: null, wildcard: null };
  return { name, zone, sets: new SetList(), ...links, steered: null, steeredOrigin: null };
}

export function addToSet(
  node: NodeDraft,
  type: number,
  ttlSeconds: number,
  data: RecordData,
  origin: Origin,
): SetDraft {
  const set = node.sets.get(type);
  if (set === undefined) {
    const first: SetDraft = { type, ttlSeconds, records: [data], additionals: [], origins: [origin], present: null };
    node.sets.add(first);
    return first;
  }
  set.origins.push(origin);
  // A set has no duplicates (RFC 2181 section 5).
  if (!hasData(set, data)) set.records.push(data);
  return set;
}

const NO_ORIGINS: Origin[] = [];

/** Lets go of what only the checks need, and of arrays' room for more. */
export function sealNode(node: NodeDraft): void {
  node.steeredOrigin = null;
  for (const set of node.sets.values()) {
    set.origins = NO_ORIGINS;
    set.present = null;
    if (set.records.length > 1) set.records = set.records.slice();
  }
}

/** Sets above this size are looked up by text. */
const LARGE_SET = 16;

function hasData(set: SetDraft, { bytes }: RecordData): boolean {
  if (set.records.length < LARGE_SET) return set.records.some((record) => sameBytes(record.bytes, bytes));
  const textOf = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1');
  set.present ??= new Set(set.records.map((record) => textOf(record.bytes)));
  const text = textOf(bytes);
  if (set.present.has(text)) return true;
  set.present.add(text);
  return false;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The node of a name at or below the zone's apex, made with its ancestors if needed; null: it is in a zone below. */
export function ensureNode(name: Name, zone: CompiledZone, names: NodeTable): NodeDraft | null {
  const known = names.get(name);
  if (known !== undefined) return known.zone === zone ? known : null;
  if (ensureNode(parentName(name), zone, names) === null) return null;
  const node = createNode(name, zone);
  names.add(name, node);
  return node;
}

export function deepestZone(name: Name, names: NodeTable): CompiledZone | null {
  for (const start of labelStarts(name)) {
    const node = names.get(name.subarray(start));
    if (node !== undefined) return node.zone;
  }
  return null;
}
