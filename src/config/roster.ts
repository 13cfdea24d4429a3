/** Who belongs where: machines by site, backends by service. Works on values that may have gaps, for checks and for building. */
import type { BackendValues, BalancerValues, FileValues, ServiceValues } from './schema.ts';

export interface SiteRoster {
  readonly balancers: ReadonlyMap<string, BalancerValues>;
  /** Sorted by name. */
  readonly backends: ReadonlyMap<string, BackendValues>;
}

/** By name of the sites in the file. Machines of unknown sites are in none. */
export type Roster = ReadonlyMap<string, SiteRoster>;

export function createRoster(values: FileValues): Roster {
  const roster = new Map<string, { balancers: Map<string, BalancerValues>; backends: Map<string, BackendValues> }>();
  for (const site of Object.keys(values.sites ?? {})) roster.set(site, { balancers: new Map(), backends: new Map() });
  for (const [name, balancer] of entriesOf(values.balancers))
    roster.get(balancer.site ?? '')?.balancers.set(name, balancer);
  for (const [name, backend] of entriesOf(values.backends).sort(([a], [b]) => (a < b ? -1 : 1)))
    roster.get(backend.site ?? '')?.backends.set(name, backend);
  return roster;
}

/** The entries of a section that are there and are maps at all. */
export function entriesOf<T>(section: Readonly<Record<string, T | undefined>> | undefined): [string, T][] {
  return Object.entries(section ?? {}).filter((entry): entry is [string, T] => entry[1] !== undefined);
}

/** Names of the service's backends at a site, sorted. */
export function backendsAt(service: ServiceValues, site: string, roster: Roster): string[] {
  const here = roster.get(site)?.backends;
  if (here === undefined) return [];
  if (service.backends === 'all') return [...here.keys()];
  return [...new Set((service.backends ?? []).filter((name) => here.has(name)))].sort();
}

/** The service's backends at a site with what the file says of them, by name. */
export function servedAt(service: ServiceValues, site: string, roster: Roster): [string, BackendValues][] {
  const here = roster.get(site)?.backends;
  return backendsAt(service, site, roster).map((name) => [name, here?.get(name) as BackendValues]);
}
