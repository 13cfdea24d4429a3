/**
 * What agents say of the connections on their machines, by slot: with it a slot may settle before it has been silent for long, and
 * an open drain has names. Two listings of a backend are kept for each service; one alone may miss a connection that opens while
 * it is taken.
 */

import type { SlotReport } from '../serve/vip/slot-report.ts';

interface Listing extends SlotReport {
  readonly beganMs: number;
}

interface Listings {
  readonly first: Listing | null;
  readonly last: Listing;
}

/** Two listings that count are at least so far apart. */
export const LISTINGS_APART_MS = 2_000;
/**
 * Listings wait so long after the last change of the slots has been acknowledged by all balancers, and after one has left: SYNs that are
 * repeated after 1, 2 and 4 s still follow the entry of the first (docs/decisions/007), then packets are on their way.
 */
export const LISTING_WAIT_MS = 15_000;

export class SlotListings {
  /** Service, then index of the backend. */
  readonly #listings = new Map<string, Map<number, Listings>>();

  /** A listing that began at `beganMs` is there. */
  take(service: string, index: number, beganMs: number, report: SlotReport): void {
    let ofService = this.#listings.get(service);
    if (ofService === undefined) {
      ofService = new Map();
      this.#listings.set(service, ofService);
    }
    const before = ofService.get(index);
    const last = { ...report, beganMs };
    if (before !== undefined && beganMs - before.last.beganMs < LISTINGS_APART_MS) return;
    ofService.set(index, { first: before?.last ?? null, last });
  }

  /** The agent did not answer, or nothing is asked of it any more: what it said is old. */
  forget(service: string, index: number): void {
    this.#listings.get(service)?.delete(index);
  }

  /** Forgets all services but these. */
  keep(services: ReadonlySet<string>): void {
    for (const name of this.#listings.keys()) if (!services.has(name)) this.#listings.delete(name);
  }

  /** True if two listings, both begun at or after `sinceMs`, have no connection of the slot. */
  isEmpty(service: string, index: number, slot: number, sinceMs: number): boolean {
    const listings = this.#listings.get(service)?.get(index);
    if (listings === undefined || listings.first === null || listings.first.beganMs < sinceMs) return false;
    if (!listings.first.isComplete || !listings.last.isComplete) return false;
    return !hasSlot(listings.first, slot) && !hasSlot(listings.last, slot);
  }

  last(service: string, index: number): SlotReport | null {
    return this.#listings.get(service)?.get(index)?.last ?? null;
  }
}

/** A report that is too short for the slot knows nothing of it. */
function hasSlot({ slots }: SlotReport, slot: number): boolean {
  const byte = slots[slot >>> 3];
  return byte === undefined || ((byte >>> (slot & 7)) & 1) !== 0;
}
