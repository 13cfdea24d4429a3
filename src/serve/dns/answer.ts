/**
 * Query bytes to response bytes. Given the same sources, query and asker the answer is the same, but where a policy gives clients turns;
 * nothing else is kept from one query to the next, and nothing here waits or reads a clock.
 */
import { Chooser } from './chooser.ts';
import { judgeCookie } from './cookie.ts';
import {
  type AnswerSources,
  type Asker,
  clearFacts,
  createFacts,
  MAX_TCP_BYTES,
  MAX_UDP_BYTES,
  MIN_UDP_BYTES,
  NOBODY,
} from './exchange.ts';
import { EXPLANATION } from './extended-error.ts';
import { type HashedName, hashName } from './name-table.ts';
import { optBytes, writeOpt } from './opt.ts';
import { serverRecord } from './server-record.ts';
import { NO_TRANSFERS, type Signer, type TransferPolicy } from './transfer/access.ts';
import type { Name } from './wire/name.ts';
import { CLASS, FLAG, RCODE, RECORD_TYPE } from './wire/numbers.ts';
import { clearQuery, decodeQuery, HEADER_BYTES, read16 } from './wire/query.ts';
import { nameData } from './wire/record-data.ts';
import { MessageWriter } from './wire/writer.ts';
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
} from './zones.ts';

/** RFC 8482 4.2: long, so that who asks ANY asks seldom. */
const ANY_TTL_SECONDS = 3600;
/** RFC 8482 4.2: HINFO "RFC8482" "". */
const ANY_DATA = { bytes: Uint8Array.from([7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0]), names: [] };

/** One query at a time; the state is scratch that would otherwise be allocated for each. */
export class Answerer {
  #sources: AnswerSources;
  readonly facts = createFacts();
  readonly #query = this.facts.query;
  readonly #writer = new MessageWriter();
  readonly #chooser = new Chooser();
  /** Keys and secondaries: may be replaced between queries. */
  transfers: TransferPolicy = NO_TRANSFERS;
  /** Of the query in hand, if its signature is good. */
  signer: Signer | null = null;
  #message: Uint8Array = new Uint8Array(0);
  #asker: Asker = NOBODY;
  #queryFlags = 0;
  /** Of the response. */
  #limit = 0;
  #flags = 0;
  #answers = 0;
  #authorities = 0;
  #additionals = 0;

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

  /**
   * Answers the query in the first `length` bytes of `message` into `out`, which has at least 1,232 bytes for UDP and 65,535 for TCP; returns
   * the length of the answer, 0 for none: the message is an answer itself, or less than a header. Never throws, whatever the bytes. A query
   * with TSIG is answered as if it had none (`answerSigned` judges it), or, with `signer`, as if it were good.
   */
  answer(message: Uint8Array, length: number, asker: Asker, out: Uint8Array, signer: Signer | null = null): number {
    if (length < HEADER_BYTES) return 0;
    const flags = read16(message, 2);
    if ((flags & FLAG.QR) !== 0) return 0;
    this.#message = message;
    this.#asker = asker;
    this.signer = signer;
    this.#queryFlags = flags;
    this.#flags = 0;
    this.#clearCounts();
    const { facts } = this;
    clearFacts(facts);
    const query = this.#query;
    if ((flags & FLAG.OPCODE) !== 0) {
      // What follows the header of another opcode need not be a question.
      clearQuery(query);
      this.#begin(out);
      facts.rcode = RCODE.NOTIMP;
      return this.#finish(out);
    }
    const decoded = decodeQuery(message, length, query);
    this.#judgeCookie();
    this.#begin(out);
    if (!decoded.ok) facts.rcode = RCODE.FORMERR;
    else if (query.hasEdns && query.ednsVersion !== 0) facts.rcode = RCODE.BADVERS;
    else if (query.questionEnd > 0) this.#answerQuestion();
    // A question about the cookie only (RFC 7873 section 5.4).
    else if (facts.cookie === 'none') facts.rcode = RCODE.FORMERR;
    else if (facts.cookie === 'bad') facts.rcode = RCODE.BADCOOKIE;
    return this.#finish(out);
  }

  /**
   * Replaces the answer that was just made into `out` by a short one: TC, so that the client asks by TCP, or BADCOOKIE, so that it asks
   * again with the cookie in there. Returns its length: at most the query's and the 16 bytes of a server's cookie.
   */
  shorten(how: 'truncated' | 'bad-cookie', out: Uint8Array): number {
    this.#retract();
    this.facts.rcode = how === 'truncated' ? RCODE.NOERROR : RCODE.BADCOOKIE;
    if (how === 'truncated') this.#truncate();
    else this.#rewind();
    return this.#finish(out);
  }

  /** Replaces the answer that was just made into `out` by an error without data. */
  fail(rcode: number, out: Uint8Array): number {
    this.#retract();
    this.facts.rcode = rcode;
    this.facts.kind = 'error';
    this.facts.subject = 0;
    this.#rewind();
    return this.#finish(out);
  }

  #retract(): void {
    const { facts } = this;
    facts.steered = null;
    facts.transfer = null;
    facts.scopeLength = 0;
    facts.explanation = null;
    this.#query.wantsServerId = false;
    this.#flags = 0;
  }

  #clearCounts(): void {
    this.#answers = 0;
    this.#authorities = 0;
    this.#additionals = 0;
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

  #begin(out: Uint8Array): void {
    const query = this.#query;
    const writer = this.#writer;
    let limit = MAX_TCP_BYTES;
    if (this.#asker.transport === 'udp') {
      limit = query.hasEdns ? Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) : MIN_UDP_BYTES;
    }
    this.#limit = Math.min(limit, out.length);
    writer.begin(out, this.#limit - optBytes(this.facts, this.#asker, this.sources));
    writer.copy(this.#message, 0, HEADER_BYTES);
    if (query.questionEnd > 0) {
      writer.copy(this.#message, HEADER_BYTES, query.questionEnd);
      writer.rememberName(HEADER_BYTES, query.nameEnd);
    }
  }

  #finish(out: Uint8Array): number {
    const query = this.#query;
    const writer = this.#writer;
    const { facts } = this;
    if (query.hasEdns) {
      writer.limit = this.#limit;
      writeOpt(writer, out, this.#message, facts, this.#asker, this.sources);
      this.#additionals++;
    }
    // RD is copied; RA, AD, CD and Z are 0 (RFC 1035 4.1.1, RFC 4035 3.1.6).
    writer.set16(2, FLAG.QR | (this.#queryFlags & (FLAG.OPCODE | FLAG.RD)) | this.#flags | (facts.rcode & 0xf));
    writer.set16(4, query.questionEnd > 0 ? 1 : 0);
    writer.set16(6, this.#answers);
    writer.set16(8, this.#authorities);
    writer.set16(10, this.#additionals);
    facts.isTruncated = (this.#flags & FLAG.TC) !== 0;
    return writer.position;
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
    this.facts.kind = 'positive';
    this.facts.subject = hashOf(name, closest.name);
    this.#answerName(name, closest);
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
    facts.kind = 'positive';
    this.#flags |= FLAG.AA;
    if (verdict.action === 'stream') facts.transfer = zone;
    else this.#addAnswers(zone.name, zone.soa);
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
      this.#flags |= FLAG.AA;
      let target: HashedName | null;
      if (!isItself && closest.dname !== null) target = this.#addRedirection(owner, closest, closest.dname);
      else {
        const node = isItself ? closest : closest.wildcard;
        const alias = type === RECORD_TYPE.CNAME || type === RECORD_TYPE.ANY ? null : (node?.cname ?? null);
        if (alias === null) {
          if (node === null) this.#denyName(name, zone);
          else this.#answerNode(node, owner);
          return;
        }
        target = this.#addAnswers(owner, alias.set) ? alias.target : null;
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
    if (!this.#addAnswers(tree.name, dname)) return null;
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
    return this.#addAnswers(owner, cname) ? hashName(target) : null;
  }

  #answerNode(node: ZoneNode, owner: Name): void {
    const { type } = this.#query;
    const { zone, steered } = node;
    const sets = steered === null ? null : steeredSets(steered, type);
    const set = node.sets.get(type);
    const hasRecords = node.sets.size > 0 || steered !== null;
    if (steered !== null && sets !== null) this.#addSteered(owner, steered, sets);
    else if (type === RECORD_TYPE.ANY && hasRecords) this.#answerAny(node, owner);
    else if (set === undefined) {
      this.facts.kind = 'nodata';
      this.#addNegative(zone, steered === null ? zone.negativeSoa : zone.steeredNegativeSoa);
    } else if (this.#addAnswers(owner, set)) this.#addHosts(set);
  }

  #addHosts(set: RecordSet): void {
    for (const { owner, set: addresses } of set.additionals) if (!this.#addAdditionals(owner, addresses)) return;
  }

  /** RFC 8482: never more than one small record, the same for everyone. */
  #answerAny(node: ZoneNode, owner: Name): void {
    if (node.cname !== null) this.#addAnswers(owner, node.cname.set);
    else if (this.#writer.writeRecord(owner, RECORD_TYPE.HINFO, CLASS.IN, ANY_TTL_SECONDS, ANY_DATA)) this.#answers++;
    else this.#truncate();
  }

  #answerServer(): void {
    const query = this.#query;
    const name = this.#message.subarray(HEADER_BYTES, query.nameEnd);
    const isText = query.type === RECORD_TYPE.TXT || query.type === RECORD_TYPE.ANY;
    const data = isText ? serverRecord(name, this.sources.identity) : null;
    if (data === null) {
      this.facts.rcode = RCODE.REFUSED;
      this.facts.explanation = EXPLANATION.notAuthoritative;
    } else if (this.#writer.writeRecord(name, RECORD_TYPE.TXT, CLASS.CH, 0, data)) this.#answers++;
    else this.#truncate();
  }

  /** The whole set, or the answer is truncated (RFC 2181 section 9) and false returned. */
  #addAnswers(owner: Name, set: RecordSet): boolean {
    for (const data of set.records) {
      if (!this.#writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) {
        this.#truncate();
        return false;
      }
      this.#answers++;
    }
    return true;
  }

  /** The addresses of the chosen sites: of these fewer do too, when all do not fit. */
  #addSteered(owner: Name, steered: SteeredName, sets: readonly RecordSet[]): void {
    const chooser = this.#chooser;
    chooser.choose(steered, this.#query, this.#message, this.#asker, this.#sources);
    const { facts } = this;
    const [first] = chooser.choice.sites;
    facts.scopeLength = chooser.scopeLength;
    const begin = this.#writer.position;
    if (!this.#addSome(owner, chooser.setOf(sets))) {
      // One record with the hints of several sites may be too long where that of one is not.
      this.#writer.rewind(begin);
      if (!this.#addSome(owner, sets[first])) {
        this.#truncate();
        return;
      }
    }
    if (chooser.reason === 'static') facts.explanation = EXPLANATION.nothingHealthy;
    facts.steered = steered;
    facts.site = first;
    facts.reason = chooser.reason;
  }

  /** As many records as fit; false: not even one. */
  #addSome(owner: Name, set: RecordSet): boolean {
    for (const [index, data] of set.records.entries()) {
      if (!this.#writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) return index > 0;
      this.#answers++;
    }
    return true;
  }

  #refer(cut: ZoneNode): void {
    const servers = cut.sets.get(RECORD_TYPE.NS);
    if (servers === undefined) throw new Error('a delegation has no NS records');
    for (const data of servers.records) {
      if (!this.#writer.writeRecord(cut.name, RECORD_TYPE.NS, CLASS.IN, servers.ttlSeconds, data)) {
        this.#truncate();
        return;
      }
      this.#authorities++;
    }
    // All glue or TC (RFC 9471 section 3.1).
    for (const { owner, set } of servers.additionals) {
      if (!this.#addAdditionals(owner, set)) {
        this.#flags |= FLAG.TC;
        return;
      }
    }
  }

  /** The whole set or nothing. */
  #addAdditionals(owner: Name, set: RecordSet): boolean {
    const begin = this.#writer.position;
    for (const data of set.records) {
      if (!this.#writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) {
        this.#writer.rewind(begin);
        return false;
      }
    }
    this.#additionals += set.records.length;
    return true;
  }

  #denyName(name: HashedName, zone: CompiledZone): void {
    this.facts.rcode = RCODE.NXDOMAIN;
    this.facts.kind = 'nxdomain';
    this.facts.subject = hashOf(name, zone.name);
    this.#addNegative(zone, zone.negativeSoa);
  }

  /** SOA in the authority section (RFC 2308 2.1, 2.2). */
  #addNegative(zone: CompiledZone, soa: RecordSet): void {
    if (this.#writer.writeRecord(zone.name, soa.type, CLASS.IN, soa.ttlSeconds, soa.records[0])) this.#authorities++;
    else this.#truncate();
  }

  /** The client shall ask by TCP: no part of the answer is of use. */
  #truncate(): void {
    this.#rewind();
    this.#flags |= FLAG.TC;
  }

  /** To after the question. */
  #rewind(): void {
    const { questionEnd } = this.#query;
    this.#writer.rewind(questionEnd > 0 ? questionEnd : HEADER_BYTES);
    this.#clearCounts();
  }
}

/** The hash of `ancestor`, which `name` is or ends in. */
function hashOf(name: HashedName, ancestor: Name): number {
  let label = 0;
  while (name.end - name.starts[label] > ancestor.length) label++;
  // Signed: a number above 2^31 would be an object of its own.
  return name.hashes[label] | 0;
}
