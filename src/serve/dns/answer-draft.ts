/** An answer while it is being written: sections in their order, the limit of its length, what happens when that is reached. */
import { OVER_LIMIT } from './dnssec/signed-answer.ts';
import {
  type AnswerFacts,
  type AnswerSources,
  type Asker,
  MAX_TCP_BYTES,
  MAX_UDP_BYTES,
  MIN_UDP_BYTES,
  NOBODY,
} from './exchange.ts';
import { optBytes, writeOpt } from './opt.ts';
import type { Name } from './wire/name.ts';
import { CLASS, FLAG, RCODE } from './wire/numbers.ts';
import { HEADER_BYTES } from './wire/query.ts';
import { MessageWriter } from './wire/writer.ts';
import type { RecordSet } from './zones.ts';

export class AnswerDraft {
  readonly writer = new MessageWriter();
  /** AA and TC. */
  flags = 0;
  answers = 0;
  authorities = 0;
  additionals = 0;
  readonly #facts: AnswerFacts;
  #message: Uint8Array = new Uint8Array(0);
  #asker: Asker = NOBODY;
  #queryFlags = 0;
  #limit = 0;

  /** `facts`: of the answer; its query is read before `begin`. */
  constructor(facts: AnswerFacts) {
    this.#facts = facts;
  }

  /** Header and question, and room for OPT. */
  begin(message: Uint8Array, queryFlags: number, asker: Asker, sources: AnswerSources, out: Uint8Array): void {
    this.#message = message;
    this.#asker = asker;
    this.#queryFlags = queryFlags;
    this.flags = 0;
    this.#clearCounts();
    const { query } = this.#facts;
    const { writer } = this;
    let limit = MAX_TCP_BYTES;
    if (asker.transport === 'udp') {
      limit = query.hasEdns ? Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) : MIN_UDP_BYTES;
    }
    this.#limit = Math.min(limit, out.length);
    writer.begin(out, this.#limit - optBytes(this.#facts, asker, sources));
    writer.copy(message, 0, HEADER_BYTES);
    if (query.questionEnd > 0) {
      writer.copy(message, HEADER_BYTES, query.questionEnd);
      writer.rememberName(HEADER_BYTES, query.nameEnd);
    }
  }

  /** The length of the whole. */
  finish(sources: AnswerSources, out: Uint8Array): number {
    const facts = this.#facts;
    const { query } = facts;
    const { writer } = this;
    if (query.hasEdns) {
      writer.limit = this.#limit;
      writeOpt(writer, out, this.#message, facts, this.#asker, sources);
      this.additionals++;
    }
    // RD is copied; RA, AD, CD and Z are 0 (RFC 1035 4.1.1, RFC 4035 3.1.6).
    writer.set16(2, FLAG.QR | (this.#queryFlags & (FLAG.OPCODE | FLAG.RD)) | this.flags | (facts.rcode & 0xf));
    writer.set16(4, query.questionEnd > 0 ? 1 : 0);
    writer.set16(6, this.answers);
    writer.set16(8, this.authorities);
    writer.set16(10, this.additionals);
    facts.isTruncated = (this.flags & FLAG.TC) !== 0;
    return writer.position;
  }

  /** Nothing can be added any more. */
  get isGivenUp(): boolean {
    return (this.flags & FLAG.TC) !== 0 || this.#facts.rcode === RCODE.SERVFAIL;
  }

  /** Counts records that were just written; below 0: why they were not. Then false, and the answer ends there. */
  addAnswers(count: number): boolean {
    if (count < 0) return this.#giveUp(count);
    this.answers += count;
    return true;
  }

  /** The same for the authority section. */
  addAuthorities(count: number): boolean {
    if (count < 0) return this.#giveUp(count);
    this.authorities += count;
    return true;
  }

  /** Writes the whole set or nothing. */
  addAdditionals(owner: Name, set: RecordSet): boolean {
    const { writer } = this;
    const begin = writer.position;
    for (const data of set.records) {
      if (!writer.writeRecord(owner, set.type, CLASS.IN, set.ttlSeconds, data)) {
        writer.rewind(begin);
        return false;
      }
    }
    this.additionals += set.records.length;
    return true;
  }

  /** By TCP nothing shorter helps: without a proof that may not be made, nobody would believe the rest. */
  #giveUp(why: number): false {
    if (why === OVER_LIMIT && this.#asker.transport === 'tcp') {
      this.rewind();
      this.#facts.rcode = RCODE.SERVFAIL;
    } else this.truncate();
    return false;
  }

  /** The client shall ask by TCP: no part of the answer is of use. */
  truncate(): void {
    const { flags } = this;
    this.rewind();
    this.flags = flags | FLAG.TC;
  }

  /** To after the question, without AA. */
  rewind(): void {
    const { questionEnd } = this.#facts.query;
    this.writer.rewind(questionEnd > 0 ? questionEnd : HEADER_BYTES);
    this.flags = 0;
    this.#clearCounts();
  }

  #clearCounts(): void {
    this.answers = 0;
    this.authorities = 0;
    this.additionals = 0;
  }
}
