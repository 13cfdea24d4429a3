/**
 * How long users keep to an answer after its TTL: of the traffic that a resolver's users sent to the site that it was answered before, what
 * still arrives there, by the time since. Fitted by a share that falls exponentially: its area and its mean time are those that were seen.
 */
import type { AnswerDecay } from '../measured.ts';

/** Seconds after the end of the TTL: where bins begin, and the last one ends. */
const EDGES = [0, 60, 180, 420, 900, 1800, 3600] as const;
const BINS = EDGES.length - 1;
/** Seconds after which nobody is looked for any more. */
export const LATE_LIMIT_SECONDS = 3600;
/** What a resolver of which nothing is known does: weighs as so many connections of its users. */
const PRIOR_CONNECTIONS = 30;
export const USUAL_LATE = { lateShare: 0.03, lateSeconds: 300 } as const;

export class Lateness {
  /** [resolver * BINS + bin]: connections that came late, and those that could have. */
  readonly late: Float32Array;
  readonly could: Float32Array;

  constructor(capacity: number) {
    this.late = new Float32Array(capacity * BINS);
    this.could = new Float32Array(capacity * BINS);
  }

  clear(resolver: number): void {
    this.late.fill(0, resolver * BINS, (resolver + 1) * BINS);
    this.could.fill(0, resolver * BINS, (resolver + 1) * BINS);
  }

  fade(factor: number): void {
    for (let at = 0; at < this.late.length; at++) {
      this.late[at] *= factor;
      this.could[at] *= factor;
    }
  }

  /** `seconds` after the end of the TTL: of the `could` connections of its users, `late` went where they went before. May be below 0. */
  add(resolver: number, seconds: number, late: number, could: number): void {
    let bin = 0;
    while (bin < BINS && seconds >= EDGES[bin + 1]) bin++;
    if (bin === BINS) return;
    this.late[resolver * BINS + bin] += late;
    this.could[resolver * BINS + bin] += could;
  }

  /** Connections that it rests on. */
  support(resolver: number): number {
    let sum = 0;
    for (let bin = 0; bin < BINS; bin++) sum += this.could[resolver * BINS + bin];
    return sum;
  }

  decayOf(resolver: number, ttlSeconds: number): AnswerDecay {
    const { lateShare: usual, lateSeconds: usualSeconds } = USUAL_LATE;
    if (resolver < 0) return { ttlSeconds, ...USUAL_LATE };
    let [area, moment] = [0, 0];
    for (let bin = 0; bin < BINS; bin++) {
      const at = resolver * BINS + bin;
      const width = EDGES[bin + 1] - EDGES[bin];
      const expected = usual * Math.exp(-(EDGES[bin] + width / 2) / usualSeconds);
      const share = (this.late[at] + PRIOR_CONNECTIONS * expected) / (this.could[at] + PRIOR_CONNECTIONS);
      area += Math.max(0, share) * width;
      moment += Math.max(0, share) * width * (EDGES[bin] + width / 2);
    }
    if (area <= 0) return { ttlSeconds, lateShare: 0, lateSeconds: 0 };
    const lateSeconds = moment / area;
    return { ttlSeconds, lateShare: Math.min(1, area / lateSeconds), lateSeconds };
  }
}
