/**
 * Query bytes to response bytes. Given the same zones, view and query the answer is the same; nothing here waits, reads a clock or keeps
 * anything but counters from one query to the next.
 */
import { chooseSite, type SiteOrder, type SteeringView } from '../../decide/steer/nearest.ts';
import type { Address } from '../../net/address.ts';
import { countSite, type DnsCounters, responseCodeName, type Transport, typeClass } from './counters.ts';
import type { HashedName } from './name-table.ts';
import { serverRecord } from './server-record.ts';
import type { Name } from './wire/name.ts';
import { CLASS, FLAG, OPTION, RCODE, RECORD_TYPE } from './wire/numbers.ts';
import { createQuery, decodeQuery, HEADER_BYTES, read16 } from './wire/query.ts';
import { MessageWriter } from './wire/writer.ts';
import {
  type CompiledZone,
  type CompiledZones,
  findClosest,
  isExact,
  MAX_CHAIN,
  type RecordSet,
  type SteeredName,
  type ZoneNode,
} from './zones.ts';

/** Ours, in OPT and as the limit of answers: no path fragments it (DNS flag day 2020). */
export const MAX_UDP_BYTES = 1232;
/** Without EDNS (RFC 1035 4.2.1), and the least that EDNS can say (RFC 6891 6.2.3). */
export const MIN_UDP_BYTES = 512;
export const MAX_TCP_BYTES = 65535;

/** RFC 8482 4.2: long, so that who asks ANY asks seldom. */
const ANY_TTL_SECONDS = 3600;
/** RFC 8482 4.2: HINFO "RFC8482" "". */
const ANY_DATA = { bytes: Uint8Array.from([7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0]), names: [] };

const OPT_BYTES = 11;

export interface AnswerSources {
  readonly zones: CompiledZones;
  readonly view: SteeringView;
  /** For NSID and `id.server`, at most 64 bytes; null: not told. */
  readonly serverName: Uint8Array | null;
  /** For `epoch.portico`, at most 255 bytes; null: not told. */
  readonly epoch: Uint8Array | null;
}

/** One query at a time; the state is scratch that would otherwise be allocated for each. */
export class Answerer {
  /** May be replaced between queries. */
  sources: AnswerSources;
  readonly #counters: DnsCounters;
  readonly #query = createQuery();
  readonly #writer = new MessageWriter();
  readonly #ecs4: Address = { family: 4, bytes: new Uint8Array(4) };
  readonly #ecs6: Address = { family: 6, bytes: new Uint8Array(16) };
  #message: Uint8Array = new Uint8Array(0);
  #client: Address = this.#ecs4;
  /** Of the response. */
  #limit = 0;
  #rcode = 0;
  #flags = 0;
  #scopeLength = 0;
  #answers = 0;
  #authorities = 0;
  #additionals = 0;

  constructor(sources: AnswerSources, counters: DnsCounters) {
    this.sources = sources;
    this.#counters = counters;
  }

  /**
   * Answers the query in the first `length` bytes of `message` into `out`, which has at least 1,232 bytes for UDP and 65,535 for TCP; returns
   * the length of the answer, 0 for none. `client`: whom it came from. Never throws, whatever the bytes.
   */
  answer(message: Uint8Array, length: number, client: Address, transport: Transport, out: Uint8Array): number {
    const counters = this.#counters;
    counters.queries[transport]++;
    if (length < HEADER_BYTES) {
      counters.dropped.short++;
      return 0;
    }
    const flags = read16(message, 2);
    if ((flags & FLAG.QR) !== 0) {
      counters.dropped.response++;
      return 0;
    }
    this.#message = message;
    this.#client = client;
    this.#rcode = RCODE.NOERROR;
    this.#flags = 0;
    this.#scopeLength = 0;
    this.#clearCounts();
    const query = this.#query;
    const hasOpcode = (flags & 0x7800) === 0;
    if (hasOpcode) {
      const decoded = decodeQuery(message, length, query);
      this.#begin(out, transport);
      if (!decoded.ok) this.#rcode = RCODE.FORMERR;
      else if (query.hasEdns && query.ednsVersion !== 0) this.#rcode = RCODE.BADVERS;
      else this.#answerQuestion();
    } else {
      // What follows the header of another opcode need not be a question.
      query.questionEnd = 0;
      query.hasEdns = false;
      this.#begin(out, transport);
      this.#rcode = RCODE.NOTIMP;
    }
    return this.#finish(out, flags);
  }

  #clearCounts(): void {
    this.#answers = 0;
    this.#authorities = 0;
    this.#additionals = 0;
  }

  #begin(out: Uint8Array, transport: Transport): void {
    const query = this.#query;
    const writer = this.#writer;
    let limit = MAX_TCP_BYTES;
    if (transport === 'udp') {
      limit = query.hasEdns ? Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) : MIN_UDP_BYTES;
    }
    this.#limit = Math.min(limit, out.length);
    writer.begin(out, this.#limit - this.#optBytes());
    writer.copy(this.#message, 0, HEADER_BYTES);
    if (query.questionEnd > 0) {
      writer.copy(this.#message, HEADER_BYTES, query.questionEnd);
      writer.rememberName(HEADER_BYTES, query.nameEnd);
    }
  }

  /** Room that the OPT record will take. */
  #optBytes(): number {
    const query = this.#query;
    if (!query.hasEdns) return 0;
    const subnet = query.hasSubnet ? 4 + query.subnetBytes : 0;
    const serverId = query.wantsServerId ? 4 + (this.sources.serverName?.length ?? 0) : 0;
    return OPT_BYTES + subnet + serverId;
  }

  #finish(out: Uint8Array, queryFlags: number): number {
    const query = this.#query;
    const writer = this.#writer;
    if (query.hasEdns) this.#writeOpt(out);
    // RD is copied; RA, AD, CD and Z are 0 (RFC 1035 4.1.1, RFC 4035 3.1.6).
    writer.set16(2, FLAG.QR | (queryFlags & (0x7800 | FLAG.RD)) | this.#flags | (this.#rcode & 0xf));
    writer.set16(4, query.questionEnd > 0 ? 1 : 0);
    writer.set16(6, this.#answers);
    writer.set16(8, this.#authorities);
    writer.set16(10, this.#additionals);
    const counters = this.#counters;
    counters.responses[responseCodeName(this.#rcode)]++;
    counters.types[query.questionEnd > 0 ? typeClass(query.type) : 'none']++;
    if (query.hasEdns) counters.edns++;
    if (query.hasEdns && query.hasSubnet) counters.ecs++;
    if (query.hasEdns && query.isSubnetMalformed) counters.ecsMalformed++;
    if ((this.#flags & FLAG.TC) !== 0) counters.truncated++;
    return writer.position;
  }

  #writeOpt(out: Uint8Array): void {
    const query = this.#query;
    const writer = this.#writer;
    writer.limit = this.#limit;
    writer.write8(0);
    writer.write16(RECORD_TYPE.OPT);
    writer.write16(MAX_UDP_BYTES);
    writer.write8(this.#rcode >> 4);
    writer.write8(0);
    writer.write16(query.isDnssecOk ? 0x8000 : 0); // RFC 3225 section 3: copied
    const lengthAt = writer.position;
    writer.write16(0);
    const { serverName } = this.sources;
    if (query.wantsServerId && serverName !== null) {
      writer.write16(OPTION.NSID);
      writer.write16(serverName.length);
      writer.copy(serverName, 0, serverName.length);
    }
    if (query.hasSubnet) {
      writer.write16(OPTION.CLIENT_SUBNET);
      writer.write16(query.subnetBytes);
      const start = writer.position;
      writer.copy(this.#message, query.subnetStart, query.subnetStart + query.subnetBytes);
      out[start + 3] = this.#scopeLength;
    }
    writer.set16(lengthAt, writer.position - lengthAt - 2);
    this.#additionals++;
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
    const isTransfer = query.type === RECORD_TYPE.AXFR || query.type === RECORD_TYPE.IXFR;
    if (closest === undefined || isTransfer) {
      this.#rcode = RCODE.REFUSED;
      return;
    }
    this.#answerName(name, closest);
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
        this.#refer(closest.cut);
        return;
      }
      this.#flags |= FLAG.AA;
      const node = isItself ? closest : closest.wildcard;
      if (node === null) this.#rcode = RCODE.NXDOMAIN;
      const alias = type === RECORD_TYPE.CNAME || type === RECORD_TYPE.ANY ? null : (node?.cname ?? null);
      if (alias === null) {
        if (node === null) this.#addNegative(zone, zone.negativeSoa);
        else this.#answerNode(node, owner);
        return;
      }
      if (!this.#addAnswers(owner, alias.set) || links === MAX_CHAIN) return;
      const target = findClosest(this.sources.zones, alias.target);
      // A resolver would not believe us about another zone, even if it is ours.
      if (target === undefined || target.zone !== zone) return;
      name = alias.target;
      owner = name.bytes;
      closest = target;
    }
  }

  #answerNode(node: ZoneNode, owner: Name): void {
    const { type } = this.#query;
    const { zone, steered } = node;
    const steeredSets = type === RECORD_TYPE.A ? steered?.ipv4 : type === RECORD_TYPE.AAAA ? steered?.ipv6 : null;
    const set = node.sets.get(type);
    const hasRecords = node.sets.size > 0 || steered !== null;
    if (steered != null && steeredSets != null) this.#addSteered(owner, steered, steeredSets);
    else if (type === RECORD_TYPE.ANY && hasRecords) this.#answerAny(node, owner);
    else if (set === undefined) this.#addNegative(zone, steered === null ? zone.negativeSoa : zone.steeredNegativeSoa);
    else if (this.#addAnswers(owner, set)) this.#addHosts(set);
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
    const data = isText ? serverRecord(name, this.sources.serverName, this.sources.epoch) : null;
    if (data === null) this.#rcode = RCODE.REFUSED;
    else if (this.#writer.writeRecord(name, RECORD_TYPE.TXT, CLASS.CH, 0, data)) this.#answers++;
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

  /** The addresses of one site: of these fewer do too, when all do not fit. */
  #addSteered(owner: Name, steered: SteeredName, sets: readonly RecordSet[]): void {
    const { steering } = steered;
    const choice = chooseSite(steering, this.#siteOrder(steered), this.sources.view);
    const set = sets[choice.site];
    for (const [index, data] of set.records.entries()) {
      if (!this.#writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) {
        if (index === 0) {
          this.#truncate();
          return;
        }
        break;
      }
      this.#answers++;
    }
    this.#counters.choices[choice.reason]++;
    countSite(this.#counters, steered.service, steering.sites[choice.site]);
  }

  /** By client subnet if there is one with an address, else by whom the query came from. Sets the scope. */
  #siteOrder(steered: SteeredName): SiteOrder {
    const query = this.#query;
    const { orders } = steered.steering;
    if (!query.hasEdns || !query.hasSubnet || query.subnetSourceLength === 0) {
      return known(orders.lookup(this.#client).value);
    }
    const address = query.subnetFamily === 4 ? this.#ecs4 : this.#ecs6;
    // Bits beyond the source are left from earlier queries: the lookup does not read them.
    const start = query.subnetStart + 4;
    for (let i = start; i < query.subnetStart + query.subnetBytes; i++) address.bytes[i - start] = this.#message[i];
    const match = orders.lookup(address, query.subnetSourceLength);
    this.#scopeLength = match.scopeLength;
    return known(match.value);
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

  /** SOA in the authority section (RFC 2308 2.1, 2.2). */
  #addNegative(zone: CompiledZone, soa: RecordSet): void {
    if (this.#writer.writeRecord(zone.name, soa.type, CLASS.IN, soa.ttlSeconds, soa.records[0])) this.#authorities++;
    else this.#truncate();
  }

  /** The client shall ask by TCP: no part of the answer is of use. */
  #truncate(): void {
    this.#writer.rewind(this.#query.questionEnd);
    this.#clearCounts();
    this.#flags |= FLAG.TC;
  }
}

function known(order: SiteOrder | null): SiteOrder {
  if (order === null) throw new Error('a client has no site order');
  return order;
}
