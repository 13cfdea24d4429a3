/**
 * The view of a query that answering needs, filled in place: nothing is allocated for a well-formed query. Offsets point into the
 * message. Header, question: RFC 1035 4.1; one question: RFC 9619; EDNS: RFC 6891; client subnet: RFC 7871 section 6.
 */
import { LOWER_CASE, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES } from './name.ts';
import { OPTION, RECORD_TYPE } from './numbers.ts';

export const HEADER_BYTES = 12;
export const CLIENT_COOKIE_BYTES = 8;

export interface Query {
  /** Flags word, host order. */
  flags: number;
  /** Offset after the question; 0: no question could be read. The name starts at 12. */
  questionEnd: number;
  nameEnd: number;
  type: number;
  class: number;
  /** Labels of the name without the root; `labelStart[labelCount]` is the root's. */
  labelCount: number;
  readonly labelStart: Uint16Array;
  /** Of the name from each label to the root: see `name-table.ts`. */
  readonly suffixHash: Uint32Array;
  hasEdns: boolean;
  ednsVersion: number;
  /** UDP payload size of the sender, as it stands there. */
  payloadBytes: number;
  isDnssecOk: boolean;
  /** The client knows NXNAME and wants the RCODE of old with it (RFC 9824 section 5.1). */
  isCompactOk: boolean;
  wantsServerId: boolean;
  wantsKeepalive: boolean;
  /** A well-formed cookie option is there: the first, if there are several (RFC 7873 section 5.2). */
  hasCookie: boolean;
  /** The first is malformed; the query is then refused with FORMERR. */
  isCookieMalformed: boolean;
  /** Offset of the option's data, which is `cookieBytes` long: 8 bytes of the client, then none or 8 to 32 of the server. */
  cookieStart: number;
  cookieBytes: number;
  /** A well-formed client subnet option is there. */
  hasSubnet: boolean;
  /** The option is there but malformed; the query is then refused with FORMERR. */
  isSubnetMalformed: boolean;
  /** 0 only with source length 0. */
  subnetFamily: 0 | 4 | 6;
  subnetSourceLength: number;
  /** Offset of the option's data, which is `subnetBytes` long: family, lengths, address. */
  subnetStart: number;
  subnetBytes: number;
  /** Offset of the TSIG record, which is the last; 0: there is none. */
  tsigStart: number;
}

export function createQuery(): Query {
  return {
    flags: 0,
    questionEnd: 0,
    nameEnd: 0,
    type: 0,
    class: 0,
    labelCount: 0,
    labelStart: new Uint16Array(MAX_LABELS + 1),
    suffixHash: new Uint32Array(MAX_LABELS + 1),
    hasEdns: false,
    ednsVersion: 0,
    payloadBytes: 0,
    isDnssecOk: false,
    isCompactOk: false,
    wantsServerId: false,
    wantsKeepalive: false,
    hasCookie: false,
    isCookieMalformed: false,
    cookieStart: 0,
    cookieBytes: 0,
    hasSubnet: false,
    isSubnetMalformed: false,
    subnetFamily: 0,
    subnetSourceLength: 0,
    subnetStart: 0,
    subnetBytes: 0,
    tsigStart: 0,
  };
}

export type DecodeResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: string; readonly offset: number };

const OK: DecodeResult = { ok: true };

function bad(reason: string, offset: number): DecodeResult {
  return { ok: false, reason, offset };
}

/**
 * Reads the message's first `length` bytes (at least the header) as a query of opcode 0: one question (RFC 9619), or none beside a cookie
 * (RFC 7873 section 5.4). On failure the fields that were read before stay valid, so that the error can be answered with question and OPT.
 * Bytes after the last record are ignored.
 */
export function decodeQuery(message: Uint8Array, length: number, query: Query): DecodeResult {
  query.flags = read16(message, 2);
  clearQuery(query);
  const questions = read16(message, 4);
  if (questions > 1) return bad('more than one question', 4);
  if (questions === 1) {
    const question = readQuestion(message, length, query);
    if (!question.ok) return question;
  }
  const records = readRecords(message, length, query, questions === 1 ? query.questionEnd : HEADER_BYTES);
  if (!records.ok) return records;
  if (query.isSubnetMalformed) return bad('client subnet malformed', query.subnetStart);
  if (query.isCookieMalformed) return bad('cookie malformed', query.cookieStart);
  return questions === 1 || query.hasCookie ? OK : bad('no question', 4);
}

/** As a query of which nothing was read yet. */
export function clearQuery(query: Query): void {
  query.questionEnd = 0;
  query.hasEdns = false;
  query.hasSubnet = false;
  query.isSubnetMalformed = false;
  query.isDnssecOk = false;
  query.isCompactOk = false;
  query.wantsServerId = false;
  query.wantsKeepalive = false;
  query.hasCookie = false;
  query.isCookieMalformed = false;
  query.tsigStart = 0;
}

/** Reads what follows the question, of which only OPT and TSIG are of interest. */
function readRecords(message: Uint8Array, length: number, query: Query, start: number): DecodeResult {
  let position = start;
  const otherRecords = read16(message, 6) + read16(message, 8);
  const records = otherRecords + read16(message, 10);
  for (let i = 0; i < records; i++) {
    const ownerStart = position;
    position = skipName(message, position, length);
    if (position < 0 || position + 10 > length) return bad('record is cut off', ownerStart);
    const dataStart = position + 10;
    const dataEnd = dataStart + read16(message, position + 8);
    if (dataEnd > length) return bad('record data is cut off', position);
    if (read16(message, position) === RECORD_TYPE.OPT) {
      if (i < otherRecords) return bad('OPT outside the additional section', position);
      if (query.hasEdns) return bad('more than one OPT', position);
      if (message[ownerStart] !== 0) return bad('OPT with a name', ownerStart);
      const options = readOpt(message, position, dataStart, dataEnd, query);
      if (!options.ok) return options;
    } else if (read16(message, position) === RECORD_TYPE.TSIG) {
      // RFC 8945 section 5.1: the very last, and so one only.
      if (i < otherRecords || i < records - 1) return bad('TSIG is not the last record', position);
      query.tsigStart = ownerStart;
    }
    position = dataEnd;
  }
  return OK;
}

function readQuestion(message: Uint8Array, length: number, query: Query): DecodeResult {
  let position = HEADER_BYTES;
  let labels = 0;
  for (;;) {
    if (position >= length) return bad('name runs past the end', position);
    const labelLength = message[position];
    query.labelStart[labels] = position;
    if (labelLength === 0) break;
    // A pointer would lead into the header: never a name.
    if (labelLength > MAX_LABEL_BYTES) return bad('compressed name in the question', position);
    if (position + labelLength >= length) return bad('label runs past the end', position);
    position += labelLength + 1;
    labels++;
    if (position + 1 - HEADER_BYTES > MAX_NAME_BYTES) return bad('name too long', position);
  }
  if (position + 5 > length) return bad('question is cut off', position);
  query.labelCount = labels;
  query.nameEnd = position + 1;
  query.type = read16(message, position + 1);
  query.class = read16(message, position + 3);
  query.questionEnd = position + 5;
  hashSuffixes(message, query.labelStart, labels, query.nameEnd, query.suffixHash);
  return OK;
}

/**
 * Hashes (FNV-1a, letters in lower case) the name's suffixes from the last label to the first, so that all of them cost one walk.
 * The names in the table are the operator's, so nobody outside can make them collide.
 */
export function hashSuffixes(
  bytes: Uint8Array,
  starts: Uint16Array | readonly number[],
  labels: number,
  nameEnd: number,
  hashes: Uint32Array,
): void {
  let hash = 0x811c9dc5;
  hashes[labels] = hash;
  let labelEnd = nameEnd - 1;
  for (let label = labels - 1; label >= 0; label--) {
    const start = starts[label];
    for (let i = start; i < labelEnd; i++) hash = Math.imul(hash ^ LOWER_CASE[bytes[i]], 0x01000193);
    hashes[label] = hash;
    labelEnd = start;
  }
}

/** Offset after the name at `position`, pointers not followed; -1: malformed. */
export function skipName(message: Uint8Array, position: number, end: number): number {
  const start = position;
  while (position < end) {
    const labelLength = message[position];
    if (labelLength === 0) return position + 1;
    if (labelLength >= 0xc0) return position + 2 <= end ? position + 2 : -1;
    if (labelLength > MAX_LABEL_BYTES) return -1;
    position += labelLength + 1;
    if (position - start >= MAX_NAME_BYTES) return -1;
  }
  return -1;
}

/** `position`: the OPT's type field. */
function readOpt(message: Uint8Array, position: number, start: number, end: number, query: Query): DecodeResult {
  query.hasEdns = true;
  query.payloadBytes = read16(message, position + 2);
  query.ednsVersion = message[position + 5];
  query.isDnssecOk = (message[position + 6] & 0x80) !== 0;
  query.isCompactOk = query.isDnssecOk && (message[position + 6] & 0x40) !== 0;
  // Another version may have other options.
  if (query.ednsVersion !== 0) return OK;
  while (start < end) {
    if (start + 4 > end) return bad('EDNS option is cut off', start);
    const code = read16(message, start);
    const dataStart = start + 4;
    const bytes = read16(message, start + 2);
    if (dataStart + bytes > end) return bad('EDNS option data is cut off', start);
    if (code === OPTION.CLIENT_SUBNET) readSubnet(message, dataStart, bytes, query);
    else if (code === OPTION.COOKIE) readCookie(dataStart, bytes, query);
    else if (code === OPTION.NSID) query.wantsServerId = true;
    // The timeout in it, which a client is not to send (RFC 7828 section 3.2.1), says nothing.
    else if (code === OPTION.KEEPALIVE) query.wantsKeepalive = true;
    start = dataStart + bytes;
  }
  return OK;
}

function readCookie(start: number, bytes: number, query: Query): void {
  if (query.hasCookie || query.isCookieMalformed) return;
  query.cookieStart = start;
  query.cookieBytes = bytes;
  // RFC 7873 section 5.2.2.
  query.hasCookie = bytes === CLIENT_COOKIE_BYTES || (bytes >= 16 && bytes <= 40);
  query.isCookieMalformed = !query.hasCookie;
}

function readSubnet(message: Uint8Array, start: number, bytes: number, query: Query): void {
  const isSecond = query.hasSubnet || query.isSubnetMalformed;
  query.subnetStart = start;
  query.subnetBytes = bytes;
  query.hasSubnet = !isSecond && isSubnetWellFormed(message, start, bytes);
  query.isSubnetMalformed = !query.hasSubnet;
  if (!query.hasSubnet) return;
  const family = read16(message, start);
  query.subnetFamily = family === 1 ? 4 : family === 2 ? 6 : 0;
  query.subnetSourceLength = message[start + 2];
}

/** RFC 7871 section 6 and 7.1: address as long as the source asks and no longer, the bits beyond it zero, scope 0. */
export function isSubnetWellFormed(message: Uint8Array, start: number, bytes: number): boolean {
  if (bytes < 4) return false;
  const family = read16(message, start);
  const source = message[start + 2];
  if (message[start + 3] !== 0) return false;
  // Family 0 has no addresses; tools send it to say "source 0" without choosing a family.
  const limit = family === 1 ? 32 : family === 2 ? 128 : family === 0 ? 0 : -1;
  if (source > limit) return false;
  if (bytes !== 4 + ((source + 7) >> 3)) return false;
  const used = source & 7;
  return used === 0 || (message[start + bytes - 1] & (0xff >> used)) === 0;
}

/** Big-endian 16 bits. */
export function read16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

/** Big-endian 32 bits, unsigned. */
export function read32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3]) >>> 0;
}
