/** Where measured steering has its rows from: the machines of this process. */
import type { Config } from '../config/model.ts';
import { type KeyedRows, SteeringRows } from '../observe/steering-rows.ts';
import type { HealthBook } from './health-book.ts';
import type { KeyedQueries, MeasuredHealth } from './measured-words.ts';
import type { SiteRuntime } from './site-runtime.ts';
import type { SteeringWatch } from './steering-watch.ts';

/** Of a second, so a site may take a million connections of which round trips are sampled. */
const BOUNDS = { rttRows: 200_000, trafficRows: 200_000 } as const;

export interface TakenRows {
  readonly rows: KeyedRows;
  readonly queries: KeyedQueries | null;
  readonly linkLoad: ReadonlyMap<string, number>;
}

/** Sites and services in rows are their places in the configuration. */
export interface MeasuredSources {
  /** Since the last call. */
  take(config: Config, intervalMs: number): TakenRows;
  health(config: Config): MeasuredHealth;
}

export interface FleetSourcesOptions {
  readonly sites: ReadonlyMap<string, SiteRuntime>;
  readonly steering: SteeringWatch;
  readonly health: HealthBook;
}

export class FleetSources implements MeasuredSources {
  readonly #options: FleetSourcesOptions;
  readonly #rows = new SteeringRows(BOUNDS);

  constructor(options: FleetSourcesOptions) {
    this.#options = options;
  }

  take(_config: Config, _intervalMs: number): TakenRows {
    return { rows: this.#rows.take(), queries: null, linkLoad: new Map() };
  }

  /** Of a site: the mean over its services of the weight of backends that are healthy; 0 for services that are down. */
  health(config: Config): MeasuredHealth {
    const { steering } = this.#options;
    const shares = new Map<string, number>();
    for (const site of config.sites.keys()) {
      const services = [...config.services.values()].filter(({ vips }) => vips.has(site));
      let sum = 0;
      for (const service of services)
        if (steering.siteUp(service.name, site)) sum += this.#healthyShare(config, service.name, site);
      shares.set(site, services.length === 0 ? 0 : sum / services.length);
    }
    return { sites: shares };
  }

  #healthyShare(config: Config, service: string, site: string): number {
    // Backends that another process looks at are judged by the probe of the VIP alone.
    if ((this.#options.sites.get(site)?.balancers.size ?? 0) === 0) return 1;
    let [all, healthy] = [0, 0];
    for (const name of config.services.get(service)?.backends.get(site) ?? []) {
      const weight = config.backends.get(name)?.weight ?? 0;
      all += weight;
      if (this.#options.health.verdict(service, name) !== 'unhealthy') healthy += weight;
    }
    return all === 0 || healthy === 0 ? 1 : healthy / all;
  }
}
