/** Counts of what is signed on demand. All only grow. */

export interface SigningCounters {
  /** Denials that were signed for a query; that had been signed before. */
  denials: number;
  reused: number;
  /** Not signed: the client's prefix asks for too many, or all together do. The answer is TC, or SERVFAIL by TCP. */
  overClient: number;
  overBudget: number;
}

export function createSigningCounters(): SigningCounters {
  return { denials: 0, reused: 0, overClient: 0, overBudget: 0 };
}
