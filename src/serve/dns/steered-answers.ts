/**
 * The short way of nearly every query: A, AAAA or HTTPS of a steered name, plain or with nothing but a client subnet in its EDNS. The question is
 * found in flat arrays and its answer section copied from where it stands ready. What is not understood here goes to `answer.ts`, whose answers
 * these are, byte by byte; nothing is allocated for a query whose section was needed before.
 *
 * Query and answer lie in one region of bytes (`datagram-batch.ts`).
 */
import type { Choice, ChoiceReason } from '../../decide/steer/plan.ts';
import { Chooser } from './chooser.ts';
import type { SignedZone } from './dnssec/signed-zone.ts';
import type { Signing } from './dnssec/signing.ts';
import { type AnswerSources, type Asker, MAX_UDP_BYTES, MIN_UDP_BYTES } from './exchange.ts';
import { EXPLANATION, encodeExplanation } from './extended-error.ts';
import { type SteeredEntry, SteeredNames } from './steered-names.ts';
import { encodeSection, encodeSignedSection } from './steered-section.ts';
import { MAX_LABEL_BYTES, MAX_NAME_BYTES } from './wire/name.ts';
import { CLASS, OPTION, RECORD_TYPE } from './wire/numbers.ts';
import { createQuery, HEADER_BYTES, isSubnetWellFormed } from './wire/query.ts';
import { type RecordSet, type SteeredName, steeredSets } from './zones.ts';

/** One question, no answer, no authority. */
const ONE_QUESTION = 0x0001_0000;
const OPT_BYTES = 11;
const OPTION_BYTES = 4;
/** Sections that were needed; beyond it all are made anew when they are. */
const MAX_SECTION_BYTES = 16 * 1024 * 1024;
const FIRST_SECTION_BYTES = 64 * 1024;
/** Options of EDNS, of which the longest that has room is told. */
const NOTHING_HEALTHY = encodeExplanation(EXPLANATION.nothingHealthy, true);
const NOTHING_HEALTHY_CODE = encodeExplanation(EXPLANATION.nothingHealthy, false);
const NO_OPTION = new Uint8Array(0);

/** Where a section stands. */
interface Place {
  readonly start: number;
  /** Of each record; of a signed section, which is whole or not there, of all. */
  readonly recordBytes: number;
  readonly answers: number;
  /** When its signature is to be made anew; Infinity: it has none. */
  readonly renewMs: number;
}

/** Sections of a name by type and choice. */
type Places = readonly [Map<Choice, Place>, Map<Choice, Place>, Map<Choice, Place>];

function noPlaces(): Places {
  return [new Map(), new Map(), new Map()];
}

/** What was found is valid until the next `find`. */
export class SteeredAnswers {
  /** Index into `entries`. */
  entry = 0;
  /** Of rate limits. */
  subject = 0;
  /** 0: A, 1: AAAA, 2: HTTPS. */
  typeIndex = 0;
  hasEdns = false;
  hasSubnet = false;
  readonly #sources: AnswerSources;
  readonly #names: SteeredNames;
  readonly #places: Places[];
  readonly #signedPlaces: Places[];
  /** By entry; null: its zone is not signed. */
  readonly #signed: readonly (SignedZone | null)[];
  readonly #chooser = new Chooser();
  readonly #query = createQuery();
  #sections = new DataView(new ArrayBuffer(FIRST_SECTION_BYTES));
  #sectionsEnd = 0;
  #start = 0;
  #place: Place = { start: 0, recordBytes: 0, answers: 0, renewMs: 0 };
  /** Of the section that is told: as many records as fit. */
  #answers = 0;
  #sectionBytes = 0;
  /** Option that goes with the answer. */
  #explanation: Uint8Array = NO_OPTION;

  /** `signing`: made for the same zones. */
  constructor(sources: AnswerSources, signing: Signing | null = null) {
    this.#sources = sources;
    this.#names = new SteeredNames(sources.zones.names);
    this.#places = this.#names.entries.map(noPlaces);
    this.#signedPlaces = this.#names.entries.map(noPlaces);
    this.#signed = this.#names.entries.map(({ zone }) => signing?.zoneOf(zone) ?? null);
  }

  get entries(): readonly SteeredEntry[] {
    return this.#names.entries;
  }

  /** Index of the site that is told first. */
  get site(): number {
    return this.#chooser.choice.sites[0];
  }

  get reason(): ChoiceReason {
    return this.#chooser.reason;
  }

  /**
   * Looks for the answer to the query of `length` bytes at `start`; false: ask `Answerer`. `view` is over `bytes`, which go on for some bytes
   * behind the query.
   */
  find(bytes: Uint8Array, view: DataView, start: number, length: number, asker: Asker): boolean {
    const end = start + length;
    // QR and opcode 0; whatever else the flags say changes nothing in an answer but RD.
    if (length < HEADER_BYTES + 5 || (bytes[start + 2] & 0xf8) !== 0) return false;
    if (view.getUint32(start + 4) !== ONE_QUESTION) return false;
    const records = view.getUint32(start + 8);
    if (records > 1) return false;
    const nameStart = start + HEADER_BYTES;
    let position = nameStart;
    for (let label = bytes[position]; label !== 0; label = bytes[position]) {
      position += label + 1;
      if (label > MAX_LABEL_BYTES || position >= end) return false;
    }
    const nameBytes = position + 1 - nameStart;
    if (position + 5 > end || nameBytes > MAX_NAME_BYTES) return false;
    const type = typeIndexOf(view.getUint32(position + 1));
    if (type < 0) return false;
    if (!this.#readOpt(bytes, view, position + 5, end, records)) return false;
    const entry = this.#names.find(bytes, view, nameStart, nameBytes);
    if (entry < 0) return false;
    const signed = this.#query.isDnssecOk ? this.#signed[entry] : null;
    // Its answer's OPT differs.
    if (signed !== null && this.#query.isCompactOk) return false;
    const { steered, subject } = this.#names.entries[entry];
    this.#start = start;
    this.entry = entry;
    this.subject = subject;
    this.typeIndex = type;
    const query = this.#query;
    query.type = TYPES[type];
    query.questionEnd = position + 5 - start;
    // Whether the type is there must be known first: a choice may be the client's turn, which is not to be taken twice.
    if (steeredSets(steered, query.type) === null) return false;
    this.#chooser.choose(steered, query, bytes, asker, this.#sources);
    return this.#findSection(steered, entry, type, signed, asker.nowMs) && this.#fit();
  }

  /** No record behind the question, or OPT with no option, or with a well-formed client subnet as its only one. */
  #readOpt(bytes: Uint8Array, view: DataView, start: number, end: number, records: number): boolean {
    const query = this.#query;
    this.hasEdns = query.hasEdns = records === 1;
    this.hasSubnet = query.hasSubnet = false;
    query.isDnssecOk = query.isCompactOk = false;
    if (records === 0) return true;
    const data = start + OPT_BYTES;
    // Root, type, size; then extended code, version (0), flags, length.
    if (data > end || bytes[start] !== 0 || view.getUint16(start + 1) !== RECORD_TYPE.OPT || bytes[start + 6] !== 0)
      return false;
    query.payloadBytes = view.getUint16(start + 3);
    query.isDnssecOk = (bytes[start + 7] & 0x80) !== 0;
    query.isCompactOk = (bytes[start + 7] & 0x40) !== 0;
    const length = view.getUint16(start + 9);
    if (length === 0) return true;
    if (length < OPTION_BYTES || data + length > end || view.getUint16(data) !== OPTION.CLIENT_SUBNET) return false;
    const subnetBytes = view.getUint16(data + 2);
    const subnet = data + OPTION_BYTES;
    if (subnetBytes !== length - OPTION_BYTES || !isSubnetWellFormed(bytes, subnet, subnetBytes)) return false;
    const family = bytes[subnet + 1];
    this.hasSubnet = query.hasSubnet = true;
    query.subnetStart = subnet;
    query.subnetBytes = subnetBytes;
    query.subnetFamily = family === 1 ? 4 : family === 2 ? 6 : 0;
    query.subnetSourceLength = bytes[subnet + 2];
    return true;
  }

  #findSection(steered: SteeredName, entry: number, type: number, signed: SignedZone | null, nowMs: number): boolean {
    const places = (signed === null ? this.#places : this.#signedPlaces)[entry][type];
    const { choice } = this.#chooser;
    let place = places.get(choice);
    if (place === undefined || nowMs >= place.renewMs) {
      const sets = steeredSets(steered, TYPES[type]);
      if (sets === null) return false;
      place = signed === null ? this.#makeSection(sets) : this.#makeSignedSection(sets, entry, signed, nowMs);
      places.set(choice, place);
    }
    this.#place = place;
    return true;
  }

  /** How much of the section there is room for; false: not one record. */
  #fit(): boolean {
    const query = this.#query;
    const { recordBytes, answers, renewMs } = this.#place;
    let room = MIN_UDP_BYTES - query.questionEnd;
    if (query.hasEdns) {
      room = Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) - query.questionEnd - OPT_BYTES;
      if (query.hasSubnet) room -= OPTION_BYTES + query.subnetBytes;
    }
    if (renewMs < Number.POSITIVE_INFINITY) {
      this.#answers = recordBytes <= room ? answers : 0;
      this.#sectionBytes = recordBytes;
    } else {
      this.#answers = answers * recordBytes <= room ? answers : Math.floor(room / recordBytes);
      this.#sectionBytes = this.#answers * recordBytes;
    }
    room -= this.#sectionBytes;
    this.#explanation = query.hasEdns && this.reason === 'static' ? explanationFor(room) : NO_OPTION;
    return this.#answers > 0;
  }

  #makeSection(sets: readonly RecordSet[]): Place {
    const { bytes, answers } = encodeSection(sets, this.#chooser.choice.sites);
    // Of one type and family, so all are as long; HTTPS has one.
    const recordBytes = bytes.length / answers;
    return { start: this.#keep(bytes), recordBytes, answers, renewMs: Number.POSITIVE_INFINITY };
  }

  #makeSignedSection(sets: readonly RecordSet[], entry: number, signed: SignedZone, nowMs: number): Place {
    const { name } = this.#names.entries[entry];
    const steered = signed.steered(name, this.#chooser.choice.sites, sets, Math.floor(nowMs / 1000));
    const { bytes, answers } = encodeSignedSection(steered);
    const renewMs = (steered.signature.expiresSeconds - signed.times.renewBeforeSeconds) * 1000;
    return { start: this.#keep(bytes), recordBytes: bytes.length, answers, renewMs };
  }

  /** Where it stands. */
  #keep(bytes: Uint8Array): number {
    // To whole words, by which it is copied.
    const room = (bytes.length + 3) & ~3;
    if (this.#sectionsEnd + room > this.#sections.byteLength) this.#makeRoom(room);
    const start = this.#sectionsEnd;
    new Uint8Array(this.#sections.buffer).set(bytes, start);
    this.#sectionsEnd += room;
    return start;
  }

  #makeRoom(bytes: number): void {
    if (this.#sectionsEnd + bytes > MAX_SECTION_BYTES) {
      for (const places of [...this.#places, ...this.#signedPlaces]) for (const each of places) each.clear();
      this.#sectionsEnd = 0;
      return;
    }
    const larger = new Uint8Array(this.#sections.byteLength * 2 + bytes);
    larger.set(new Uint8Array(this.#sections.buffer));
    this.#sections = new DataView(larger.buffer);
  }

  /** Writes the answer that was found to `out`, where 1,280 bytes are ours; gives its length. */
  write(bytes: Uint8Array, view: DataView, out: number): number {
    const query = this.#query;
    const start = this.#start;
    const { questionEnd } = query;
    // By words, so some bytes too many, which the next part overwrites.
    for (let i = 0; i < questionEnd; i += 4) view.setUint32(out + i, view.getUint32(start + i));
    const place = this.#place;
    const sections = this.#sections;
    const section = out + questionEnd;
    const sectionBytes = this.#sectionBytes;
    for (let i = 0; i < sectionBytes; i += 4) view.setUint32(section + i, sections.getUint32(place.start + i));
    // QR, AA, RD as it was.
    view.setUint16(out + 2, 0x8400 | ((bytes[start + 2] & 1) << 8));
    view.setUint16(out + 6, this.#answers);
    const end = questionEnd + sectionBytes;
    return query.hasEdns ? end + this.#writeOpt(bytes, view, out + end) : end;
  }

  #writeOpt(bytes: Uint8Array, view: DataView, at: number): number {
    const query = this.#query;
    const { hasSubnet, subnetStart, subnetBytes } = query;
    view.setUint32(at, RECORD_TYPE.OPT << 8);
    view.setUint16(at + 3, MAX_UDP_BYTES);
    view.setUint32(at + 5, query.isDnssecOk ? 0x8000 : 0);
    let end = at + OPT_BYTES;
    if (hasSubnet) {
      view.setUint32(end, (OPTION.CLIENT_SUBNET << 16) | subnetBytes);
      const data = end + OPTION_BYTES;
      for (let i = 0; i < subnetBytes; i++) bytes[data + i] = bytes[subnetStart + i];
      bytes[data + 3] = this.#chooser.scopeLength;
      end = data + subnetBytes;
    }
    const explanation = this.#explanation;
    if (explanation.length > 0) {
      bytes.set(explanation, end);
      end += explanation.length;
    }
    view.setUint16(at + 9, end - at - OPT_BYTES);
    return end - at;
  }
}

function explanationFor(room: number): Uint8Array {
  if (room >= NOTHING_HEALTHY.length) return NOTHING_HEALTHY;
  return room >= NOTHING_HEALTHY_CODE.length ? NOTHING_HEALTHY_CODE : NO_OPTION;
}

const TYPES = [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS] as const;

/** Of type and class as they stand in the question; -1: another. */
function typeIndexOf(word: number): number {
  if (word === ((RECORD_TYPE.A << 16) | CLASS.IN)) return 0;
  if (word === ((RECORD_TYPE.AAAA << 16) | CLASS.IN)) return 1;
  return word === ((RECORD_TYPE.HTTPS << 16) | CLASS.IN) ? 2 : -1;
}
