/** What is counted of zone transfers. */

/** All only grow. `begun` = `whole` + `cut` + those that run. `axfr`, `ixfr` and `current` (nothing new) add up to `begun`. */
export interface TransferCounts {
  begun: number;
  axfr: number;
  ixfr: number;
  current: number;
  whole: number;
  /** The connection went, or took too long. */
  cut: number;
  records: number;
  bytes: number;
}

export function createTransferCounts(): TransferCounts {
  return { begun: 0, axfr: 0, ixfr: 0, current: 0, whole: 0, cut: 0, records: 0, bytes: 0 };
}

/** Of NOTIFY messages: `sent` counts each time, the results each notice once. */
export interface NotifyCounts {
  sent: number;
  /** The system did not take it. */
  unsent: number;
  acknowledged: number;
  refused: number;
  unanswered: number;
  /** Answers whose signature is not good. */
  bad: number;
}

export function createNotifyCounts(): NotifyCounts {
  return { sent: 0, unsent: 0, acknowledged: 0, refused: 0, unanswered: 0, bad: 0 };
}
