/**
 * Who asks a thread for what: address queries by resolver, client subnet and answer, in shared memory. One thread writes, another reads and never
 * writes. Queries for A alone are counted, as in the kernel (`bpf/dns-askers.h`): who asks for more asks for that too, and a cache asks for
 * each once in a TTL.
 */
import type { Config } from '../../config/model.ts';
import type { Address } from '../../net/address.ts';
import type { Asker } from './exchange.ts';
import type { AskerPrefix } from './kernel/askers.ts';
import type { Responder } from './respond.ts';
import { SiteLayout } from './shared-view.ts';
import type { Query } from './wire/query.ts';

/** Four askers each of 32 bytes: 1 MB a thread, two cache lines a set. */
const SETS = 8192;
const WAYS = 4;
/** Words of an asker. Prefixes are their first six bytes on the wire. */
const PLACE = {
  resolverLow: 0,
  /** Upper half of a /48, and the family in bits 16 on. */
  resolverHigh: 1,
  subnetLow: 2,
  /** As that of the resolver, with its length in bits 24 on; 0: no subnet. */
  subnetHigh: 3,
  pair: 4,
  /** Since the place was given. */
  queries: 5,
  /** Of the header's time, when the last query came. */
  time: 6,
  /** Rises by two with every asker; odd while it is written. */
  turn: 7,
  words: 8,
} as const;
/** In front: time, in looks of the reader, and queries for which there was no place. */
const HEADER = { time: 0, unplaced: 1, words: 16 } as const;
/** Looks without a query after which a place is another's. */
const IDLE_LOOKS = 8;

/** What was answered: `service` and `site` of whose addresses. */
export interface AnsweredSite {
  readonly service: string;
  readonly site: string;
}

/** `subnet`: null where the resolver told none. The same objects are filled anew for each. */
export type VisitQueries = (
  resolver: AskerPrefix,
  subnet: AskerPrefix | null,
  answered: AnsweredSite,
  queries: number,
) => void;

/** Steering by what is measured wants to know who asks. */
export function countsAskers({ steering }: Config): boolean {
  return steering.measured.mode !== 'off';
}

export function createAskerMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer((HEADER.words + SETS * WAYS * PLACE.words) * 4);
}

export class AskerCounter {
  readonly #words: Int32Array;
  readonly #seed: number;

  /** `seed`: so that nobody outside can choose prefixes that fall on one place. */
  constructor(memory: SharedArrayBuffer, seed: number) {
    this.#words = new Int32Array(memory);
    this.#seed = seed | 0;
  }

  /** `subnetFamily` 0, or a length of 0: none. The subnet's address begins at `subnetAt`. Cost: about 10 ns, nothing is allocated. */
  count(
    client: Address,
    bytes: Uint8Array,
    subnetFamily: 0 | 4 | 6,
    subnetAt: number,
    subnetLength: number,
    pair: number,
  ): void {
    const address = client.bytes;
    const isLong = client.family === 6;
    const resolverLow = isLong ? lowOf(address, 0) : address[0] | (address[1] << 8) | (address[2] << 16);
    const resolverHigh = isLong ? address[4] | (address[5] << 8) | (6 << 16) : 4 << 16;
    let subnetLow = 0;
    let subnetHigh = 0;
    if (subnetFamily !== 0 && subnetLength > 0) {
      const most = subnetFamily === 6 ? 48 : 24;
      const length = Math.min(subnetLength, most);
      // An option has as many bytes as its length needs.
      const has = (length + 7) >> 3;
      for (let i = 0; i < 4 && i < has; i++) subnetLow |= bytes[subnetAt + i] << (8 * i);
      subnetHigh = (has > 4 ? bytes[subnetAt + 4] : 0) | ((has > 5 ? bytes[subnetAt + 5] : 0) << 8);
      subnetHigh |= (subnetFamily << 16) | (length << 24);
    }
    let hash = Math.imul(resolverLow ^ this.#seed, 0x9e37_79b1) ^ Math.imul(resolverHigh, 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d) ^ Math.imul(subnetLow, 0xc2b2_ae35);
    hash = Math.imul(hash ^ (hash >>> 13) ^ subnetHigh, 0x2716_5667) ^ Math.imul(pair, 0x9e37_79b1);
    hash = (hash ^ (hash >>> 16)) & (SETS - 1);
    this.#add(HEADER.words + hash * WAYS * PLACE.words, resolverLow, resolverHigh, subnetLow, subnetHigh, pair);
  }

  #add(set: number, resolverLow: number, resolverHigh: number, subnetLow: number, subnetHigh: number, pair: number) {
    const words = this.#words;
    for (let at = set; at < set + WAYS * PLACE.words; at += PLACE.words) {
      if (
        words[at] === resolverLow &&
        words[at + PLACE.resolverHigh] === resolverHigh &&
        words[at + PLACE.pair] === pair &&
        words[at + PLACE.subnetHigh] === subnetHigh &&
        words[at + PLACE.subnetLow] === subnetLow
      ) {
        words[at + PLACE.queries]++;
        words[at + PLACE.time] = words[HEADER.time];
        return;
      }
    }
    this.#place(set, resolverLow, resolverHigh, subnetLow, subnetHigh, pair);
  }

  #place(set: number, resolverLow: number, resolverHigh: number, subnetLow: number, subnetHigh: number, pair: number) {
    const words = this.#words;
    const time = words[HEADER.time];
    let oldest = -1;
    for (let at = set; at < set + WAYS * PLACE.words && oldest < 0; at += PLACE.words) {
      if (words[at + PLACE.turn] === 0 || time - words[at + PLACE.time] >= IDLE_LOOKS) oldest = at;
    }
    if (oldest < 0) {
      words[HEADER.unplaced]++;
      return;
    }
    const turn = words[oldest + PLACE.turn];
    Atomics.store(words, oldest + PLACE.turn, turn + 1);
    words[oldest + PLACE.resolverLow] = resolverLow;
    words[oldest + PLACE.resolverHigh] = resolverHigh;
    words[oldest + PLACE.subnetLow] = subnetLow;
    words[oldest + PLACE.subnetHigh] = subnetHigh;
    words[oldest + PLACE.pair] = pair;
    words[oldest + PLACE.queries] = 1;
    words[oldest + PLACE.time] = time;
    Atomics.store(words, oldest + PLACE.turn, turn + 2);
  }
}

/** For `Responder.countAsker`. */
export function askerCounting(counter: AskerCounter, numberOf: (service: string, site: string) => number) {
  return (query: Query, message: Uint8Array, { client }: Asker, service: string, site: string): void => {
    const family = query.hasSubnet ? query.subnetFamily : 0;
    counter.count(client, message, family, query.subnetStart + 4, query.subnetSourceLength, numberOf(service, site));
  };
}

export class AskerReader {
  readonly #words: Int32Array;
  readonly #pairs: readonly AnsweredSite[];
  /** By place: turn and queries at the last look. */
  readonly #turns = new Int32Array(SETS * WAYS);
  readonly #seen = new Int32Array(SETS * WAYS);
  readonly #resolver: AskerPrefix = { family: 4, length: 24, bytes: new Uint8Array(16) };
  readonly #subnet: AskerPrefix = { family: 4, length: 24, bytes: new Uint8Array(16) };

  /** `pairs`: by the numbers that the counter was told. */
  constructor(memory: SharedArrayBuffer, pairs: readonly AnsweredSite[]) {
    this.#words = new Int32Array(memory);
    this.#pairs = pairs;
  }

  /** Queries that found no place, since the beginning. */
  get unplaced(): number {
    return this.#words[HEADER.unplaced] >>> 0;
  }

  /** What came since the last call. A place that is written in this moment is told the next time. Cost: some 0.1 ms, and `visit`. */
  read(visit: VisitQueries): void {
    const words = this.#words;
    for (let place = 0; place < SETS * WAYS; place++) {
      const at = HEADER.words + place * PLACE.words;
      const turn = Atomics.load(words, at + PLACE.turn);
      if (turn === 0 || (turn & 1) !== 0) continue;
      const before = this.#turns[place] === turn ? this.#seen[place] : 0;
      const now = words[at + PLACE.queries];
      const queries = (now - before) >>> 0;
      if (queries === 0) continue;
      readPrefix(words, at + PLACE.resolverLow, this.#resolver);
      const hasSubnet = words[at + PLACE.subnetHigh] !== 0;
      if (hasSubnet) readPrefix(words, at + PLACE.subnetLow, this.#subnet);
      const answered = this.#pairs[words[at + PLACE.pair]];
      if (Atomics.load(words, at + PLACE.turn) !== turn) continue;
      this.#turns[place] = turn;
      this.#seen[place] = now;
      if (answered !== undefined) visit(this.#resolver, hasSubnet ? this.#subnet : null, answered, queries);
    }
    Atomics.add(words, HEADER.time, 1);
  }
}

function lowOf(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

function readPrefix(words: Int32Array, at: number, prefix: AskerPrefix): void {
  const [low, high] = [words[at], words[at + 1]];
  prefix.family = ((high >>> 16) & 0xff) === 4 ? 4 : 6;
  prefix.length = high >>> 24 || (prefix.family === 4 ? 24 : 48);
  for (let i = 0; i < 4; i++) prefix.bytes[i] = low >>> (8 * i);
  prefix.bytes[4] = high;
  prefix.bytes[5] = high >>> 8;
}

/** Counted where TCP is answered, with one configuration after the other. */
export class TcpAskers {
  readonly #responder: Pick<Responder, 'countAsker'>;
  readonly #seed: number;
  #reader: AskerReader | null = null;

  constructor(responder: Pick<Responder, 'countAsker'>, seed: number) {
    this.#responder = responder;
    this.#seed = seed;
  }

  use(config: Config): void {
    this.#reader = null;
    this.#responder.countAsker = null;
    if (!countsAskers(config)) return;
    const layout = new SiteLayout(config);
    const memory = createAskerMemory();
    this.#reader = new AskerReader(memory, layout.pairs);
    const numberOf = (service: string, site: string) => layout.numberOf(service, site);
    this.#responder.countAsker = askerCounting(new AskerCounter(memory, this.#seed), numberOf);
  }

  read(visit: VisitQueries): void {
    this.#reader?.read(visit);
  }
}
