/** Zones ready for answering: every name of every zone in one table. Made by `zone-compile.ts`, never changed. */
import type { ServiceSteering } from '../../decide/steer/policy.ts';
import type { HashedName, NameTable } from './name-table.ts';
import type { ReadonlySetList } from './set-list.ts';
import { MAX_NAME_BYTES, type Name } from './wire/name.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import { joinBytes, type RecordData } from './wire/record-data.ts';

/** Records of one owner and type (RFC 2181 section 5); the class is IN. */
export interface RecordSet {
  readonly type: number;
  readonly ttlSeconds: number;
  readonly records: readonly RecordData[];
  /** Addresses in the same zone that go with an NS set: at an apex as a kindness, at a delegation as glue (RFC 9471). */
  readonly additionals: readonly { readonly owner: Name; readonly set: RecordSet }[];
}

/** A name whose A, AAAA and maybe HTTPS records come from a service. */
export interface SteeredName {
  readonly service: string;
  readonly ttlSeconds: number;
  readonly steering: ServiceSteering;
  /** By index of `steering.sites`; null: the service has no VIP of the family at all. */
  readonly ipv4: readonly RecordSet[] | null;
  readonly ipv6: readonly RecordSet[] | null;
  /** Null: the service has no HTTPS record. */
  readonly https: readonly RecordSet[] | null;
}

/** The sets of a type, one a site; null: the type is not steered here. */
export function steeredSets(steered: SteeredName, type: number): readonly RecordSet[] | null {
  if (type === RECORD_TYPE.A) return steered.ipv4;
  if (type === RECORD_TYPE.AAAA) return steered.ipv6;
  return type === RECORD_TYPE.HTTPS ? steered.https : null;
}

export interface CompiledZone {
  /** In the operator's words: lower case, no final dot. */
  readonly text: string;
  readonly name: Name;
  readonly soa: RecordSet;
  /** SOA for negative answers: its TTL is how long they hold (RFC 2308 section 3). */
  readonly negativeSoa: RecordSet;
  /** The same, at most 60 s, for names that steering can give other types at any time. */
  readonly steeredNegativeSoa: RecordSet;
}

/** A name that exists: it has records, or names below it have (an empty non-terminal). */
export interface ZoneNode {
  readonly name: Name;
  readonly zone: CompiledZone;
  /** By type. */
  readonly sets: ReadonlySetList<RecordSet>;
  readonly cname: { readonly set: RecordSet; readonly target: HashedName } | null;
  /** All names below this one stand below another (RFC 6672); null: they do not. */
  readonly dname: RecordSet | null;
  readonly steered: SteeredName | null;
  /** The delegation at or above this name; null: the zone's own data. */
  readonly cut: ZoneNode | null;
  /** The name `*` below this one. */
  readonly wildcard: ZoneNode | null;
}

export interface CompiledZones {
  readonly zones: readonly CompiledZone[];
  readonly names: NameTable<ZoneNode>;
}

/** The name itself, or else its closest encloser (RFC 4592 3.3.1); undefined: in none of the zones. Cost: one look a label. */
export function findClosest(zones: CompiledZones, name: HashedName): ZoneNode | undefined {
  for (let label = 0; label <= name.labels; label++) {
    const node = zones.names.find(name, label);
    if (node !== undefined) return node;
  }
  return undefined;
}

/** The zone around the one that has `name` as its apex, `closest`; null: it is no apex, or the zone around is not served here. */
export function zoneAbove(zones: CompiledZones, name: HashedName, closest: ZoneNode): CompiledZone | null {
  if (closest.name.length !== closest.zone.name.length || !isExact(closest, name)) return null;
  for (let label = 1; label <= name.labels; label++) {
    const node = zones.names.find(name, label);
    // Below a delegation the zone around has no say.
    if (node !== undefined) return node.cut === null ? node.zone : null;
  }
  return null;
}

/** Whether what `findClosest` gave is the name itself. */
export function isExact(node: ZoneNode, name: HashedName): boolean {
  return node.name.length === name.end - name.starts[0];
}

/** What a DNAME at `tree` makes of a name below it (RFC 6672 2.2); null: a name that is too long. */
export function redirectedName(owner: Name, tree: Name, dname: RecordSet): Name | null {
  const kept = owner.length - tree.length;
  const target = dname.records[0].bytes;
  if (kept + target.length > MAX_NAME_BYTES) return null;
  return joinBytes([owner.subarray(0, kept), target], kept + target.length);
}

/** CNAMEs that one answer follows; a zone with longer chains is refused, and a wildcard that leads to itself ends here. */
export const MAX_CHAIN = 8;

export const MAX_STEERED_NEGATIVE_SECONDS = 60;
