/** Rows of traffic from several short intervals, until they are looked at together. */
import type { TrafficRows } from '../measured.ts';

/** Rows beyond it are added to none: their connections are missing, as if nobody had seen them. */
const MAX_ROWS = 4_000_000;

export class PendingTraffic {
  /** Rows that found no room. */
  dropped = 0;
  #length = 0;
  #prefix = new Uint32Array(1024);
  #site = new Uint16Array(1024);
  #service = new Uint16Array(1024);
  #connections = new Float64Array(1024);
  /** Not looked at. */
  readonly #bytes = new Float64Array(0);

  get rows(): TrafficRows {
    return {
      length: this.#length,
      prefix: this.#prefix,
      site: this.#site,
      service: this.#service,
      connections: this.#connections,
      bytes: this.#bytes,
    };
  }

  add({ length, prefix, site, service, connections }: TrafficRows): void {
    const taken = Math.min(length, MAX_ROWS - this.#length);
    this.dropped += length - taken;
    if (this.#length + taken > this.#prefix.length) this.#grow(this.#length + taken);
    for (let row = 0; row < taken; row++) {
      const to = this.#length + row;
      this.#prefix[to] = prefix[row];
      this.#site[to] = site[row];
      this.#service[to] = service[row];
      this.#connections[to] = connections[row];
    }
    this.#length += taken;
  }

  clear(): void {
    this.#length = 0;
  }

  #grow(least: number): void {
    const length = Math.max(least, this.#prefix.length * 2);
    const prefix = new Uint32Array(length);
    prefix.set(this.#prefix);
    this.#prefix = prefix;
    const site = new Uint16Array(length);
    site.set(this.#site);
    this.#site = site;
    const service = new Uint16Array(length);
    service.set(this.#service);
    this.#service = service;
    const connections = new Float64Array(length);
    connections.set(this.#connections);
    this.#connections = connections;
  }
}
