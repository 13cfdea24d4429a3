/** What the main thread and a worker that serves UDP sockets share: its start data, control words and what it tells. */
import type { LimitMemory } from './kernel/limit-memory.ts';
import type { Served } from './served.ts';

export interface WorkerSocket {
  readonly family: 4 | 6;
  readonly fd: number;
  /** Index of the address among those that the server listens on. */
  readonly listener: number;
}

export interface UdpWorkerStart {
  readonly served: Served;
  readonly sockets: readonly WorkerSocket[];
  /** Others serve until it is ready: so it practises before. */
  readonly isSuccessor: boolean;
  /** Becomes readable when a control word was changed. */
  readonly wakeFd: number;
  /** Int32 words, see CONTROL. */
  readonly control: SharedArrayBuffer;
  /** See `shared-view.ts`. */
  readonly view: SharedArrayBuffer;
  /** See `CounterPublisher`; this worker's own. */
  readonly counters: SharedArrayBuffer;
  /** Float64: answers with addresses by number of service and site (`SiteLayout`); this worker's own. */
  readonly siteAnswers: SharedArrayBuffer;
  /** See `AskerCounter`; this worker's own. Null: who asks is not counted. */
  readonly askers: SharedArrayBuffer | null;
  /** See `BeaconNotes`; everybody's. */
  readonly beacons: SharedArrayBuffer;
  /** See `QueryRecorder`; this worker's own. */
  readonly ring: SharedArrayBuffer;
  /** See `RateLimiter`; everybody's. */
  readonly limits: LimitMemory;
}

/** Indices of the Int32 control words. */
export const CONTROL = { stop: 0, words: 1 } as const;

/** How a worker stops: at once, so that what waits in the sockets is another's; or after it has answered what has arrived. */
export const STOP = { leave: 1, finish: 2 } as const;

export type WorkerNews =
  | { readonly kind: 'ready' }
  /** Messages that answering broke down over, and over what the last one. */
  | { readonly kind: 'failed'; readonly error: string };
