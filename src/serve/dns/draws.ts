/**
 * Draws of clients, kept for a moment: who asks for A and AAAA and HTTPS of one name gets all three of the same sites. Threads may share the
 * memory; a draw that is lost or mixed up between two of them costs one client a visit to two sites.
 */

/** Resolvers ask for all types at once; a new question of the same type is a new draw. */
const KEPT_MS = 2000;
const SETS = 2048;
const WAYS = 2;
/** Tag, time, draw, types. */
const ENTRY_WORDS = 4;
export const DRAWS_BYTES = SETS * WAYS * ENTRY_WORDS * 4;

export class Draws {
  readonly #words: Int32Array;

  constructor(memory = new SharedArrayBuffer(DRAWS_BYTES)) {
    this.#words = new Int32Array(memory);
  }

  /**
   * The draw of a client, or -1: it has none, so the next one is its: give it to `keep`. `client`: hash of client and plan; `type`: a bit of
   * its own for each type. Allocates nothing.
   */
  find(client: number, type: number, nowMs: number): number {
    const words = this.#words;
    const tag = tagOf(client);
    const now = nowMs | 0;
    const set = setOf(client);
    for (let way = 0; way < WAYS; way++) {
      const at = set + way * ENTRY_WORDS;
      if (words[at] !== tag || ((now - words[at + 1]) | 0) >= KEPT_MS) continue;
      if ((words[at + 3] & type) !== 0) return -1;
      words[at + 3] |= type;
      return words[at + 2];
    }
    return -1;
  }

  /** In the place of what the client had, or of the older of two. */
  keep(client: number, type: number, nowMs: number, draw: number): void {
    const words = this.#words;
    const tag = tagOf(client);
    const now = nowMs | 0;
    const set = setOf(client);
    let at = set;
    for (let way = 0; way < WAYS; way++) {
      const other = set + way * ENTRY_WORDS;
      if (words[other] === tag || words[other] === 0) {
        at = other;
        break;
      }
      if (((words[other + 1] - words[at + 1]) | 0) < 0) at = other;
    }
    words[at] = tag;
    words[at + 1] = now;
    words[at + 2] = draw;
    words[at + 3] = type;
  }
}

/** 0 is an entry that nobody used. */
function tagOf(client: number): number {
  return client | 0 || 1;
}

function setOf(client: number): number {
  return ((client >>> 7) % SETS) * WAYS * ENTRY_WORDS;
}

/** Hash of the first `bits` of the address at `start`, under a number of the plan. */
export function hashClient(plan: number, bytes: Uint8Array, start: number, bits: number): number {
  let hash = Math.imul(plan ^ 0x811c9dc5, 0x01000193) ^ bits;
  const whole = bits >> 3;
  for (let i = start; i < start + whole; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  const left = bits & 7;
  if (left > 0) hash = Math.imul(hash ^ (bytes[start + whole] >> (8 - left)), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) | 0;
}
