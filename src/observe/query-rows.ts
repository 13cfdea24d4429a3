/** Who asked name servers for what, gathered into columns: as `steering-rows.ts` does for what the kernel measures at VIPs. */
import { KEY_IPV6, KEY_REST } from '../decide/steer/prefix-numbers.ts';

/** Prefixes by their keys; `subnetHigh` is KEY_REST where the query had no client subnet. */
export interface KeyedQueries {
  readonly length: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly subnetHigh: Uint32Array;
  readonly subnetLow: Uint32Array;
  readonly service: Uint16Array;
  readonly site: Uint16Array;
  readonly queries: Float64Array;
}

/** The first six bytes of a prefix, as on the wire. */
export interface AskedPrefix {
  readonly family: 4 | 6;
  readonly length: number;
  readonly bytes: Uint8Array;
}

const FIRST_ROWS = 1024;

function columns(rows: number) {
  const words = () => new Uint32Array(rows);
  return {
    length: 0,
    high: words(),
    low: words(),
    subnetHigh: words(),
    subnetLow: words(),
    service: new Uint16Array(rows),
    site: new Uint16Array(rows),
    queries: new Float64Array(rows),
  };
}

/** Bounded: at most so many rows between two calls of `take`, of 28 bytes each, or twice that. */
export class QueryColumns {
  readonly #bound: number;
  #rows = columns(FIRST_ROWS);
  /** Queries beyond the bound, since the beginning. */
  lost = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  /** A subnet that is wider than a /24 or /48 tells of no one prefix, so it counts as none. */
  add(resolver: AskedPrefix, subnet: AskedPrefix | null, service: number, site: number, queries: number): void {
    if (this.#rows.length === this.#bound) {
      this.lost += queries;
      return;
    }
    if (this.#rows.length === this.#rows.high.length) this.#grow();
    const rows = this.#rows;
    const at = rows.length++;
    const isTold = subnet !== null && subnet.length >= (subnet.family === 4 ? 24 : 48);
    rows.high[at] = highOf(resolver);
    rows.low[at] = lowOf(resolver);
    rows.subnetHigh[at] = isTold ? highOf(subnet) : KEY_REST;
    rows.subnetLow[at] = isTold ? lowOf(subnet) : 0;
    rows.service[at] = service;
    rows.site[at] = site;
    rows.queries[at] = queries;
  }

  #grow(): void {
    const { length, ...before } = this.#rows;
    const { length: _, ...after } = columns(length * 2);
    for (const [name, column] of Object.entries(after)) column.set(before[name as keyof typeof before]);
    this.#rows = { length, ...after };
  }

  /** What was added since the last call: the columns are the caller's. */
  take(): KeyedQueries {
    const taken = this.#rows;
    this.#rows = columns(FIRST_ROWS);
    return taken;
  }
}

/** Key of the /24 or /48 that bytes in wire order begin with; see `steering-rows.ts`. */
export function askedKey(prefix: Pick<AskedPrefix, 'family' | 'bytes'>): [high: number, low: number] {
  return [highOf(prefix), lowOf(prefix)];
}

export function highOf({ family, bytes }: Pick<AskedPrefix, 'family' | 'bytes'>): number {
  return family === 4 ? 0 : KEY_IPV6 | (bytes[0] << 8) | bytes[1];
}

export function lowOf({ family, bytes }: Pick<AskedPrefix, 'family' | 'bytes'>): number {
  if (family === 4) return (bytes[0] << 16) | (bytes[1] << 8) | bytes[2];
  return ((bytes[2] << 24) | (bytes[3] << 16) | (bytes[4] << 8) | bytes[5]) >>> 0;
}
