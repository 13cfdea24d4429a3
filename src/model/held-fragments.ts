/**
 * Fragments that came before the first one of their datagram, kept until that has come. Pure: the time is an argument,
 * and where first fragments went is asked of the caller.
 *
 * Bounded in number and bytes, in all and for the clients of one prefix, and in time, counted from the first of a datagram that
 * is held. At a bound the fragment is not kept, nor is anything else thrown out for it: its sender loses one datagram, others
 * nothing.
 */
import type { HandedUp } from './engine.ts';
import type { Home } from './fragments.ts';

export interface HoldLimits {
  readonly lifetimeMs: number;
  readonly fragments: number;
  readonly bytes: number;
  readonly fragmentsPerPrefix: number;
  readonly bytesPerPrefix: number;
}

/** A datagram of 64 KiB in pieces of 1,480 bytes is 45 fragments: 128 such early ones, 16 of a prefix. */
export const HOLD_LIMITS: HoldLimits = {
  lifetimeMs: 1000,
  fragments: 6000,
  bytes: 8 * 1024 * 1024,
  fragmentsPerPrefix: 750,
  bytesPerPrefix: 1024 * 1024,
};

/** What became of a fragment that was to be held. */
export type Held = 'held' | 'prefix-full' | 'full';

export interface Released {
  readonly fragment: HandedUp;
  readonly home: Home;
}

interface Datagram {
  readonly fragments: HandedUp[];
  readonly deadlineMs: number;
}

interface Usage {
  fragments: number;
  bytes: number;
}

export class HeldFragments {
  readonly #limits: HoldLimits;
  /** In the order of their deadlines: each lives for as long as the others. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #prefixes = new Map<number, Usage>();
  readonly #all: Usage = { fragments: 0, bytes: 0 };

  constructor(limits: HoldLimits = HOLD_LIMITS) {
    this.#limits = limits;
  }

  /** Fragments that are held. */
  get size(): number {
    return this.#all.fragments;
  }

  get bytes(): number {
    return this.#all.bytes;
  }

  hold(fragment: HandedUp, nowMs: number): Held {
    const limits = this.#limits;
    const bytes = fragment.frame.length;
    const used = this.#prefixes.get(fragment.region) ?? { fragments: 0, bytes: 0 };
    if (used.fragments >= limits.fragmentsPerPrefix || used.bytes + bytes > limits.bytesPerPrefix) return 'prefix-full';
    if (this.#all.fragments >= limits.fragments || this.#all.bytes + bytes > limits.bytes) return 'full';
    this.#prefixes.set(fragment.region, used);
    const key = `${fragment.bucket} ${fragment.datagramHigh} ${fragment.datagramLow}`;
    const datagram = this.#datagrams.get(key);
    if (datagram !== undefined) datagram.fragments.push(fragment);
    else this.#datagrams.set(key, { fragments: [fragment], deadlineMs: nowMs + limits.lifetimeMs });
    for (const usage of [used, this.#all]) {
      usage.fragments++;
      usage.bytes += bytes;
    }
    return 'held';
  }

  #forget(key: string, { fragments }: Datagram): void {
    this.#datagrams.delete(key);
    for (const { region, frame } of fragments) {
      const used = this.#prefixes.get(region) as Usage;
      for (const usage of [used, this.#all]) {
        usage.fragments--;
        usage.bytes -= frame.length;
      }
      if (used.fragments === 0) this.#prefixes.delete(region);
    }
  }

  /**
   * Takes out the fragments of datagrams whose first has come, in the order in which each datagram's came, and those whose time is over.
   * `findHome` is asked once for each datagram; one whose first comes with its deadline is released.
   */
  release(
    findHome: (fragment: HandedUp) => Home | null,
    nowMs: number,
  ): { readonly released: Released[]; readonly expired: number } {
    const released: Released[] = [];
    let expired = 0;
    for (const [key, datagram] of this.#datagrams) {
      const home = findHome(datagram.fragments[0]);
      if (home !== null) for (const fragment of datagram.fragments) released.push({ fragment, home });
      else if (nowMs >= datagram.deadlineMs) expired += datagram.fragments.length;
      else continue;
      this.#forget(key, datagram);
    }
    return { released, expired };
  }
}
