/**
 * The short way of nearly every query: A, AAAA or HTTPS of a steered name, plain or with nothing but a client subnet in its EDNS. The question is
 * found in flat arrays and its answer section copied from where it stands ready. What is not understood here goes to `answer.ts`, whose answers
 * these are, byte by byte; nothing is allocated for a query whose section was needed before.
 *
 * Query and answer lie in one region of bytes (`datagram-batch.ts`).
 */
import { CurrentChoices } from '../../decide/steer/current-choices.ts';
import type { Choice, ChoiceReason } from '../../decide/steer/plan.ts';
import { addressBits } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { type AnswerSources, type Asker, MAX_UDP_BYTES, MIN_UDP_BYTES } from './exchange.ts';
import { SteeredNames } from './steered-names.ts';
import { encodeSection } from './steered-section.ts';
import { MAX_LABEL_BYTES, MAX_NAME_BYTES } from './wire/name.ts';
import { CLASS, OPTION, RECORD_TYPE } from './wire/numbers.ts';
import { createQuery, HEADER_BYTES, isSubnetWellFormed } from './wire/query.ts';
import { type SteeredName, steeredSets } from './zones.ts';

/** One question, no answer, no authority. */
const ONE_QUESTION = 0x0001_0000;
const OPT_BYTES = 11;
const OPTION_BYTES = 4;
/** Sections that were needed; beyond it all are made anew when they are. */
const MAX_SECTION_BYTES = 16 * 1024 * 1024;
const FIRST_SECTION_BYTES = 64 * 1024;

/** Where a section stands. */
interface Place {
  readonly start: number;
  readonly length: number;
  readonly answers: number;
}

/** Sections of a name by type and choice. */
type Places = readonly [Map<Choice, Place>, Map<Choice, Place>, Map<Choice, Place>];

/** What was found is valid until the next `find`. */
export class SteeredAnswers {
  /** Of rate limits. */
  subject = 0;
  /** 0: A, 1: AAAA, 2: HTTPS. */
  typeIndex = 0;
  hasEdns = false;
  hasSubnet = false;
  reason: ChoiceReason = 'free';
  readonly #sources: AnswerSources;
  readonly #names: SteeredNames;
  readonly #places: Places[];
  readonly #choices = new CurrentChoices();
  readonly #query = createQuery();
  #sections = new DataView(new ArrayBuffer(FIRST_SECTION_BYTES));
  #sectionsEnd = 0;
  #start = 0;
  #steered: SteeredName | null = null;
  #choice: Choice = { sites: [0] };
  #place: Place = { start: 0, length: 0, answers: 0 };
  #scope = 0;

  constructor(sources: AnswerSources) {
    this.#sources = sources;
    this.#names = new SteeredNames(sources.zones.names);
    this.#places = this.#names.entries.map(() => [new Map(), new Map(), new Map()]);
  }

  /** Null before the first find. */
  get steered(): SteeredName | null {
    return this.#steered;
  }

  /** Index of the site that is told first. */
  get site(): number {
    return this.#choice.sites[0];
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
    const { steered, subject } = this.#names.entries[entry];
    this.#start = start;
    this.#steered = steered;
    this.subject = subject;
    this.typeIndex = type;
    this.#query.questionEnd = position + 5 - start;
    return this.#choose(steered, bytes, asker) && this.#findSection(entry, type);
  }

  /** No record behind the question, or OPT with no option, or with a well-formed client subnet as its only one. */
  #readOpt(bytes: Uint8Array, view: DataView, start: number, end: number, records: number): boolean {
    const query = this.#query;
    this.hasEdns = query.hasEdns = records === 1;
    this.hasSubnet = query.hasSubnet = false;
    query.isDnssecOk = false;
    if (records === 0) return true;
    const data = start + OPT_BYTES;
    // Root, type, size; then extended code, version (0), flags, length.
    if (data > end || bytes[start] !== 0 || view.getUint16(start + 1) !== RECORD_TYPE.OPT || bytes[start + 6] !== 0)
      return false;
    query.payloadBytes = view.getUint16(start + 3);
    query.isDnssecOk = (bytes[start + 7] & 0x80) !== 0;
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

  #choose(steered: SteeredName, bytes: Uint8Array, asker: Asker): boolean {
    const { steering } = steered;
    const query = this.#query;
    const { subnetFamily, subnetSourceLength } = query;
    this.#scope = 0;
    let found: number;
    if (query.hasSubnet && subnetFamily !== 0 && subnetSourceLength !== 0) {
      found = lookupPrefix(steering.map, subnetFamily, bytes, query.subnetStart + 4, subnetSourceLength);
      this.#scope = prefixScope(found);
    } else {
      const { family, bytes: address } = asker.client;
      found = lookupPrefix(steering.map, family, address, 0, addressBits(family));
    }
    const { cycle, reason } = this.#choices.of(steering, prefixValue(found), this.#sources.view);
    // An explanation goes with it.
    if (reason === 'static') return false;
    this.reason = reason;
    this.#choice = cycle[0];
    return true;
  }

  #findSection(entry: number, type: number): boolean {
    const places = this.#places[entry][type];
    let place = places.get(this.#choice);
    if (place === undefined) {
      const made = this.#makeSection(type);
      if (made === null) return false;
      place = made;
      places.set(this.#choice, place);
    }
    this.#place = place;
    const query = this.#query;
    let limit = MIN_UDP_BYTES;
    let bytes = query.questionEnd + place.length;
    if (query.hasEdns) {
      limit = Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES);
      bytes += OPT_BYTES + (query.hasSubnet ? OPTION_BYTES + query.subnetBytes : 0);
    }
    return bytes <= limit;
  }

  #makeSection(type: number): Place | null {
    const steered = this.#steered;
    const sets = steered === null ? null : steeredSets(steered, TYPES[type]);
    if (sets === null) return null;
    const { bytes, answers } = encodeSection(sets, this.#choice.sites);
    // To whole words, by which it is copied.
    const room = (bytes.length + 3) & ~3;
    if (this.#sectionsEnd + room > this.#sections.byteLength) this.#makeRoom(room);
    const start = this.#sectionsEnd;
    new Uint8Array(this.#sections.buffer).set(bytes, start);
    this.#sectionsEnd += room;
    return { start, length: bytes.length, answers };
  }

  #makeRoom(bytes: number): void {
    if (this.#sectionsEnd + bytes > MAX_SECTION_BYTES) {
      for (const places of this.#places) for (const each of places) each.clear();
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
    for (let i = 0; i < place.length; i += 4) view.setUint32(section + i, sections.getUint32(place.start + i));
    // QR, AA, RD as it was.
    view.setUint16(out + 2, 0x8400 | ((bytes[start + 2] & 1) << 8));
    view.setUint16(out + 6, place.answers);
    const end = questionEnd + place.length;
    return query.hasEdns ? end + this.#writeOpt(bytes, view, out + end) : end;
  }

  #writeOpt(bytes: Uint8Array, view: DataView, at: number): number {
    const query = this.#query;
    const { hasSubnet, subnetStart, subnetBytes } = query;
    view.setUint32(at, RECORD_TYPE.OPT << 8);
    view.setUint16(at + 3, MAX_UDP_BYTES);
    view.setUint32(at + 5, query.isDnssecOk ? 0x8000 : 0);
    view.setUint16(at + 9, hasSubnet ? OPTION_BYTES + subnetBytes : 0);
    if (!hasSubnet) return OPT_BYTES;
    view.setUint32(at + 11, (OPTION.CLIENT_SUBNET << 16) | subnetBytes);
    const data = at + OPT_BYTES + OPTION_BYTES;
    for (let i = 0; i < subnetBytes; i++) bytes[data + i] = bytes[subnetStart + i];
    bytes[data + 3] = this.#scope;
    return OPT_BYTES + OPTION_BYTES + subnetBytes;
  }
}

const TYPES = [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS] as const;

/** Of type and class as they stand in the question; -1: another. */
function typeIndexOf(word: number): number {
  if (word === ((RECORD_TYPE.A << 16) | CLASS.IN)) return 0;
  if (word === ((RECORD_TYPE.AAAA << 16) | CLASS.IN)) return 1;
  return word === ((RECORD_TYPE.HTTPS << 16) | CLASS.IN) ? 2 : -1;
}
