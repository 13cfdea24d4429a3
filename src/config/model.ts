/**
 * The configuration as the rest of Portico sees it: checked, complete, units resolved, names linked.
 * `parseConfig` in `parse.ts` is the only maker of these values; they are never changed afterwards.
 */
import type { Address, Prefix } from '../net/address.ts';

export type TrafficClass = 'latency' | 'throughput' | 'batch';
export type Scheduler = 'maglev';
/** What packets are wrapped in on their way to a backend: docs/vip.md. */
export type ForwardingMode = 'gre' | 'ipip' | 'gue';
export type TransportProtocol = 'tcp' | 'udp';

export interface Location {
  readonly latitudeDegrees: number;
  readonly longitudeDegrees: number;
}

export interface Link {
  readonly name: string;
  readonly capacityBitsPerSecond: number;
}

export interface Site {
  readonly name: string;
  readonly location: Location;
  readonly links: readonly Link[];
  /** New TCP connections per second that the site's services take; above it DNS leaves the site out. Infinity: no limit. */
  readonly capacityPerSecond: number;
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
  /** Silence after which an unsettled slot may settle. */
  readonly settleAfterMs: number;
  /** UDP: how long after a change unknown flows count as old. */
  readonly adoptionMs: number;
  /** Pressure limits of the service. */
  readonly newPerSecond: number;
  /** Share of a balancer's connection table, above 0, at most 1. */
  readonly tableShare: number;
}

export interface Service {
  readonly name: string;
  /** Fully qualified, lower case, no trailing dot; null: not steered by DNS. */
  readonly dnsName: string | null;
  readonly trafficClass: TrafficClass;
  readonly ttlSeconds: number;
  /** By site name. */
  readonly vips: ReadonlyMap<string, readonly Address[]>;
  readonly ports: readonly ServicePort[];
  readonly scheduler: Scheduler;
  readonly forwarding: ForwardingMode;
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
  readonly prefix: Prefix;
  /** Either a place, from which the nearest site follows, or a site. */
  readonly location: Location | null;
  readonly site: string | null;
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

export interface Zone {
  /** Lower case, no trailing dot. */
  readonly name: string;
  readonly primaryServer: string;
  readonly contact: string;
  readonly serial: number;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
  readonly negativeTtlSeconds: number;
  readonly ttlSeconds: number;
  readonly nameServers: readonly string[];
  readonly records: readonly StaticRecord[];
}

export interface NameServer {
  /** Machine name. */
  readonly name: string;
  readonly listen: readonly { readonly address: Address; readonly port: number }[];
}

export interface Config {
  readonly name: string;
  readonly sites: ReadonlyMap<string, Site>;
  readonly balancers: ReadonlyMap<string, Balancer>;
  readonly backends: ReadonlyMap<string, Backend>;
  readonly services: ReadonlyMap<string, Service>;
  readonly nameServers: ReadonlyMap<string, NameServer>;
  readonly zones: readonly Zone[];
  readonly networks: readonly NetworkEntry[];
  /** For clients that no network entry covers; null: the first site. */
  readonly defaultLocation: Location | null;
  readonly api: { readonly host: string; readonly port: number };
  readonly stateFolder: string;
}
