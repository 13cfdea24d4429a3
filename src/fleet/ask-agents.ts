/** Asks the agents of a site that run in this process for connections that may hold slots unsettled. */
import { formerName } from './adopt.ts';
import type { Allocation } from './allocation.ts';
import type { BackendRole } from './backend-role.ts';
import type { Log } from './log.ts';
import type { SitePlan } from './site-plan.ts';
import type { SiteTables } from './site-tables.ts';
import { otherCandidates } from './slot-counts.ts';
import type { SlotListings } from './slot-listings.ts';

export interface ListingSite {
  readonly name: string;
  readonly plan: SitePlan;
  readonly tables: Pick<SiteTables, 'table'>;
  readonly backends: ReadonlyMap<string, BackendRole>;
  readonly indices: Allocation;
  readonly reports: SlotListings;
}

/** Puts what they say into `site.reports`. Never rejects: who cannot tell is told, and holds up nothing but settling by listings. */
export async function askAgents(site: ListingSite, hashKey: Uint8Array, log: Log): Promise<void> {
  const unsettled = site.plan.services.map((planned) => {
    const table = site.tables.table(planned.service.name);
    return { planned, others: table === undefined ? new Set<number>() : otherCandidates(table) };
  });
  await Promise.all(
    [...site.backends.values()].map(async (role) => {
      const index = site.indices.numberOf(role.name) ?? site.indices.numberOf(formerName(role.address)) ?? 0;
      const asked = unsettled.filter(({ others }) => others.has(index)).map(({ planned }) => planned);
      if (asked.length === 0) return;
      try {
        const { takenAtMs, reports } = await role.listConnections(asked, hashKey);
        for (const report of reports) site.reports.take(report.service, index, takenAtMs, report);
      } catch (error) {
        // What it said is old now, so it settles nothing; silence does.
        for (const { service } of asked) site.reports.forget(service.name, index);
        const fields = { site: site.name, backend: role.name, reason: (error as Error).message };
        log.warn(fields, 'the agent cannot list connections');
      }
    }),
  );
}
