/**
 * The short way of nearly every query: A, AAAA or HTTPS of a steered name, plain or with nothing but a client subnet in its EDNS. The question is
 * found in flat arrays and its answer section copied from where it stands ready. What is not understood here goes to `answer.ts`, whose answers
 * these are, byte by byte; nothing is allocated for a query whose section was needed before.
 *
 * Query and answer lie in one region of bytes (`datagram-batch.ts`). With 1,000 names it is the cache that counts: a query touches some six
 * lines of what belongs to its name.
 */
import { CurrentChoices } from '../../decide/steer/current-choices.ts';
import type { Choice, ChoiceReason } from '../../decide/steer/plan.ts';
import { addressBits } from '../../net/address.ts';
import { lookupPrefix, type PrefixMap, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { Chooser } from './chooser.ts';
import type { SignedZone } from './dnssec/signed-zone.ts';
import type { Signing } from './dnssec/signing.ts';
import { type AnswerSources, type Asker, MAX_UDP_BYTES, MIN_UDP_BYTES } from './exchange.ts';
import { EXPLANATION, encodeExplanation } from './extended-error.ts';
import { REASONS, ReadyRows, ROW, type RowFacts } from './ready-rows.ts';
import { RECORD, type SteeredEntry, SteeredNames } from './steered-names.ts';
import { encodeSection, encodeSignedSection } from './steered-section.ts';
import { MAX_LABEL_BYTES, MAX_NAME_BYTES } from './wire/name.ts';
import { CLASS, OPTION, RECORD_TYPE } from './wire/numbers.ts';
import { createQuery, HEADER_BYTES, isSubnetWellFormed } from './wire/query.ts';
import { type RecordSet, steeredSets } from './zones.ts';

/** One question, no answer, no authority. */
const ONE_QUESTION = 0x0001_0000;
const OPT_BYTES = 11;
const OPTION_BYTES = 4;
/** Options of EDNS, of which the longest that has room is told. */
const NOTHING_HEALTHY = encodeExplanation(EXPLANATION.nothingHealthy, true);
const NOTHING_HEALTHY_CODE = encodeExplanation(EXPLANATION.nothingHealthy, false);
const NO_OPTION = new Uint8Array(0);

const TYPES = [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS] as const;
/** Of an answer: each type without and with a signature. */
const VARIANTS = TYPES.length * 2;

/** What `#current` says besides a row: not looked at yet; each answer may be another; no such type. */
const UNKNOWN = 0;
const BY_TURNS = -1;
const NONE = -2;

/** Rows of a name by variant and choice, where answers differ from one to the next. */
type Turns = Map<Choice, number>[];

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
  readonly #numberOf: (service: string, site: string) => number;
  readonly #names: SteeredNames;
  /** By entry; null: its zone is not signed. */
  readonly #signed: readonly (SignedZone | null)[];
  readonly #maps: PrefixMap[];
  readonly #rows = new ReadyRows();
  /** By plan of each name and variant: a row, or one of the words above. Of health as it was at the last `refresh`. */
  readonly #current: Int32Array;
  readonly #turns: Turns[];
  readonly #choices = new CurrentChoices();
  readonly #chooser = new Chooser();
  readonly #query = createQuery();
  #version: number | undefined;
  #start = 0;
  #variant = 0;
  #row = 0;
  /** Of the section that is told: as many records as fit. */
  #records = 0;
  #sectionBytes = 0;
  #scope = 0;
  /** Option that goes with the answer. */
  #explanation: Uint8Array = NO_OPTION;

  /** `signing`: made for the same zones. `numberOf`: what `site` tells, for who counts. */
  constructor(
    sources: AnswerSources,
    signing: Signing | null = null,
    numberOf: (service: string, site: string) => number = () => 0,
  ) {
    this.#sources = sources;
    this.#numberOf = numberOf;
    const names = new SteeredNames(sources.zones.names);
    this.#names = names;
    this.#signed = names.entries.map(({ zone }) => signing?.zoneOf(zone) ?? null);
    this.#turns = names.entries.map(() => Array.from({ length: VARIANTS }, () => new Map()));
    this.#maps = [...new Set(names.entries.map(({ steered }) => steered.steering.map))];
    let plans = 0;
    for (const record of names.records()) {
      const { steering } = names.entries[names.words[record + RECORD.entry]].steered;
      names.words[record + RECORD.map] = this.#maps.indexOf(steering.map);
      names.words[record + RECORD.current] = plans * VARIANTS;
      names.words[record + RECORD.isSigned] = this.#signed[names.words[record + RECORD.entry]] === null ? 0 : 1;
      plans += steering.plans.length;
    }
    this.#current = new Int32Array(plans * VARIANTS);
  }

  get entries(): readonly SteeredEntry[] {
    return this.#names.entries;
  }

  /** Of the site that is told first. */
  get site(): number {
    return this.#rows.words[(this.#row >> 2) + ROW.site];
  }

  /** Client subnet of the query, as `Query` has it; the address begins at `subnetAt`. Only with `hasSubnet`. */
  get subnetFamily(): 0 | 4 | 6 {
    return this.#query.subnetFamily;
  }

  get subnetAt(): number {
    return this.#query.subnetStart + 4;
  }

  get subnetLength(): number {
    return this.#query.subnetSourceLength;
  }

  /** Index into `REASONS`. */
  get reasonIndex(): number {
    return this.#rows.words[(this.#row >> 2) + ROW.reason];
  }

  /** Takes notice of health; once for each batch. */
  refresh(): void {
    const { version } = this.#sources.view;
    if (version !== undefined && version === this.#version) return;
    this.#version = version;
    this.#current.fill(UNKNOWN);
  }

  /**
   * Looks for the answer to the query of `length` bytes at `start`; false: ask `Answerer`. `view` is over `bytes`, which go on for some bytes
   * behind the query.
   */
  find(bytes: Uint8Array, view: DataView, start: number, length: number, asker: Asker): boolean {
    const end = start + length;
    // QR and opcode 0; whatever else the flags say changes nothing in an answer but RD.
    if (length < HEADER_BYTES + 5 || (bytes[start + 2] & 0xf8) !== 0) return false;
    if (view.getInt32(start + 4) !== ONE_QUESTION) return false;
    const records = view.getInt32(start + 8);
    if (records !== 0 && records !== 1) return false;
    const nameStart = start + HEADER_BYTES;
    let position = nameStart;
    for (let label = bytes[position]; label !== 0; label = bytes[position]) {
      position += label + 1;
      if (label > MAX_LABEL_BYTES || position >= end) return false;
    }
    const nameBytes = position + 1 - nameStart;
    if (position + 5 > end || nameBytes > MAX_NAME_BYTES) return false;
    const type = typeIndexOf(view.getInt32(position + 1));
    if (type < 0) return false;
    if (!this.#readOpt(bytes, view, position + 5, end, records)) return false;
    const record = this.#names.find(bytes, view, nameStart, nameBytes);
    if (record < 0) return false;
    const { words } = this.#names;
    const query = this.#query;
    const isSigned = query.isDnssecOk && words[record + RECORD.isSigned] !== 0;
    // Its answer's OPT differs.
    if (isSigned && query.isCompactOk) return false;
    this.#start = start;
    this.typeIndex = type;
    this.#variant = type * 2 + (isSigned ? 1 : 0);
    this.entry = words[record + RECORD.entry];
    this.subject = words[record + RECORD.subject];
    query.questionEnd = position + 5 - start;
    return this.#findRow(this.#maps[words[record + RECORD.map]], words[record + RECORD.current], bytes, asker);
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

  /** The plan of who asks, as `Chooser` has it; and what it answers now. */
  #findRow(map: PrefixMap, base: number, bytes: Uint8Array, asker: Asker): boolean {
    const query = this.#query;
    const { subnetFamily, subnetSourceLength } = query;
    let found: number;
    if (query.hasSubnet && subnetFamily !== 0 && subnetSourceLength !== 0) {
      found = lookupPrefix(map, subnetFamily, bytes, query.subnetStart + 4, subnetSourceLength);
      this.#scope = prefixScope(found);
    } else {
      const { family, bytes: address } = asker.client;
      found = lookupPrefix(map, family, address, 0, addressBits(family));
      this.#scope = 0;
    }
    const plan = prefixValue(found);
    const at = base + plan * VARIANTS + this.#variant;
    let row = this.#current[at];
    if (row === UNKNOWN || (row > 0 && this.#isOld(row, asker.nowMs))) {
      row = this.#resolve(plan, asker.nowMs);
      this.#current[at] = row;
    }
    if (row === BY_TURNS) row = this.#takeTurn(bytes, asker);
    if (row <= 0) return false;
    this.#row = row;
    return this.#fit();
  }

  #isOld(row: number, nowMs: number): boolean {
    const renewSeconds = this.#rows.words[(row >> 2) + ROW.renewSeconds];
    return renewSeconds !== 0 && nowMs >= renewSeconds * 1000;
  }

  #resolve(plan: number, nowMs: number): number {
    const { steering } = this.#names.entries[this.entry].steered;
    const { cycle, reason } = this.#choices.of(steering, plan, this.#sources.view);
    return cycle.length > 1 ? BY_TURNS : this.#rowOf(cycle[0], reason, nowMs);
  }

  /** Whether the type is there is known before: a client's turn is not to be taken twice. */
  #takeTurn(bytes: Uint8Array, asker: Asker): number {
    const query = this.#query;
    query.type = TYPES[this.typeIndex];
    const { steered } = this.#names.entries[this.entry];
    if (steeredSets(steered, query.type) === null) return NONE;
    const chooser = this.#chooser;
    chooser.choose(steered, query, bytes, asker, this.#sources);
    return this.#rowOf(chooser.choice, chooser.reason, asker.nowMs);
  }

  /** A choice has one reason as long as it is the same object. */
  #rowOf(choice: Choice, reason: ChoiceReason, nowMs: number): number {
    const rows = this.#turns[this.entry][this.#variant];
    const known = rows.get(choice);
    if (known !== undefined && !this.#isOld(known, nowMs)) return known;
    const { steered } = this.#names.entries[this.entry];
    const sets = steeredSets(steered, TYPES[this.typeIndex]);
    if (sets === null) return NONE;
    const row = this.#makeRow(sets, choice, reason, nowMs);
    if (row > 0) rows.set(choice, row);
    return row;
  }

  #makeRow(sets: readonly RecordSet[], choice: Choice, reason: ChoiceReason, nowMs: number): number {
    const { name, steered } = this.#names.entries[this.entry];
    const { service, sites } = steered.steering;
    const signed = (this.#variant & 1) === 0 ? null : this.#signed[this.entry];
    const set = signed?.steered(name, choice.sites, sets, Math.floor(nowMs / 1000)) ?? null;
    const section = set === null ? encodeSection(sets, choice.sites) : encodeSignedSection(set);
    const facts: RowFacts = {
      site: this.#numberOf(service, sites[choice.sites[0]]),
      reason,
      renewSeconds:
        set === null || signed === null ? 0 : set.signature.expiresSeconds - signed.times.renewBeforeSeconds,
    };
    const row = this.#rows.add(section, facts);
    if (row !== null) return row;
    this.#forgetRows();
    return this.#rows.add(section, facts) ?? NONE;
  }

  #forgetRows(): void {
    this.#rows.clear();
    this.#current.fill(UNKNOWN);
    for (const turns of this.#turns) for (const rows of turns) rows.clear();
  }

  /** How much of the section there is room for; false: not one record. */
  #fit(): boolean {
    const query = this.#query;
    const row = this.#row >> 2;
    const { words } = this.#rows;
    const records = words[row + ROW.records];
    const recordBytes = words[row + ROW.recordBytes];
    let room = MIN_UDP_BYTES - query.questionEnd;
    if (query.hasEdns) {
      room = Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) - query.questionEnd - OPT_BYTES;
      if (query.hasSubnet) room -= OPTION_BYTES + query.subnetBytes;
    }
    if (words[row + ROW.isWhole] !== 0) {
      this.#records = recordBytes <= room ? records : 0;
      this.#sectionBytes = recordBytes;
    } else {
      this.#records = records * recordBytes <= room ? records : Math.floor(room / recordBytes);
      this.#sectionBytes = this.#records * recordBytes;
    }
    const isExplained = query.hasEdns && REASONS[words[row + ROW.reason]] === 'static';
    this.#explanation = isExplained ? explanationFor(room - this.#sectionBytes) : NO_OPTION;
    return this.#records > 0;
  }

  /** Writes the answer that was found to `out`, where 1,280 bytes are ours; gives its length. */
  write(bytes: Uint8Array, view: DataView, out: number): number {
    const query = this.#query;
    const start = this.#start;
    const { questionEnd } = query;
    // By words, so some bytes too many, which the next part overwrites.
    for (let i = 0; i < questionEnd; i += 4) view.setInt32(out + i, view.getInt32(start + i));
    const { view: rows } = this.#rows;
    const section = ReadyRows.sectionOf(this.#row);
    const sectionBytes = this.#sectionBytes;
    const to = out + questionEnd;
    for (let i = 0; i < sectionBytes; i += 4) view.setInt32(to + i, rows.getInt32(section + i));
    // QR, AA, RD as it was.
    view.setUint16(out + 2, 0x8400 | ((bytes[start + 2] & 1) << 8));
    view.setUint16(out + 6, this.#records);
    const end = questionEnd + sectionBytes;
    return query.hasEdns ? end + this.#writeOpt(bytes, view, out + end) : end;
  }

  #writeOpt(bytes: Uint8Array, view: DataView, at: number): number {
    const query = this.#query;
    const { hasSubnet, subnetStart, subnetBytes } = query;
    view.setInt32(at, RECORD_TYPE.OPT << 8);
    view.setUint16(at + 3, MAX_UDP_BYTES);
    view.setInt32(at + 5, query.isDnssecOk ? 0x8000 : 0);
    let end = at + OPT_BYTES;
    if (hasSubnet) {
      view.setInt32(end, (OPTION.CLIENT_SUBNET << 16) | subnetBytes);
      const data = end + OPTION_BYTES;
      for (let i = 0; i < subnetBytes; i += 4) view.setInt32(data + i, view.getInt32(subnetStart + i));
      bytes[data + 3] = this.#scope;
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

/** Of type and class as they stand in the question; -1: another. */
function typeIndexOf(word: number): number {
  if (word === ((RECORD_TYPE.A << 16) | CLASS.IN)) return 0;
  if (word === ((RECORD_TYPE.AAAA << 16) | CLASS.IN)) return 1;
  return word === ((RECORD_TYPE.HTTPS << 16) | CLASS.IN) ? 2 : -1;
}
