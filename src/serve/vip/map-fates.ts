/**
 * What becomes of each map when another version of the programs takes over. Where both versions mean the same by what is in
 * it, a map is kept, unless its fate is `new`. Otherwise:
 *
 * | fate | | what may be lost, and why no connection breaks |
 * |---|---|---|
 * | `new` | made anew with every exchange of programs: scratch space of one packet, caches, and `parts`, whose programs belong to one version | nothing that outlives a packet |
 * | `copy` | element by element, fields by name; written by user space, which waits meanwhile | nothing. Of `pressures`, which packets write too: flows counted during the copy (ms), so a limit is met a little later, and round robin goes back by that many turns |
 * | `renew` | `settings`: as `copy`, with every exchange, so that the old program keeps its own until the end | nothing |
 * | `count` | the new map counts from 0; when no packet is in the old program any more, its sums are added, in places that no CPU writes | nothing |
 * | `tally` | as `count`, added atomically to what packets have counted meanwhile | nothing |
 * | `tables` | a map of maps: a new outer one gets the same inner ones, which both versions write | nothing |
 * | `connections` | of another size: copied bucket by bucket while no new flow is inserted; new flows of unsettled slots go to `previous` meanwhile, as always without room | nothing that is alive (resize.ts); refused where it does not fit |
 * | `forget` | made anew and empty | see `lost` |
 * | `refuse` | nobody has said what it may lose | the upgrade is refused |
 */
import type { PACKING } from './layout.gen.ts';

export type PackingName = keyof typeof PACKING;

export type FateKind =
  | 'shared'
  | 'new'
  | 'copy'
  | 'renew'
  | 'count'
  | 'tally'
  | 'tables'
  | 'connections'
  | 'forget'
  | 'refuse';

export interface Fate {
  readonly kind: FateKind;
  /** Its words are packed in a way that BTF does not show. */
  readonly packing?: PackingName;
  /** Of a map that is refused with another packing: what starting anew would break. */
  readonly breaks?: string;
  /** Of a map that may be forgotten. */
  readonly lost?: string;
  /** Of a ring: the struct that begins its records. */
  readonly record?: string;
}

const SLOT_FATE: Fate = {
  kind: 'tables',
  packing: 'SLOT',
  breaks: 'flows in unsettled slots would lose their backends, or all flows would change slots',
};

export const MAP_FATES: Readonly<Record<string, Fate>> = {
  roles: { kind: 'shared' },
  // The balancer's.
  vips: { kind: 'copy', packing: 'FLAGS' },
  vip_prefixes: { kind: 'copy', packing: 'FLAGS' },
  services: { kind: 'copy', packing: 'FLAGS' },
  backends: { kind: 'copy', packing: 'FLAGS' },
  balancers: { kind: 'copy', packing: 'FLAGS' },
  balancer_sources: { kind: 'copy' },
  probe_sources: { kind: 'copy' },
  fragment_owners: { kind: 'copy' },
  pressures: { kind: 'copy' },
  settings: { kind: 'renew' },
  counters: { kind: 'count' },
  nat_replies: { kind: 'copy' },
  nat_tuples: { kind: 'copy' }, // packets write it too: a flow that came during the copy is entered again by its client's next one
  active_connections: { kind: 'tally' },
  slot_tables: SLOT_FATE,
  pick_tables: SLOT_FATE,
  connections: {
    kind: 'connections',
    packing: 'ENTRY',
    breaks: 'tracked flows would not be known any more, and go to other backends',
  },
  fragments: {
    kind: 'forget',
    packing: 'FRAGMENT',
    lost: 'datagrams whose fragments are under way: later ones wait for a first that has passed',
  },
  hand_up_windows: { kind: 'forget', packing: 'FRAGMENT', lost: 'what prefixes have handed up in the last 67 ms' },
  slow_path: { kind: 'forget', record: 'hand_up', lost: 'packets handed up and not yet taken' },
  captures: { kind: 'forget', record: 'captured', lost: 'packets captured and not yet shown' },
  sweeper: { kind: 'forget', lost: 'how far the sweeper was: it begins again' },
  parts: { kind: 'new' },
  recent_lookups: { kind: 'new' },
  clock_readings: { kind: 'new' },
  capture_copies: { kind: 'new' },
  errands: { kind: 'new' },
  questions: { kind: 'new' },
  noted_packets: { kind: 'new' },
  event_records: { kind: 'new' },
  answers: { kind: 'new' },
  nat_jobs: { kind: 'new' },
  parcels: { kind: 'new' },
  // Of answers: made anew with each version of zones and map, but for the limits.
  dns_settings: { kind: 'new' },
  dns_buckets: { kind: 'new' },
  dns_names: { kind: 'new' },
  dns_nodes: { kind: 'new' },
  dns_choices: { kind: 'new' },
  dns_rows: { kind: 'new' },
  dns_lines: { kind: 'new' },
  dns_counters: { kind: 'new' },
  dns_hits: { kind: 'new' },
  dns_times: { kind: 'new' },
  dns_works: { kind: 'new' },
  dns_askers: { kind: 'forget', lost: 'who asked for what within the last second' },
  dns_limits: { kind: 'forget', lost: 'which answers prefixes have had within the last second, and who is proved' },
  // The agent's.
  agent_members: { kind: 'copy' },
  agent_prefixes: { kind: 'copy' },
  agent_candidates: { kind: 'copy', packing: 'FLAGS' },
  agent_vips: { kind: 'copy' },
  agent_vip_prefixes: { kind: 'copy' },
  agent_counters: { kind: 'count' },
  agent_settings: { kind: 'renew' },
  // Of services that limit prefixes, and of QUIC.
  prefixes: { kind: 'forget', lost: 'new flows that prefixes have had within the last second' },
  tallies: { kind: 'forget', lost: 'what the report of floods has gathered' },
  handshakes: { kind: 'forget', lost: 'handshakes under way: their round trips' },
  handshake_rtts: { kind: 'forget', lost: 'round trips of the last second' },
  handshake_counters: { kind: 'forget', lost: 'how many handshakes were seen' },
  demand_sets: { kind: 'forget', lost: 'traffic by client prefix of the last second' },
  demand_rests: { kind: 'forget', lost: 'traffic by client prefix of the last second' },
  server_ids: { kind: 'copy' },
  agent_quic: { kind: 'copy', packing: 'FLAGS' },
  agent_quic_prefixes: { kind: 'copy', packing: 'FLAGS' },
};
