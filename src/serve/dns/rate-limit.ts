/**
 * Response rate limiting: so many answers of one kind about one name a second to one client prefix, so that forged queries cannot make this
 * server flood somebody. Those who proved that they get what is sent to their address have limits of their own, each address for itself.
 *
 * Buckets stand in sets of four. A newcomer takes over the one of its set that is nearest to unused, so that of those in a flood from
 * forged addresses each drives out another of the flood, and never the prefix that is held at its limit.
 */
import type { DnsProtocol } from '../../config/model.ts';
import { type Address, prefixContains } from '../../net/address.ts';
import type { AnswerKind, Asker } from './exchange.ts';

export type RateLimits = DnsProtocol['rateLimit'];

/** `slip`: a short answer, so that a real client finds its way. */
export type Verdict = 'send' | 'slip' | 'drop';

/**
 * What an IPv4 client is taken to have, /24, and an IPv6 one, /56: as others limit, so that operators find what they know. Of the first
 * word of an IPv4 address and of the second of an IPv6 address.
 */
const IPV4_PREFIX_MASK = 0x00ffffff;
const IPV6_PREFIX_MASK = 0x00ffffff;

/**
 * Time is counted in 1/1024 ms of Unix time, in 32 bits that wrap after 70 minutes: small enough for one atomic word, that the kernel
 * (`bpf/dns-limit.h`) can change too.
 */
const TICKS_PER_MS = 1024;
/** A burst of a second's answers is let through. */
const BURST_TICKS = 1000 * TICKS_PER_MS;
/** No bucket is fuller than a burst and the longest interval: what seems to be is from before the clock wrapped or was set back. */
const MAX_DEBT_TICKS = 2 * BURST_TICKS;
/** Since its last query by TCP. */
const PROVED_SECONDS = 10 * 60;

/**
 * The region: lines of 16 words (a cache line). In the first `LIMIT_SETS` lines four buckets each of tag (0: free), the tick at which it is
 * full again, refused answers since it was taken, and nothing; behind them two sets a line of four proved addresses each of tag and the
 * Unix second until which it holds.
 */
const LINE_WORDS = 16;
const WAYS = 4;
export const LIMIT_SETS = 16_384;
const PROVED_SETS = 4096;
export const LIMIT_LINES = LIMIT_SETS + PROVED_SETS / 2;
export const LIMIT_REGION_BYTES = LIMIT_LINES * LINE_WORDS * 4;
const BUCKET_WORDS = 4;
const FULL = 1;
const REFUSED = 2;
const PROVED_WORDS = 2;
const UNTIL = 1;

const KIND_NUMBER: Readonly<Record<AnswerKind, number>> = {
  positive: 1,
  nodata: 2,
  nxdomain: 3,
  referral: 4,
  error: 5,
};

/** Ticks between two answers of so many a second. */
export function intervalTicks(perSecond: number): number {
  return Math.max(1, Math.floor(BURST_TICKS / perSecond));
}

/** Bounded: 1.1 MB. Nothing is allocated after it is made. Several threads and the kernel may share a region, with the same seed. */
export class RateLimiter {
  readonly #counters: { displaced: number };
  readonly #seed: number;
  readonly #words: Int32Array;
  #limits: RateLimits;
  #interval = 0;
  #provedInterval = 0;
  /** Results of the hash in hand. */
  #place = 0;
  #tag = 0;

  /** `seed`: 32 random bits, so that nobody knows who shares a set. `region`: shared memory or the kernel's, zeroed when it is new. */
  constructor(
    limits: RateLimits,
    seed: number,
    counters: { displaced: number },
    region: ArrayBufferLike = new SharedArrayBuffer(LIMIT_REGION_BYTES),
  ) {
    this.#limits = limits;
    this.limits = limits;
    this.#counters = counters;
    this.#seed = seed;
    this.#words = new Int32Array(region, 0, LIMIT_REGION_BYTES / 4);
  }

  get limits(): RateLimits {
    return this.#limits;
  }

  /** May be replaced at any time. */
  set limits(limits: RateLimits) {
    this.#limits = limits;
    this.#interval = intervalTicks(limits.perSecond);
    this.#provedInterval = intervalTicks(limits.provedPerSecond);
  }

  /**
   * May this answer be sent by UDP? Counts it. `hasCookie`: the query had a cookie of ours. Others count for their prefix as long as it is
   * below its limit; only then it is looked whether they proved their address, which is memory that is in no cache.
   */
  judge(asker: Asker, kind: AnswerKind, subject: number, hasCookie: boolean): Verdict {
    if (this.#limits.perSecond === 0) return 'send';
    const { client } = asker;
    const now = (asker.nowMs * TICKS_PER_MS) | 0;
    if (!hasCookie) {
      this.#hash(client, false, subject, KIND_NUMBER[kind]);
      const bucket = this.#findBucket(now);
      if (this.#take(bucket, this.#interval, now)) return 'send';
      if (!this.#isProved(asker)) return this.#refuse(bucket, client);
    }
    this.#hash(client, true, subject, KIND_NUMBER[kind] + 8);
    const bucket = this.#findBucket(now);
    return this.#take(bucket, this.#provedInterval, now) ? 'send' : this.#refuse(bucket, client);
  }

  /** False: the bucket is empty. */
  #take(bucket: number, interval: number, now: number): boolean {
    const words = this.#words;
    for (;;) {
      const known = words[bucket + FULL];
      const debt = debtTicks(known, now) + interval;
      if (debt > BURST_TICKS) return false;
      // Others may have counted an answer meanwhile.
      if (Atomics.compareExchange(words, bucket + FULL, known, (now + debt) | 0) === known) return true;
    }
  }

  #refuse(bucket: number, client: Address): Verdict {
    const { exempt, slip } = this.#limits;
    for (const prefix of exempt) if (prefixContains(prefix, client)) return 'send';
    const refused = Atomics.add(this.#words, bucket + REFUSED, 1) >>> 0;
    return slip > 0 && refused % slip === 0 ? 'slip' : 'drop';
  }

  /** The client gets what is sent to its address: it has a connection by TCP. */
  prove({ client, nowMs }: Asker): void {
    const words = this.#words;
    this.#hash(client, true, 0, 0);
    const set = this.#provedSet();
    let oldest = set;
    for (let at = set; at < set + WAYS * PROVED_WORDS; at += PROVED_WORDS) {
      if (words[at] === this.#tag) {
        oldest = at;
        break;
      }
      if (((words[at + UNTIL] - words[oldest + UNTIL]) | 0) < 0) oldest = at;
    }
    words[oldest] = this.#tag;
    words[oldest + UNTIL] = Math.floor(nowMs / 1000) + PROVED_SECONDS;
  }

  #isProved({ client, nowMs }: Asker): boolean {
    const words = this.#words;
    this.#hash(client, true, 0, 0);
    const set = this.#provedSet();
    for (let at = set; at < set + WAYS * PROVED_WORDS; at += PROVED_WORDS) {
      if (words[at] === this.#tag) return ((words[at + UNTIL] - Math.floor(nowMs / 1000)) | 0) > 0;
    }
    return false;
  }

  /** Index of its first word. */
  #provedSet(): number {
    return LIMIT_SETS * LINE_WORDS + (this.#place & (PROVED_SETS - 1)) * WAYS * PROVED_WORDS;
  }

  /** Index of the first word of the bucket of what was hashed; a new one is full. */
  #findBucket(now: number): number {
    const words = this.#words;
    const set = (this.#place & (LIMIT_SETS - 1)) * LINE_WORDS;
    let free = set;
    let least = MAX_DEBT_TICKS + 1;
    for (let at = set; at < set + LINE_WORDS; at += BUCKET_WORDS) {
      if (words[at] === this.#tag) return at;
      const debt = words[at] === 0 ? 0 : debtTicks(words[at + FULL], now);
      if (debt < least) {
        free = at;
        least = debt;
      }
    }
    if (least > 0) this.#counters.displaced++;
    words[free] = this.#tag;
    words[free + FULL] = now;
    words[free + REFUSED] = 0;
    return free;
  }

  /** MurmurHash3's steps: where it stands, which is known before the kind of the answer, and what tells it from others there. */
  #hash({ bytes }: Address, isWhole: boolean, subject: number, kind: number): void {
    let hash = mix(this.#seed, subject);
    if (bytes.length === 4) hash = mix(hash, wordAt(bytes, 0) & (isWhole ? -1 : IPV4_PREFIX_MASK));
    else {
      hash = mix(mix(hash, wordAt(bytes, 0)), wordAt(bytes, 4) & (isWhole ? -1 : IPV6_PREFIX_MASK));
      if (isWhole) hash = mix(mix(hash, wordAt(bytes, 8)), wordAt(bytes, 12));
    }
    this.#place = finish(hash);
    this.#tag = mix(hash, kind) | 1;
  }
}

/** How far a bucket is from full; 0 for what cannot be. */
function debtTicks(full: number, now: number): number {
  const debt = (full - now) | 0;
  return debt < 0 || debt > MAX_DEBT_TICKS ? 0 : debt;
}

/** As it lies in memory: little-endian. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

function mix(hash: number, word: number): number {
  const scrambled = Math.imul(word, 0xcc9e2d51);
  const mixed = hash ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  const first = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
  return second ^ (second >>> 16);
}
