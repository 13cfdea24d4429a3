/** Who holds a drain open: what is known of the flows that may still be on a drained backend. Reads, changes nothing. */
import { formatAddress } from '../net/address.ts';
import type { SiteRuntime } from './site-runtime.ts';
import { slotsNaming } from './slot-counts.ts';

export interface DrainHolders {
  /** Slots of the service in which flows of the backend may be. None: the drain is over. */
  readonly slots: number;
  /** Since the last packet to anybody but `current` in one of these slots, to 4.3 s; null: nobody knows. */
  readonly lastPacketAgoMs: number | null;
  /** As its agent has listed them last; null: no agent tells. */
  readonly connections: number | null;
  readonly oldestMs: number | null;
  /** Clients with the most connections. */
  readonly topClients: readonly { readonly client: string; readonly connections: number }[];
}

/** Cost O(slots) for each balancer. */
export function drainHolders(site: SiteRuntime, service: string, backend: string): DrainHolders {
  const index = site.indices.numberOf(backend) ?? 0;
  const table = site.tables.table(service);
  const subject = site.tables.summary(service)?.subject;
  const slots = table === undefined ? [] : slotsNaming(table, index);
  let lastPacketAgoMs: number | null = null;
  for (const balancer of site.balancers.values()) {
    const kernel = subject === undefined ? undefined : balancer.table(subject);
    for (const slot of kernel === undefined ? [] : slots) {
      const silenceMs = kernel?.silenceMs(slot) ?? null;
      if (silenceMs !== null) lastPacketAgoMs = Math.min(silenceMs, lastPacketAgoMs ?? silenceMs);
    }
  }
  const report = slots.length === 0 ? null : site.reports.last(service, index);
  return {
    slots: slots.length,
    lastPacketAgoMs,
    connections: report?.count ?? null,
    oldestMs: report?.oldestMs ?? null,
    topClients: (report?.topClients ?? []).map(({ address, connections }) => ({
      client: formatAddress(address),
      connections,
    })),
  };
}
