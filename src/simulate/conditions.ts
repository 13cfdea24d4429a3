/** What changes with the hour and with events: demand, round-trip times, what is up. */
import type { Draws } from './draws.ts';
import { LINKS_ON_PATH, type World, type WorldEvent } from './types.ts';

/** Local time at which demand is highest, and congestion with it. */
const PEAK_HOUR = 20;
/** How often round-trip times follow the hour. */
const REFRESH_SECONDS = 300;
/** Way round a shared link that is down. */
const LONG_WAY_MS = 60;
const LEAST_MS = 0.5;

const SINES = 1024;
const sines = Float32Array.from({ length: SINES }, (_, index) => Math.sin((2 * Math.PI * index) / SINES));
/** Slow drifts have periods from this on, up to twice as long. */
const DRIFT_HOURS = 4;

interface FlashCrowd {
  readonly service: number;
  readonly region: number;
  readonly factor: number;
  readonly endMs: number;
}

/** Whole multiples of days: 0 is midnight at longitude 0. */
function localHour(nowMs: number, longitudeDegrees: number): number {
  return nowMs / 3_600_000 + longitudeDegrees / 15;
}

/** Refreshing all ways takes about 5 ns a (place, site); demand 20 ns a place. */
export class Conditions {
  readonly siteUp: Uint8Array;
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly paths: Int32Array;
  /** [region * sites + site]: 1: up, and one of its links is. */
  readonly reachable: Uint8Array;
  /** [place * sites + site], without the prefix's own part. */
  readonly wayMs: Float32Array;
  /** [place * services + service]: demand over the mean of the day. */
  readonly demand: Float64Array;
  readonly ttlSeconds: number[];
  /** Rises with each event and end of a flash crowd. */
  revision = 0;
  readonly #world: World;
  readonly #baseMs: Float32Array;
  readonly #longWayMs: Float32Array;
  readonly #linkUp: Uint8Array;
  readonly #linkFactor: Float64Array;
  readonly #siteFactor: Float64Array;
  #flashCrowds: FlashCrowd[] = [];
  #events: WorldEvent[] = [];
  #refreshedMs = Number.NEGATIVE_INFINITY;

  constructor(world: World) {
    const { sites, links, places, parameters } = world;
    this.#world = world;
    this.siteUp = new Uint8Array(sites.length).fill(1);
    this.siteCapacity = Float64Array.from(sites, (site) => site.capacity);
    this.linkCapacity = Float64Array.from(links, (link) => link.capacityBps);
    this.paths = world.paths.slice();
    this.reachable = new Uint8Array(world.regions.length * sites.length).fill(1);
    this.wayMs = world.ways.baseMs.slice();
    this.demand = new Float64Array(places.count * parameters.services.length);
    this.ttlSeconds = parameters.services.map((service) => service.ttlSeconds);
    this.#baseMs = world.ways.baseMs.slice();
    this.#longWayMs = new Float32Array(this.reachable.length);
    this.#linkUp = new Uint8Array(links.length).fill(1);
    this.#linkFactor = new Float64Array(links.length).fill(1);
    this.#siteFactor = new Float64Array(sites.length).fill(1);
  }

  /** In any order; those in the past happen with the next step. */
  schedule(events: readonly WorldEvent[]): void {
    this.#events = [...this.#events, ...events].sort((a, b) => a.atMs - b.atMs);
  }

  /** Brings everything to `nowMs`. */
  advance(nowMs: number, draws: Draws): void {
    let changed = false;
    while (this.#events.length > 0 && (this.#events[0] as WorldEvent).atMs <= nowMs) {
      this.#happen(this.#events.shift() as WorldEvent);
      changed = true;
    }
    const crowds = this.#flashCrowds.filter((crowd) => crowd.endMs > nowMs);
    if (changed || crowds.length < this.#flashCrowds.length) this.revision++;
    this.#flashCrowds = crowds;
    if (changed) this.#findPaths();
    if (changed || nowMs - this.#refreshedMs >= REFRESH_SECONDS * 1000) this.#refreshWays(nowMs);
    this.#drawDemand(nowMs, draws);
  }

  /** Of a place, over the mean of the day, without noise. */
  demandOf(place: number, service: number, nowMs: number): number {
    const { dayPeak } = this.#world.parameters.demand;
    let factor = 1 + (dayPeak - 1) * this.#evening(place, nowMs);
    const region = this.#world.places.region[place];
    for (const crowd of this.#flashCrowds) {
      const meant = (crowd.service < 0 || crowd.service === service) && (crowd.region < 0 || crowd.region === region);
      if (meant) factor *= crowd.factor;
    }
    return factor;
  }

  /** From -1 in the early morning of the place to 1 in its evening. */
  #evening(place: number, nowMs: number): number {
    const { cities, places } = this.#world;
    const longitude = cities[places.city[place] as number]?.location.longitudeDegrees ?? 0;
    return Math.cos((2 * Math.PI * (localHour(nowMs, longitude) - PEAK_HOUR)) / 24);
  }

  #drawDemand(nowMs: number, draws: Draws): void {
    const { places, parameters } = this.#world;
    const services = parameters.services.length;
    const { noise } = parameters.demand;
    for (let place = 0; place < places.count; place++) {
      let steady = this.demandOf(place, 0, nowMs);
      for (let service = 0; service < services; service++) {
        if (service > 0 && this.#flashCrowds.length > 0) steady = this.demandOf(place, service, nowMs);
        this.demand[place * services + service] = steady * (1 + noise * draws.normal());
      }
    }
  }

  #refreshWays(nowMs: number): void {
    this.#refreshedMs = nowMs;
    const { places, sites, ways, parameters } = this.#world;
    const { driftMs } = parameters.network;
    const count = sites.length;
    const base = this.#baseMs;
    const congestion = ways.congestionMs;
    const hours = nowMs / 3_600_000;
    for (let place = 0; place < places.count; place++) {
      const evening = Math.max(0, this.#evening(place, nowMs));
      const region = (places.region[place] as number) * count;
      for (let site = 0; site < count; site++) {
        const index = place * count + site;
        const hash = Math.imul(index + 1, 0x9e3779b1) >>> 0;
        const turns = hours / (DRIFT_HOURS * (1 + (hash & 0xff) / 256)) + (hash >>> 8) / 2 ** 24;
        const drift = driftMs * (sines[Math.floor(turns * SINES) & (SINES - 1)] as number);
        const ms =
          (base[index] as number) +
          (congestion[index] as number) * evening +
          drift +
          (this.#longWayMs[region + site] as number);
        this.wayMs[index] = Math.max(ms, LEAST_MS);
      }
    }
  }

  #happen(event: WorldEvent): void {
    switch (event.kind) {
      case 'site-down':
      case 'site-up':
        this.siteUp[event.site] = event.kind === 'site-up' ? 1 : 0;
        break;
      case 'site-capacity':
        this.#siteFactor[event.site] = event.factor;
        break;
      case 'link-down':
      case 'link-up':
        this.#linkUp[event.link] = event.kind === 'link-up' ? 1 : 0;
        break;
      case 'link-capacity':
        this.#linkFactor[event.link] = event.factor;
        break;
      case 'flash-crowd':
        this.#flashCrowds.push({ ...event, endMs: event.atMs + event.seconds * 1000 });
        break;
      case 'ttl':
        this.ttlSeconds[event.service] = event.ttlSeconds;
        break;
      case 'path-shift':
        this.#shift(event.asn, event.site, event.ms);
    }
  }

  #shift(asn: number, site: number, ms: number): void {
    const { places, sites } = this.#world;
    for (let place = 0; place < places.count; place++) {
      if (asn !== 0 && places.asn[place] !== asn) continue;
      for (let index = 0; index < sites.length; index++) {
        const way = place * sites.length + index;
        if (site < 0 || site === index) this.#baseMs[way] = Math.max(LEAST_MS, (this.#baseMs[way] as number) + ms);
      }
    }
  }

  #findPaths(): void {
    const { sites, links, paths, regions } = this.#world;
    for (const [site, { capacity }] of sites.entries()) {
      this.siteCapacity[site] = capacity * (this.siteUp[site] as number) * (this.#siteFactor[site] as number);
    }
    for (const [link, { capacityBps }] of links.entries()) {
      this.linkCapacity[link] = capacityBps * (this.#linkUp[link] as number) * (this.#linkFactor[link] as number);
    }
    for (let index = 0; index < regions.length * sites.length; index++) {
      const site = index % sites.length;
      const own = paths[index * LINKS_ON_PATH] as number;
      const shared = paths[index * LINKS_ON_PATH + 1] as number;
      let first = own;
      if (this.#linkUp[own] === 0)
        first = links.findIndex((link, other) => link.site === site && this.#linkUp[other] === 1);
      const sharedUp = shared < 0 || this.#linkUp[shared] === 1;
      this.paths[index * LINKS_ON_PATH] = first;
      this.paths[index * LINKS_ON_PATH + 1] = sharedUp ? shared : -1;
      this.#longWayMs[index] = sharedUp ? 0 : LONG_WAY_MS;
      this.reachable[index] = this.siteUp[site] === 1 && first >= 0 ? 1 : 0;
    }
  }
}
