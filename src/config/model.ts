/**
 * The configuration as the rest of Portico sees it: checked, complete, units resolved, names linked.
 * `parseConfig` in `parse.ts` is the only maker of these values; they are never changed afterwards.
 */
import type { Address, Prefix } from '../net/address.ts';
import type { AddressSegments } from '../net/address-segments.ts';
import type { PrefixMap } from '../net/prefix-map.ts';
import type { DatabaseKind, ListedEntries, LocationFiles } from './location-files.ts';
import type { NothingHealthy, Policy, SteeringLimits, SteeringState } from './steering-model.ts';
import type { Transfers } from './transfers.ts';

export type TrafficClass = 'latency' | 'throughput' | 'batch';
export const SCHEDULERS = [
  'maglev',
  'source-hash',
  'round-robin',
  'weighted-round-robin',
  'random',
  'least-connections',
  'least-load',
  'predictive',
] as const;
/** How connections are spread over backends: docs/vip.md. */
export type Scheduler = (typeof SCHEDULERS)[number];
/** Whether a flow's hash names its backend, so that entries are needed only while the table changes. */
export function isHashScheduler(scheduler: Scheduler): boolean {
  return ['maglev', 'source-hash', 'least-load', 'predictive'].includes(scheduler);
}

/** Whether weights follow the load that backends tell. */
export function followsLoad(scheduler: Scheduler): boolean {
  return scheduler === 'least-load' || scheduler === 'predictive';
}

export const FORWARDING_MODES = ['gre', 'ipip', 'gue', 'l2', 'nat'] as const;
/** How packets reach a backend: docs/vip.md. */
export type ForwardingMode = (typeof FORWARDING_MODES)[number];
export const TRACKING_MODES = ['just-enough', 'full', 'none'] as const;
/** Which flows have entries in the connection table: those of unsettled slots, all, none. */
export type TrackingMode = (typeof TRACKING_MODES)[number];
export const WITHOUT_BACKENDS = ['drop', 'unreachable'] as const;
/** What packets of a service get that has no backend left: nothing, or an ICMP unreachable. */
export type WithoutBackends = (typeof WITHOUT_BACKENDS)[number];
export type TransportProtocol = 'tcp' | 'udp';

export interface Location {
  readonly latitudeDegrees: number;
  readonly longitudeDegrees: number;
}

export interface Link {
  readonly name: string;
  readonly capacityBitsPerSecond: number;
  /** Names of networks whose users come over it; null: all others. */
  readonly clients: readonly string[] | null;
  /** The link that it is part of, with links of other sites. */
  readonly shared: string | null;
  /** The interfaces that it is behind, whose counters tell its load; none: it is not measured. */
  readonly interfaces: readonly LinkInterface[];
}

export interface LinkInterface {
  /** A balancer or backend. */
  readonly machine: string;
  readonly name: string;
}

export interface Site {
  readonly name: string;
  readonly location: Location;
  readonly links: readonly Link[];
  /** New TCP connections per second that the site's services take; above it DNS leaves the site out. Infinity: no limit. */
  readonly capacityPerSecond: number;
  /** What a connection of class `batch` costs here, in a unit that all sites share; at least 0. */
  readonly batchCost: number;
  /** Longest IP packets that clients send to the site. */
  readonly clientMtuBytes: number;
  /** 16 bytes: the SipHash key of the site's flow hash; null: Portico makes one and keeps it in its state folder. */
  readonly hashKey: Uint8Array | null;
}

/** The router that a balancer announces its VIPs to, over BGP. */
export interface RouterPeer {
  readonly address: Address;
  readonly asn: number;
}

export interface Balancer {
  readonly name: string;
  readonly site: string;
  /** Outer source addresses of encapsulated packets, IPv4, IPv6 or both. */
  readonly addresses: readonly Address[];
  /** Interfaces that carry the balancer program. */
  readonly interfaces: readonly string[];
  /** Subnets of the interfaces, for `l2`; empty: the file does not say. */
  readonly networks: readonly Prefix[];
  /** Outer sources vary in it by flow; null: they are the address alone. Of the family of one of `addresses`. */
  readonly sourcePrefix: Prefix | null;
  /** Longest IP packets to backends; null: of the route. */
  readonly mtuBytes: number | null;
  /** Source addresses of the prober behind this balancer, routed to it; one address a backend. Null: no probes through the VIP. */
  readonly probePrefix: Prefix | null;
  readonly asn: number;
  /** Empty: VIPs are not announced from here (static routes lead to it). */
  readonly routers: readonly RouterPeer[];
  /** Entries of the connection table, a power of two of at least 4,096. */
  readonly connections: number;
}

export interface Backend {
  readonly name: string;
  readonly site: string;
  readonly address: Address;
  /** Relative share of new flows, above 0. */
  readonly weight: number;
  /** Runs Portico's backend role: decapsulation and second chance. False: a plain tunnel device of the kernel. */
  readonly agent: boolean;
  /** Null: as each service says. */
  readonly forwarding: ForwardingMode | null;
  /** Interfaces that carry the agent's program. */
  readonly interfaces: readonly string[];
  readonly drain: boolean;
  /** Time from the beginning of the drain until its last connections are given up; null: however long they take. */
  readonly drainDeadlineMs: number | null;
  /** How connection IDs of QUIC name it; null: they do not. 1 to 8 bytes. */
  readonly serverId: Uint8Array | null;
  /** Longest IP packets on the way to it inside the site; null: of the route. */
  readonly mtuBytes: number | null;
}

export interface ServicePort {
  readonly protocol: TransportProtocol;
  /** 1 to 65535; 0: any port. */
  readonly port: number;
}

export interface HealthCheck {
  readonly type: 'tcp' | 'http';
  readonly port: number;
  /** HTTP only. */
  readonly path: string;
  readonly host: string;
  readonly expectStatus: number;
  /** Text that the first 64 KiB of the body must contain; null: any. */
  readonly expectBody: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Consecutive successes before an unhealthy backend is healthy. */
  readonly rise: number;
  /** Consecutive failures before a healthy backend is unhealthy. */
  readonly fall: number;
  /** Path of the probes: through the VIP as users' packets go, straight to the backend's address, or both (both must succeed). */
  readonly through: 'vip' | 'direct' | 'both';
}

export interface Tracking {
  readonly mode: TrackingMode;
  /** Silence after which an unsettled slot may settle. */
  readonly settleAfterMs: number;
  /** UDP: how long after a change unknown flows count as old. */
  readonly adoptionMs: number;
  /** Pressure limits of the service. */
  readonly newPerSecond: number;
  /** Share of a balancer's connection table, above 0, at most 1. */
  readonly tableShare: number;
  /** New flows a second that a balancer takes from one client prefix (/24, /48); Infinity: no limit. */
  readonly prefixNewPerSecond: number;
}

/** QUIC-LB (draft-ietf-quic-load-balancers), plaintext: first byte, server ID, the server's own bytes. */
export interface QuicIds {
  /** 0 to 6; 7 marks connection IDs that name nobody. */
  readonly configId: number;
  /** 1 to 8. */
  readonly serverIdBytes: number;
}

/** An HTTP endpoint on each backend that tells its load in JSON, with the names of ORCA. */
export interface LoadSource {
  readonly port: number;
  readonly path: string;
  readonly intervalMs: number;
}

/** The HTTPS record (RFC 9460) of a service's name; its address hints are the VIPs of the site that A and AAAA name. */
export interface HttpsRecord {
  /** Protocol IDs, at most 255 characters each; empty: HTTP/1.1 only, which needs no saying. */
  readonly alpn: readonly string[];
  /** Null: 443. */
  readonly port: number | null;
}

/** A record that leads clients of a protocol to the service (RFC 2782). */
export interface ServiceRecord {
  /** Below the service's name: `_sip._tcp`. */
  readonly name: string;
  readonly port: number;
  /** Lower ones are tried first. */
  readonly priority: number;
  /** Share among those of one priority; 0: hardly ever. */
  readonly weight: number;
  /** Null: the service's name. */
  readonly target: string | null;
}

export interface Service {
  readonly name: string;
  /** Fully qualified, lower case, no trailing dot; null: not steered by DNS. */
  readonly dnsName: string | null;
  readonly policy: Policy;
  readonly nothingHealthy: NothingHealthy;
  /** Null: none. */
  readonly https: HttpsRecord | null;
  readonly srv: readonly ServiceRecord[];
  readonly trafficClass: TrafficClass;
  readonly ttlSeconds: number;
  /** By site name: addresses, as prefixes of their full length, and prefixes of which every address is served. */
  readonly vips: ReadonlyMap<string, readonly Prefix[]>;
  /** Sites whose VIPs secondaries answer with, since they cannot steer. */
  readonly secondarySites: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly scheduler: Scheduler;
  /** Given for least-load and predictive only. */
  readonly load: LoadSource | null;
  /** Time in which a recovered or added backend reaches its weight; 0: at once. */
  readonly slowStartMs: number;
  readonly withoutBackends: WithoutBackends;
  readonly forwarding: ForwardingMode;
  /** `nat`: port of the backends; null: the port that the packet came for. */
  readonly backendPort: number | null;
  /** `nat`: full tuples are kept, so that a reply's source need not tell its VIP and port. */
  readonly natTuples: boolean;
  readonly quic: QuicIds | null;
  /** The backends with the agent share one TCP Fast Open key. */
  readonly tcpFastOpen: boolean;
  /** Whether the kernel may answer for its name. */
  readonly kernelAnswers: boolean;
  /** Slots of the lookup table: a prime. */
  readonly slots: number;
  /** Names of backends that serve it, by site name. */
  readonly backends: ReadonlyMap<string, readonly string[]>;
  readonly health: HealthCheck;
  /** Share of a site's backends, 0 to 1: when more than this looks dead, all are used. */
  readonly panicShare: number;
  /** Healthy backends below which a site stops announcing the service's VIPs; 0: it never does for this reason. */
  readonly need: number;
  readonly tracking: Tracking;
}

/** Where the users of a prefix are: the operator's own list, before any other source. */
export interface NetworkEntry {
  /** Of the entry in the operator's file, which may have several prefixes. */
  readonly name: string;
  readonly prefix: Prefix;
  /** Either a place, from which the nearest site follows, or a site. */
  readonly location: Location | null;
  readonly site: string | null;
  /** Predicted demand of the prefix's users, in a unit that all entries share; null: unknown. */
  readonly demand: number | null;
}

/** What is known of the clients in some prefixes; null: nobody says. */
export interface ClientGroup {
  /** The operator's entry that covers them, where that has more to say than a place: a name, its own demand. */
  readonly entry: NetworkEntry | null;
  /** Where they are; of an entry with a site, null: at the site. */
  readonly location: Location | null;
  /** The site that the operator's list gives them. */
  readonly site: string | null;
  /** Two letters: AF, AN, AS, EU, NA, OC, SA. */
  readonly continent: string | null;
  /** ISO 3166-1 alpha-2. */
  readonly country: string | null;
  /** Number of the autonomous system. */
  readonly asn: number | null;
}

/** All addresses and what is known of their users: the operator's lists laid over databases. */
export interface ClientPlaces {
  /** No two are the same; the first is that of which nothing is known. */
  readonly groups: readonly ClientGroup[];
  /** Values are indexes of groups. */
  readonly ipv4: AddressSegments;
  readonly ipv6: AddressSegments;
  /** Maps to plans that were made of this already: making one anew may take seconds. */
  readonly maps: { readonly cutAt: string; readonly planOfGroup: Uint32Array; readonly map: PrefixMap }[];
  /** Prefixes at which it was cut besides: of two with the same `maps`, different ground. */
  readonly cutAt: string;
  /** Where the operator's entries stand; null: all in `networks`. */
  readonly entries: ListedEntries | null;
  /** Files that were read, in the order in which they count. */
  readonly databases: readonly { readonly kind: DatabaseKind; readonly file: string }[];
}

export interface StaticRecord {
  /** Absolute, lower case, no trailing dot; may begin with `*.`. */
  readonly name: string;
  /** Mnemonic (A, AAAA, NS, MX, TXT, CNAME, CAA, TLSA, SRV, HTTPS, PTR ...) or TYPEnnn (RFC 3597). */
  readonly type: string;
  readonly ttlSeconds: number;
  /** Presentation format as in a zone file (RFC 1035 5.1), names absolute or relative to the zone. */
  readonly data: string;
  /** Line in the operator's file, for errors. */
  readonly line: number;
}

/** A record of a zone file, on the wire. */
export interface ZoneFileRecord {
  /** Length-prefixed labels, in the letter case of the file. */
  readonly owner: Uint8Array;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly data: {
    readonly bytes: Uint8Array;
    /** Names in `bytes` that may be compressed when sent. */
    readonly names: readonly { readonly start: number; readonly end: number }[];
  };
  /** Where it stands. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A file in the master format of RFC 1035 section 5. */
export interface ZoneFile {
  /** As in the operator's file: from its folder, or absolute. */
  readonly path: string;
  /** Line in the operator's file, for errors. */
  readonly line: number;
  /** Null: not read. `parseConfig` reads no files; `loadZoneFiles` fills it in. */
  readonly records: readonly ZoneFileRecord[] | null;
  /** Where it and what it includes were read from. */
  readonly files: readonly string[];
}

/** With a file, what is told of SOA and name servers is the file's; before it is read, it is empty. */
export interface Zone {
  /** Lower case, no trailing dot. */
  readonly name: string;
  /** Null: all stands in the operator's file. */
  readonly file: ZoneFile | null;
  readonly primaryServer: string;
  readonly contact: string;
  readonly serial: number;
  /** Portico counts the serial; 0 in the operator's file. */
  readonly isSerialCounted: boolean;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
  readonly negativeTtlSeconds: number;
  readonly ttlSeconds: number;
  readonly nameServers: readonly string[];
  readonly records: readonly StaticRecord[];
  /** By DNSSEC, with the keys in the zone's key file. */
  readonly isSigned: boolean;
}

export interface NameServer {
  /** Machine name. */
  readonly name: string;
  /** Its own addresses first, then those of `anycast`. */
  readonly listen: readonly { readonly address: Address; readonly port: number }[];
  /** On which the kernel answers; null: those whose driver can do it. */
  readonly interfaces: readonly string[] | null;
  /** Null: none. */
  readonly anycast: Anycast | null;
}

/** Addresses that several name servers have, and how this one announces them. */
export interface Anycast {
  readonly addresses: readonly Address[];
  readonly asn: number;
  readonly routers: readonly RouterPeer[];
  readonly bfd: boolean;
  /** Silence of its process or its probes after which the addresses are taken back. */
  readonly staleAfterMs: number;
}

/** How name servers speak, the same on all of them. */
export interface DnsProtocol {
  /** Threads that answer by UDP on each; null: half of the machine's CPUs. */
  readonly workers: number | null;
  readonly cookies: {
    readonly isEnabled: boolean;
    /** 16 bytes each: the first makes cookies, all are accepted. None: each server makes one at its start. */
    readonly secrets: readonly Uint8Array[];
  };
  readonly rateLimit: {
    /** Answers of one kind about one name to one client prefix by UDP. 0: no limits. */
    readonly perSecond: number;
    /** The same to one address that proved itself. */
    readonly provedPerSecond: number;
    /** Of those above the limit one in so many gets a short answer; 0: none. */
    readonly slip: number;
    readonly exempt: readonly Prefix[];
  };
  readonly tcp: {
    readonly maxConnections: number;
    /** Of one IPv4 address or IPv6 /64. */
    readonly maxPerAddress: number;
    /** Of one IPv4 /24 or IPv6 /48. */
    readonly maxPerPrefix: number;
    readonly idleMs: number;
    readonly keepaliveMs: number;
  };
  readonly dnssec: {
    /** Key files of signed zones. */
    readonly keyFolder: string;
    readonly validityMs: number;
    /** What is left of a signature's validity when it is made anew. */
    readonly renewBeforeMs: number;
    /** Signatures on demand, by each thread that answers, and for one client prefix. */
    readonly denialsPerSecond: number;
    readonly clientDenialsPerSecond: number;
  };
  readonly tell: {
    /** Null: not told. */
    readonly version: string | null;
    readonly server: boolean;
    readonly epoch: boolean;
  };
}

export const TAP_MESSAGES = ['query', 'response'] as const;
export type TapMessageKind = (typeof TAP_MESSAGES)[number];

/** A log of queries as dnstap messages. */
export interface TapLog {
  /** Unix socket of a receiver; null: files in `folder`. */
  readonly socket: string | null;
  readonly folder: string | null;
  /** One query in so many. */
  readonly every: number;
  readonly messages: readonly TapMessageKind[];
  readonly maxBytes: number;
  /** Files besides the one that is written. */
  readonly keep: number;
}

/** A log of queries as lines of JSON, in files. */
export interface JsonLog {
  readonly folder: string;
  /** One query in so many; 0: only those below. */
  readonly every: number;
  /** All with these, besides. */
  readonly rcodes: readonly number[];
  /** All of these, besides. */
  readonly clients: readonly Prefix[];
  readonly maxBytes: number;
  readonly keep: number;
}

export interface QueryLogs {
  readonly dnstap: TapLog | null;
  readonly json: JsonLog | null;
}

/** Who is asked what parents say of the zones. */
export interface DelegationCheck {
  readonly intervalMs: number;
  /** Null: only zones with `parents` are looked at. */
  readonly resolver: { readonly address: Address; readonly port: number } | null;
  /** By zone. */
  readonly parents: ReadonlyMap<string, readonly { readonly address: Address; readonly port: number }[]>;
}

/** Names made for one user each, and where their browsers fetch them. */
export interface BeaconSettings {
  /** In lower case: names are NONCE.name. */
  readonly name: string;
  readonly listen: readonly { readonly host: string; readonly port: number }[];
  /** Paths; null: plain HTTP. */
  readonly certificate: string | null;
  readonly key: string | null;
}

export interface Config {
  readonly name: string;
  readonly sites: ReadonlyMap<string, Site>;
  readonly balancers: ReadonlyMap<string, Balancer>;
  readonly backends: ReadonlyMap<string, Backend>;
  readonly services: ReadonlyMap<string, Service>;
  readonly nameServers: ReadonlyMap<string, NameServer>;
  readonly zones: readonly Zone[];
  readonly dnsProtocol: DnsProtocol;
  readonly queryLog: QueryLogs;
  /** Null: delegations are not looked at. */
  readonly delegation: DelegationCheck | null;
  /** Null: none. */
  readonly beacons: BeaconSettings | null;
  readonly transfers: Transfers;
  readonly networks: readonly NetworkEntry[];
  readonly locationFiles: LocationFiles;
  /** `networks` with what files say; null: there are no files, or they were not read (`parseConfig` reads none). */
  readonly clients: ClientPlaces | null;
  /** For clients that no network entry covers; null: the first site. */
  readonly defaultLocation: Location | null;
  readonly steering: SteeringLimits;
  /** `parseConfig` gives none; the runtime fills it in. */
  readonly steeringState: SteeringState;
  readonly api: { readonly host: string; readonly port: number };
  readonly stateFolder: string;
}
