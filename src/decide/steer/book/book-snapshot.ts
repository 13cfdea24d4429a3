/**
 * All that a book knows as bytes, about 30 a resolver and 70 a client prefix, little-endian. Of what traffic told only the conclusions are kept:
 * each share with its precision.
 */
import { CANDIDATES } from './book-model.ts';
import type { Lateness } from './lateness.ts';
import type { ResolverColumns } from './resolver-columns.ts';
import { INFO_SIZE, infoAt, type UserColumns } from './user-columns.ts';

/** "PRB1". */
const MAGIC = 0x3142_5250;
/** A candidate with less of its own data is not kept. */
const LEAST_OWN = 0.3;

export interface KnownResolver {
  readonly prefix: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly beacons: number;
  readonly toldRate: number;
  /** [service * 2]: rate and squares. */
  readonly rates: readonly number[];
  readonly late: readonly number[];
}

export interface KnownShare {
  readonly beacons: number;
  readonly told: number;
  readonly share: number;
  readonly precision: number;
}

/** What a book is for its bytes. */
export interface KeptBook {
  readonly nowMs: number;
  readonly strength: number;
  readonly resolvers: ResolverColumns;
  readonly users: UserColumns;
  readonly lateness: Lateness;
  refresh(): void;
  /** Slots; -1: no room. */
  addKnownResolver(known: KnownResolver): number;
  addKnownUser(prefix: number, demand: readonly number[], otherBeacons: number): number;
  addKnownShare(slot: number, resolver: number, known: KnownShare): void;
}

class Writer {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  #reserve(count: number): number {
    if (this.#at + count > this.#bytes.length) {
      const bytes = new Uint8Array(this.#bytes.length * 2);
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    this.#at += count;
    return this.#at - count;
  }

  whole(value: number): void {
    this.#view.setUint32(this.#reserve(4), value, true);
  }

  real(value: number): void {
    this.#view.setFloat32(this.#reserve(4), value, true);
  }

  time(value: number): void {
    this.#view.setFloat64(this.#reserve(8), value, true);
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }
}

class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#view.byteLength - this.#at;
  }

  whole(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  real(): number {
    this.#at += 4;
    return this.#view.getFloat32(this.#at - 4, true);
  }

  time(): number {
    this.#at += 8;
    return this.#view.getFloat64(this.#at - 8, true);
  }
}

export function writeBook(book: KeptBook): Uint8Array {
  book.refresh();
  const out = new Writer();
  const { resolvers, users } = book;
  for (const value of [MAGIC, resolvers.services, users.classes, resolvers.slots.used, users.slots.used])
    out.whole(value);
  const order = new Map<number, number>();
  for (let slot = 0; slot < resolvers.slots.end; slot++) {
    if (resolvers.slots.isFree(slot)) continue;
    order.set(slot, order.size);
    out.whole(resolvers.slots.prefix[slot]);
    // Ages: another process has another clock.
    out.time(book.nowMs - resolvers.firstMs[slot]);
    out.time(book.nowMs - resolvers.lastMs[slot]);
    out.real(resolvers.beacons[slot]);
    out.real(resolvers.toldRate[slot]);
    for (let item = slot * resolvers.services; item < (slot + 1) * resolvers.services; item++) {
      out.real(resolvers.rate[item]);
      out.real(resolvers.squares[item]);
    }
    for (const value of book.lateness.columnsOf(slot)) out.real(value);
  }
  for (let slot = 0; slot < users.slots.end; slot++) if (!users.slots.isFree(slot)) writeUser(book, slot, order, out);
  return out.done();
}

/** Of a share beyond what belief and beacons explain. */
function precisionOf({ share, variance }: UserColumns, at: number, concentration: number): number {
  const part = Math.min(0.99, Math.max(0.01, share[at]));
  return Math.max(0, 1 / Math.max(1e-6, variance[at]) - concentration / (part * (1 - part)));
}

function writeUser({ users, strength }: KeptBook, slot: number, order: ReadonlyMap<number, number>, out: Writer): void {
  out.whole(users.slots.prefix[slot]);
  for (let c = 0; c < users.classes; c++) out.real(users.demand[slot * users.classes + c]);
  out.real(users.otherBeacons[slot]);
  let beacons = users.otherBeacons[slot];
  const kept: number[] = [];
  for (let at = slot * CANDIDATES; at < (slot + 1) * CANDIDATES; at++) {
    beacons += users.beacons[at];
    const hasEvidence = users.beacons[at] > 0 || users.told[at] > 0 || users.own[at] > LEAST_OWN;
    if (order.has(users.candidate[at]) && hasEvidence) kept.push(at);
  }
  out.whole(kept.length);
  for (const at of kept) {
    const n = at - slot * CANDIDATES;
    out.whole(order.get(users.candidate[at]) ?? 0);
    out.real(users.beacons[at]);
    out.real(users.told[at]);
    out.real(users.share[at]);
    out.real(users.info[slot * INFO_SIZE + infoAt(n, n)] > 0 ? precisionOf(users, at, beacons + strength) : 0);
  }
}

/**
 * Adds what bytes of `writeBook` say to a book: to an empty one, or to that of another name server, whose evidence adds up. `renumber`: prefixes'
 * numbers here; NO_PREFIX: unknown. False: these are no such bytes, or of other services; nothing is changed then.
 */
export function readBook(book: KeptBook, bytes: Uint8Array, renumber: (prefix: number) => number): boolean {
  if (!isSound(book, bytes)) return false;
  const from = new Reader(bytes);
  const [, services, classes, resolvers, users] = Array.from({ length: 5 }, () => from.whole());
  const slots: number[] = [];
  for (let n = 0; n < resolvers; n++) {
    const prefix = renumber(from.whole());
    const [firstMs, lastMs] = [book.nowMs - from.time(), book.nowMs - from.time()];
    const [beacons, toldRate] = [from.real(), from.real()];
    const rates = Array.from({ length: services * 2 }, () => from.real());
    const late = Array.from({ length: book.lateness.columns }, () => from.real());
    slots.push(book.addKnownResolver({ prefix, firstMs, lastMs, beacons, toldRate, rates, late }));
  }
  for (let n = 0; n < users; n++) {
    const prefix = renumber(from.whole());
    const demand = Array.from({ length: classes }, () => from.real());
    const otherBeacons = from.real();
    const slot = book.addKnownUser(prefix, demand, otherBeacons);
    for (let left = from.whole(); left > 0; left--) {
      const resolver = slots[from.whole()];
      const [beacons, told, share, precision] = [from.real(), from.real(), from.real(), from.real()];
      if (slot >= 0 && resolver >= 0) book.addKnownShare(slot, resolver, { beacons, told, share, precision });
    }
  }
  return true;
}

/** Walks through without changing anything. */
function isSound(book: KeptBook, bytes: Uint8Array): boolean {
  const from = new Reader(bytes);
  if (from.left < 20 || from.whole() !== MAGIC) return false;
  const [services, classes, resolvers, users] = Array.from({ length: 4 }, () => from.whole());
  if (services !== book.resolvers.services || classes !== book.users.classes) return false;
  const resolverBytes = 28 + services * 8 + book.lateness.columns * 4;
  if (resolvers * resolverBytes > from.left) return false;
  for (let skip = (resolvers * resolverBytes) / 4; skip > 0; skip--) from.whole();
  for (let n = 0; n < users; n++) {
    if (from.left < 12 + classes * 4) return false;
    for (let skip = 2 + classes; skip > 0; skip--) from.whole();
    const kept = from.whole();
    if (kept > CANDIDATES || from.left < kept * 20) return false;
    for (let left = kept; left > 0; left--) {
      if (from.whole() >= resolvers) return false;
      for (let skip = 4; skip > 0; skip--) from.whole();
    }
  }
  return from.left === 0;
}
