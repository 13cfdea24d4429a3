/** Ready-made sections: what stands between question and OPT of an answer, as the process would write it. */
import { DNS_KIND_NODATA, DNS_KIND_POSITIVE, DNS_LINE_BYTES } from '../../vip/layout.gen.ts';
import { setOfSites } from '../choice-sets.ts';
import { writeAll } from '../dnssec/signed-answer.ts';
import type { SignedZone } from '../dnssec/signed-zone.ts';
import { MAX_UDP_BYTES } from '../exchange.ts';
import type { Name } from '../wire/name.ts';
import { CLASS, RECORD_TYPE } from '../wire/numbers.ts';
import { HEADER_BYTES } from '../wire/query.ts';
import { MessageWriter } from '../wire/writer.ts';
import { type RecordSet, steeredSets, type ZoneNode } from '../zones.ts';

export interface Section {
  /** Of the section's bytes; 0: the kernel has none, the process answers. */
  readonly bytes: Uint8Array;
  readonly answers: number;
  readonly authorities: number;
  readonly kind: typeof DNS_KIND_POSITIVE | typeof DNS_KIND_NODATA;
}

const writer = new MessageWriter();
const message = new Uint8Array(MAX_UDP_BYTES);

/**
 * Null: not to be answered from a table, or longer than a message by UDP. `signed`: with signatures; denials, which are signed when they are
 * asked for, are then not from a table.
 */
export function sectionOf(
  node: ZoneNode,
  type: number,
  sites: readonly number[],
  signed: { readonly zone: SignedZone; readonly nowSeconds: number } | null,
): Section | null {
  if (node.steered === null) return null;
  const sets = steeredSets(node.steered, type);
  if (sets !== null && signed !== null) {
    const { set, signature } = signed.zone.steered(node.name, sites, sets, signed.nowSeconds);
    const signatures = { ...set, type: RECORD_TYPE.RRSIG, records: signature.records };
    const bytes = write(node.name, node.name, type, [set, signatures]);
    const answers = set.records.length + signature.records.length;
    return bytes && { bytes, answers, authorities: 0, kind: DNS_KIND_POSITIVE };
  }
  if (sets !== null) {
    const set = setOfSites(sets, sites);
    const bytes = write(node.name, node.name, type, [set]);
    return bytes && { bytes, answers: set.records.length, authorities: 0, kind: DNS_KIND_POSITIVE };
  }
  if (signed !== null) return null;
  if (node.sets.get(type) !== undefined) return null;
  const soa = node.zone.steeredNegativeSoa;
  const bytes = write(node.name, node.zone.name, type, [soa]);
  return bytes && { bytes, answers: 0, authorities: 1, kind: DNS_KIND_NODATA };
}

/** What stands behind the question about `name` when whole sets follow. */
function write(name: Name, owner: Name, type: number, sets: readonly RecordSet[]): Uint8Array | null {
  writer.begin(message, message.length);
  writer.skip(HEADER_BYTES);
  writer.copy(name, 0, name.length);
  writer.write16(type);
  writer.write16(CLASS.IN);
  writer.rememberName(HEADER_BYTES, HEADER_BYTES + name.length);
  const start = writer.position;
  for (const set of sets) {
    if (writeAll(writer, owner, set.type, set.ttlSeconds, set.records) < 0) return null;
  }
  return message.slice(start, writer.position);
}

/** One's complement sum of 16-bit words in wire order, folded, as the kernel holds it: its low byte is the first. */
export function sumBytes(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at] | ((bytes[at + 1] ?? 0) << 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Sections in lines of a cache line's size; the same bytes stand there once. */
export class SectionLines {
  #bytes = new Uint8Array(DNS_LINE_BYTES * 64);
  #lines = 0;
  readonly #known = new Map<string, number>();

  /** Number of the first line. */
  add(bytes: Uint8Array): number {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const first = this.#lines;
    this.#known.set(key, first);
    this.#lines += Math.ceil(bytes.length / DNS_LINE_BYTES);
    while (this.#bytes.length < this.#lines * DNS_LINE_BYTES) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, first * DNS_LINE_BYTES);
    return first;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#lines * DNS_LINE_BYTES);
  }
}
