/**
 * When answers were given, and so when the caches that they filled run out: with few caches an old answer goes in steps, at moments that are
 * known, not along a line.
 */

/** Answers by the second (or more, of long TTLs) in which they were given. */
export class AnswerFills {
  readonly ttlSeconds: number;
  readonly #binMs: number;
  readonly #bins: Float64Array;
  /** Number of the newest bin since the clock's beginning. */
  #newest = Number.NaN;
  #sinceMs = Number.NaN;

  /** `bins`: in a TTL, at most. */
  constructor(ttlSeconds: number, bins: number) {
    this.ttlSeconds = ttlSeconds;
    const count = Math.max(1, Math.min(bins, Math.ceil(ttlSeconds)));
    this.#binMs = (ttlSeconds * 1000) / count;
    this.#bins = new Float64Array(count);
  }

  /** Answers since the last call. The clock goes forward. */
  add(answers: number, nowMs: number): void {
    const bin = Math.floor(nowMs / this.#binMs);
    if (Number.isNaN(this.#newest)) this.#sinceMs = nowMs;
    if (!(bin - this.#newest < this.#bins.length)) this.#bins.fill(0);
    else for (let passed = this.#newest + 1; passed <= bin; passed++) this.#bins[passed % this.#bins.length] = 0;
    this.#newest = bin;
    this.#bins[bin % this.#bins.length] += answers;
  }

  /** Null: it is not known for a whole TTL yet, or nothing was answered. */
  phases(): CachePhases | null {
    const count = this.#bins.length;
    const oldest = this.#newest + 1 - count;
    if (!(oldest * this.#binMs >= this.#sinceMs - this.#binMs)) return null;
    const cumulative = new Float64Array(count + 1);
    for (let n = 0; n < count; n++) cumulative[n + 1] = cumulative[n] + this.#bins[(oldest + n) % count];
    const total = cumulative[count];
    if (total <= 0) return null;
    return new CachePhases(
      count * this.#binMs,
      oldest * this.#binMs,
      cumulative.map((sum) => sum / total),
    );
  }
}

/** Points of the TTL at which caches refresh, over and over. */
export class CachePhases {
  readonly #ttlMs: number;
  readonly #originMs: number;
  /** [n]: share of the caches that refresh before point n of the TTL, from the origin on. */
  readonly #cumulative: Float64Array;

  constructor(ttlMs: number, originMs: number, cumulative: Float64Array) {
    this.#ttlMs = ttlMs;
    this.#originMs = originMs;
    this.#cumulative = cumulative;
  }

  /** Share of the caches that have not refreshed between two times. */
  unchanged(fromMs: number, untilMs: number): number {
    if (untilMs - fromMs >= this.#ttlMs) return 0;
    if (untilMs <= fromMs) return 1;
    const [from, until] = [this.#passedMs(fromMs), this.#passedMs(untilMs)];
    const gone = this.#before(until) - this.#before(from);
    return 1 - (until < from ? gone + 1 : gone);
  }

  #passedMs(atMs: number): number {
    return (((atMs - this.#originMs) % this.#ttlMs) + this.#ttlMs) % this.#ttlMs;
  }

  #before(passedMs: number): number {
    const point = (passedMs / this.#ttlMs) * (this.#cumulative.length - 1);
    const n = Math.floor(point);
    const [low, high] = [this.#cumulative[n], this.#cumulative[Math.min(n + 1, this.#cumulative.length - 1)]];
    return low + (high - low) * (point - n);
  }
}
