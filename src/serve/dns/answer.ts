/**
 * Query bytes to response bytes. Given the same sources, query and asker the answer is the same, but where a policy gives clients turns;
 * nothing else is kept from one query to the next, and nothing here waits or reads a clock.
 */
import { AnswerDraft } from './answer-draft.ts';
import { Chooser } from './chooser.ts';
import { judgeCookie } from './cookie.ts';
import { OVER_LIMIT, SignedAnswer, writeAll } from './dnssec/signed-answer.ts';
import type { Signing } from './dnssec/signing.ts';
import { NXNAME } from './dnssec/type-bitmap.ts';
import { type AnswerSources, type Asker, clearFacts, createFacts, MIN_UDP_BYTES, NOBODY } from './exchange.ts';
import { EXPLANATION } from './extended-error.ts';
import { type HashedName, hashName } from './name-table.ts';
import { serverRecord } from './server-record.ts';
import { NO_TRANSFERS, type Signer, type TransferPolicy } from './transfer/access.ts';
import type { Name } from './wire/name.ts';
import { CLASS, FLAG, RCODE, RECORD_TYPE } from './wire/numbers.ts';
import { clearQuery, decodeQuery, HEADER_BYTES, read16 } from './wire/query.ts';
import { nameData } from './wire/record-data.ts';
import {
  type CompiledZone,
  findClosest,
  isExact,
  MAX_CHAIN,
  type RecordSet,
  redirectedName,
  type SteeredName,
  steeredSets,
  type ZoneNode,
  zoneAbove,
} from './zones.ts';

/** RFC 8482 4.2: HINFO "RFC8482" "", long, so that who asks ANY asks seldom. */
const ANY_SET: RecordSet = {
  type: RECORD_TYPE.HINFO,
  ttlSeconds: 3600,
  records: [{ bytes: Uint8Array.from([7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0]), names: [] }],
  additionals: [],
};

/** One query at a time; the state is scratch that would otherwise be allocated for each. */
export class Answerer {
  #sources: AnswerSources;
  /** Of `sources.zones`, and replaced with them; null: no zone is signed. */
  signing: Signing | null = null;
  readonly facts = createFacts();
  readonly #query = this.facts.query;
  readonly #draft = new AnswerDraft(this.facts);
  readonly #chooser = new Chooser();
  /** What DNSSEC adds. */
  readonly #signed = new SignedAnswer(this.facts);
  /** Keys and secondaries: may be replaced between queries. */
  transfers: TransferPolicy = NO_TRANSFERS;
  /** Of the query in hand, if its signature is good. */
  signer: Signer | null = null;
  #message: Uint8Array = new Uint8Array(0);
  #asker: Asker = NOBODY;
  /** Of the answer: hosts that go with it. */
  #hosts: RecordSet | null = null;

  constructor(sources: AnswerSources) {
    this.#sources = sources;
  }

  /** May be replaced between queries. */
  get sources(): AnswerSources {
    return this.#sources;
  }

  set sources(sources: AnswerSources) {
    this.#sources = sources;
    this.#chooser.clear();
  }

  /** Set by who limits answers: whether one of these facts may go out. It is asked before something is signed for it. */
  set judge(judge: () => boolean) {
    this.#signed.judge = judge;
  }

  /**
   * Answers the query in the first `length` bytes of `message` into `out`, which has at least 1,232 bytes for UDP and 65,535 for TCP; returns
   * the length of the answer, 0 for none: the message is an answer itself, or less than a header. Never throws, whatever the bytes. A query
   * with TSIG gets nothing but its question back before `answerSigned` has judged it; with `signer` it is good.
   */
  answer(message: Uint8Array, length: number, asker: Asker, out: Uint8Array, signer: Signer | null = null): number {
    if (length < HEADER_BYTES) return 0;
    const flags = read16(message, 2);
    if ((flags & FLAG.QR) !== 0) return 0;
    this.#message = message;
    this.#asker = asker;
    this.signer = signer;
    this.#hosts = null;
    this.#signed.begin(this.signing, asker);
    const { facts } = this;
    clearFacts(facts);
    const query = this.#query;
    if ((flags & FLAG.OPCODE) !== 0) {
      // What follows the header of another opcode need not be a question.
      clearQuery(query);
      this.#draft.begin(message, flags, asker, this.#sources, out);
      facts.rcode = RCODE.NOTIMP;
      return this.#draft.finish(this.#sources, out);
    }
    const decoded = decodeQuery(message, length, query);
    // Beside the longest question and a signature there is no room for it in 512 bytes.
    if (signer !== null && out.length < MIN_UDP_BYTES) query.wantsServerId = false;
    this.#judgeCookie();
    this.#draft.begin(message, flags, asker, this.#sources, out);
    if (!decoded.ok) facts.rcode = RCODE.FORMERR;
    else if (query.tsigStart > 0 && signer === null) facts.kind = 'error';
    else if (query.hasEdns && query.ednsVersion !== 0) facts.rcode = RCODE.BADVERS;
    else if (query.questionEnd > 0) this.#answerQuestion();
    // A question about the cookie only (RFC 7873 section 5.4).
    else if (facts.cookie === 'none') facts.rcode = RCODE.FORMERR;
    else if (facts.cookie === 'bad') facts.rcode = RCODE.BADCOOKIE;
    return this.#draft.finish(this.#sources, out);
  }

  /**
   * Replaces the answer that was just made into `out` by a short one: TC, so that the client asks by TCP, or BADCOOKIE, so that it asks
   * again with the cookie in there. Returns its length: at most the query's and the 16 bytes of a server's cookie.
   */
  shorten(how: 'truncated' | 'bad-cookie', out: Uint8Array): number {
    this.#retract();
    this.facts.rcode = how === 'truncated' ? RCODE.NOERROR : RCODE.BADCOOKIE;
    this.#draft.rewind();
    if (how === 'truncated') this.#draft.flags = FLAG.TC;
    return this.#draft.finish(this.#sources, out);
  }

  /** Replaces the answer that was just made into `out` by an error without data. */
  fail(rcode: number, out: Uint8Array): number {
    this.#retract();
    this.facts.rcode = rcode;
    this.facts.kind = 'error';
    this.facts.subject = 0;
    this.#draft.rewind();
    return this.#draft.finish(this.#sources, out);
  }

  #retract(): void {
    const { facts } = this;
    facts.steered = null;
    facts.transfer = null;
    facts.scopeLength = 0;
    facts.explanation = null;
    facts.isCompact = false;
    this.#query.wantsServerId = false;
  }

  /** Without keys the option counts as unknown. */
  #judgeCookie(): void {
    const query = this.#query;
    const { cookieKeys } = this.sources;
    if (!query.hasCookie || cookieKeys.length === 0) return;
    const { client, nowMs } = this.#asker;
    const { cookieStart, cookieBytes } = query;
    const seconds = Math.floor(nowMs / 1000);
    this.facts.cookie = judgeCookie(cookieKeys, this.#message, cookieStart, cookieBytes, client, seconds);
  }

  #answerQuestion(): void {
    const query = this.#query;
    if (query.class === CLASS.CH) {
      this.#answerServer();
      return;
    }
    const name: HashedName = {
      bytes: this.#message,
      end: query.nameEnd,
      labels: query.labelCount,
      starts: query.labelStart,
      hashes: query.suffixHash,
    };
    const closest = query.class === CLASS.IN ? findClosest(this.sources.zones, name) : undefined;
    if (query.type === RECORD_TYPE.AXFR || query.type === RECORD_TYPE.IXFR) {
      const isApex =
        closest !== undefined && isExact(closest, name) && closest.name.length === closest.zone.name.length;
      this.#answerTransfer(isApex ? closest.zone : null);
      return;
    }
    if (closest === undefined) {
      this.facts.rcode = RCODE.REFUSED;
      this.facts.explanation = EXPLANATION.notAuthoritative;
      return;
    }
    // RFC 9824 section 3.5.
    if (query.type === NXNAME) {
      this.facts.rcode = RCODE.FORMERR;
      this.facts.explanation = EXPLANATION.noSuchType;
      return;
    }
    this.facts.kind = 'positive';
    this.facts.subject = hashOf(name, closest.name);
    const above = query.type === RECORD_TYPE.DS ? zoneAbove(this.sources.zones, name, closest) : null;
    this.#enter(above ?? closest.zone);
    if (above === null) this.#answerName(name, closest);
    else this.#answerAtChild(name, above, closest.zone);
    if (this.#draft.isGivenUp) return;
    this.#draft.addAuthorities(this.#signed.writeExpansions(this.#draft.writer));
    if (this.#hosts !== null) this.#addHosts(this.#hosts);
  }

  #enter(zone: CompiledZone): void {
    const { type, isDnssecOk, isCompactOk } = this.#query;
    this.#signed.enter(zone, isDnssecOk || type === RECORD_TYPE.RRSIG || type === RECORD_TYPE.NSEC);
    this.facts.isCompact = isCompactOk && this.#signed.zone !== null;
  }

  /** What the zone around a zone that is served here too says at its name: DS (RFC 4035 3.1.4.1). */
  #answerAtChild(name: HashedName, zone: CompiledZone, child: CompiledZone): void {
    const owner = name.bytes.subarray(name.starts[0], name.end);
    const ds = this.#signed.zone === null ? null : this.#signed.dsSet(child);
    const hasDs = ds !== null && ds.records.length > 0;
    this.#draft.flags |= FLAG.AA;
    if (hasDs) {
      this.#addAnswers(owner, ds, child.name);
      return;
    }
    this.facts.kind = 'nodata';
    if (!this.#addNegative(zone, zone.negativeSoa)) return;
    this.#draft.addAuthorities(this.#signed.writeNoDsOfZone(this.#draft.writer, child.name, hasDs));
  }

  /** The messages themselves are for who serves the connection. */
  #answerTransfer(zone: CompiledZone | null): void {
    const { facts } = this;
    const verdict = this.transfers.judge(zone, this.#query.type, this.#asker, this.signer);
    if (verdict.action === 'refuse' || zone === null) {
      facts.rcode = verdict.action === 'refuse' ? verdict.rcode : RCODE.NOTAUTH;
      facts.explanation = verdict.action === 'refuse' ? verdict.explanation : null;
      return;
    }
    // Secondaries could neither steer its names nor sign their denials.
    if (this.signing?.zoneOf(zone) != null) {
      facts.rcode = RCODE.REFUSED;
      facts.explanation = EXPLANATION.transferOfSigned;
      return;
    }
    facts.kind = 'positive';
    this.#draft.flags |= FLAG.AA;
    if (verdict.action === 'stream') facts.transfer = zone;
    else this.#addAnswers(zone.name, zone.soa, null);
  }

  /** RFC 1034 4.3.2, from the name through aliases of its zone to data, a delegation or nothing. */
  #answerName(name: HashedName, closest: ZoneNode): void {
    const { type } = this.#query;
    const { zone } = closest;
    let owner: Name = name.bytes.subarray(HEADER_BYTES, name.end);
    for (let links = 0; ; links++) {
      const isItself = isExact(closest, name);
      // DS belongs to the parent's side of a delegation (RFC 4035 3.1.4.1).
      const isParentSide = type === RECORD_TYPE.DS && isItself && closest.cut === closest;
      if (closest.cut !== null && !isParentSide) {
        this.facts.kind = 'referral';
        this.facts.subject = hashOf(name, closest.cut.name);
        this.#refer(closest.cut);
        return;
      }
      this.#draft.flags |= FLAG.AA;
      let target: HashedName | null;
      if (!isItself && closest.dname !== null) target = this.#addRedirection(owner, closest, closest.dname);
      else {
        const node = isItself ? closest : closest.wildcard;
        const alias = type === RECORD_TYPE.CNAME || type === RECORD_TYPE.ANY ? null : (node?.cname ?? null);
        if (node === null || alias === null) {
          if (node === null) this.#denyName(name, closest);
          else this.#answerNode(node, owner, name, closest);
          return;
        }
        if (!isItself) this.#signed.expand(name, closest);
        target = this.#addAnswers(owner, alias.set, node.name) ? alias.target : null;
      }
      if (target === null || links === MAX_CHAIN) return;
      const next = findClosest(this.sources.zones, target);
      // A resolver would not believe us about another zone, even if it is ours.
      if (next === undefined || next.zone !== zone) return;
      name = target;
      owner = name.bytes;
      closest = next;
    }
  }

  /** The DNAME above `owner` and the CNAME that it makes of it (RFC 6672 3.1); null: the answer ends there. */
  #addRedirection(owner: Name, tree: ZoneNode, dname: RecordSet): HashedName | null {
    if (!this.#addAnswers(tree.name, dname, tree.name)) return null;
    const target = redirectedName(owner, tree.name, dname);
    if (target === null) {
      this.facts.rcode = RCODE.YXDOMAIN;
      return null;
    }
    const cname = {
      type: RECORD_TYPE.CNAME,
      ttlSeconds: dname.ttlSeconds,
      records: [nameData(target)],
      additionals: [],
    };
    // Follows from the DNAME, and has no signature of its own (RFC 6672 section 5.3.1).
    return this.#addAnswers(owner, cname, null) ? hashName(target) : null;
  }

  /** `node`: the name's, or that of the wildcard below `closest` that it is made of. */
  #answerNode(node: ZoneNode, owner: Name, name: HashedName, closest: ZoneNode): void {
    const { type } = this.#query;
    const { zone, steered } = node;
    const signed = this.#signed;
    if (signed.zone !== null && (type === RECORD_TYPE.NSEC || type === RECORD_TYPE.RRSIG)) {
      this.#answerProof(node, owner, name, node === closest);
      return;
    }
    const sets = steered === null ? null : steeredSets(steered, type);
    const set = node.sets.get(type) ?? signed.ownSet(node, type);
    const isAny = type === RECORD_TYPE.ANY && (node.sets.size > 0 || steered !== null);
    if (sets === null && set === undefined && !isAny) {
      this.facts.kind = 'nodata';
      if (!this.#addNegative(zone, steered === null ? zone.negativeSoa : zone.steeredNegativeSoa)) return;
      this.#draft.addAuthorities(signed.writeNoType(this.#draft.writer, name, node, node === closest));
      return;
    }
    if (node !== closest) signed.expand(name, closest);
    if (steered !== null && sets !== null) this.#addSteered(owner, node.name, steered, sets);
    else if (set === undefined) this.#answerAny(node, owner);
    else if (this.#addAnswers(owner, set, node.name)) this.#hosts = set;
  }

  /** NSEC and RRSIG as data: those of the one record that every name has, so that an answer is small and the same for everyone. */
  #answerProof(node: ZoneNode, owner: Name, name: HashedName, isItself: boolean): void {
    const { type, isDnssecOk } = this.#query;
    const denial = this.#signed.typeDenial(name, node, isItself);
    if (denial === null) {
      this.#draft.addAuthorities(OVER_LIMIT);
      return;
    }
    const { nsec, signature } = denial;
    if (type === RECORD_TYPE.NSEC) this.#addAnswers(owner, nsec, null);
    if (type !== RECORD_TYPE.NSEC || isDnssecOk)
      this.#draft.addAnswers(
        writeAll(this.#draft.writer, owner, RECORD_TYPE.RRSIG, nsec.ttlSeconds, signature.records),
      );
  }

  #addHosts(set: RecordSet): void {
    for (const { owner, set: addresses } of set.additionals) {
      if (!this.#draft.addAdditionals(owner, addresses)) return;
      const begin = this.#draft.writer.position;
      const count = this.#signed.writeSignatures(this.#draft.writer, owner, owner, addresses);
      if (count < 0) this.#draft.writer.rewind(begin);
      else this.#draft.additionals += count;
    }
  }

  /** RFC 8482: never more than one small record, the same for everyone. */
  #answerAny(node: ZoneNode, owner: Name): void {
    const set = node.cname?.set ?? this.#signed.anySet(node, ANY_SET);
    this.#addAnswers(owner, set, node.name);
  }

  #answerServer(): void {
    const query = this.#query;
    const name = this.#message.subarray(HEADER_BYTES, query.nameEnd);
    const isText = query.type === RECORD_TYPE.TXT || query.type === RECORD_TYPE.ANY;
    const data = isText ? serverRecord(name, this.sources.identity) : null;
    if (data === null) {
      this.facts.rcode = RCODE.REFUSED;
      this.facts.explanation = EXPLANATION.notAuthoritative;
    } else if (this.#draft.writer.writeRecord(name, RECORD_TYPE.TXT, CLASS.CH, 0, data)) this.#draft.answers++;
    else this.#draft.truncate();
  }

  /**
   * The whole set with its signatures, or the answer is truncated (RFC 2181 section 9) and false returned. `signedOwner`: with the `*` of a
   * wildcard; null: without signatures.
   */
  #addAnswers(owner: Name, set: RecordSet, signedOwner: Name | null): boolean {
    const writer = this.#draft.writer;
    if (!this.#draft.addAnswers(writeAll(writer, owner, set.type, set.ttlSeconds, set.records))) return false;
    return (
      signedOwner === null || this.#draft.addAnswers(this.#signed.writeSignatures(writer, owner, signedOwner, set))
    );
  }

  /** The addresses of the chosen sites: of these fewer do too, when all do not fit, unless they are signed together. */
  #addSteered(owner: Name, signedOwner: Name, steered: SteeredName, sets: readonly RecordSet[]): void {
    const chooser = this.#chooser;
    chooser.choose(steered, this.#query, this.#message, this.#asker, this.#sources);
    const { facts } = this;
    const [first] = chooser.choice.sites;
    facts.scopeLength = chooser.scopeLength;
    if (!this.#addChoice(owner, signedOwner, sets)) {
      this.#draft.truncate();
      return;
    }
    if (chooser.reason === 'static') facts.explanation = EXPLANATION.nothingHealthy;
    facts.steered = steered;
    facts.site = first;
    facts.reason = chooser.reason;
  }

  /** False: there is no room for it. */
  #addChoice(owner: Name, signedOwner: Name, sets: readonly RecordSet[]): boolean {
    const { writer } = this.#draft;
    const { sites } = this.#chooser.choice;
    if (this.#signed.zone !== null) {
      const { set, signature } = this.#signed.steered(signedOwner, sets, sites);
      if (!this.#draft.addAnswers(writeAll(writer, owner, set.type, set.ttlSeconds, set.records))) return false;
      return this.#draft.addAnswers(writeAll(writer, owner, RECORD_TYPE.RRSIG, set.ttlSeconds, signature.records));
    }
    const begin = writer.position;
    if (this.#addSome(owner, this.#chooser.setOf(sets))) return true;
    // One record with the hints of several sites may be too long where that of one is not.
    writer.rewind(begin);
    return this.#addSome(owner, sets[sites[0]]);
  }

  /** As many records as fit; false: not even one. */
  #addSome(owner: Name, set: RecordSet): boolean {
    for (const [index, data] of set.records.entries()) {
      if (!this.#draft.writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) return index > 0;
      this.#draft.answers++;
    }
    return true;
  }

  #refer(cut: ZoneNode): void {
    const servers = cut.sets.get(RECORD_TYPE.NS);
    if (servers === undefined) throw new Error('a delegation has no NS records');
    const writer = this.#draft.writer;
    const signed = this.#signed;
    // NS and glue are the zone's below; this zone signs whether there is a DS (RFC 4035 section 3.1.4).
    if (!this.#draft.addAuthorities(writeAll(writer, cut.name, servers.type, servers.ttlSeconds, servers.records)))
      return;
    if (signed.zone !== null) {
      const ds = cut.sets.get(RECORD_TYPE.DS);
      if (ds === undefined) {
        if (!this.#draft.addAuthorities(signed.writeNoDs(writer, cut))) return;
      } else {
        if (!this.#draft.addAuthorities(writeAll(writer, cut.name, ds.type, ds.ttlSeconds, ds.records))) return;
        if (!this.#draft.addAuthorities(signed.writeSignatures(writer, cut.name, cut.name, ds))) return;
      }
    }
    // All glue or TC (RFC 9471 section 3.1).
    for (const { owner, set } of servers.additionals) {
      if (!this.#draft.addAdditionals(owner, set)) {
        this.#draft.flags |= FLAG.TC;
        return;
      }
    }
  }

  #denyName(name: HashedName, closest: ZoneNode): void {
    const { zone } = closest;
    // In signed answers the name seems to be there, without any type, for those who do not say that they know better (RFC 9824 section 5.1).
    if (this.#signed.zone === null || this.facts.isCompact) this.facts.rcode = RCODE.NXDOMAIN;
    this.facts.kind = 'nxdomain';
    this.facts.subject = hashOf(name, zone.name);
    if (!this.#addNegative(zone, zone.negativeSoa)) return;
    this.#draft.addAuthorities(this.#signed.writeNoName(this.#draft.writer, name, closest));
  }

  /** SOA in the authority section (RFC 2308 2.1, 2.2), with its signature; false: the answer ends there. */
  #addNegative({ name, soa }: CompiledZone, { ttlSeconds, records }: RecordSet): boolean {
    const writer = this.#draft.writer;
    if (!this.#draft.addAuthorities(writeAll(writer, name, soa.type, ttlSeconds, records))) return false;
    return this.#draft.addAuthorities(this.#signed.writeSignatures(writer, name, name, soa, ttlSeconds));
  }
}

/** The hash of `ancestor`, which `name` is or ends in. */
function hashOf(name: HashedName, ancestor: Name): number {
  let label = 0;
  while (name.end - name.starts[label] > ancestor.length) label++;
  // Signed: a number above 2^31 would be an object of its own.
  return name.hashes[label] | 0;
}
