/** Users' connections in a step: how many go where, what of them is seen, and what they had to wait. */
import { NO_PREFIX } from '../decide/steer/measured.ts';
import type { Caches } from './caches.ts';
import type { Conditions } from './conditions.ts';
import type { Draws } from './draws.ts';
import { BLOCK, Flows } from './flows.ts';
import { BeaconTable, RttTable, TrafficTable } from './rows.ts';
import { LINKS_ON_PATH, type World } from './types.ts';
import type { Units } from './units.ts';

/** Standard deviation of the bytes of one connection over their mean. */
const BYTES_SPREAD = 1;

/** Round trips are told of so many fewer that there is room for all: else those of the last prefixes were left out. */
const RTT_MARGIN = 1.1;

/** A step costs about 60 ns for each (prefix, service) with demand. */
export class Traffic {
  readonly rows = new TrafficTable();
  readonly rtt: RttTable;
  readonly beacons = new BeaconTable();
  /** [service * sites + site]. */
  readonly arrived: Float64Array;
  readonly rttSumMs: Float64Array;
  readonly offeredBps: Float64Array;
  /** [link]: what is measured: no more than the link carries. */
  readonly linkLoad: Float64Array;
  /** [unit * services + service]: new connections a second that are wanted, by `drawDemand`. */
  readonly unitDemand: Float64Array;
  wanted = 0;
  lost = 0;
  readonly #world: World;
  readonly #units: Units;
  readonly #services: number;
  readonly #sites: number;
  /** [(region * sites + site) * services + service]: connections. */
  readonly #byRegion: Float64Array;
  readonly #flows: Flows;
  /** [row of the flows]: connections that arrived. */
  readonly #came: Float64Array;
  /** [service]: of a connection. */
  readonly #bytes: Float64Array;
  /** Connections until the next one whose round trip is told; users until the next beacon. */
  #untilRtt = 0;
  #untilBeacon = 0;
  #betweenRtts = 1;
  /** Rows of fewer connections are told together: [service * sites + site]. */
  readonly #rest: Float64Array;
  readonly #mostRows: number;
  #leastOfRow = 1;

  constructor(world: World, units: Units) {
    const services = world.parameters.services.length;
    const sites = world.sites.length;
    this.#world = world;
    this.#units = units;
    this.#services = services;
    this.#sites = sites;
    this.rtt = new RttTable(world.parameters.observation.rttRows);
    this.arrived = new Float64Array(services * sites);
    this.rttSumMs = new Float64Array(services);
    this.offeredBps = new Float64Array(world.links.length);
    this.linkLoad = new Float64Array(world.links.length);
    this.unitDemand = new Float64Array(units.count * services);
    this.#byRegion = new Float64Array(world.regions.length * sites * services);
    this.#flows = new Flows(world, units);
    this.#came = new Float64Array(this.#flows.prefix.length);
    this.#bytes = Float64Array.from(world.parameters.services, (service) => service.bitsPerConnection / 8);
    this.#rest = new Float64Array(services * sites);
    this.#mostRows = world.parameters.observation.trafficRows;
  }

  /** Adds up what users of each unit want. */
  sumDemand(conditions: Conditions): void {
    const { users, weight, placeOf, pairsOf, pairShare, parameters } = this.#world;
    const services = this.#services;
    const { ofPair } = this.#units;
    const { demand } = conditions;
    const sums = this.unitDemand.fill(0);
    const all = parameters.demand.connectionsPerSecond;
    const shares = parameters.services.map((service) => service.share);
    for (let prefix = 0; prefix < users; prefix++) {
      const own = (weight[prefix] as number) * all;
      const place = (placeOf[prefix] as number) * services;
      const end = pairsOf[prefix + 1] as number;
      for (let pair = pairsOf[prefix] as number; pair < end; pair++) {
        const rate = own * (pairShare[pair] as number);
        const item = (ofPair[pair] as number) * services;
        for (let service = 0; service < services; service++) {
          sums[item + service] =
            (sums[item + service] as number) + rate * (shares[service] as number) * (demand[place + service] as number);
        }
      }
    }
  }

  step(seconds: number, conditions: Conditions, caches: Caches, draws: Draws): void {
    const { users, parameters } = this.#world;
    this.#begin(seconds);
    const all = parameters.demand.connectionsPerSecond * seconds;
    for (let first = 0; first < users; first += BLOCK) {
      this.#flows.fill(first, Math.min(users, first + BLOCK), conditions.demand, all, caches);
      this.#arrive(conditions, draws);
      this.#tellTraffic(draws);
    }
    this.#finish(seconds, conditions);
  }

  #begin(seconds: number): void {
    const { observation, demand } = this.#world.parameters;
    const before = this.wanted > 0 ? this.wanted : demand.connectionsPerSecond * seconds;
    this.#betweenRtts =
      observation.rttRows > 0 ? (RTT_MARGIN * before) / observation.rttRows : Number.POSITIVE_INFINITY;
    this.rows.length = 0;
    this.rtt.length = 0;
    this.beacons.length = 0;
    this.arrived.fill(0);
    this.rttSumMs.fill(0);
    this.#byRegion.fill(0);
    this.#rest.fill(0);
    this.wanted = 0;
    this.lost = 0;
  }

  /** How many of the block's flows come, and what is seen of them. */
  #arrive(conditions: Conditions, draws: Draws): void {
    const { prefix: prefixes, service: services, site: sites, expected, length } = this.#flows;
    const { placeOf, accessMs } = this.#world;
    const { region } = this.#world.places;
    const { wayMs, reachable } = conditions;
    const count = this.#sites;
    const [arrived, rttSumMs, byRegion] = [this.arrived, this.rttSumMs, this.#byRegion];
    const { beaconShare } = this.#world.parameters.observation;
    const came = this.#came;
    let wanted = 0;
    for (let row = 0; row < length; row++) {
      const connections = draws.poisson(expected[row] as number);
      came[row] = 0;
      if (connections === 0) continue;
      const prefix = prefixes[row] as number;
      const site = sites[row] as number;
      const service = services[row] as number;
      const place = placeOf[prefix] as number;
      const way = (region[place] as number) * count + site;
      wanted += connections;
      if (site === count || reachable[way] === 0) {
        this.lost += connections;
        continue;
      }
      const ms = (accessMs[prefix] as number) + (wayMs[place * count + site] as number);
      const item = service * count + site;
      arrived[item] = (arrived[item] as number) + connections;
      rttSumMs[service] = (rttSumMs[service] as number) + connections * ms;
      byRegion[way * this.#services + service] = (byRegion[way * this.#services + service] as number) + connections;
      this.#untilRtt -= connections;
      if (this.#untilRtt < 0) this.#tellRtt(prefix, site, ms, draws);
      if (service === 0) {
        this.#untilBeacon -= connections * beaconShare;
        if (this.#untilBeacon < 0) this.#tellBeacon(prefix, draws);
      }
      came[row] = connections;
    }
    this.wanted += wanted;
  }

  #tellTraffic(draws: Draws): void {
    const { prefix: prefixes, service: services, site: sites, length } = this.#flows;
    this.rows.reserve(length);
    const { prefix, site, service, connections, bytes } = this.rows;
    const came = this.#came;
    const least = this.#leastOfRow;
    let end = this.rows.length;
    for (let row = 0; row < length; row++) {
      const count = came[row] as number;
      if (count === 0) continue;
      const kind = services[row] as number;
      if (count < least || end === this.#mostRows) {
        const item = kind * this.#sites + (sites[row] as number);
        this.#rest[item] = (this.#rest[item] as number) + count;
        continue;
      }
      const spread = Math.max(0.1, 1 + (BYTES_SPREAD * draws.normal()) / Math.sqrt(count));
      prefix[end] = prefixes[row] as number;
      site[end] = sites[row] as number;
      service[end] = kind;
      connections[end] = count;
      bytes[end] = count * (this.#bytes[kind] as number) * spread;
      end++;
    }
    this.rows.length = end;
  }

  #tellRtt(prefix: number, site: number, ms: number, draws: Draws): void {
    const { jitterMs } = this.#world.parameters.network;
    while (this.#untilRtt < 0) {
      this.rtt.add(prefix, site, ms + jitterMs * draws.exponential());
      this.#untilRtt += this.#betweenRtts * draws.exponential();
    }
  }

  /** The user is of one of the prefix's pairs, by their shares. */
  #tellBeacon(prefix: number, draws: Draws): void {
    const { pairsOf, pairShare, pairResolver, users } = this.#world;
    while (this.#untilBeacon < 0) {
      let pair = pairsOf[prefix] as number;
      const last = (pairsOf[prefix + 1] as number) - 1;
      for (let left = draws.uniform(); pair < last && left >= (pairShare[pair] as number); pair++) {
        left -= pairShare[pair] as number;
      }
      this.beacons.add(users + (pairResolver[pair] as number), prefix);
      this.#untilBeacon += draws.exponential();
    }
  }

  #finish(seconds: number, conditions: Conditions): void {
    const { regions } = this.#world;
    const { services } = this.#world.parameters;
    // As many rows as there is room for: the least of a row follows how many there were.
    const rows = this.rows.length;
    for (let item = 0; item < this.#rest.length; item++) {
      const connections = this.#rest[item] as number;
      if (connections === 0) continue;
      const service = Math.floor(item / this.#sites);
      this.rows.add(
        NO_PREFIX,
        item % this.#sites,
        service,
        connections,
        connections * (this.#bytes[service] as number),
      );
    }
    if (rows >= this.#mostRows) this.#leastOfRow = Math.ceil(1.2 * this.#leastOfRow + 0.5);
    else if (this.#leastOfRow > 1 && rows < this.#mostRows / 2) this.#leastOfRow--;
    this.offeredBps.fill(0);
    for (let way = 0; way < regions.length * this.#sites; way++) {
      let bits = 0;
      for (const [service, { bitsPerConnection }] of services.entries()) {
        bits += (this.#byRegion[way * this.#services + service] as number) * bitsPerConnection;
      }
      if (bits === 0) continue;
      for (let index = 0; index < LINKS_ON_PATH; index++) {
        const link = conditions.paths[way * LINKS_ON_PATH + index] as number;
        if (link >= 0) this.offeredBps[link] = (this.offeredBps[link] as number) + bits / seconds;
      }
    }
    for (const [link, offered] of this.offeredBps.entries()) {
      this.linkLoad[link] = Math.min(offered, conditions.linkCapacity[link] as number);
    }
  }
}
