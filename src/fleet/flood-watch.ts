/**
 * Which services are under pressure: new flows above a limit, refused or not tracked. Told when it begins, with who sends most,
 * and when it is over.
 */
import { createTotals } from '../serve/vip/counters.ts';
import { EVENT, OUTCOME } from '../serve/vip/layout.gen.ts';
import type { PrefixCount } from '../serve/vip/prefixes.ts';
import type { Log } from './log.ts';
import type { SiteRuntime } from './site-runtime.ts';

/** Without anything above a limit for so long, it is over. */
const QUIET_MS = 10_000;
/** Prefixes that the log names. */
const NAMED = 3;

/** New flows above a limit since the balancers began to count. */
export interface AboveLimits {
  /** Dropped: above what the service takes from their client prefix. */
  readonly limited: number;
  /** Served, but not entered in the connection table: above the service's share of it. */
  readonly untracked: number;
}

interface Watched {
  above: AboveLimits;
  /** Null: not under pressure. */
  sinceMs: number | null;
  lastMs: number;
  /** At the beginning of the pressure. */
  before: AboveLimits;
}

export class FloodWatch {
  readonly #log: Log;
  readonly #totals = createTotals();
  readonly #watched = new Map<string, Watched>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Looks at a site's counters, about once a second. Cost: some 0.1 us a service, balancer and CPU. */
  look(site: SiteRuntime, nowMs: number): void {
    for (const { service, subject } of site.plan.services) {
      let [limited, untracked] = [0, 0];
      for (const { forwarder } of site.balancers.values()) {
        const { outcome, event } = forwarder.counters.read(subject, this.#totals);
        limited += outcome[OUTCOME.LIMITED] as number;
        untracked += event[EVENT.REFUSED_PRESSURE] as number;
      }
      const busiest = () => topPrefixes(site, NAMED).get(subject) ?? [];
      this.record(site.name, service.name, { limited, untracked }, nowMs, busiest);
    }
  }

  /** `busiest` is asked only when pressure begins. Counts that fell were started anew. */
  record(
    site: string,
    service: string,
    above: AboveLimits,
    nowMs: number,
    busiest: () => readonly PrefixCount[],
  ): void {
    const key = `${site}/${service}`;
    const one = this.#watched.get(key);
    if (one === undefined) {
      this.#watched.set(key, { above, sinceMs: null, lastMs: nowMs, before: above });
      return;
    }
    const grew = above.limited > one.above.limited || above.untracked > one.above.untracked;
    if (grew && one.sinceMs === null) {
      one.sinceMs = nowMs;
      one.before = one.above;
      const isDropped = above.limited > one.above.limited;
      const most = busiest().map(({ prefix, newPerSecond }) => `${prefix} ${Math.round(newPerSecond)}/s`);
      this.#log.warn(
        { site, service, most: most.join(', ') },
        `service ${service} at ${site} is under pressure: ${isDropped ? 'new connections above the limit of their client prefix are dropped' : 'new flows above its limit are not tracked'}`,
      );
    }
    if (grew) one.lastMs = nowMs;
    if (!grew && one.sinceMs !== null && nowMs - one.lastMs >= QUIET_MS) {
      const seconds = Math.round((one.lastMs - one.sinceMs) / 1000);
      const limited = above.limited - one.before.limited;
      const untracked = above.untracked - one.before.untracked;
      one.sinceMs = null;
      this.#log.info(
        { site, service, seconds, limited, untracked },
        `service ${service} at ${site} is no longer under pressure`,
      );
    }
    one.above = above;
  }

  /** Since when the service has been under pressure; null: it is not. */
  pressureSinceMs(site: string, service: string): number | null {
    return this.#watched.get(`${site}/${service}`)?.sinceMs ?? null;
  }
}

/** By subject of the service: who opens the most flows, at all balancers of the site together. About 0.3 ms a balancer. */
export function topPrefixes(site: SiteRuntime, count: number): Map<number, PrefixCount[]> {
  const reports = [...site.balancers.values()].map(({ forwarder }) =>
    forwarder.prefixes.top(count, forwarder.clockNs()),
  );
  const subjects = new Set(reports.flatMap((report) => [...report.keys()]));
  return new Map(
    [...subjects].map((subject) => [
      subject,
      mergePrefixes(
        reports.map((one) => one.get(subject) ?? []),
        count,
      ),
    ]),
  );
}

/** Rates of the same prefix add up, and so do their errors. */
export function mergePrefixes(lists: readonly (readonly PrefixCount[])[], count: number): PrefixCount[] {
  const sums = new Map<string, PrefixCount>();
  for (const one of lists.flat()) {
    const other = sums.get(one.prefix);
    sums.set(
      one.prefix,
      other === undefined
        ? one
        : {
            prefix: one.prefix,
            newPerSecond: one.newPerSecond + other.newPerSecond,
            errorPerSecond: one.errorPerSecond + other.errorPerSecond,
            seconds: Math.max(one.seconds, other.seconds),
            refused: one.refused + other.refused,
          },
    );
  }
  return [...sums.values()].sort((a, b) => b.newPerSecond - a.newPerSecond).slice(0, count);
}
