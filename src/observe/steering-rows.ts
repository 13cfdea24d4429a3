/**
 * What the kernel has measured for steering, gathered from the machines of this process into columns: round trips by client prefix,
 * new connections and bytes by client prefix and service. Prefixes are keys here; `numberRows` gives them their numbers, there where
 * the numbers are kept (maybe on another thread: columns can be transferred).
 */
import { NO_PREFIX, type RttRows, type TrafficRows } from '../decide/steer/measured.ts';
import { KEY_IPV6, KEY_REST, type PrefixNumbers } from '../decide/steer/prefix-numbers.ts';

/** The agent of a backend, or a balancer. */
export interface RttSource {
  /** Gives every round trip since the last call, each once. */
  takeRtt(each: (high: number, low: number, microseconds: number) => void): void;
}

/** A balancer. */
export interface TrafficSource {
  /** Gives what came since the last call; `subject`: the service's number in this balancer's kernel. */
  takeTraffic(each: (high: number, low: number, subject: number, connections: number, bytes: number) => void): void;
}

export interface KeyedRtt {
  readonly length: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly site: Uint16Array;
  readonly ms: Float32Array;
}

export interface KeyedTraffic {
  readonly length: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly site: Uint16Array;
  readonly service: Uint16Array;
  readonly connections: Float64Array;
  readonly bytes: Float64Array;
}

/** Of an interval; the first `length` entries of each column count. */
export interface KeyedRows {
  readonly rtt: KeyedRtt;
  readonly traffic: KeyedTraffic;
  /** Round trips beyond the bound of rows. Traffic beyond it is in a row of KEY_REST. */
  readonly lostRtt: number;
}

function rttColumns(rows: number) {
  const [high, low] = [new Uint32Array(rows), new Uint32Array(rows)];
  return { length: 0, high, low, site: new Uint16Array(rows), ms: new Float32Array(rows) };
}

function trafficColumns(rows: number) {
  return {
    length: 0,
    high: new Uint32Array(rows),
    low: new Uint32Array(rows),
    site: new Uint16Array(rows),
    service: new Uint16Array(rows),
    connections: new Float64Array(rows),
    bytes: new Float64Array(rows),
  };
}

const FIRST_ROWS = 1024;

/** Room for one more row: twice as much where there is none. */
function withRoom<T extends { length: number; readonly high: Uint32Array }>(rows: T, make: (rows: number) => T): T {
  if (rows.length < rows.high.length) return rows;
  const more = make(2 * rows.high.length);
  more.length = rows.length;
  const from: (number | Uint32Array)[] = Object.values(rows);
  const to: (number | Uint32Array)[] = Object.values(more);
  for (let at = 0; at < to.length; at++)
    if (typeof to[at] === 'object') (to[at] as Uint32Array).set(from[at] as Uint32Array);
  return more;
}

/** Bounded: at most so many rows between two calls of `take`; 14 and 28 bytes each, or twice that. */
export class SteeringRows {
  readonly #bounds: { readonly rttRows: number; readonly trafficRows: number };
  #rtt: ReturnType<typeof rttColumns>;
  #traffic: ReturnType<typeof trafficColumns>;
  #lostRtt = 0;
  /** Traffic that had no row: site, then service. */
  readonly #rest = new Map<number, Map<number, { connections: number; bytes: number }>>();

  constructor(bounds: { readonly rttRows: number; readonly trafficRows: number }) {
    this.#bounds = bounds;
    this.#rtt = rttColumns(FIRST_ROWS);
    this.#traffic = trafficColumns(FIRST_ROWS);
  }

  /** Everything that the source has measured since it was last asked. */
  readRtt(site: number, source: RttSource): void {
    source.takeRtt((high, low, microseconds) => {
      if (this.#rtt.length === this.#bounds.rttRows) {
        this.#lostRtt++;
        return;
      }
      const rows = withRoom(this.#rtt, rttColumns);
      this.#rtt = rows;
      const at = rows.length++;
      rows.high[at] = high;
      rows.low[at] = low;
      rows.site[at] = site;
      rows.ms[at] = microseconds / 1000;
    });
  }

  /** `serviceOf`: number of the service that has the subject; undefined: none of those that are steered, left out. */
  readTraffic(site: number, source: TrafficSource, serviceOf: (subject: number) => number | undefined): void {
    source.takeTraffic((high, low, subject, connections, bytes) => {
      const service = serviceOf(subject);
      if (service === undefined) return;
      // The rest has rows of its own, one a site and service: they must find room.
      if (high === KEY_REST || this.#traffic.length === this.#bounds.trafficRows)
        this.#addRest(site, service, connections, bytes);
      else this.#addTraffic(high, low, site, service, connections, bytes);
    });
  }

  #addTraffic(high: number, low: number, site: number, service: number, connections: number, bytes: number): void {
    const rows = withRoom(this.#traffic, trafficColumns);
    this.#traffic = rows;
    const at = rows.length++;
    rows.high[at] = high;
    rows.low[at] = low;
    rows.site[at] = site;
    rows.service[at] = service;
    rows.connections[at] = connections;
    rows.bytes[at] = bytes;
  }

  #addRest(site: number, service: number, connections: number, bytes: number): void {
    let ofSite = this.#rest.get(site);
    if (ofSite === undefined) {
      ofSite = new Map();
      this.#rest.set(site, ofSite);
    }
    const rest = ofSite.get(service) ?? { connections: 0, bytes: 0 };
    rest.connections += connections;
    rest.bytes += bytes;
    ofSite.set(service, rest);
  }

  /** What was read since the last call: the columns are the caller's. */
  take(): KeyedRows {
    for (const [site, ofSite] of this.#rest)
      for (const [service, { connections, bytes }] of ofSite)
        this.#addTraffic(KEY_REST, 0, site, service, connections, bytes);
    const taken = { rtt: this.#rtt, traffic: this.#traffic, lostRtt: this.#lostRtt };
    this.#rtt = rttColumns(FIRST_ROWS);
    this.#traffic = trafficColumns(FIRST_ROWS);
    this.#lostRtt = 0;
    this.#rest.clear();
    return taken;
  }
}

/**
 * The same rows with numbers for prefixes, which those get that have none. A round trip of a prefix that gets no number is left out; its
 * traffic is in a row of NO_PREFIX. The other columns are those of `keyed`.
 */
export function numberRows(
  keyed: KeyedRows,
  numbers: PrefixNumbers,
): { readonly rtt: RttRows; readonly traffic: TrafficRows } {
  return { rtt: numberRtt(keyed.rtt, numbers), traffic: numberTraffic(keyed.traffic, numbers) };
}

function numberAt(rows: KeyedRtt | KeyedTraffic, at: number, numbers: PrefixNumbers): number {
  const high = rows.high[at];
  if (high === KEY_REST) return NO_PREFIX;
  return numbers.numberOfKey((high & KEY_IPV6) !== 0, high & 0xffff, rows.low[at]);
}

function numberRtt(rows: KeyedRtt, numbers: PrefixNumbers): RttRows {
  const { site, ms } = rows;
  const prefix = new Uint32Array(rows.length);
  let length = 0;
  for (let at = 0; at < rows.length; at++) {
    const number = numberAt(rows, at, numbers);
    if (number === NO_PREFIX) continue;
    prefix[length] = number;
    site[length] = site[at];
    ms[length] = ms[at];
    length++;
  }
  return { length, prefix, site, ms };
}

function numberTraffic(rows: KeyedTraffic, numbers: PrefixNumbers): TrafficRows {
  const prefix = new Uint32Array(rows.length);
  for (let at = 0; at < rows.length; at++) {
    const number = numberAt(rows, at, numbers);
    prefix[at] = number;
    if (number !== NO_PREFIX) numbers.importance[number] += rows.connections[at];
  }
  const { length, site, service, connections, bytes } = rows;
  return { length, prefix, site, service, connections, bytes };
}
