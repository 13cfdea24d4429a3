/**
 * What DNS answers take into account: which sites are up, drained or full. A name server probes one VIP of every service
 * at every site, so that a site whose links are gone is left although its own probes are content.
 */
import type { Config } from '../config/model.ts';
import type { SteeringView } from '../decide/steer/nearest.ts';
import { ForecastWatch, type WatchedFleet } from './forecast-watch.ts';
import type { HealthBook } from './health-book.ts';
import type { Log } from './log.ts';
import type { SiteRuntime } from './site-runtime.ts';

/** A full site counts as having room again below this share of its capacity, so that it does not flap. */
const ROOM_AGAIN_SHARE = 0.9;

export class SteeringWatch implements SteeringView {
  readonly drainedSites = new Set<string>();
  readonly forecasts = new ForecastWatch();
  readonly #health: HealthBook;
  readonly #sites: ReadonlyMap<string, SiteRuntime>;
  readonly #full = new Set<string>();
  /** By service: sites that were up when last one was. */
  readonly #lastUp = new Map<string, ReadonlySet<string>>();
  #config: Config;

  constructor(config: Config, health: HealthBook, sites: ReadonlyMap<string, SiteRuntime>) {
    this.#config = config;
    this.#health = health;
    this.#sites = sites;
  }

  setConfig(config: Config): void {
    this.#config = config;
  }

  siteUp(serviceName: string, site: string): boolean {
    if (this.drainedSites.has(site)) return false;
    if (this.#health.site(serviceName, site) === 'unhealthy') return false;
    const service = this.#config.services.get(serviceName);
    const runtime = this.#sites.get(site);
    // A site that other machines run is judged by the probe of its VIP alone.
    if (service === undefined || runtime === undefined || runtime.balancers.size === 0) return true;
    return runtime.canServe(service);
  }

  siteFull(_service: string, site: string): boolean {
    return this.#full.has(site);
  }

  siteWasUp(service: string, site: string): boolean {
    return this.#lastUp.get(service)?.has(site) ?? false;
  }

  /** Once a second. */
  look(fleet: WatchedFleet, nowMs: number): void {
    this.remember();
    if (fleet.nameServers.size > 0) this.forecasts.look(fleet, nowMs);
  }

  /** Looks which sites are up, for when none is. */
  remember(): void {
    for (const { name, vips } of this.#config.services.values()) {
      const up = [...vips.keys()].filter((site) => this.siteUp(name, site));
      if (up.length > 0) this.#lastUp.set(name, new Set(up));
    }
  }

  /** New connections a second at a site, as its balancers counted them. Returns whether `siteFull` changed. */
  setRate(site: string, newPerSecond: number): boolean {
    const capacity = this.#config.sites.get(site)?.capacityPerSecond ?? Number.POSITIVE_INFINITY;
    const was = this.#full.has(site);
    const is = newPerSecond >= capacity * (was ? ROOM_AGAIN_SHARE : 1);
    if (is) this.#full.add(site);
    else this.#full.delete(site);
    return was !== is;
  }

  /** The same, and tells when it did. */
  lookAtRate(site: string, newPerSecond: number, log: Log): void {
    if (!this.setRate(site, newPerSecond)) return;
    const isFull = this.#full.has(site);
    const fields = { site, newPerSecond: Math.round(newPerSecond) };
    log.warn(fields, isFull ? `site ${site} is full: DNS leaves it out` : `site ${site} has room again`);
  }
}
