/** Until the routers know the balancers. */
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
