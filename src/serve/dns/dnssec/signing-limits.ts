/**
 * What may be signed on demand: so many signatures a second in all (a core's budget), and so many for one client prefix. Denials of names that
 * do not exist are without end, so whoever asks for random ones must not take the core from the others.
 *
 * Who comes first when the budget is short: clients that proved their address may use all of it, denials about names that exist (there is an
 * end to them: each is signed once) three quarters, the rest, which may be forged, half. What the first leave, the others get.
 */
import type { Address } from '../../../net/address.ts';

export interface SigningRates {
  /** Signatures a second, by each thread that answers. */
  readonly perSecond: number;
  readonly perClientPerSecond: number;
}

export type SigningClass = 'proved' | 'existing' | 'other';
export type SigningVerdict = 'sign' | 'client' | 'budget';

/** Share of a full bucket that a class leaves to those before it. */
const LEFT: Readonly<Record<SigningClass, number>> = { proved: 0, existing: 0.25, other: 0.5 };
/** As the rate limits have it. */
const IPV4_PREFIX_BYTES = 3;
const IPV6_PREFIX_BYTES = 7;
const CLIENTS = 4096;
const WAYS = 4;
const BURST_MS = 1000;

/** Bounded: 64 KiB. Nothing is allocated after it is made. */
export class SigningLimits {
  /** May be replaced at any time. */
  rates: SigningRates;
  readonly #seed: number;
  /** Of the budget's bucket. */
  #level: number;
  #levelMs = 0;
  readonly #tags = new Int32Array(CLIENTS);
  /** When a client's bucket is full again: the later, the nearer to its limit. */
  readonly #fullMs = new Float64Array(CLIENTS);

  /** `seed`: 32 random bits. */
  constructor(rates: SigningRates, seed: number) {
    this.rates = rates;
    this.#seed = seed;
    this.#level = rates.perSecond;
  }

  /** Counts one signature, if it may be made. */
  take(client: Address, nowMs: number, kind: SigningClass): SigningVerdict {
    const { perSecond, perClientPerSecond } = this.rates;
    const passedMs = Math.max(0, nowMs - this.#levelMs);
    this.#levelMs = nowMs;
    this.#level = Math.min(perSecond, this.#level + (passedMs * perSecond) / 1000);
    if (this.#level < 1 + LEFT[kind] * perSecond) return 'budget';
    const intervalMs = 1000 / perClientPerSecond;
    const place = this.#clientPlace(client, nowMs);
    // Later than can be: the clock was set back.
    const known = this.#fullMs[place] > nowMs + BURST_MS + intervalMs ? nowMs : this.#fullMs[place];
    const fullMs = Math.max(known, nowMs) + intervalMs;
    if (fullMs - nowMs > BURST_MS + 1e-6) return 'client';
    this.#fullMs[place] = fullMs;
    this.#level--;
    return 'sign';
  }

  /** A new client takes the place of the one of its set that is nearest to unused. */
  #clientPlace({ family, bytes }: Address, nowMs: number): number {
    const length = family === 4 ? IPV4_PREFIX_BYTES : IPV6_PREFIX_BYTES;
    let hash = this.#seed ^ length;
    for (let i = 0; i < length; i++) {
      hash = Math.imul(hash ^ bytes[i], 0xcc9e2d51);
      hash = (hash << 15) | (hash >>> 17);
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    const tag = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) | 1;
    const set = ((hash ^ (hash >>> 16)) & (CLIENTS / WAYS - 1)) * WAYS;
    let place = set;
    for (let at = set; at < set + WAYS; at++) {
      if (this.#tags[at] === tag) return at;
      if (this.#fullMs[at] < this.#fullMs[place]) place = at;
    }
    this.#tags[place] = tag;
    this.#fullMs[place] = nowMs;
    return place;
  }
}
