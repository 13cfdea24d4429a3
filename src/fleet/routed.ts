/** Until the routers know the balancers, and clients reach the services. */
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

/** Services that are not reached through their VIP, as the name servers' probes see it, with the site. */
export function unreached({ services }: Config, health: HealthBook): string[] {
  return [...services.values()].flatMap((service) =>
    [...service.vips.keys()]
      .filter((site) => health.site(service.name, site) !== 'healthy')
      .map((site) => `${service.name} at ${site}`),
  );
}
