/** What the delay line's main thread and worker share: the worker's start data and the layout of the shared memory. */

export interface DelayLineEnd {
  /** Name of the network namespace, as in `ip netns`. */
  readonly netns: string;
  /** Name of the TUN device to make there, at most 15 bytes. */
  readonly device: string;
}

export interface DelayLineStart {
  readonly ends: readonly [DelayLineEnd, DelayLineEnd];
  /** Packets that each direction may hold: a power of two. */
  readonly slots: number;
  readonly seed: number;
  /** Int32 words, see CONTROL. */
  readonly control: SharedArrayBuffer;
  /** Float64 numbers, written by the worker alone, see COUNTER. */
  readonly counters: SharedArrayBuffer;
}

/** Indices of the Int32 control words. Forward: first end to second. */
export const CONTROL = {
  stop: 0,
  forwardDelayUs: 1,
  backwardDelayUs: 2,
  forwardLoss: 3,
  backwardLoss: 4,
  words: 5,
} as const;

/** Loss is counted in parts of this. */
export const LOSS_SCALE = 1_000_000;

/** Indices of a direction's counters. */
export const COUNTER = { carried: 0, full: 1, lost: 2, refused: 3 } as const;
export const COUNTERS_PER_DIRECTION = 4;
