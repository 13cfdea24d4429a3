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
/** Standard deviation of late shares between resolvers; and of how many intervals one says something of its own. */
const SPREAD = 0.2;
const REPEATED = 4;
/** Of what still comes in the last bin: taken for users of other resolvers, which do not go away. */
const CONSTANT_PART = 0.8;
/** Of what is more than usual: until shares of prefixes are learnt well, so much is users of other resolvers. */
const DOUBT = 0.05;
export const USUAL_LATE = { lateShare: 0.03, lateSeconds: 300 } as const;

export class Lateness {
  /** [resolver * BINS + bin]: connections that came late, and those that could have. */
  readonly late: Float32Array;
  readonly could: Float32Array;
  /** The same, squares of how far single prefixes were from what was seen before: what parts that are not quite known make of it. */
  readonly squares: Float32Array;

  constructor(capacity: number) {
    this.late = new Float32Array(capacity * BINS);
    this.could = new Float32Array(capacity * BINS);
    this.squares = new Float32Array(capacity * BINS);
  }

  /** Numbers of a resolver in all. */
  readonly columns = 3 * BINS;

  columnsOf(resolver: number): Float32Array {
    const all = new Float32Array(3 * BINS);
    all.set(this.late.subarray(resolver * BINS, (resolver + 1) * BINS));
    all.set(this.could.subarray(resolver * BINS, (resolver + 1) * BINS), BINS);
    all.set(this.squares.subarray(resolver * BINS, (resolver + 1) * BINS), 2 * BINS);
    return all;
  }

  /** Adds what `columnsOf` gave. */
  addColumns(resolver: number, all: ArrayLike<number>): void {
    for (let bin = 0; bin < BINS; bin++) {
      this.late[resolver * BINS + bin] += all[bin];
      this.could[resolver * BINS + bin] += all[BINS + bin];
      this.squares[resolver * BINS + bin] += all[2 * BINS + bin];
    }
  }

  clear(resolver: number): void {
    this.late.fill(0, resolver * BINS, (resolver + 1) * BINS);
    this.could.fill(0, resolver * BINS, (resolver + 1) * BINS);
    this.squares.fill(0, resolver * BINS, (resolver + 1) * BINS);
  }

  fade(factor: number): void {
    for (let at = 0; at < this.late.length; at++) {
      this.late[at] *= factor;
      this.could[at] *= factor;
      this.squares[at] *= factor;
    }
  }

  /** `seconds` after the end of the TTL: of the `could` connections of its users, `late` went where they went before. May be below 0. */
  add(resolver: number, seconds: number, late: number, could: number): void {
    let bin = 0;
    while (bin < BINS && seconds >= EDGES[bin + 1]) bin++;
    if (bin === BINS) return;
    const at = resolver * BINS + bin;
    const before = (this.late[at] + PRIOR_CONNECTIONS * usualAt(bin)) / (this.could[at] + PRIOR_CONNECTIONS);
    this.squares[at] += (late - before * could) ** 2;
    this.late[at] += late;
    this.could[at] += could;
  }

  /** Connections that it rests on. */
  support(resolver: number): number {
    let sum = 0;
    for (let bin = 0; bin < BINS; bin++) sum += this.could[resolver * BINS + bin];
    return sum;
  }

  decayOf(resolver: number, ttlSeconds: number): AnswerDecay {
    const constant = CONSTANT_PART * Math.max(0, this.#shareIn(resolver * BINS + BINS - 1, usualAt(BINS - 1)));
    let most = 0;
    for (let bin = 0; bin < BINS; bin++) most = Math.max(most, this.#excess(resolver, bin, constant));
    const part = most > 0 ? Math.max(0, most - DOUBT) / most : 1;
    let [area, moment] = [0, 0];
    for (let bin = 0; bin < BINS; bin++) {
      const width = EDGES[bin + 1] - EDGES[bin];
      const excess = this.#excess(resolver, bin, constant);
      const share = Math.max(0, usualAt(bin) + (excess > 0 ? part * excess : excess));
      area += share * width;
      moment += share * width * (EDGES[bin] + width / 2);
    }
    if (area <= 0) return { ttlSeconds, lateShare: 0, lateSeconds: 0 };
    const lateSeconds = moment / area;
    return { ttlSeconds, lateShare: Math.min(1, area / lateSeconds), lateSeconds };
  }

  /** Over what is usual; may be below 0. */
  #excess(resolver: number, bin: number, constant: number): number {
    const usual = usualAt(bin);
    return this.#shareIn(resolver * BINS + bin, usual) - constant - usual;
  }

  /** What was seen, drawn to what is usual as much as its error says. */
  #shareIn(at: number, usual: number): number {
    const could = this.could[at] + PRIOR_CONNECTIONS;
    const seen = (this.late[at] + PRIOR_CONNECTIONS * usual) / could;
    // Errors of a prefix are the same in several intervals of a bin.
    const error = (REPEATED * this.squares[at]) / could ** 2;
    return usual + ((seen - usual) * SPREAD ** 2) / (SPREAD ** 2 + error);
  }
}

function usualAt(bin: number): number {
  return USUAL_LATE.lateShare * Math.exp(-(EDGES[bin] + EDGES[bin + 1]) / 2 / USUAL_LATE.lateSeconds);
}
