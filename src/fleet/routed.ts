/** Until the routers know the balancers, and clients reach the services. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/model.ts';
import type { HealthBook } from './health-book.ts';
import type { Log } from './log.ts';
import type { SiteRuntime } from './site-runtime.ts';

const ROUTED_LIMIT_MS = 3_000;

/** Probes would fail, and say so, while the routers do not know the balancers yet. A silent router delays no more than this. */
export async function untilRouted(sites: Iterable<SiteRuntime>, log: Log): Promise<void> {
  const announcers = [...sites].flatMap((site) =>
    [...site.balancers.values()].flatMap((role) => (role.announcer === null ? [] : [role.announcer])),
  );
  const waits = announcers.map((announcer) => announcer.untilEstablished(ROUTED_LIMIT_MS));
  for (const result of await Promise.allSettled(waits))
    if (result.status === 'rejected') log.warn({ reason: (result.reason as Error).message }, 'no BGP session yet');
}

const REACHED_POLL_MS = 50;

/** Rejects when the time is over. */
export async function untilReached(
  fleet: { readonly config: Config; readonly health: HealthBook },
  limitMs: number,
): Promise<void> {
  const limitAt = performance.now() + limitMs;
  for (;;) {
    const missing = unreached(fleet.config, fleet.health);
    if (missing.length === 0) return;
    if (performance.now() > limitAt) throw new Error(`not reached within ${limitMs} ms: ${missing.join(', ')}`);
    await sleep(REACHED_POLL_MS);
  }
}

/** Services that are not reached through their VIP, as the name servers' probes see it, with the site. */
function unreached({ services }: Config, health: HealthBook): string[] {
  return [...services.values()].flatMap((service) =>
    [...service.vips.keys()]
      .filter((site) => health.site(service.name, site) !== 'healthy')
      .map((site) => `${service.name} at ${site}`),
  );
}
