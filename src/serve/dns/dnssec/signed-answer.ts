/** The part of one answer that DNSSEC adds: signatures behind sets, proofs of what is not there (RFC 4035 section 3.1, RFC 9824). */
import { type AnswerFacts, type Asker, NOBODY } from '../exchange.ts';
import type { HashedName } from '../name-table.ts';
import type { Name } from '../wire/name.ts';
import { CLASS, RECORD_TYPE } from '../wire/numbers.ts';
import type { RecordData } from '../wire/record-data.ts';
import type { MessageWriter } from '../wire/writer.ts';
import { type CompiledZone, MAX_CHAIN, type RecordSet, type ZoneNode } from '../zones.ts';
import type { SignedDenial } from './denial-cache.ts';
import type { SignedZone, SteeredSet } from './signed-zone.ts';
import { DENIAL, type Signing, type SigningAsker } from './signing.ts';

/** In the place of a number of records. */
export const NO_ROOM = -1;
export const OVER_LIMIT = -2;

/** A name that a wildcard was expanded to, and the name above the wildcard. */
interface Expansion {
  name: HashedName;
  closest: ZoneNode;
}

/** Scratch of one answerer: begins anew with each query. */
export class SignedAnswer implements SigningAsker {
  /** Of the answer; null: it has no signatures, since the client wants none or the zone has none. */
  zone: SignedZone | null = null;
  /** Whether the rate limit lets an answer to this client out; set by who knows it. */
  judge: (() => boolean) | null = null;
  #signing: Signing | null = null;
  #asker: Asker = NOBODY;
  readonly #facts: AnswerFacts;
  readonly #expansions: Expansion[] = [];
  #expanded = 0;

  constructor(facts: AnswerFacts) {
    this.#facts = facts;
  }

  begin(signing: Signing | null, asker: Asker): void {
    this.#signing = signing;
    this.#asker = asker;
    this.zone = null;
    this.#expanded = 0;
  }

  /** Signatures are for those who say so, and for those who ask for them by type. */
  enter(zone: CompiledZone, isWanted: boolean): void {
    if (isWanted && this.#signing !== null) this.zone = this.#signing.zoneOf(zone);
  }

  get client() {
    return this.#asker.client;
  }

  get nowMs(): number {
    return this.#asker.nowMs;
  }

  get isProved(): boolean {
    return this.#facts.cookie === 'good' || this.#asker.transport === 'tcp';
  }

  mayAnswer(): boolean {
    return this.judge === null || this.judge();
  }

  get #nowSeconds(): number {
    return Math.floor(this.#asker.nowMs / 1000);
  }

  /** What a zone has because it is signed: undefined: nothing of this type. */
  ownSet({ zone, name }: ZoneNode, type: number): RecordSet | undefined {
    if (type !== RECORD_TYPE.DNSKEY && type !== RECORD_TYPE.CDS && type !== RECORD_TYPE.CDNSKEY) return undefined;
    return zone.name.length === name.length ? this.#signing?.zoneOf(zone)?.apexSet(type) : undefined;
  }

  /** The records that a zone around has for a zone that is served here too; no records: that one is not signed. */
  dsSet(child: CompiledZone): RecordSet | null {
    return this.#signing?.zoneOf(child)?.dsSet ?? null;
  }

  /** Records of a choice and its signature; only with `zone`. */
  steered(owner: Name, sets: readonly RecordSet[], sites: readonly number[]): SteeredSet {
    return this.#zone.steered(owner, sites, sets, this.#nowSeconds);
  }

  /** The set for ANY: a signature belongs to a name, so each has a copy of its own. */
  anySet(node: ZoneNode, set: RecordSet): RecordSet {
    return this.zone === null || this.#signing === null ? set : this.#signing.anySet(node, set);
  }

  get #zone(): SignedZone {
    if (this.zone === null) throw new Error('an answer without signatures is signed');
    return this.zone;
  }

  /** Signatures of `set` behind it; how many, or `NO_ROOM`. `signedOwner`: with the `*` of a wildcard. */
  writeSignatures(
    writer: MessageWriter,
    owner: Name,
    signedOwner: Name,
    set: RecordSet,
    ttlSeconds = set.ttlSeconds,
  ): number {
    if (this.zone === null) return 0;
    const { records } = this.zone.signatureOf(signedOwner, set, this.#nowSeconds);
    return writeAll(writer, owner, RECORD_TYPE.RRSIG, ttlSeconds, records);
  }

  /** The answer has data of a wildcard under the name: that there is nothing nearer will have to be proved. */
  expand(name: HashedName, closest: ZoneNode): void {
    if (this.zone === null || this.#expanded > MAX_CHAIN) return;
    const known = this.#expansions[this.#expanded++];
    if (known === undefined) this.#expansions.push({ name, closest });
    else {
      known.name = name;
      known.closest = closest;
    }
  }

  /** Proofs of all expansions; how many records, `NO_ROOM` or `OVER_LIMIT`. */
  writeExpansions(writer: MessageWriter): number {
    let count = 0;
    for (let i = 0; i < this.#expanded; i++) {
      const { name, closest } = this.#expansions[i];
      // The name right below the one that exists: neither it nor anything below it is there.
      let label = 0;
      while (name.end - name.starts[label + 1] > closest.name.length) label++;
      const denial = this.#deny(DENIAL.range, name, name.starts[label], closest);
      const written = denial === null ? OVER_LIMIT : writeDenial(writer, denial.owner, denial);
      if (written < 0) return written;
      count += written;
    }
    return count;
  }

  #deny(kind: 0 | 1 | 2, name: HashedName, start: number, node: ZoneNode): SignedDenial | null {
    return this.#signing?.denyName(this.#zone, kind, name.bytes, start, name.end, node, this) ?? null;
  }

  /** That there is no such name. */
  writeNoName(writer: MessageWriter, name: HashedName, closest: ZoneNode): number {
    if (this.zone === null) return 0;
    const denial = this.#deny(DENIAL.noName, name, name.starts[0], closest);
    return denial === null ? OVER_LIMIT : writeDenial(writer, denial.owner, denial);
  }

  /** That the name has no such type. `node`: the name's, or that of the wildcard that it is made of. */
  writeNoType(writer: MessageWriter, name: HashedName, node: ZoneNode, isItself: boolean): number {
    if (this.zone === null) return 0;
    const denial = this.typeDenial(name, node, isItself);
    return denial === null ? OVER_LIMIT : writeDenial(writer, denial.owner, denial);
  }

  typeDenial(name: HashedName, node: ZoneNode, isItself: boolean): SignedDenial | null {
    if (!isItself) return this.#deny(DENIAL.noType, name, name.starts[0], node);
    return this.#signing?.denyType(this.#zone, node, this) ?? null;
  }

  /** That a delegation has no DS. */
  writeNoDs(writer: MessageWriter, cut: ZoneNode): number {
    if (this.zone === null) return 0;
    const denial = this.#signing?.denyType(this.zone, cut, this) ?? null;
    return denial === null ? OVER_LIMIT : writeDenial(writer, denial.owner, denial);
  }

  /** The same for a zone that is served here too. */
  writeNoDsOfZone(writer: MessageWriter, child: Name, hasDs: boolean): number {
    if (this.zone === null) return 0;
    const denial = this.#signing?.denyAtChild(this.zone, child, hasDs, this) ?? null;
    return denial === null ? OVER_LIMIT : writeDenial(writer, denial.owner, denial);
  }
}

function writeDenial(writer: MessageWriter, owner: Name, { nsec, signature }: SignedDenial): number {
  const records = writeAll(writer, owner, nsec.type, nsec.ttlSeconds, nsec.records);
  const signatures = writeAll(writer, owner, RECORD_TYPE.RRSIG, nsec.ttlSeconds, signature.records);
  return records < 0 || signatures < 0 ? NO_ROOM : records + signatures;
}

/** How many, or `NO_ROOM`: then some may stand there. */
export function writeAll(
  writer: MessageWriter,
  owner: Name,
  type: number,
  ttlSeconds: number,
  records: readonly RecordData[],
): number {
  for (let i = 0; i < records.length; i++) {
    if (!writer.writeRecord(owner, type, CLASS.IN, ttlSeconds, records[i])) return NO_ROOM;
  }
  return records.length;
}
