/** What really happens to users after an answer changed, by the parameters of their resolver. */
import type { AnswerDecay } from '../decide/steer/measured.ts';

const PREFETCH = 0.9;
const PARTS = 400;

export interface DecayFacts {
  /** After clamps. */
  readonly ttlSeconds: number;
  readonly prefetch: boolean;
  /** At one of its caches. */
  readonly lookupsPerSecond: number;
  readonly lateShare: number;
  readonly lateSeconds: number;
}

/**
 * The share that still goes where it went, `seconds` after the change, on average over what the caches' clocks show then. Of the prompt
 * share c(t) = (T - t) / (T + 1 / l) up to T; the late follow it: L' = (c - L) / s, L(0) = 1.
 */
export function remainingShare(facts: DecayFacts, seconds: number): number {
  const { lateShare, lateSeconds } = facts;
  const hold = facts.prefetch ? facts.ttlSeconds * PREFETCH : facts.ttlSeconds;
  const most = hold / (hold + 1 / facts.lookupsPerSecond);
  const prompt = Math.max(0, most * (1 - seconds / hold));
  if (lateShare === 0 || lateSeconds === 0) return prompt;
  const lag = (most * lateSeconds) / hold;
  const lateAt = (time: number): number =>
    most * (1 - time / hold) + lag + (1 - most - lag) * Math.exp(-time / lateSeconds);
  const late = seconds <= hold ? lateAt(seconds) : lateAt(hold) * Math.exp((hold - seconds) / lateSeconds);
  return (1 - lateShare) * prompt + lateShare * late;
}

/** The same in the words of estimates: the share after the TTL that the name server gave, and the time that this share lasts on average. */
export function decayFromTtl(facts: DecayFacts, givenTtlSeconds: number): AnswerDecay {
  const lateShare = remainingShare(facts, givenTtlSeconds);
  if (lateShare < 1e-6) return { ttlSeconds: givenTtlSeconds, lateShare: 0, lateSeconds: 0 };
  const endSeconds = Math.max(facts.ttlSeconds, givenTtlSeconds) + 10 * facts.lateSeconds;
  const width = (endSeconds - givenTtlSeconds) / PARTS;
  let area = 0;
  for (let part = 0; part < PARTS; part++)
    area += width * remainingShare(facts, givenTtlSeconds + (part + 0.5) * width);
  return { ttlSeconds: givenTtlSeconds, lateShare, lateSeconds: area / lateShare };
}
