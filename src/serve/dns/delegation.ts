/** A zone as its parent delegates it, against the zone as it is served: name servers, their addresses, keys. Pure. */
import { createHash } from 'node:crypto';
import { type Address, formatAddress } from '../../net/address.ts';
import type { Message, ResourceRecord } from './wire/message.ts';
import { formatName, isAtOrBelow, lowerName, type Name, sameName } from './wire/name.ts';
import { formatRcode, RECORD_TYPE } from './wire/numbers.ts';
import { read16 } from './wire/query.ts';

/** Names in text, lower case; data of records as bytes. */
export interface Delegation {
  readonly nameServers: readonly string[];
  /** By name, of names within the zone. Sorted. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  readonly ds: readonly Uint8Array[];
}

export interface ServedZone {
  readonly nameServers: readonly string[];
  /** Of the names within the zone that are served as name servers or told by the parent. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  /** DNSKEY. None: the zone is not signed. */
  readonly keys: readonly Uint8Array[];
  /** What the parent is asked to have as DS (RFC 7344). */
  readonly cds: readonly Uint8Array[];
}

export type Reading<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** From answers to NS and DS questions about the zone, by one server of its parent. */
export function readDelegation(zone: Name, ns: Message, ds: Message): Reading<Delegation> {
  const rcode = ns.flags & 0xf;
  if (rcode !== 0) return { ok: false, reason: `answers ${formatRcode(rcode)} about ${formatName(zone)}` };
  // A server of both zones answers for the zone below instead of delegating.
  const servers = recordsOf([...ns.authorities, ...ns.answers], zone, RECORD_TYPE.NS);
  if (servers.length === 0) return { ok: false, reason: `does not delegate ${formatName(zone)}` };
  const nameServers = servers.map(nameIn);
  const addresses = new Map<string, string[]>();
  for (const name of nameServers)
    if (isAtOrBelow(name, zone)) addresses.set(textOf(name), addressesOf(ns.additionals, name));
  return {
    ok: true,
    value: {
      nameServers: nameServers.map(textOf).sort(),
      addresses,
      ds: recordsOf(ds.answers, zone, RECORD_TYPE.DS).map(({ data }) => data.bytes),
    },
  };
}

export function recordsOf(records: readonly ResourceRecord[], owner: Name, type: number): ResourceRecord[] {
  return records.filter((record) => record.type === type && sameName(record.owner, owner));
}

/** Of the A and AAAA records of a name, sorted. */
export function addressesOf(records: readonly ResourceRecord[], owner: Name): string[] {
  const found = [RECORD_TYPE.A, RECORD_TYPE.AAAA].flatMap((type) => recordsOf(records, owner, type));
  return found
    .map(({ type, data }): Address => ({ family: type === RECORD_TYPE.A ? 4 : 6, bytes: data.bytes }))
    .map(formatAddress)
    .sort();
}

/** The name that is all of the data. */
export function nameIn({ data }: ResourceRecord): Name {
  return lowerName(data.bytes);
}

export function textOf(name: Name): string {
  return formatName(lowerName(name));
}

/** Sentences about what differs; none: nothing does. */
export function compareDelegation(zone: Name, parent: Delegation, served: ServedZone): string[] {
  return [...compareServers(parent, served), ...compareAddresses(parent, served), ...compareKeys(zone, parent, served)];
}

function without(list: readonly string[], others: readonly string[]): string[] {
  return list.filter((one) => !others.includes(one));
}

function compareServers(parent: Delegation, served: ServedZone): string[] {
  const differences: string[] = [];
  const extra = without(parent.nameServers, served.nameServers);
  const missing = without(served.nameServers, parent.nameServers);
  if (extra.length > 0) differences.push(`the parent names ${extra.join(', ')} as name server, the zone does not`);
  if (missing.length > 0) differences.push(`the zone names ${missing.join(', ')} as name server, the parent does not`);
  return differences;
}

function compareAddresses(parent: Delegation, served: ServedZone): string[] {
  return [...parent.addresses].flatMap(([name, glue]) => {
    const own = served.addresses.get(name) ?? [];
    if (glue.length === 0) return [`the parent has no glue for ${name}`];
    if (own.length === 0) return [`the parent has glue for ${name}, ${glue.join(', ')}, the zone has no address of it`];
    const isSame = without(glue, own).length === 0 && without(own, glue).length === 0;
    return isSame ? [] : [`the parent's glue for ${name} is ${glue.join(', ')}, the zone has ${own.join(', ')}`];
  });
}

function compareKeys(zone: Name, { ds }: Delegation, { keys, cds }: ServedZone): string[] {
  // Algorithm 0 asks for no DS at all (RFC 8078 section 4).
  const isWithdrawn = cds.some((one) => one[2] === 0);
  if (ds.length === 0)
    return keys.length === 0 || isWithdrawn ? [] : ['the zone is signed, the parent has no DS: nobody validates it'];
  if (keys.length === 0) return ['the parent has a DS, the zone is not signed: validating resolvers refuse it'];
  const known = ds.filter((one) => keys.some((key) => fits(zone, one, key)));
  if (known.length === 0) return ['no DS of the parent fits a key of the zone: validating resolvers refuse it'];
  const differences: string[] = [];
  const texts = (list: readonly Uint8Array[]): string[] => list.map((one) => Buffer.from(one).toString('hex')).sort();
  const tags = (list: readonly Uint8Array[]): string => [...new Set(list.map((one) => read16(one, 0)))].join(', ');
  if (isWithdrawn) return ['the zone asks for no DS any more (CDS), the parent has one'];
  if (cds.length > 0 && texts(cds).join() !== texts(ds).join())
    differences.push(
      `the zone asks for other DS records (CDS of key ${tags(cds)}) than the parent has (key ${tags(ds)})`,
    );
  else if (known.length < ds.length)
    differences.push(
      `the parent has a DS of key ${tags(ds.filter((one) => !known.includes(one)))}, which the zone does not have`,
    );
  return differences;
}

const DIGESTS: Readonly<Record<number, string>> = { 1: 'sha1', 2: 'sha256', 4: 'sha384' };

/** Whether the DS record is of this DNSKEY (RFC 4034 5.1.4). */
export function fits(zone: Name, ds: Uint8Array, key: Uint8Array): boolean {
  if (ds.length < 5 || key.length < 5 || read16(ds, 0) !== keyTag(key) || ds[2] !== key[3]) return false;
  const digest = DIGESTS[ds[3] as number];
  if (digest === undefined) return false;
  return createHash(digest).update(lowerName(zone)).update(key).digest().equals(ds.subarray(4));
}

/** RFC 4034 appendix B; not for algorithm 1, which nobody uses. */
export function keyTag(key: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < key.length; i++) sum += (i & 1) === 0 ? (key[i] as number) << 8 : (key[i] as number);
  return (sum + (sum >> 16)) & 0xffff;
}
