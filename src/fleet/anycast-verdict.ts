/** Whether a name server's anycast addresses may be announced, from what its guard sees. Pure. */
import type { CheckResult } from './anycast-check.ts';

export const CHECK_INTERVAL_MS = 200;
export const CHECK_TIMEOUT_MS = 500;
/** Checks in a row: without an answer until the addresses are taken back, with one until they are announced (again). */
const FALL = 3;
const RISE = 3;

export class AnycastVerdict {
  readonly #staleAfterMs: number;
  #isHealthy: boolean;
  #inRow = 0;
  #reason: string;
  #heardMs: number;
  /** When what answers are made of was made; null: it does not age. */
  #madeMs: number | null = null;

  /** `isHealthy`: as the guard before left it. */
  constructor(staleAfterMs: number, isHealthy: boolean, nowMs: number) {
    this.#staleAfterMs = staleAfterMs;
    this.#isHealthy = isHealthy;
    this.#reason = 'it has not answered yet';
    this.#heardMs = nowMs;
  }

  /** Of all addresses together. */
  check(result: CheckResult): void {
    const agrees = (result.kind === 'good') === this.#isHealthy;
    this.#inRow = agrees ? 0 : this.#inRow + 1;
    if (result.kind !== 'good') this.#reason = result.reason;
    if (agrees) return;
    if (this.#inRow < (this.#isHealthy ? FALL : RISE) && result.kind !== 'refused') return;
    this.#isHealthy = !this.#isHealthy;
    this.#inRow = 0;
  }

  /** The name server has told how it is. */
  heard(ageMs: number | null, nowMs: number): void {
    this.#heardMs = nowMs;
    this.#madeMs = ageMs === null ? null : nowMs - ageMs;
  }

  /** Why the addresses are not to be announced; null: they are. */
  reason(nowMs: number): string | null {
    if (!this.#isHealthy) return this.#reason;
    const limit = this.#staleAfterMs;
    if (nowMs - this.#heardMs > limit) return `its process has told nothing for ${seconds(nowMs - this.#heardMs)} s`;
    if (this.#madeMs !== null && nowMs - this.#madeMs > limit)
      return `what it knows of sites is ${seconds(nowMs - this.#madeMs)} s old`;
    return null;
  }
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
