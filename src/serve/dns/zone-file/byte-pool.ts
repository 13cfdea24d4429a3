/** Keeps small byte strings of long life in large buffers: one of their own would cost each a hundred bytes more. */
const POOL_BYTES = 256 * 1024;
/** Longer ones have a buffer of their own. */
const MAX_POOLED_BYTES = 1024;

export class BytePool {
  #buffer = new Uint8Array(0);
  #used = 0;

  /** A copy. */
  keep(bytes: Uint8Array): Uint8Array {
    const { length } = bytes;
    if (length > MAX_POOLED_BYTES) return bytes.slice();
    if (this.#used + length > this.#buffer.length) {
      this.#buffer = new Uint8Array(POOL_BYTES);
      this.#used = 0;
    }
    const kept = this.#buffer.subarray(this.#used, this.#used + length);
    kept.set(bytes);
    this.#used += length;
    return kept;
  }
}
