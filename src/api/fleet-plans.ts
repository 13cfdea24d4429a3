/** Plans of a running fleet. */
import { type Forecast, MAX_FORECAST_MINUTES, type PlanChange } from '../decide/steer/forecast/forecast.ts';
import { forecastPolicies } from '../decide/steer/forecast/policies.ts';
import type { FollowedPlan } from '../fleet/forecast-watch.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { refuse } from './fields.ts';
import type { PlanOrder, PlansApi } from './plans.ts';
import type { ApiResult } from './result.ts';

/** Minutes after which a plan has come about, if TTLs do not say longer. */
const FEWEST_MINUTES = 10;
/** Of plans whose end no TTL says. */
const USUAL_MINUTES = 30;
const MOST_MINUTES = 120;

const NO_LINKS = refuse(
  'policies do not look at links, and nothing is measured',
  'turn dns.steering.measured on: a minute later links are planned with',
);

export class FleetPlans implements PlansApi {
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  async forecast({ change, minutes }: PlanOrder): Promise<ApiResult<Forecast>> {
    const refused = this.#refusal(change);
    if (refused !== null) return refused;
    const forecast = await this.#make(change, minutes ?? this.#minutesFor(change));
    return forecast === null ? NO_LINKS : { ok: true, value: forecast };
  }

  followed(): readonly FollowedPlan[] {
    return this.#runtime.steering.forecasts.followed();
  }

  /** Call it before a site is drained: what comes is held against what is predicted now. */
  followDrain(site: string): void {
    const change = { kind: 'drain', site } as const;
    if (this.#refusal(change) !== null) return;
    // What measures is asked before the drain, and answers after it began.
    void this.#make(change, this.#minutesFor(change)).then((forecast) => {
      if (forecast !== null) this.#runtime.steering.forecasts.follow(forecast);
    });
  }

  endDrain(): void {
    this.#runtime.steering.forecasts.end('drain', Date.now());
  }

  /** Null: policies know nothing of it. */
  async #make(change: PlanChange, minutes: number): Promise<Forecast | null> {
    const { measured } = this.#runtime;
    const isMeasured = change.kind === 'drain' || change.kind === 'capacity' || change.kind === 'link';
    const byPolicies = change.kind === 'link' ? null : this.#byPolicies(change, minutes);
    return (isMeasured ? await measured.plan(change, minutes) : null) ?? byPolicies;
  }

  #byPolicies(change: PlanChange, minutes: number): Forecast {
    const { config, steering } = this.#runtime;
    const { forecasts } = steering;
    const state = {
      config,
      view: steering,
      rateOf: (service: string, site: string) => forecasts.rateOf(service, site),
      phasesOf: (service: string, site: string) => forecasts.phasesOf(service, site),
      queriesPerSecond: (service: string) => forecasts.queriesPerSecond(service),
      nowMs: Date.now(),
    };
    return forecastPolicies(state, change, minutes);
  }

  #minutesFor(change: PlanChange): number {
    const ttls = [...this.#runtime.config.services.values()].map(({ ttlSeconds }) => ttlSeconds);
    const fewest = change.kind === 'capacity' ? USUAL_MINUTES : FEWEST_MINUTES;
    const wanted = Math.max(fewest, Math.ceil((2 * Math.max(0, ...ttls)) / 60));
    return Math.min(wanted, MOST_MINUTES, MAX_FORECAST_MINUTES);
  }

  #refusal(change: PlanChange): Extract<ApiResult<Forecast>, { ok: false }> | null {
    const { config, nameServers, steering } = this.#runtime;
    if (nameServers.size === 0)
      return refuse('a name server is not run by this process', 'ask the process that runs it (--api URL)');
    const unknown = (kind: string, name: string, known: Iterable<string>) =>
      refuse(`there is no ${kind} ${name}`, `known: ${[...known].join(', ')}`);
    if (change.kind === 'ttl')
      return config.services.has(change.service) ? null : unknown('service', change.service, config.services.keys());
    const site = config.sites.get(change.site);
    if (change.kind === 'site')
      return site === undefined
        ? null
        : refuse(`there is a site ${change.site} already`, 'give the new one another name');
    if (site === undefined) return unknown('site', change.site, config.sites.keys());
    if (change.kind === 'drain' && steering.drainedSites.has(change.site))
      return refuse(`${change.site} is drained already`, 'portico plan follow tells how it comes out');
    if (change.kind === 'capacity' && site.capacityPerSecond === Infinity)
      return refuse(`${change.site} has no capacity in the configuration`, 'write capacity: 20000/s at the site');
    if (change.kind !== 'link') return null;
    const { links } = site;
    if (!links.some(({ name }) => name === change.link))
      return unknown(
        `link of ${change.site}`,
        change.link,
        links.map(({ name }) => name),
      );
    return null;
  }
}
