/** Columns of observations that grow as needed and are used again. */
import type { BeaconRows, QueryRows, RttRows, TrafficRows } from '../decide/steer/measured.ts';

const FIRST_ROWS = 1024;

function grown<T extends Uint16Array | Uint32Array | Float32Array | Float64Array>(column: T, rows: number): T {
  const larger = new (column.constructor as new (rows: number) => T)(rows);
  larger.set(column);
  return larger;
}

export class QueryTable implements QueryRows {
  length = 0;
  resolver = new Uint32Array(FIRST_ROWS);
  subnet = new Uint32Array(FIRST_ROWS);
  service = new Uint16Array(FIRST_ROWS);
  site = new Uint16Array(FIRST_ROWS);
  queries = new Float64Array(FIRST_ROWS);
  total = 0;
  #first = 0;

  clear(): void {
    this.length = 0;
    this.total = 0;
    this.#first = 0;
  }

  /** Rows from here on are of one resolver, subnet and service. */
  begin(): void {
    this.#first = this.length;
  }

  add(resolver: number, subnet: number, service: number, site: number): void {
    this.total++;
    let row = this.#first;
    while (row < this.length && this.site[row] !== site) row++;
    if (row < this.length) {
      this.queries[row] = (this.queries[row] as number) + 1;
      return;
    }
    if (row === this.resolver.length) this.#grow();
    this.resolver[row] = resolver;
    this.subnet[row] = subnet;
    this.service[row] = service;
    this.site[row] = site;
    this.queries[row] = 1;
    this.length++;
  }

  #grow(): void {
    const rows = 2 * this.length;
    this.resolver = grown(this.resolver, rows);
    this.subnet = grown(this.subnet, rows);
    this.service = grown(this.service, rows);
    this.site = grown(this.site, rows);
    this.queries = grown(this.queries, rows);
  }
}

export class TrafficTable implements TrafficRows {
  length = 0;
  prefix = new Uint32Array(FIRST_ROWS);
  site = new Uint16Array(FIRST_ROWS);
  service = new Uint16Array(FIRST_ROWS);
  connections = new Float64Array(FIRST_ROWS);
  bytes = new Float64Array(FIRST_ROWS);

  add(prefix: number, site: number, service: number, connections: number, bytes: number): void {
    const row = this.length;
    this.reserve(1);
    this.prefix[row] = prefix;
    this.site[row] = site;
    this.service[row] = service;
    this.connections[row] = connections;
    this.bytes[row] = bytes;
    this.length = row + 1;
  }

  /** Makes room for so many more. */
  reserve(more: number): void {
    if (this.length + more <= this.prefix.length) return;
    const rows = 2 * (this.length + more);
    this.prefix = grown(this.prefix, rows);
    this.site = grown(this.site, rows);
    this.service = grown(this.service, rows);
    this.connections = grown(this.connections, rows);
    this.bytes = grown(this.bytes, rows);
  }
}

/** Of a fixed number of rows; further ones are left out. */
export class RttTable implements RttRows {
  length = 0;
  readonly prefix: Uint32Array;
  readonly site: Uint16Array;
  readonly ms: Float32Array;

  constructor(rows: number) {
    this.prefix = new Uint32Array(rows);
    this.site = new Uint16Array(rows);
    this.ms = new Float32Array(rows);
  }

  add(prefix: number, site: number, ms: number): void {
    if (this.length === this.prefix.length) return;
    this.prefix[this.length] = prefix;
    this.site[this.length] = site;
    this.ms[this.length] = ms;
    this.length++;
  }
}

export class BeaconTable implements BeaconRows {
  length = 0;
  resolver = new Uint32Array(FIRST_ROWS);
  prefix = new Uint32Array(FIRST_ROWS);

  add(resolver: number, prefix: number): void {
    if (this.length === this.prefix.length) {
      this.resolver = grown(this.resolver, 2 * this.length);
      this.prefix = grown(this.prefix, 2 * this.length);
    }
    this.resolver[this.length] = resolver;
    this.prefix[this.length] = prefix;
    this.length++;
  }
}
