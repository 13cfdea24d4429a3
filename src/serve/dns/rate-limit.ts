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

/** What an IPv4 client is taken to have, and an IPv6 one: as others limit, so that operators find what they know. */
const IPV4_PREFIX_BYTES = 3;
const IPV6_PREFIX_BYTES = 7;

const WAYS = 4;
const BUCKETS = 65_536;
const PROVED = 16_384;
/** A burst of this time's answers is let through. */
const BURST_MS = 1000;
/** Since its last query by TCP. */
const PROVED_MS = 10 * 60_000;

const KIND_NUMBER: Readonly<Record<AnswerKind, number>> = {
  positive: 1,
  nodata: 2,
  nxdomain: 3,
  referral: 4,
  error: 5,
};

/** Bounded: 1 MB. Nothing is allocated after it is made. */
export class RateLimiter {
  /** May be replaced at any time. */
  limits: RateLimits;
  readonly #counters: { displaced: number };
  readonly #seed: number;
  /** 0: free. */
  readonly #tags = new Int32Array(BUCKETS);
  /** When the bucket is full again, in Unix time: the later, the nearer to the limit. */
  readonly #fullMs = new Float64Array(BUCKETS);
  readonly #refused = new Uint16Array(BUCKETS);
  readonly #provedTags = new Int32Array(PROVED);
  readonly #provedUntilMs = new Float64Array(PROVED);
  /** Results of the hash in hand. */
  #place = 0;
  #tag = 0;

  /** `seed`: 32 random bits, so that nobody knows who shares a set. */
  constructor(limits: RateLimits, seed: number, counters: { displaced: number }) {
    this.limits = limits;
    this.#counters = counters;
    this.#seed = seed;
  }

  /** May this answer be sent by UDP? Counts it. `hasCookie`: the query had a cookie of ours. */
  judge(asker: Asker, kind: AnswerKind, subject: number, hasCookie: boolean): Verdict {
    const { limits } = this;
    const { client, nowMs } = asker;
    if (limits.perSecond === 0) return 'send';
    const isProved = hasCookie || this.#isProved(asker);
    const { length } = client.bytes;
    const prefixBytes = isProved ? length : client.family === 4 ? IPV4_PREFIX_BYTES : IPV6_PREFIX_BYTES;
    this.#hash(client, prefixBytes, subject, KIND_NUMBER[kind] + (isProved ? 8 : 0));
    const bucket = this.#findBucket(asker);
    const intervalMs = 1000 / (isProved ? limits.provedPerSecond : limits.perSecond);
    // Later than can be: the clock was set back.
    const known = this.#fullMs[bucket];
    const fullMs = known > nowMs + BURST_MS + intervalMs ? nowMs : Math.max(known, nowMs);
    if (fullMs - nowMs + intervalMs <= BURST_MS + 1e-6) {
      this.#fullMs[bucket] = fullMs + intervalMs;
      return 'send';
    }
    for (const prefix of limits.exempt) if (prefixContains(prefix, client)) return 'send';
    const refused = this.#refused[bucket]++;
    return limits.slip > 0 && refused % limits.slip === 0 ? 'slip' : 'drop';
  }

  /** The client gets what is sent to its address: it has a connection by TCP. */
  prove({ client, nowMs }: Asker): void {
    this.#hash(client, client.bytes.length, 0, 0);
    const set = (this.#place & (PROVED / WAYS - 1)) * WAYS;
    let oldest = set;
    for (let at = set; at < set + WAYS; at++) {
      if (this.#provedTags[at] === this.#tag) {
        oldest = at;
        break;
      }
      if (this.#provedUntilMs[at] < this.#provedUntilMs[oldest]) oldest = at;
    }
    this.#provedTags[oldest] = this.#tag;
    this.#provedUntilMs[oldest] = nowMs + PROVED_MS;
  }

  #isProved({ client, nowMs }: Asker): boolean {
    this.#hash(client, client.bytes.length, 0, 0);
    const set = (this.#place & (PROVED / WAYS - 1)) * WAYS;
    for (let at = set; at < set + WAYS; at++) {
      if (this.#provedTags[at] === this.#tag) return this.#provedUntilMs[at] > nowMs;
    }
    return false;
  }

  /** The bucket of what was hashed; a new one is full. */
  #findBucket({ nowMs }: Asker): number {
    const set = (this.#place & (BUCKETS / WAYS - 1)) * WAYS;
    let fullest = set;
    for (let at = set; at < set + WAYS; at++) {
      if (this.#tags[at] === this.#tag) return at;
      if (this.#fullMs[at] < this.#fullMs[fullest]) fullest = at;
    }
    if (this.#fullMs[fullest] > nowMs) this.#counters.displaced++;
    this.#tags[fullest] = this.#tag;
    this.#fullMs[fullest] = nowMs;
    this.#refused[fullest] = 0;
    return fullest;
  }

  /** MurmurHash3's steps with two seeds: where it stands, and what tells it from others there. */
  #hash(client: Address, bytes: number, subject: number, kind: number): void {
    let place = mix(this.#seed, subject);
    let tag = mix(~this.#seed, subject);
    for (let i = 0; i < bytes; i++) {
      place = mix(place, client.bytes[i] + (i << 8));
      tag = mix(tag, client.bytes[i] + (i << 8));
    }
    this.#place = finish(mix(place, (bytes << 8) | kind));
    this.#tag = finish(mix(tag, (bytes << 8) | kind)) | 1;
  }
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
