/**
 * Whole messages as values: for tests, tools and whoever asks other servers. The server itself reads queries by `query.ts` and
 * writes answers by `writer.ts`.
 */
import { type Name, readName } from './name.ts';
import { RECORD_TYPE } from './numbers.ts';
import { HEADER_BYTES, read16, read32 } from './query.ts';
import { type RecordData, readRecordData } from './record-data.ts';
import { MessageWriter } from './writer.ts';

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

export interface ResourceRecord {
  readonly owner: Name;
  readonly type: number;
  /** Of an OPT record: the payload size. */
  readonly class: number;
  /** Unsigned 32 bits. Of an OPT record: extended RCODE, version, flags. */
  readonly ttlSeconds: number;
  readonly data: RecordData;
}

export interface Message {
  readonly id: number;
  /** Flags word with opcode and the lower four bits of the RCODE. */
  readonly flags: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export type MessageResult =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

/** Reads a message of at most 65,535 bytes; bytes after the last record are an error. */
export function decodeMessage(bytes: Uint8Array): MessageResult {
  if (bytes.length < HEADER_BYTES) return { ok: false, reason: 'header is cut off', offset: bytes.length };
  const questions: Question[] = [];
  let position = HEADER_BYTES;
  for (let i = read16(bytes, 4); i > 0; i--) {
    const read = readName(bytes, position, bytes.length);
    if (!read.ok) return read;
    if (read.next + 4 > bytes.length) return { ok: false, reason: 'question is cut off', offset: read.next };
    questions.push({ name: read.name, type: read16(bytes, read.next), class: read16(bytes, read.next + 2) });
    position = read.next + 4;
  }
  const sections: ResourceRecord[][] = [[], [], []];
  for (let section = 0; section < 3; section++) {
    for (let i = read16(bytes, 6 + section * 2); i > 0; i--) {
      const read = readRecord(bytes, position);
      if (!read.ok) return read;
      sections[section].push(read.record);
      position = read.next;
    }
  }
  if (position !== bytes.length) return { ok: false, reason: 'bytes after the last record', offset: position };
  const [answers, authorities, additionals] = sections;
  return {
    ok: true,
    message: { id: read16(bytes, 0), flags: read16(bytes, 2), questions, answers, authorities, additionals },
  };
}

type RecordResult =
  | { readonly ok: true; readonly record: ResourceRecord; readonly next: number }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

function readRecord(bytes: Uint8Array, position: number): RecordResult {
  const owner = readName(bytes, position, bytes.length);
  if (!owner.ok) return owner;
  const fields = owner.next;
  if (fields + 10 > bytes.length) return { ok: false, reason: 'record is cut off', offset: fields };
  const type = read16(bytes, fields);
  const start = fields + 10;
  const end = start + read16(bytes, fields + 8);
  if (end > bytes.length) return { ok: false, reason: 'record data is cut off', offset: fields };
  const data = readRecordData(type, bytes, start, end);
  if (!data.ok) return data;
  const record = {
    owner: owner.name,
    type,
    class: read16(bytes, fields + 2),
    ttlSeconds: read32(bytes, fields + 4),
    data: data.data,
  };
  return { ok: true, record, next: end };
}

/** Writes a message, names compressed; null: longer than `limit` (at most 65,535) bytes. */
export function encodeMessage(message: Message, limit = 65535): Uint8Array | null {
  const writer = new MessageWriter();
  const buffer = new Uint8Array(limit);
  writer.begin(buffer, limit);
  if (limit < HEADER_BYTES) return null;
  writer.write16(message.id);
  writer.write16(message.flags);
  const { questions, answers, authorities, additionals } = message;
  for (const section of [questions, answers, authorities, additionals]) writer.write16(section.length);
  for (const { name, type, class: questionClass } of questions) {
    if (!writer.writeName(name) || writer.position + 4 > limit) return null;
    writer.write16(type);
    writer.write16(questionClass);
  }
  for (const { owner, type, class: recordClass, ttlSeconds, data } of [...answers, ...authorities, ...additionals]) {
    if (!writer.writeRecord(owner, type, recordClass, ttlSeconds, data)) return null;
  }
  return buffer.slice(0, writer.position);
}

/** A query's bytes: for tools and tests. `options`: of an OPT record; null: no EDNS. */
export function encodeQuery(
  id: number,
  question: Question,
  edns: { readonly payloadBytes: number; readonly flags: number; readonly options: Uint8Array } | null,
): Uint8Array {
  const additionals: ResourceRecord[] = [];
  if (edns !== null) {
    additionals.push({
      owner: new Uint8Array(1),
      type: RECORD_TYPE.OPT,
      class: edns.payloadBytes,
      ttlSeconds: edns.flags,
      data: { bytes: edns.options, names: [] },
    });
  }
  const bytes = encodeMessage({ id, flags: 0, questions: [question], answers: [], authorities: [], additionals });
  if (bytes === null) throw new Error('a query is longer than 65,535 bytes');
  return bytes;
}
