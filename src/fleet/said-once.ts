/** Troubles that are looked at again and again: each is told when it begins, when its reason changes, and when it is over. */
import type { Log } from './log.ts';

export class SaidOnce {
  readonly #log: Log;
  readonly #reasons = new Map<string, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** `what` is a sentence that names who is in trouble. */
  trouble(what: string, fields: object, reason: string): void {
    if (this.#reasons.get(what) === reason) return;
    this.#reasons.set(what, reason);
    this.#log.warn({ ...fields, reason }, `${what}: ${reason}`);
  }

  over(what: string, fields: object): void {
    if (this.#reasons.delete(what)) this.#log.info(fields, `over: ${what}`);
  }
}
