/**
 * A line with delay and loss between two network namespaces, for kernels without netem: two TUN devices and a thread
 * that carries packets from one to the other. Each direction is a bounded queue; what does not fit is dropped and counted.
 */
import { Worker } from 'node:worker_threads';
import type { DelayLineEnd, DelayLineStart } from './delay-line-shared.ts';
import { CONTROL, COUNTER, COUNTERS_PER_DIRECTION, LOSS_SCALE } from './delay-line-shared.ts';

/** Packets in flight that each direction can hold: 200,000 packets a second at 40 ms. */
const DEFAULT_SLOTS = 8192;

export interface DelayLineOptions {
  readonly ends: readonly [DelayLineEnd, DelayLineEnd];
  /** One way, at least 0, below 1,000. */
  readonly delayMs: number;
  /** Share of packets lost in each direction, 0 to 1; 0 by default. */
  readonly lossShare?: number;
  /** Packets that each direction holds, a power of two. */
  readonly slots?: number;
  readonly seed?: number;
}

export interface DirectionCounters {
  readonly carried: number;
  /** Dropped because the queue was full. */
  readonly full: number;
  /** Dropped on purpose. */
  readonly lost: number;
  /** Not taken by the device at the other end, because it is down. */
  readonly refused: number;
}

export interface DelayLine {
  /** Applies to packets that enter from now on, in both directions. */
  setDelay(delayMs: number): void;
  setLoss(lossShare: number): void;
  counters(): { readonly forward: DirectionCounters; readonly backward: DirectionCounters };
  /** Ends the thread; both devices disappear. Takes up to 50 ms. */
  stop(): Promise<void>;
}

function toMicroseconds(delayMs: number): number {
  if (!(delayMs >= 0 && delayMs < 1000)) throw new RangeError(`delay must be 0 to 1000 ms, not ${delayMs}`);
  return Math.round(delayMs * 1000);
}

function toLoss(lossShare: number): number {
  if (!(lossShare >= 0 && lossShare <= 1)) throw new RangeError(`loss must be 0 to 1, not ${lossShare}`);
  return Math.round(lossShare * LOSS_SCALE);
}

function readDirection(counters: Float64Array, direction: 0 | 1): DirectionCounters {
  const at = direction * COUNTERS_PER_DIRECTION;
  return {
    carried: counters[at + COUNTER.carried],
    full: counters[at + COUNTER.full],
    lost: counters[at + COUNTER.lost],
    refused: counters[at + COUNTER.refused],
  };
}

/** Starts the line; resolves when both devices are there (down and without addresses). Needs root. */
export async function startDelayLine(options: DelayLineOptions): Promise<DelayLine> {
  const control = new Int32Array(new SharedArrayBuffer(CONTROL.words * 4));
  const counters = new Float64Array(new SharedArrayBuffer(2 * COUNTERS_PER_DIRECTION * 8));
  const setDelay = (delayMs: number): void => {
    Atomics.store(control, CONTROL.forwardDelayUs, toMicroseconds(delayMs));
    Atomics.store(control, CONTROL.backwardDelayUs, toMicroseconds(delayMs));
  };
  const setLoss = (lossShare: number): void => {
    Atomics.store(control, CONTROL.forwardLoss, toLoss(lossShare));
    Atomics.store(control, CONTROL.backwardLoss, toLoss(lossShare));
  };
  setDelay(options.delayMs);
  setLoss(options.lossShare ?? 0);
  const workerData: DelayLineStart = {
    ends: options.ends,
    slots: options.slots ?? DEFAULT_SLOTS,
    seed: options.seed ?? 1,
    control: control.buffer as SharedArrayBuffer,
    counters: counters.buffer as SharedArrayBuffer,
  };
  const worker = new Worker(new URL('./delay-line-worker.ts', import.meta.url), { workerData });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the delay line ended before it was ready')));
  });
  return {
    setDelay,
    setLoss,
    counters: () => ({ forward: readDirection(counters, 0), backward: readDirection(counters, 1) }),
    async stop() {
      Atomics.store(control, CONTROL.stop, 1);
      await ended;
    },
  };
}
