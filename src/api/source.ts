/** What the API serves, and where it has it from: the fleet implements `ApiSource`; nothing here does anything. */
import type { TransportProtocol } from '../config/model.ts';
import type { MeasuredBrief } from '../fleet/measured-steering.ts';
import type { Address, Prefix } from '../net/address.ts';
import type { PlansApi } from './plans.ts';
import type { ApiResult } from './result.ts';
import type { SteeringApi } from './steering.ts';

export type { ApiResult } from './result.ts';

export interface ApiSource {
  /** The state of everything, as of now. Called about once a second while somebody looks: at most a few milliseconds. */
  status(): Status;
  /** All counters, as of now. Called about once a second, always: at most a millisecond. */
  counters(): Counters;
  /** The lists of each name server here, at most `count` lines each. */
  dnsTop(count: number): readonly DnsTopStatus[];
  explainFlow(query: FlowQuery): Promise<ApiResult<object>>;
  explainDns(query: DnsQuery): Promise<ApiResult<object>>;
  /**
   * Stops new work of it; resolves when that is decided, not when the last connection has ended. `deadlineMs`: after that its last connections
   * are given up (backends only); null or absent: they have all the time that they need.
   */
  drain(kind: DrainKind, name: string, deadlineMs?: number | null): Promise<ApiResult<object>>;
  undrain(kind: DrainKind, name: string): Promise<ApiResult<object>>;
  /** Settles the slots of a service that may be settled now, site by site. `balancer`: it alone is asked. */
  settle(service: string, balancer: string | null): Promise<ApiResult<object>>;
  /** Reads the configuration file again. `anyway`: however much demand that moves. */
  reload(anyway?: boolean): Promise<ApiResult<object>>;
  readonly steering: SteeringApi;
  readonly plans: PlansApi;
  /**
   * Shows packets of the balancers here with what became of them, until the function that it returns is called. One capture at a time.
   */
  capture(query: CaptureQuery, onPacket: (packet: ShownPacket) => void): ApiResult<RunningCapture>;
  /** Tells `listener` of every change of state from now on, until the function that it returns is called. */
  subscribe(listener: (change: StateChange) => void): () => void;
}

export const DRAIN_KINDS = ['backend', 'balancer', 'site', 'nameserver'] as const;
export type DrainKind = (typeof DRAIN_KINDS)[number];

export interface FlowQuery {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly protocol: TransportProtocol;
}

export interface CaptureQuery {
  /** Only packets to this address; null: to any VIP. */
  readonly vip: Address | null;
  /** Only this balancer; null: all that run here. */
  readonly balancer: string | null;
  /** One packet in so many of each balancer. */
  readonly every: number;
}

export interface ShownPacket {
  /** Since 1970, in ns: 64 bits, so it is text. */
  readonly timeNs: string;
  readonly balancer: string;
  readonly outcome: string;
  readonly service: string | null;
  readonly backend: string | null;
  readonly events: readonly string[];
  /** Of the frame as it came. */
  readonly length: number;
  /** The frame's beginning in hexadecimal. */
  readonly bytes: string;
}

export interface RunningCapture {
  /** Packets that were chosen and found no room, so far. */
  lost(): number;
  stop(): void;
}

export interface DnsQuery {
  readonly name: string;
  /** Mnemonic or TYPEnnn. */
  readonly type: string;
  /** The resolver that asks. */
  readonly from: Address;
  /** Client subnet in the query (RFC 7871); null: none. */
  readonly ecs: Prefix | null;
}

/** One thing that happened: for the event stream and the page. */
export interface StateChange {
  readonly atMs: number;
  readonly level: 'info' | 'warn' | 'error';
  /** One sentence for people. */
  readonly message: string;
  /** What it is about, by name: site, service, backend, balancer. */
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
}

// State -------------------------------------------------------------------------------------------

export interface Status {
  /** Of the configuration. */
  readonly name: string;
  /** Of the program. */
  readonly version: string;
  readonly epoch: number;
  readonly uptimeSeconds: number;
  /** What is wrong as a whole, a sentence each; empty: nothing. */
  readonly problems: readonly string[];
  readonly sites: readonly SiteStatus[];
  readonly nameServers: readonly NameServerStatus[];
  /** Of zones whose delegation is looked at, as far as it was already. */
  readonly delegations: readonly DelegationStatus[];
  /** Null: measured steering is off, or another process does it. */
  readonly measured: MeasuredBrief | null;
}

export interface SiteStatus {
  readonly name: string;
  readonly location: { readonly latitudeDegrees: number; readonly longitudeDegrees: number };
  /** Serves clients: at least one of its services is reached. */
  readonly up: boolean;
  readonly drained: boolean;
  readonly balancers: readonly BalancerStatus[];
  readonly services: readonly SiteServiceStatus[];
}

export type BalancerState = 'starting' | 'forwarding' | 'drained' | 'withdrawn' | 'failed' | 'elsewhere';

export interface BalancerStatus {
  readonly name: string;
  /** `withdrawn`: its VIPs are taken back. `elsewhere`: this process does not run it. */
  readonly state: BalancerState;
  /** Why it is not forwarding; null: it is, or nothing is known. */
  readonly reason: string | null;
  readonly attachments: readonly { readonly interface: string; readonly mode: 'native' | 'generic' | 'none' }[];
  /** BGP sessions with routers. */
  readonly sessions: readonly { readonly router: string; readonly up: boolean }[];
  /** VIPs announced from here. */
  readonly announced: readonly string[];
}

/** A service at a site. */
export interface SiteServiceStatus {
  readonly name: string;
  readonly dnsName: string | null;
  readonly trafficClass: string;
  readonly vips: readonly { readonly address: string; readonly announced: boolean }[];
  /** `80/tcp`; `any/udp`. */
  readonly ports: readonly string[];
  /** Reached through its VIP as name servers see it; unknown before the first probe. */
  readonly reached: Verdict;
  /** So many backends look dead that all are used. */
  readonly panic: boolean;
  readonly slots: number;
  readonly unsettledSlots: number;
  /** Slots whose change waits for room for another candidate. */
  readonly waitingSlots: number;
  /** Slots that a change of weights alone waits for: a tenth of the slots may be unsettled for that reason. */
  readonly heldSlots: number;
  readonly floods: FloodStatus;
  readonly backends: readonly BackendStatus[];
}

/** Who opens the most connections to a service at a site, and whether that is too many. */
export interface FloodStatus {
  /** New flows are above a limit, and refused or not tracked, for so long; null: they are not. */
  readonly underPressureSeconds: number | null;
  /** The busiest client prefixes first, 10 at most. */
  readonly top: readonly PrefixStatus[];
}

export interface PrefixStatus {
  /** A /24 or /48. */
  readonly prefix: string;
  /** New TCP connections, those refused too. Of services without a limit by prefix, from samples. */
  readonly newPerSecond: number;
  /** The rate may be too high by so much. */
  readonly errorPerSecond: number;
  /** Since when it has been among the counted. */
  readonly sinceMs: number;
  /** Dropped since then: above the limit by prefix. */
  readonly refused: number;
}

export type Verdict = 'unknown' | 'healthy' | 'unhealthy';

/** A backend as one service sees it. */
export interface BackendStatus {
  readonly name: string;
  readonly address: string;
  readonly verdict: Verdict;
  /** What the two ways of probing together say. */
  readonly diagnosis: string;
  /** Why the last failed probe failed; null: none did. */
  readonly reason: string | null;
  readonly drained: boolean;
  /** While it is drained. */
  readonly drain: DrainStatus | null;
  /** As configured. */
  readonly weight: number;
  /** What counts now, by slow start or reported load. */
  readonly effectiveWeight: number;
  readonly weightReason: string;
  /** As it reports its load, 1 is full; null: it does not. */
  readonly utilisation: number | null;
  /** Slots of the lookup table that send new flows to it. */
  readonly slots: number;
  /** How connection IDs of QUIC have to name it, in hexadecimal; null: the service has none, or the backend no ID of its length. */
  readonly serverId: string | null;
}

export interface DrainStatus {
  /** Until its last connections are given up; null: never. */
  readonly leftMs: number | null;
  /** That has happened. */
  readonly givenUp: boolean;
  /** Slots of the service that hold the drain open; 0: it is over. */
  readonly slots: number;
  /** Since the last packet in one of these slots that went elsewhere than to the new backend; null: nobody knows. */
  readonly lastPacketAgoMs: number | null;
  /** As its agent lists them; null: no agent tells. */
  readonly connections: number | null;
  readonly oldestMs: number | null;
  readonly topClients: readonly { readonly client: string; readonly connections: number }[];
}

export interface NameServerStatus {
  readonly name: string;
  readonly listen: readonly string[];
  readonly state: 'starting' | 'answering' | 'failed' | 'elsewhere';
  readonly reason: string | null;
  /** Of what it serves: the same on all that serve the same. Null: it runs elsewhere. */
  readonly epoch: string | null;
  readonly logs: readonly QueryLogTarget[];
  /** Null: it has no anycast addresses, or runs elsewhere. */
  readonly anycast: AnycastStatus | null;
  /** Each with each of its zones. */
  readonly secondaries: readonly SecondaryStatus[];
  /** Of the signed zones; empty: none is, or it runs elsewhere. */
  readonly signing: readonly SigningStatus[];
  /** The first of each list; null: it runs elsewhere. */
  readonly top: DnsTopStatus | null;
}

/** A secondary and a zone, as one name server sees them. */
export interface SecondaryStatus {
  readonly secondary: string;
  readonly zone: string;
  /** Serial that is served here. */
  readonly ours: number;
  /** The serial that it said it had when it asked last, or was sent; null: it never asked here. */
  readonly serial: number | null;
  /** The last one. */
  readonly transfer: {
    /** `current`: there was nothing new. */
    readonly kind: 'AXFR' | 'IXFR' | 'current';
    readonly serial: number;
    readonly records: number;
    readonly bytes: number;
    readonly isWhole: boolean;
    readonly atMs: number;
  } | null;
  /** What it was told last. */
  readonly notify: {
    readonly serial: number;
    readonly atMs: number;
    /** `sent`: no answer yet. */
    readonly result: 'sent' | 'acknowledged' | 'unanswered' | 'refused';
  } | null;
}

/** Of a signed zone on a name server. */
export interface SigningStatus {
  readonly zone: string;
  /** Of the key roll. */
  readonly step: 'steady' | 'published' | 'switched' | 'retiring';
  /** Tags of the keys in the DNSKEY set; the first signs. */
  readonly keyTags: readonly number[];
  readonly sets: number;
  /** Unix time of the first signature to end; null: none is made yet. */
  readonly earliestEndMs: number | null;
  /** What an operator has to look at; null: nothing. */
  readonly problem: string | null;
}

export interface AnycastStatus {
  readonly addresses: readonly string[];
  readonly announced: boolean;
  readonly drained: boolean;
  /** Why not announced; null: they are, or nothing is known yet. */
  readonly reason: string | null;
  readonly sessions: readonly { readonly router: string; readonly up: boolean; readonly info: string }[];
}

export interface QueryLogTarget {
  readonly kind: 'dnstap' | 'json';
  /** Socket or file. */
  readonly target: string;
  readonly open: boolean;
  /** Why it is not open, or was not before; null: it always was. */
  readonly reason: string | null;
  /** Messages or lines since the start. */
  readonly written: number;
  readonly dropped: number;
}

/** Who asked a name server, and for what, within the last minutes. */
export interface DnsTopStatus {
  readonly server: string;
  readonly seconds: number;
  /** One query in so many was looked at. */
  readonly sampledEvery: number;
  readonly queriesPerSecond: number;
  readonly clients: readonly TopCount[];
  readonly names: readonly TopCount[];
  readonly nxdomainNames: readonly TopCount[];
  /** Names directly above those that do not exist. */
  readonly nxdomainParents: readonly TopCount[];
}

export interface TopCount {
  /** A prefix or a name. */
  readonly key: string;
  readonly perSecond: number;
  /** At most so much too high. */
  readonly errorPerSecond: number;
}

/** What the parent of a zone says of it, against what is served. */
export interface DelegationStatus {
  readonly zone: string;
  readonly lookedSecondsAgo: number;
  /** `unknown`: nobody could be asked, and nothing differs as far as is known. */
  readonly state: 'same' | 'differs' | 'unknown';
  readonly differences: readonly string[];
  readonly unknown: readonly string[];
  /** Servers of the parent that answered. */
  readonly asked: readonly string[];
}

// Counters: all only grow while the process runs --------------------------------------------------

export interface Counters {
  readonly balancers: readonly BalancerCounters[];
  readonly agents: readonly AgentCounters[];
  readonly nameServers: readonly NameServerCounters[];
}

export interface BalancerCounters {
  readonly site: string;
  readonly balancer: string;
  readonly subjects: readonly SubjectCounters[];
  /** Packets that the kernel program handed up, by what became of them (docs/operations.md). */
  readonly slowPath: Readonly<Record<string, number>>;
}

/** A VIP, a service, or `none`: packets that are for no VIP. */
export interface SubjectCounters {
  readonly kind: 'none' | 'vip' | 'service';
  /** Address or name; empty for `none`. */
  readonly name: string;
  /** Packets by outcome, lower case with underscores: `settled`, `no_backend`. They add up to all packets. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly events: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** TCP connections begun, whatever became of them; probes' too. */
  readonly newConnections: number;
}

/** The agent on a backend machine. */
export interface AgentCounters {
  readonly site: string;
  readonly backend: string;
  readonly outcomes: Readonly<Record<string, number>>;
}

/** As src/serve/dns/counters.ts counts, with its names. */
export interface NameServerCounters {
  readonly server: string;
  readonly queries: Readonly<Record<string, number>>;
  readonly responses: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  readonly types: Readonly<Record<string, number>>;
  readonly choices: Readonly<Record<string, number>>;
  readonly policies: Readonly<Record<string, number>>;
  /** Steered answers by service, then site. */
  readonly sites: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly tcp: Readonly<Record<string, number>>;
  /** Part of the responses. */
  readonly edns: number;
  readonly ecs: number;
  readonly truncated: number;
  readonly limits: Readonly<Record<string, number>>;
  readonly cookies: Readonly<Record<string, number>>;
  readonly signatures: Readonly<Record<string, number>>;
  readonly transfers: Readonly<Record<string, number>>;
  readonly notifies: Readonly<Record<string, number>>;
  /** Signatures on demand: made, used again, refused. */
  readonly dnssec: Readonly<Record<string, number>>;
  /** Queries by client group, in estimate. */
  readonly groups: Readonly<Record<string, number>>;
  /** Of query logs, by kind and what became of messages or lines. */
  readonly logged: Readonly<Record<string, number>>;
  /** Packets that the kernel program saw, by what became of them. */
  readonly kernel: Readonly<Record<string, number>>;
}
