/**
 * Slow start: somebody who has just been added, or is healthy again, begins with a small share of its weight, because caches are
 * cold, and comes to the whole of it in equal steps.
 */

/** Steps from the first share to the whole. Each moves slots, so there are few. */
export const SLOW_START_STEPS = 10;

/**
 * The share of the weight, above 0 to 1, of somebody who began `sinceMs` ago (0 or more) where slow start takes `slowStartMs`
 * (0: there is none): 1/10 at once, and 1/10 more after each tenth of the time.
 */
export function slowStartShare(sinceMs: number, slowStartMs: number): number {
  if (sinceMs >= slowStartMs) return 1;
  return (Math.floor((sinceMs / slowStartMs) * SLOW_START_STEPS) + 1) / SLOW_START_STEPS;
}

/** In how many milliseconds the share of `slowStartShare` grows next; null: it is whole. */
export function untilNextStepMs(sinceMs: number, slowStartMs: number): number | null {
  if (sinceMs >= slowStartMs) return null;
  const stepMs = slowStartMs / SLOW_START_STEPS;
  return (Math.floor(sinceMs / stepMs) + 1) * stepMs - sinceMs;
}
