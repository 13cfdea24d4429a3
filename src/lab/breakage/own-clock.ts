/**
 * A clock that stands still while this process is not run. On a machine with more to do than processors an answer may have lain in
 * the socket for seconds before its process had its turn; that is no fault of whoever sent it.
 */

/** What a turn may be late by and still count as running. */
const USUAL_LATENESS_MS = 100;

let stoodStillMs = 0;

export function ownMs(): number {
  return performance.now() - stoodStillMs;
}

/** To be called at every turn, before anything else is done, with how late it is. */
export function noteLateness(lateMs: number): void {
  if (lateMs > USUAL_LATENESS_MS) stoodStillMs += lateMs;
}
