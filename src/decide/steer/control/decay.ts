/**
 * How long answers live on in caches. A change of an answer reaches each cache when what it keeps runs out: caches of one TTL, asked all the
 * time, stand at uniformly spread points of it. What is still sent by the old answer then falls along a straight line, to the share that does
 * not obey the TTL, which fades.
 */
import type { AnswerDecay } from '../measured.ts';

/**
 * Share of the users who go on by the answer before, 0 to 1, so long after it changed. Falls with time. `heldShare`: of the caches, those that
 * held an answer then: the others ask anew at once. Cost: 20 ns.
 */
export function survivalAfter(
  ttlSeconds: number,
  lateShare: number,
  lateSeconds: number,
  seconds: number,
  heldShare = 1,
): number {
  if (seconds <= 0) return 1;
  if (seconds === Infinity) return 0;
  if (seconds < ttlSeconds) return lateShare + Math.max(0, heldShare - lateShare) * (1 - seconds / ttlSeconds);
  if (lateShare <= 0 || lateSeconds <= 0) return 0;
  return lateShare * Math.exp((ttlSeconds - seconds) / lateSeconds);
}

export function survival({ ttlSeconds, lateShare, lateSeconds }: AnswerDecay, seconds: number): number {
  return survivalAfter(ttlSeconds, lateShare, lateSeconds, seconds);
}

/** Seconds until only this share, above 0, goes by the answer before. */
export function secondsUntil({ ttlSeconds, lateShare, lateSeconds }: AnswerDecay, share: number): number {
  if (share >= 1) return 0;
  if (share >= lateShare) return (ttlSeconds * (1 - share)) / (1 - lateShare);
  return ttlSeconds + lateSeconds * Math.log(lateShare / share);
}
