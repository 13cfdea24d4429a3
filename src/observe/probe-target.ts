/** What the prober and its parent say to each other: one JSON object a line. */

export interface ProbeTarget {
  /** Names the target in results. */
  readonly id: string;
  /** `load`: an HTTP request for a load report (load-report.ts). */
  readonly type: 'tcp' | 'http' | 'load';
  /** Source of the connection; through the VIP it is what chooses the backend. Null: the kernel's choice. */
  readonly sourceAddress: string | null;
  readonly address: string;
  readonly port: number;
  /** HTTP and load only; `expect...`: HTTP only. */
  readonly host: string;
  readonly path: string;
  readonly expectStatus: number;
  /** Text that the first 64 KiB of the body must contain; null: any. */
  readonly expectBody: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export interface ProbeResult {
  readonly id: string;
  /** Why the probe failed; null: it succeeded. */
  readonly reason: string | null;
  readonly tookMs: number;
  /** What a load report says, 1 is full; only of `load`, and only where it succeeded. */
  readonly utilisation?: number;
}

/** To the prober: all its targets from now on. A target whose text is the same goes on undisturbed. */
export interface ProberOrder {
  readonly targets: readonly ProbeTarget[];
}
