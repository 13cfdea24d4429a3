/** A signed zone in one thread: its keys' own records, and the signatures of all its sets, made ahead or when first asked for. */
import { setOfSites } from '../choice-sets.ts';
import { MAX_UDP_BYTES } from '../exchange.ts';
import { lowerName, MAX_NAME_BYTES, type Name } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { HEADER_BYTES } from '../wire/query.ts';
import type { RecordData } from '../wire/record-data.ts';
import type { CompiledZone, RecordSet, SteeredName, ZoneNode } from '../zones.ts';
import { SIGNATURE_HEAD_BYTES, signedLabels } from './canonical.ts';
import { delegatedKeys, publishedKeys, type ZoneKeys } from './key-roll.ts';
import { dnskeyData, dsData, SetSigner, SIGNATURE_BYTES, type ZoneKey } from './zone-key.ts';

/** Clocks of validators may be so far behind. */
const INCEPTION_SECONDS = 3600;
/** Of the validity, so that not all signatures end at once. */
const JITTER_SHARE = 0.1;
/** RFC 8078 section 4: no DS at all. */
const NO_CDS = Uint8Array.of(0, 0, 0, 0, 0);
const NO_CDNSKEY = Uint8Array.of(0, 0, 3, 0, 0);
const MAX_KEY_TTL_SECONDS = 86_400;
/** Pointer to the name, type, class, TTL, length. */
const RECORD_BYTES = 12;
/** OPT with client subnet, cookie, and an NSID of 40 bytes. */
const OPT_BYTES = 11 + 24 + 28 + 44;
/** NSEC and its signature, for a name of a wildcard. */
const EXPANSION_BYTES = 400;

export interface SigningTimes {
  readonly validitySeconds: number;
  /** A signature is made anew when it is valid for less than this. */
  readonly renewBeforeSeconds: number;
}

/** Of one set. Plain data. */
export interface Signature {
  /** RRSIG records: one, but for the DNSKEY set of a zone whose key is rolled. */
  readonly records: readonly RecordData[];
  /** Of the key that made the first. */
  readonly keyTag: number;
  /** Unix time. */
  readonly expiresSeconds: number;
}

/** Signatures that were made of the same records before, or in another thread. */
export type EarlierSignatures = (owner: Name, set: RecordSet) => Signature | undefined;

/** The records of one choice of a steered name that are signed together, in the order of the choice, and their signature. */
export interface SteeredSet {
  readonly set: RecordSet;
  readonly signature: Signature;
}

/** Of the same records in another order the signature is the same; of each, for all choices that health has brought yet. */
interface SignedChoices {
  readonly bySites: WeakMap<readonly number[], { readonly set: RecordSet; readonly signed: RecordSet }>;
  readonly byKey: Map<string, RecordSet>;
}

/** Of one name and type; then they are forgotten. */
const MAX_CHOICES = 4096;

export class SignedZone {
  readonly zone: CompiledZone;
  readonly keys: ZoneKeys;
  readonly times: SigningTimes;
  /** DNSKEY, CDS, CDNSKEY at the apex. */
  readonly apexSets: readonly RecordSet[];
  /** What a parent zone on the same server tells of this one; no records: nothing. */
  readonly dsSet: RecordSet;
  /** Where signatures may come from that are not here yet; null: nowhere. */
  earlier: EarlierSignatures | null = null;
  /** Signatures made by this object since it was made. */
  signatures = 0;
  readonly #signers: readonly SetSigner[];
  readonly #made = new WeakMap<RecordSet, Signature>();
  readonly #choices = new WeakMap<readonly RecordSet[], SignedChoices>();

  constructor(zone: CompiledZone, keys: ZoneKeys, times: SigningTimes) {
    this.zone = zone;
    this.keys = keys;
    this.times = times;
    const published = publishedKeys(keys);
    this.#signers = published.map((key) => new SetSigner(key));
    const ttlSeconds = dnskeyTtlSeconds(zone);
    const setOf = (type: number, data: readonly Uint8Array[]): RecordSet => {
      return { type, ttlSeconds, records: data.map((bytes) => ({ bytes, names: [] })), additionals: [] };
    };
    const delegated = delegatedKeys(keys);
    const dnskey = ({ publicKey }: ZoneKey) => dnskeyData(publicKey);
    const ds = delegated.map((key) => dsData(zone.name, key));
    this.dsSet = setOf(RECORD_TYPE.DS, ds);
    this.apexSets = [
      setOf(RECORD_TYPE.DNSKEY, published.map(dnskey)),
      setOf(RECORD_TYPE.CDS, ds.length === 0 ? [NO_CDS] : ds),
      setOf(RECORD_TYPE.CDNSKEY, ds.length === 0 ? [NO_CDNSKEY] : delegated.map(dnskey)),
    ];
  }

  /** The set of a type that the zone has because it is signed; undefined: it has none. */
  apexSet(type: number): RecordSet | undefined {
    return this.apexSets.find((set) => set.type === type);
  }

  /**
   * The RRSIG records of a set of this zone, with the set's largest TTL; made now if they are not there or old. `owner`: with the `*` of a
   * wildcard.
   */
  signatureOf(owner: Name, set: RecordSet, nowSeconds: number): Signature {
    const own = this.#own(set);
    const made = this.#made.get(own) ?? this.#inherit(owner, own);
    if (made !== undefined && !this.isDue(made, nowSeconds)) return made;
    const signature = this.sign(owner, own, nowSeconds);
    this.#made.set(own, signature);
    return signature;
  }

  /** What earlier signers made of the same records with a key that the zone still has. */
  #inherit(owner: Name, set: RecordSet): Signature | undefined {
    // The DNSKEY set is signed by all of its keys.
    if (this.earlier === null || set.type === RECORD_TYPE.DNSKEY) return undefined;
    const signature = this.earlier(owner, set);
    if (signature === undefined || !this.#signers.some(({ key }) => key.tag === signature.keyTag)) return undefined;
    this.#made.set(set, signature);
    return signature;
  }

  /**
   * The records that a choice tells to who wants signatures: all, or as many as any answer by UDP has room for, since a signed set is whole or
   * not there. `sites`: of a `Choice`; the same array gives the same objects. `sets`: of a `SteeredName`, one a site.
   */
  steered(owner: Name, sites: readonly number[], sets: readonly RecordSet[], nowSeconds: number): SteeredSet {
    const { set, signed } = this.#choice(owner, sites, sets);
    return { set, signature: this.signatureOf(owner, signed, nowSeconds) };
  }

  /** The set whose signature a choice has: that of the same records in the order that came first. */
  choiceOf(owner: Name, sites: readonly number[], sets: readonly RecordSet[]): RecordSet {
    return this.#choice(owner, sites, sets).signed;
  }

  #choice(owner: Name, sites: readonly number[], sets: readonly RecordSet[]) {
    let choices = this.#choices.get(sets);
    if (choices === undefined) {
      choices = { bySites: new WeakMap(), byKey: new Map() };
      this.#choices.set(sets, choices);
    }
    let known = choices.bySites.get(sites);
    if (known === undefined) {
      const set = whatFits(setOfSites(sets, sites), owner, this.zone.name);
      known = { set, signed: sameRecords(choices.byKey, set) };
      choices.bySites.set(sites, known);
    }
    return known;
  }

  /** What is there; undefined: nothing yet. */
  known(set: RecordSet): Signature | undefined {
    return this.#made.get(this.#own(set));
  }

  /** The signed sets of all choices that were asked for yet. */
  choicesOf(sets: readonly RecordSet[]): readonly RecordSet[] {
    return [...(this.#choices.get(sets)?.byKey.values() ?? [])];
  }

  /** Whether a signature is old, or of a key that another takes the place of. */
  isDue(signature: Signature, nowSeconds: number): boolean {
    if (signature.keyTag !== this.keys.active.tag) return true;
    return signature.expiresSeconds - nowSeconds < this.times.renewBeforeSeconds;
  }

  /** Signs and keeps nothing. */
  sign(owner: Name, set: RecordSet, nowSeconds: number): Signature {
    this.signatures++;
    const { validitySeconds } = this.times;
    const jitter = Math.floor(validitySeconds * JITTER_SHARE * share(owner, set.type));
    const expirationSeconds = nowSeconds + validitySeconds - jitter;
    const fields = {
      labels: signedLabels(owner),
      inceptionSeconds: nowSeconds - INCEPTION_SECONDS,
      expirationSeconds,
      signer: this.zone.name,
    };
    const signers = set.type === RECORD_TYPE.DNSKEY ? this.#signers : this.#signers.slice(0, 1);
    const records = signers.map((signer) => ({ bytes: signer.sign(owner, set, fields), names: [] }));
    return { records, keyTag: this.keys.active.tag, expiresSeconds: expirationSeconds };
  }

  /** SOA of negative answers differs in its TTL only: one signature serves all, with the largest. */
  #own(set: RecordSet): RecordSet {
    return set.type === RECORD_TYPE.SOA ? this.zone.soa : set;
  }
}

/** The set of the same records, in whatever order, that was there first. */
function sameRecords(byKey: Map<string, RecordSet>, set: RecordSet): RecordSet {
  const texts = set.records.map(({ bytes }) => Buffer.from(bytes).toString('latin1'));
  const key = texts.sort().join('|');
  const known = byKey.get(key);
  if (known !== undefined) return known;
  if (byKey.size >= MAX_CHOICES) byKey.clear();
  byKey.set(key, set);
  return set;
}

/** All sets that are signed ahead, with their owners. */
export function* signableSets(signed: SignedZone, nodes: readonly ZoneNode[]): Generator<[Name, RecordSet]> {
  const { zone, apexSets } = signed;
  for (const set of apexSets) yield [zone.name, set];
  for (const node of nodes) {
    if (node.zone !== zone) continue;
    const isCut = node.cut === node;
    // Of a delegation the DS set belongs to this zone, NS and glue do not (RFC 4035 section 2.2).
    if (node.cut !== null && !isCut) continue;
    for (const set of node.sets.values()) if (!isCut || set.type === RECORD_TYPE.DS) yield [node.name, set];
    if (node.steered === null) continue;
    yield* steeredSetsOf(signed, node.name, node.steered);
  }
}

/** Of each site, and of all choices of several that came yet. */
export function* steeredSetsOf(
  signed: SignedZone,
  owner: Name,
  { ipv4, ipv6, https }: SteeredName,
): Generator<[Name, RecordSet]> {
  for (const sets of [ipv4, ipv6, https]) {
    if (sets === null) continue;
    for (const [site] of sets.entries()) yield [owner, signed.choiceOf(owner, [site], sets)];
    for (const set of signed.choicesOf(sets)) yield [owner, set];
  }
}

export function dnskeyTtlSeconds({ soa }: CompiledZone): number {
  return Math.min(soa.ttlSeconds, MAX_KEY_TTL_SECONDS);
}

/** As many of a set's records as an answer by UDP has room for, beside their signature and what else may be in it; at least one. */
function whatFits(set: RecordSet, owner: Name, signer: Name): RecordSet {
  const isExpanded = owner[0] === 1 && owner[1] === 0x2a;
  const question = isExpanded ? MAX_NAME_BYTES + EXPANSION_BYTES : owner.length + 4;
  const signature = RECORD_BYTES + SIGNATURE_HEAD_BYTES + signer.length + SIGNATURE_BYTES;
  let room = MAX_UDP_BYTES - HEADER_BYTES - question - signature - OPT_BYTES;
  const fitting = set.records.filter(({ bytes }, index) => {
    room -= RECORD_BYTES + bytes.length;
    return room >= 0 || index === 0;
  });
  return fitting.length === set.records.length ? set : { ...set, records: fitting };
}

/** From 0 to below 1, the same for the same set. */
function share(owner: Name, type: number): number {
  let hash = 0x811c9dc5 ^ type;
  for (const byte of lowerName(owner)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) / 2 ** 32;
}
