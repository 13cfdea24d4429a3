/** What forecasts rest on: when which answers were given, who came to which site lately; and how plans that are carried out come out. */
import type { Config } from '../config/model.ts';
import { AnswerFills, type CachePhases } from '../decide/steer/control/fills.ts';
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import { createTotals } from '../serve/vip/counters.ts';
import type { DnsRole } from './dns-role.ts';
import { planBackendProbes, planSiteProbes } from './probe-plan.ts';
import type { SiteRuntime } from './site-runtime.ts';

/** Rates are means over this time. */
const RATE_SECONDS = 60;
/** Moments in a TTL that are told apart. */
const FILL_BINS = 600;
/** Plans that are followed; the oldest goes. */
export const MAX_FOLLOWED = 8;
const MINUTE_MS = 60_000;

/** A forecast, and what came of it. */
export interface FollowedPlan {
  readonly forecast: Forecast;
  /** Null: it is followed; else when it was taken back or over. */
  readonly endedAtMs: number | null;
  /** By minute from the change on: new connections of each site of the forecast, in its order. */
  readonly actual: readonly (readonly number[])[];
}

interface Followed {
  readonly forecast: Forecast;
  endedAtMs: number | null;
  readonly actual: number[][];
  /** By site: counts at the last whole minute. */
  began: number[];
}

/** What grows. */
interface Sample {
  readonly atMs: number;
  /** By `SERVICE/SITE`. */
  readonly connections: ReadonlyMap<string, number>;
}

/** Of a running fleet, as it is at a look. */
export interface WatchedFleet {
  readonly config: Config;
  readonly sites: ReadonlyMap<string, SiteRuntime>;
  readonly nameServers: ReadonlyMap<string, DnsRole>;
}

export class ForecastWatch {
  readonly #totals = createTotals();
  /** Connections of our own probes, which are no users: a second, as planned, and so far. */
  readonly #probes = new Map<string, number>();
  readonly #probed = new Map<string, number>();
  #probesOf: Config | null = null;
  /** By `SERVICE/SITE`. */
  readonly #fills = new Map<string, AnswerFills>();
  readonly #answers = new Map<string, number>();
  /** The last minute and one before it, the oldest first. */
  readonly #samples: Sample[] = [];
  /** Answers of a service in the last seconds, for its rate of queries. */
  readonly #queryRates = new Map<string, number>();
  readonly #followed: Followed[] = [];

  /** Once a second. Cost: a look at each counter of services, by balancer and CPU. */
  look(fleet: WatchedFleet, nowMs: number): void {
    this.#lookAtAnswers(fleet, nowMs);
    const before = this.#samples.at(-1);
    this.#countProbes(fleet, before === undefined ? 0 : (nowMs - before.atMs) / 1000);
    const sample = { atMs: nowMs, connections: this.#countConnections(fleet) };
    this.#samples.push(sample);
    while (this.#samples.length > 2 && nowMs - this.#samples[1].atMs >= RATE_SECONDS * 1000) this.#samples.shift();
    if (before === undefined) return;
    for (const plan of this.#followed) if (plan.endedAtMs === null) follow(plan, before, sample);
  }

  #lookAtAnswers({ config, nameServers }: WatchedFleet, nowMs: number): void {
    const counts = new Map<string, number>();
    for (const { server } of nameServers.values()) {
      for (const [service, bySite] of Object.entries(server.counters.sites)) {
        for (const [site, answers] of Object.entries(bySite)) {
          const key = `${service}/${site}`;
          counts.set(key, (counts.get(key) ?? 0) + answers);
        }
      }
    }
    for (const { name, ttlSeconds, vips } of config.services.values()) {
      let sum = 0;
      for (const site of vips.keys()) {
        const key = `${name}/${site}`;
        let fills = this.#fills.get(key);
        if (fills?.ttlSeconds !== ttlSeconds) fills = new AnswerFills(Math.max(1, ttlSeconds), FILL_BINS);
        this.#fills.set(key, fills);
        const count = counts.get(key) ?? 0;
        const more = Math.max(0, count - (this.#answers.get(key) ?? count));
        this.#answers.set(key, count);
        fills.add(more, nowMs);
        sum += more;
      }
      const rate = this.#queryRates.get(name) ?? sum;
      this.#queryRates.set(name, rate + (sum - rate) / RATE_SECONDS);
    }
    this.#forgetGone(config);
  }

  #forgetGone({ services }: Config): void {
    for (const key of this.#fills.keys()) {
      const [service, site] = splitKey(key);
      if (services.get(service)?.vips.has(site)) continue;
      this.#fills.delete(key);
      this.#answers.delete(key);
    }
    for (const name of this.#queryRates.keys()) if (!services.has(name)) this.#queryRates.delete(name);
  }

  #countProbes({ config, sites, nameServers }: WatchedFleet, seconds: number): void {
    if (this.#probesOf !== config) {
      this.#probesOf = config;
      this.#probes.clear();
      const ofSites = planSiteProbes(config);
      const plans = [...nameServers.keys()].flatMap(() => ofSites);
      for (const { balancers } of sites.values()) {
        for (const name of balancers.keys()) {
          const balancer = config.balancers.get(name);
          if (balancer !== undefined) plans.push(...planBackendProbes(config, balancer, () => 1));
        }
      }
      for (const { service, site, path, target } of plans) {
        const key = `${service}/${site}`;
        if (path === 'vip') this.#probes.set(key, (this.#probes.get(key) ?? 0) + 1000 / target.intervalMs);
      }
    }
    for (const [key, rate] of this.#probes) this.#probed.set(key, (this.#probed.get(key) ?? 0) + rate * seconds);
  }

  #countConnections({ sites }: WatchedFleet): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { name, balancers, plan } of sites.values()) {
      for (const { forwarder } of balancers.values()) {
        for (const { service, subject } of plan.services) {
          const key = `${service.name}/${name}`;
          const { newConnections } = forwarder.counters.read(subject, this.#totals);
          counts.set(key, (counts.get(key) ?? -(this.#probed.get(key) ?? 0)) + newConnections);
        }
      }
    }
    return counts;
  }

  /** New connections a second over the last minute, or since the start; 0 before the second look. */
  rateOf(service: string, site: string): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    const key = `${service}/${site}`;
    const more = (last.connections.get(key) ?? 0) - (first.connections.get(key) ?? 0);
    return (Math.max(0, more) * 1000) / (last.atMs - first.atMs);
  }

  phasesOf(service: string, site: string): CachePhases | null {
    return this.#fills.get(`${service}/${site}`)?.phases() ?? null;
  }

  queriesPerSecond(service: string): number {
    return this.#queryRates.get(service) ?? 0;
  }

  /** From now on what comes is held against the forecast, which was made now. */
  follow(forecast: Forecast): void {
    this.end(forecast.change.kind, forecast.atMs);
    this.#followed.push({ forecast, endedAtMs: null, actual: [], began: [] });
    if (this.#followed.length > MAX_FOLLOWED) this.#followed.shift();
  }

  /** Plans of this kind are not followed any more: what they planned is taken back, or something else is. */
  end(kind: Forecast['change']['kind'], nowMs: number): void {
    for (const plan of this.#followed) if (plan.forecast.change.kind === kind) plan.endedAtMs ??= nowMs;
  }

  /** The newest first. */
  followed(): FollowedPlan[] {
    return this.#followed.toReversed().map(({ forecast, endedAtMs, actual }) => ({ forecast, endedAtMs, actual }));
  }
}

/** Counts of sites at a moment between two samples, as if they grew evenly. */
function countsAt(plan: Followed, before: Sample, after: Sample, atMs: number): number[] {
  const share = (atMs - before.atMs) / (after.atMs - before.atMs);
  const sumOf = ({ connections }: Sample, name: string): number => {
    let sum = 0;
    for (const [key, count] of connections) if (splitKey(key)[1] === name) sum += count;
    return sum;
  };
  return plan.forecast.sites.map(({ site }) => {
    const [from, to] = [sumOf(before, site), sumOf(after, site)];
    return from + (to - from) * share;
  });
}

function follow(plan: Followed, before: Sample, after: Sample): void {
  const { atMs, minutes } = plan.forecast;
  for (;;) {
    const edgeMs = atMs + (plan.actual.length + (plan.began.length > 0 ? 1 : 0)) * MINUTE_MS;
    if (after.atMs < edgeMs) return;
    const counts = countsAt(plan, before, after, Math.max(edgeMs, before.atMs));
    if (plan.began.length > 0) plan.actual.push(counts.map((count, n) => Math.max(0, count - plan.began[n])));
    plan.began = counts;
    if (plan.actual.length < minutes) continue;
    plan.endedAtMs = after.atMs;
    return;
  }
}

/** A service's name has no slash. */
function splitKey(key: string): readonly [string, string] {
  const at = key.indexOf('/');
  return [key.slice(0, at), key.slice(at + 1)];
}
