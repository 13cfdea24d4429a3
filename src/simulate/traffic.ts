/** Users' connections in a step: how many go where, what of them is seen, and what they had to wait. */
import { NO_PREFIX } from '../decide/steer/measured.ts';
import { type Caches, MIX } from './caches.ts';
import type { Conditions } from './conditions.ts';
import type { Draws } from './draws.ts';
import { BeaconTable, RttTable, TrafficTable } from './rows.ts';
import { LINKS_ON_PATH, type World } from './types.ts';
import type { Units } from './units.ts';

/** Standard deviation of the bytes of one connection over their mean. */
const BYTES_SPREAD = 1;

/** Round trips are told of so many fewer that there is room for all: else those of the last prefixes were left out. */
const RTT_MARGIN = 1.1;

/** A step costs about 60 ns for each (prefix, service) with demand and 10 ns for each pair and service. */
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
  /** [site], and one more for no site: of the prefix and service at hand. */
  readonly #expected: Float64Array;
  readonly #touched: Uint16Array;
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
    this.#expected = new Float64Array(sites + 1);
    this.#rest = new Float64Array(services * sites);
    this.#mostRows = world.parameters.observation.trafficRows;
    this.#touched = new Uint16Array(sites + 1);
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
    const { users, weight, placeOf, parameters } = this.#world;
    this.#begin(seconds);
    const expected = parameters.demand.connectionsPerSecond * seconds;
    const shares = parameters.services.map((service) => service.share);
    for (let prefix = 0; prefix < users; prefix++) {
      const own = (weight[prefix] as number) * expected;
      const place = placeOf[prefix] as number;
      for (let service = 0; service < this.#services; service++) {
        const factor = conditions.demand[place * this.#services + service] as number;
        const wanted = own * (shares[service] as number) * factor;
        if (wanted <= 0) continue;
        const sites = this.#spread(prefix, service, wanted, caches, draws);
        for (let index = 0; index < sites; index++) {
          const site = this.#touched[index] as number;
          const count = draws.poisson(this.#expected[site] as number);
          this.#expected[site] = 0;
          if (count > 0) this.#arrive(prefix, place, service, site, count, conditions, draws);
        }
      }
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

  /** To which sites the answers that they hold send the users of a prefix; and which of them fetch a name of their own. */
  #spread(prefix: number, service: number, wanted: number, caches: Caches, draws: Draws): number {
    const { pairsOf, pairShare, pairResolver, parameters, users } = this.#world;
    const { beaconShare } = parameters.observation;
    const { mixCount, mixSite, mixWeight } = caches;
    const expected = this.#expected;
    const end = pairsOf[prefix + 1] as number;
    let touched = 0;
    for (let pair = pairsOf[prefix] as number; pair < end; pair++) {
      const own = wanted * (pairShare[pair] as number);
      const item = (this.#units.ofPair[pair] as number) * this.#services + service;
      const last = item * MIX + (mixCount[item] as number);
      let came = 0;
      for (let index = item * MIX; index < last; index++) {
        const site = Math.min(mixSite[index] as number, this.#sites);
        const connections = own * (mixWeight[index] as number);
        const before = expected[site] as number;
        if (before === 0) this.#touched[touched++] = site;
        expected[site] = before + connections;
        if (site < this.#sites) came += connections;
      }
      if (service > 0 || beaconShare === 0) continue;
      this.#untilBeacon -= came * beaconShare;
      while (this.#untilBeacon < 0) {
        this.beacons.add(users + (pairResolver[pair] as number), prefix);
        this.#untilBeacon += draws.exponential();
      }
    }
    return touched;
  }

  #arrive(
    prefix: number,
    place: number,
    service: number,
    site: number,
    count: number,
    conditions: Conditions,
    draws: Draws,
  ): void {
    const sites = this.#sites;
    this.wanted += count;
    const way = (this.#world.places.region[place] as number) * sites + site;
    if (site === sites || conditions.reachable[way] === 0) {
      this.lost += count;
      return;
    }
    const ms = (this.#world.accessMs[prefix] as number) + (conditions.wayMs[place * sites + site] as number);
    const { services, network } = this.#world.parameters;
    const item = service * sites + site;
    this.arrived[item] = (this.arrived[item] as number) + count;
    this.rttSumMs[service] = (this.rttSumMs[service] as number) + count * ms;
    const region = way * this.#services + service;
    this.#byRegion[region] = (this.#byRegion[region] as number) + count;
    if (count >= this.#leastOfRow && this.rows.length < this.#mostRows) {
      const spread = Math.max(0.1, 1 + (BYTES_SPREAD * draws.normal()) / Math.sqrt(count));
      const bytes = (count * (services[service] as { bitsPerConnection: number }).bitsPerConnection * spread) / 8;
      this.rows.add(prefix, site, service, count, bytes);
    } else {
      this.#rest[item] = (this.#rest[item] as number) + count;
    }
    this.#untilRtt -= count;
    while (this.#untilRtt < 0) {
      this.rtt.add(prefix, site, ms + network.jitterMs * draws.exponential());
      this.#untilRtt += this.#betweenRtts * draws.exponential();
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
      const bits = (services[service] as { bitsPerConnection: number }).bitsPerConnection;
      this.rows.add(NO_PREFIX, item % this.#sites, service, connections, (connections * bits) / 8);
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
