/** The truth at one moment, in tables: what all assignments of that moment are judged by. */
import type { TrueState, World } from './types.ts';

export interface Snapshot {
  readonly nowMs: number;
  readonly sites: number;
  readonly services: number;
  /** [user prefix * sites + site], milliseconds. */
  readonly rttMs: Float32Array;
  /** [user prefix * services + service]: new connections a second. */
  readonly demand: Float32Array;
  /** All of it. */
  readonly total: number;
  readonly siteUp: Uint8Array;
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly paths: Int32Array;
}

/** Copies: the state may go on. Cost: prefixes times sites, about 0.2 s for 200,000 and 30. */
export function takeSnapshot(world: World, state: TrueState): Snapshot {
  const { users, sites } = world;
  const services = world.parameters.services.length;
  const rttMs = new Float32Array(users * sites.length);
  const demand = new Float32Array(users * services);
  let total = 0;
  for (let prefix = 0; prefix < users; prefix++) {
    for (let site = 0; site < sites.length; site++) rttMs[prefix * sites.length + site] = state.rttMs(prefix, site);
    for (let service = 0; service < services; service++) {
      const wanted = state.demandOfPrefix(prefix, service);
      demand[prefix * services + service] = wanted;
      total += wanted;
    }
  }
  return {
    nowMs: state.nowMs,
    sites: sites.length,
    services,
    rttMs,
    demand,
    total,
    siteUp: state.siteUp.slice(),
    siteCapacity: state.siteCapacity.slice(),
    linkCapacity: state.linkCapacity.slice(),
    paths: state.paths.slice(),
  };
}
