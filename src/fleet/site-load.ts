/** New connections a second at each site, from the counters of its balancers: what a site's capacity is held against. */
import { createTotals } from '../serve/vip/counters.ts';
import type { SiteRuntime } from './site-runtime.ts';

/** Of the difference to the last rate, how much a sample counts: a burst of a second does not turn users away. */
const SMOOTHING = 0.3;

export class SiteLoad {
  readonly #totals = createTotals();
  readonly #seen = new Map<string, { readonly count: number; readonly atMs: number }>();
  readonly #rates = new Map<string, number>();

  /** Looks at a site's counters and gives its rate; 0 at the first look. Cost: some 0.1 us a service, balancer and CPU. */
  sample(site: SiteRuntime, nowMs: number): number {
    let count = 0;
    for (const { forwarder } of site.balancers.values())
      for (const { subject } of site.plan.services)
        count += forwarder.counters.read(subject, this.#totals).newConnections;
    return this.record(site.name, count, nowMs);
  }

  /** The rate of a site after its count stood at `count` at `nowMs`. A count that fell was started anew. */
  record(site: string, count: number, nowMs: number): number {
    const before = this.#seen.get(site);
    this.#seen.set(site, { count, atMs: nowMs });
    if (before === undefined || nowMs <= before.atMs) return this.rateOf(site);
    const now = (Math.max(0, count - before.count) * 1000) / (nowMs - before.atMs);
    const rate = this.rateOf(site) + SMOOTHING * (now - this.rateOf(site));
    this.#rates.set(site, rate);
    return rate;
  }

  rateOf(site: string): number {
    return this.#rates.get(site) ?? 0;
  }
}
