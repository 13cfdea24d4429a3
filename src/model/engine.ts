/**
 * The state of one balancer as the packet model keeps it: what the maps of bpf/maps.h hold, in plain objects. Whoever
 * builds one for the model can write the same into kernel maps; the differential test does.
 */
import { type ConnectionTable, createConnectionTable } from './connections.ts';
import {
  BACKEND_IPV6,
  EVENTS,
  type Event,
  MAX_BACKENDS,
  OUTCOMES,
  type Outcome,
  OWNER_SLOTS,
  type Reason,
} from './layout.ts';
import { longestPrefix, type MappedPrefix } from './longest-prefix.ts';
import { PREFIX_SET_WORDS, type PrefixState, TALLY_WORDS } from './prefixes.ts';
import { PRESSURE_WORDS, type PressureLimits, type PressureWords } from './pressure.ts';

export interface EngineVip {
  readonly subject: number;
  /** VIP_ECHO, or VIP_OWN with subject 0. */
  readonly flags: number;
}

export interface EngineVipPrefix extends MappedPrefix {
  readonly vip: EngineVip;
}

export interface EngineService extends PressureLimits {
  readonly subject: number;
  /** Of the lookup table. */
  readonly slots: number;
  /** FORWARDING_*. */
  readonly forwarding: number;
  /** With SERVICE_QUIC: what connection IDs that name a backend look like. */
  readonly quicConfig: number;
  readonly serverIdBytes: number;
  /** 32 bits, mixed into fingerprints. */
  readonly salt: number;
  /** SERVICE_*. */
  readonly flags: number;
  /** SCHEDULER_*. */
  readonly scheduler: number;
  /** Of backends behind nat; 0: as it came. */
  readonly natPort: number;
  /** New flows of a client prefix a second (2^30 ns); 0: no limit. */
  readonly prefixNewPerSecond: number;
}

/** What replies of backends behind nat must seem to come from. */
export interface EngineNatReply {
  /** The VIP, 16 bytes, IPv4-mapped. */
  readonly address: Uint8Array;
  /** 0: as it came. */
  readonly port: number;
  /** `natTuples` says more. */
  readonly hasTuples: boolean;
  /** Of the service. */
  readonly subject: number;
}

/** How packets are sent to a backend. */
export interface EngineBackend {
  /** Outer destination and source, 16 bytes, IPv4-mapped. */
  readonly address: Uint8Array;
  readonly source: Uint8Array;
  readonly nextHopMac: Uint8Array;
  readonly ownMac: Uint8Array;
  /** Of the path to it, in bytes of IP. */
  readonly mtuBytes: number;
  /** 0: packets to it fail. */
  readonly ifindex: number;
  /** BACKEND_*. */
  readonly flags: number;
  /** FORWARDING_*; FORWARDING_UNSAID: as the service says. */
  readonly forwarding: number;
  /** So many of the lowest bits of `source`, which are 0 in it, vary by flow; at most 15. Absent: none. */
  readonly sourceBits?: number;
  /** EGRESS_*; absent: 0. */
  readonly egress?: number;
  /** For least-connections; absent or 0: 1. */
  readonly weight?: number;
}

/** The slots of a service: two 32-bit words each, low first (decide/slot-word.ts). */
export interface EngineSlots {
  readonly words: Uint32Array;
}

export interface EngineCounters {
  readonly outcome: Record<Outcome, number>;
  readonly event: Record<Event, number>;
  bytes: number;
  newConnections: number;
}

export interface Engine extends PrefixState {
  /** SipHash key: four little-endian words. */
  readonly key: Uint32Array;
  /** Interface of the prober; 0: none. */
  probeIfindex: number;
  /** Buckets of the connection table - 1. */
  readonly bucketMask: number;
  /** The longest lifetime of any service; a service's own, where that is longer. */
  reclaimTicks: number;
  /** By `addressKey` of the destination. */
  readonly vips: Map<string, EngineVip>;
  /** For destinations that are not in `vips`: the longest that contains it. In any order, none twice. */
  readonly vipPrefixes: EngineVipPrefix[];
  /** By `serviceKey`. */
  readonly services: Map<number, EngineService>;
  /** By the service's subject, as are `pressures`. */
  readonly slots: Map<number, EngineSlots>;
  readonly pressures: Map<number, PressureWords>;
  /** Round robin: backend indices in the order of their turns. */
  readonly picks: Map<number, Uint16Array>;
  readonly connections: ConnectionTable;
  /** By backend index; use `setBackend`. */
  readonly backends: (EngineBackend | undefined)[];
  readonly backendFlags: Uint32Array;
  /** By `addressKey` of the source: backend index. */
  readonly probeSources: Map<string, number>;
  /** Index of the balancer that owns such fragments, by a hash; 0: this one. OWNER_SLOTS of them. */
  readonly fragmentOwners: Uint32Array;
  /** How fragments are sent to the site's other balancers, by their index. */
  readonly balancers: (EngineBackend | undefined)[];
  /** Outer sources that relayed fragments are accepted from: `addressKey`s. */
  readonly balancerSources: Set<string>;
  /** By bucket: FRAGMENT_ENTRIES datagrams, then what became of their first fragments; two words each, low first. */
  readonly fragments: Map<number, Uint32Array>;
  /** By region of the client's prefix: window of time (`clockFine`), and bytes handed up in it. */
  readonly handUpWindows: Map<number, { window: number; bytes: number }>;
  /** That a client's prefix may hand up in a window. */
  handUpBytes: number;
  /** Handed up to the slow path; whoever handles them takes them out. */
  readonly handedUp: HandedUp[];
  /** By `natSourceKey`. */
  readonly natReplies: Map<string, EngineNatReply>;
  /** By `natTupleKey`. Without the kernel's bound. */
  readonly natTuples: Map<string, EngineNatReply>;
  /** By `serverIdKey`: the backend index that a QUIC connection ID names. */
  readonly serverIds: Map<string, number>;
  /** By subject. */
  readonly counters: Map<number, EngineCounters>;
}

/** A packet that the balancer leaves to its slow path, with what it knows of it: `struct hand_up`. */
export interface HandedUp {
  readonly reason: Reason;
  /** Of a fragment: bucket of `fragments`, name of the datagram in it (two words), and what guards it. */
  readonly bucket: number;
  readonly datagramLow: number;
  readonly datagramHigh: number;
  readonly check: number;
  /** Of the VIP, or of the service once that is known. */
  readonly subject: number;
  /** That was chosen; for a relay the balancer; 0: none yet. */
  readonly backend: number;
  readonly key: number;
  readonly flowLabel: number;
  readonly ingressIfindex: number;
  /** Of the client's prefix. */
  readonly region: number;
  /** As it came, without what follows the IP packet. */
  readonly frame: Uint8Array;
}

/** `buckets`: a power of two of at least 2. `prefixSets`: a power of two. `key`: see `sipHashKey`. */
export function createEngine(key: Uint32Array, buckets: number, prefixSets = 1): Engine {
  return {
    key,
    prefixes: new Uint32Array(prefixSets * PREFIX_SET_WORDS),
    tally: new Uint32Array(TALLY_WORDS),
    icmpPerPrefix: 0,
    icmpPerSecond: 0xffffffff,
    probeIfindex: 0,
    bucketMask: buckets - 1,
    reclaimTicks: 0,
    vips: new Map(),
    vipPrefixes: [],
    services: new Map(),
    slots: new Map(),
    pressures: new Map(),
    picks: new Map(),
    connections: createConnectionTable(buckets),
    backends: [],
    backendFlags: new Uint32Array(MAX_BACKENDS),
    probeSources: new Map(),
    fragmentOwners: new Uint32Array(OWNER_SLOTS),
    balancers: [],
    balancerSources: new Set(),
    fragments: new Map(),
    handUpWindows: new Map(),
    handUpBytes: 512 * 1024,
    handedUp: [],
    natReplies: new Map(),
    natTuples: new Map(),
    serverIds: new Map(),
    counters: new Map(),
  };
}

/** An address of 4 or 16 bytes at `offset` as a key: one string for an IPv4 address and its mapped form. */
export function addressKey(bytes: Uint8Array, offset: number, size: 4 | 16): string {
  let key = size === 4 ? MAPPED : '';
  for (let i = offset; i < offset + size; i += 2) key += String.fromCharCode((bytes[i] << 8) | bytes[i + 1]);
  return key;
}

const MAPPED = '\0\0\0\0\0\uffff';

/** What the address at `offset` of the frame is: itself a VIP, or in one that is a prefix. Subject 0: the balancer's own. */
export function findVip(engine: Engine, frame: Uint8Array, offset: number, size: 4 | 16): EngineVip | undefined {
  const key = addressKey(frame, offset, size);
  return engine.vips.get(key) ?? longestPrefix(engine.vipPrefixes, key)?.vip;
}

/** `port` 0: any. */
export function serviceKey(vip: number, port: number, protocol: number): number {
  return (vip * 0x10000 + port) * 0x100 + protocol;
}

/** `subject`: of the service. `id`: the bytes of a server ID as a big-endian number. */
export function serverIdKey(subject: number, id: bigint): string {
  return `${subject}/${id}`;
}

export function addService(engine: Engine, key: number, service: EngineService, slots: EngineSlots): void {
  engine.services.set(key, service);
  engine.slots.set(service.subject, slots);
  if (!engine.pressures.has(service.subject)) engine.pressures.set(service.subject, new Uint32Array(PRESSURE_WORDS));
}

export function setBackend(engine: Engine, index: number, backend: EngineBackend): void {
  engine.backends[index] = backend;
  engine.backendFlags[index] = backend.flags;
}

/** The sum of the constant words of an outer IPv4 header with GRE (bpf/layout.h: header_sum); 0 for IPv6. */
export function headerSum(backend: EngineBackend): number {
  if ((backend.flags & BACKEND_IPV6) !== 0) return 0;
  let sum = 0x4500 + 0x4000 + ((64 << 8) | 47);
  for (const address of [backend.source, backend.address])
    sum += ((address[12] << 8) | address[13]) + ((address[14] << 8) | address[15]);
  return sum;
}

/** The counters of a subject, made at their first use. */
export function countersOf(engine: Engine, subject: number): EngineCounters {
  let counters = engine.counters.get(subject);
  if (counters === undefined) {
    counters = {
      outcome: Object.fromEntries(OUTCOMES.map((name) => [name, 0])) as Record<Outcome, number>,
      event: Object.fromEntries(EVENTS.map((name) => [name, 0])) as Record<Event, number>,
      bytes: 0,
      newConnections: 0,
    };
    engine.counters.set(subject, counters);
  }
  return counters;
}
