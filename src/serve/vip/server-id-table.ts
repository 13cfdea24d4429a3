/**
 * Over the map `server_ids`: which backend of a service a QUIC connection ID names. Buckets of four places in mapped memory,
 * two candidates for each ID, as bpf/quic.h looks them up; an ID makes room by moving another to its other bucket. While one
 * moves it stands in both; a packet that looks in between may miss it once, and goes by its flow.
 */
import { SERVER_ID_BUCKETS, SERVER_ID_ENTRIES } from './layout.gen.ts';

const MASK = 0xffffffffffffffffn;
const BUCKET_WORDS = 2 * SERVER_ID_ENTRIES;
/** Half of the places. */
export const MAX_SERVER_IDS = (SERVER_ID_BUCKETS * SERVER_ID_ENTRIES) / 2;

/** The two buckets of an ID. */
function bucketsOf(subject: number, id: bigint): [number, number] {
  let mixed = ((id ^ ((BigInt(subject) * 0xc2b2ae3d27d4eb4fn) & MASK)) * 0x9e3779b97f4a7c15n) & MASK;
  mixed ^= mixed >> 32n;
  mixed = (mixed * 0x9e3779b97f4a7c15n) & MASK;
  const first = Number(mixed >> 48n);
  const second = Number((mixed >> 32n) & BigInt(SERVER_ID_BUCKETS - 1));
  return [first, second === first ? first ^ 1 : second];
}

/** How many IDs may move for one. Half full, the table needs three. */
const MAX_MOVES = 6;

export class ServerIdTable {
  readonly #words: BigUint64Array;
  /** By subject, then by ID: the ID's word. The owner's is SERVER_ID_ENTRIES behind it. */
  readonly #places = new Map<number, Map<bigint, number>>();
  #count = 0;
  /** IDs that found no place since the process began. */
  refused = 0;

  /** What stands in `buffer` is taken over. */
  constructor(buffer: ArrayBuffer) {
    this.#words = new BigUint64Array(buffer);
    for (let bucket = 0; bucket < SERVER_ID_BUCKETS; bucket++) {
      for (let entry = 0; entry < SERVER_ID_ENTRIES; entry++) {
        const word = bucket * BUCKET_WORDS + entry;
        const owner = this.#words[word + SERVER_ID_ENTRIES];
        if (owner === 0n) continue;
        const places = this.#placesOf(Number(owner >> 32n));
        // A process that ended while it moved an ID left it in both places.
        if (places.has(this.#words[word])) this.#words[word + SERVER_ID_ENTRIES] = 0n;
        else places.set(this.#words[word], word);
      }
    }
    for (const places of this.#places.values()) this.#count += places.size;
  }

  #placesOf(subject: number): Map<bigint, number> {
    const places = this.#places.get(subject) ?? new Map<bigint, number>();
    this.#places.set(subject, places);
    return places;
  }

  get count(): number {
    return this.#count;
  }

  /** False: no place for it, or the table is as full as it may be. */
  add(subject: number, id: bigint, backend: number): boolean {
    const word = this.#count < MAX_SERVER_IDS ? this.#findPlace(subject, id) : -1;
    if (word < 0) {
      this.refused++;
      return false;
    }
    this.#write(word, id, BigInt(backend) | (BigInt(subject) << 32n));
    this.#count++;
    return true;
  }

  /** The owner last: until then the place is empty. */
  #write(word: number, id: bigint, owner: bigint): void {
    Atomics.store(this.#words, word, id);
    Atomics.store(this.#words, word + SERVER_ID_ENTRIES, owner);
    this.#placesOf(Number(owner >> 32n)).set(id, word);
  }

  /** The first bucket's, which packets look at first, if it has one. -1: none. */
  #findPlace(subject: number, id: bigint): number {
    const buckets = bucketsOf(subject, id);
    for (const bucket of buckets) {
      const word = this.#freeIn(bucket);
      if (word >= 0) return word;
    }
    for (let moves = 1; moves <= MAX_MOVES; moves++) {
      for (const bucket of buckets) {
        const word = this.#makeRoom(bucket, moves);
        if (word >= 0) return word;
      }
    }
    return -1;
  }

  #freeIn(bucket: number): number {
    for (let entry = 0; entry < SERVER_ID_ENTRIES; entry++) {
      const word = bucket * BUCKET_WORDS + entry;
      if (this.#words[word + SERVER_ID_ENTRIES] === 0n) return word;
    }
    return -1;
  }

  /** Moves an ID of a full bucket to its other bucket, by way of `moves` - 1 others. Gives the place that it left; -1: none. */
  #makeRoom(bucket: number, moves: number): number {
    for (let entry = 0; entry < SERVER_ID_ENTRIES; entry++) {
      const word = bucket * BUCKET_WORDS + entry;
      const id = this.#words[word];
      const owner = this.#words[word + SERVER_ID_ENTRIES];
      const [first, second] = bucketsOf(Number(owner >> 32n), id);
      const other = first === bucket ? second : first;
      const free = moves === 1 ? this.#freeIn(other) : this.#makeRoom(other, moves - 1);
      // What made the room may have moved this very ID.
      if (free < 0 || this.#words[word + SERVER_ID_ENTRIES] !== owner || this.#words[word] !== id) continue;
      this.#write(free, id, owner);
      Atomics.store(this.#words, word + SERVER_ID_ENTRIES, 0n);
      return word;
    }
    return -1;
  }

  /** The IDs of a service from now on, with their backends' indices. Returns how many found no place. */
  setService(subject: number, ids: ReadonlyMap<bigint, number>): number {
    const places = this.#placesOf(subject);
    for (const [id, word] of places) {
      const backend = ids.get(id);
      const owner = backend === undefined ? 0n : BigInt(backend) | (BigInt(subject) << 32n);
      Atomics.store(this.#words, word + SERVER_ID_ENTRIES, owner);
      if (backend !== undefined) continue;
      places.delete(id);
      this.#count--;
    }
    let refused = 0;
    for (const [id, backend] of ids) if (!places.has(id) && !this.add(subject, id, backend)) refused++;
    return refused;
  }

  /** Its index means nothing any more. */
  removeBackend(backend: number): void {
    for (const subject of [...this.#places.keys()]) {
      const ids = this.list(subject);
      const kept = [...ids].filter(([, index]) => index !== backend);
      if (kept.length < ids.size) this.setService(subject, new Map(kept));
    }
  }

  clear(): void {
    for (const subject of [...this.#places.keys()]) this.setService(subject, new Map());
  }

  /** By ID, of one service. */
  list(subject: number): Map<bigint, number> {
    const backend = (word: number) => Number(this.#words[word + SERVER_ID_ENTRIES] & 0xffffffffn);
    return new Map([...(this.#places.get(subject) ?? [])].map(([id, word]) => [id, backend(word)]));
  }
}
