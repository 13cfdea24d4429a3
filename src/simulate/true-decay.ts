/** What really happens to users after an answer changed, by the parameters of their resolver. */
import type { AnswerDecay } from '../decide/steer/measured.ts';
import { PREFETCH_FROM } from './caches.ts';

/** Steps of time in which the late are followed. */
const PARTS = 200;

export interface DecayFacts {
  /** After clamps. */
  readonly ttlSeconds: number;
  readonly prefetch: boolean;
  readonly serveStale: boolean;
  /** At one of its caches, above 0. */
  readonly lookupsPerSecond: number;
  readonly lateShare: number;
  readonly lateSeconds: number;
}

/**
 * Of users who are not late, those who still get the old answer. With hold time T, lookup rate l and turns of T + 1 / l: those of caches
 * that still hold it, (T - t) / (T + 1 / l); and where the first to come are told what was, those of caches that nobody asked since.
 */
function promptShare(facts: DecayFacts, seconds: number): number {
  const { ttlSeconds, lookupsPerSecond: rate } = facts;
  const hold = facts.prefetch ? ttlSeconds * PREFETCH_FROM : ttlSeconds;
  const most = hold / (hold + 1 / rate);
  const held = most * Math.max(0, 1 - seconds / hold);
  const asleep = Math.exp(-rate * Math.max(0, seconds - hold));
  if (facts.serveStale) return held + (1 - most) * asleep;
  if (!facts.prefetch) return held;
  return held + (1 - most) * Math.max(0, asleep - Math.exp(-rate * (ttlSeconds - hold)));
}

/** Follows the shares of the old answer from the change on, at `width` seconds a part: the late follow the others, L' = (c - L) / s. */
function* followShares(facts: DecayFacts, width: number): Generator<number, never> {
  const kept = facts.lateSeconds > 0 ? Math.exp(-width / facts.lateSeconds) : 0;
  let late = 1;
  for (let part = 0; ; part++) {
    yield (1 - facts.lateShare) * promptShare(facts, part * width) + facts.lateShare * late;
    late = kept * late + (1 - kept) * promptShare(facts, (part + 0.5) * width);
  }
}

/** The share that still goes where it went, `seconds` after the change, on average over what the caches' clocks show then. */
export function remainingShare(facts: DecayFacts, seconds: number): number {
  if (facts.lateShare === 0 || seconds <= 0) return seconds <= 0 ? 1 : promptShare(facts, seconds);
  const shares = followShares(facts, seconds / PARTS);
  for (let part = 0; part < PARTS; part++) shares.next();
  return shares.next().value;
}

/** The same in the words of estimates: the share after the TTL that the name server gave, and the time that this share lasts on average. */
export function decayFromTtl(
  remaining: (seconds: number) => number,
  givenTtlSeconds: number,
  endSeconds: number,
): AnswerDecay {
  const lateShare = remaining(givenTtlSeconds);
  if (lateShare < 1e-6) return { ttlSeconds: givenTtlSeconds, lateShare: 0, lateSeconds: 0 };
  const parts = 60;
  const width = (endSeconds - givenTtlSeconds) / parts;
  let area = 0;
  for (let part = 0; part < parts; part++) area += width * remaining(givenTtlSeconds + (part + 0.5) * width);
  return { ttlSeconds: givenTtlSeconds, lateShare, lateSeconds: area / lateShare };
}
