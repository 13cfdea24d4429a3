/** What the client of the breakage lab is told and what it reports: one JSON object a line, each way. */

export interface HeldTarget {
  /** The service whose VIPs these are. */
  readonly variant: string;
  readonly vips: readonly string[];
}

export interface HeldClientOptions {
  readonly targets: readonly HeldTarget[];
  /** Own addresses, used in turn. */
  readonly sources4: readonly string[];
  readonly sources6: readonly string[];
  /** From one message of a connection to its next. */
  readonly periodMs: number;
  /** A connection asks again as soon as it has its answer: what all of them get is what the way and the machine carry. */
  readonly closedLoop: boolean;
  /** A connection is broken when an answer takes longer than this, retransmissions and all. */
  readonly limitMs: number;
  /** Connections and flows that are begun a second. */
  readonly openPerSecond: number;
}

export interface HeldAmount {
  readonly connections: number;
  readonly flows: number;
}

export type HeldOrder =
  /** So many more, by variant. */
  | { readonly do: 'open'; readonly amounts: Readonly<Record<string, HeldAmount>> }
  /** The last connections of each variant end, in order. */
  | { readonly do: 'drop'; readonly connections: number }
  /** Every n-th flow goes on from another address. */
  | { readonly do: 'migrate'; readonly every: number }
  | { readonly do: 'snapshot'; readonly ask: number }
  /** Forgets everything, also what is broken. */
  | { readonly do: 'close' };

/** A connection or flow that was open and is lost. */
export interface Broken {
  readonly kind: 'tcp' | 'quic';
  readonly atMs: number;
  /** The number of its backend. */
  readonly backend: number;
  readonly why: string;
  /** `ADDRESS:PORT`, the client's. */
  readonly from: string;
  readonly migrated: boolean;
}

export interface HeldCounts {
  open: number;
  /** Begun, and not answered yet. */
  opening: number;
  /** Were open at some time. */
  opened: number;
  flowsOpened: number;
  /** Could not be opened: connections and flows. */
  refused: number;
  /** How the first of them could not. */
  refusals: string[];
  flowsOpen: number;
  flowsOpening: number;
  answers: number;
  /** Longest time that an answer took, in ms. */
  slowestMs: number;
  /** Bytes of answers. */
  bytes: number;
  /** Open connections by the number of their backend. */
  byBackend: Record<number, number>;
}

export interface HeldSnapshot {
  readonly ask: number;
  readonly variants: Readonly<Record<string, HeldCounts & { readonly broken: readonly Broken[] }>>;
  /** Processor time of the client since its start. */
  readonly cpuMs: number;
  /** Longest time by which the client itself was late. */
  readonly lateMs: number;
}
