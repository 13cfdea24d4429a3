/** A bounded first-in first-out queue of packets that waits until each one's time has come. Pure: the clock is an argument. */

/** Longest packet that a slot holds, in bytes: above any MTU of the lab. */
export const SLOT_BYTES = 2048;

/**
 * The packets themselves lie in slots of one buffer that the caller reads into and writes from; the queue keeps order,
 * lengths and due times. `slots` is a power of two.
 */
export class DelayQueue {
  readonly slots: number;
  readonly #dueMs: Float64Array;
  readonly #lengths: Uint16Array;
  #head = 0;
  #count = 0;

  constructor(slots: number) {
    if (slots < 1 || (slots & (slots - 1)) !== 0) throw new RangeError(`slots must be a power of two, not ${slots}`);
    this.slots = slots;
    this.#dueMs = new Float64Array(slots);
    this.#lengths = new Uint16Array(slots);
  }

  get count(): number {
    return this.#count;
  }

  /** The slot that the next packet is to be read into; -1 when the queue is full. */
  nextFree(): number {
    return this.#count === this.slots ? -1 : (this.#head + this.#count) & (this.slots - 1);
  }

  /** Takes in the packet that the caller has put into `nextFree()`. */
  push(lengthBytes: number, dueMs: number): void {
    const slot = this.nextFree();
    if (slot < 0) throw new RangeError('push into a full queue');
    this.#lengths[slot] = lengthBytes;
    this.#dueMs[slot] = dueMs;
    this.#count++;
  }

  /** The slot of the first packet if its time has come; -1 otherwise. */
  firstDue(nowMs: number): number {
    return this.#count > 0 && this.#dueMs[this.#head] <= nowMs ? this.#head : -1;
  }

  lengthOf(slot: number): number {
    return this.#lengths[slot];
  }

  /** Gives the first packet's slot free. */
  shift(): void {
    this.#head = (this.#head + 1) & (this.slots - 1);
    this.#count--;
  }

  /** Milliseconds until the first packet is due, 0 when it is overdue; Infinity when there is none. */
  untilDueMs(nowMs: number): number {
    return this.#count === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.#dueMs[this.#head] - nowMs);
  }
}
