/**
 * The names and numbers of bpf/layout.h that the model needs. They stand here once more because the model imports
 * nothing of serve/; test/diff compares them with the generated view.
 */

/** By the value of `enum outcome`. */
export const OUTCOMES = [
  'not-ip',
  'not-vip',
  'malformed',
  'fragment',
  'no-service',
  'icmp-echo',
  'icmp-other',
  'icmp-error',
  'ttl-expired',
  'no-backend',
  'settled',
  'tracked',
  'new',
  'adopted',
  'untracked',
  'probe',
  'nat-reply',
  'limited',
  'too-big',
  'oversized',
  'fragment-relayed',
  'fragment-refused',
  'fragment-first',
  'fragment-later',
  'fragment-held',
  'by-id',
  'failed',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** By the value of `enum event`. */
export const EVENTS = [
  'inserted',
  'replaced',
  'refused-full',
  'refused-pressure',
  'cas-lost',
  'keyed',
  'answered',
  'unanswered',
  'handed-up',
  'hand-up-limited',
  'hand-up-full',
] as const;
export type Event = (typeof EVENTS)[number];

/** By the value of `enum agent_outcome`. */
export const AGENT_OUTCOMES = [
  'not-ours',
  'delivered',
  'forwarded',
  'not-member',
  'not-our-vip',
  'malformed',
  'unknown-candidate',
  'failed',
] as const;
export type AgentOutcome = (typeof AGENT_OUTCOMES)[number];

export const EVENT_INSERTED = 1 << 0;
export const EVENT_REPLACED = 1 << 1;
export const EVENT_REFUSED_FULL = 1 << 2;
export const EVENT_REFUSED_PRESSURE = 1 << 3;
export const EVENT_KEYED = 1 << 5;
export const EVENT_ANSWERED = 1 << 6;
export const EVENT_UNANSWERED = 1 << 7;
export const EVENT_HANDED_UP = 1 << 8;
export const EVENT_HAND_UP_LIMITED = 1 << 9;

/** By the value of `enum reason`. */
export const REASONS = ['early', 'oversized', 'relay'] as const;
export type Reason = (typeof REASONS)[number];

export const MAX_BACKENDS = 4096;
export const INDEX_MASK = 0xfff;
export const BUCKET_ENTRIES = 8;
export const AGE_MASK = 0xfff;
export const YOUNG_TICKS = 1;
/** State of an entry, where every flow is tracked. */
export const STATE_OPENING = 1;
export const STATE_OPEN = 2;
export const STATE_CLOSING = 3;
export const STATE_PHASE = 3;
export const STATE_ENDED = 4;
export const STATE_COUNTED = 8;
export const OPENING_TICKS = 14;
export const CLOSING_TICKS = 4;
export const ENDED_TICKS = 70;
export const REOPEN_TICKS = 3;
export const MAX_PICKS = 4096;

export const SERVICE_TRACK_ALL = 1;
export const SERVICE_HASH_SOURCE = 2;

/** By the value of `enum scheduler`. */
export const SCHEDULERS = ['hash', 'round-robin', 'random', 'least-connections'] as const;
export const SCHEDULER_ROUND_ROBIN = 1;
export const SCHEDULER_RANDOM = 2;
export const SCHEDULER_LEAST_CONNECTIONS = 3;

export const BACKEND_ALIVE = 1;
export const BACKEND_AGENT = 2;
export const BACKEND_IPV6 = 4;
export const SERVICE_QUIC = 4;
export const VIP_ECHO = 1;
export const SERVICE_UNREACHABLE = 8;
export const VIP_OWN = 2;

export const OWNER_SLOTS = 251;
export const FRAGMENT_REGIONS = 512;
export const FRAGMENT_REGION_BUCKETS = 32;
export const FRAGMENT_ENTRIES = 4;
export const FRAGMENT_LIFETIME = 80;
export const FRAGMENT_TCP = 0x1000;
export const FRAGMENT_KNOWN = 0x2000;
export const FRAGMENT_AGE_MASK = 0xfff;
export const SERVICE_NAT_TUPLES = 16;

export const EGRESS_VLAN_MASK = 0xfff;
export const EGRESS_TAG = 0x1000;
export const EGRESS_STRIP = 0x2000;
export const EGRESS_STALE = 0x8000;

/** By the value of `enum forwarding`. */
export const FORWARDINGS = ['unsaid', 'gre', 'ipip', 'gue', 'l2', 'nat'] as const;
export const FORWARDING_UNSAID = 0;
export const FORWARDING_GRE = 1;
export const FORWARDING_IPIP = 2;
export const FORWARDING_GUE = 3;
export const FORWARDING_L2 = 4;
export const FORWARDING_NAT = 5;

/** Whether a packet can say which other backends its flow may be on. */
export function canNameOthers(forwarding: number): boolean {
  return forwarding <= FORWARDING_GRE || forwarding === FORWARDING_GUE;
}

/** Time since boot in ns as two 32-bit halves: `high` counts ticks of 2^32 ns. */
export interface Clock {
  readonly high: number;
  readonly low: number;
}

/** `clock >> 30`, 32 bits. */
export function clockSecond(clock: Clock): number {
  return ((clock.high << 2) | (clock.low >>> 30)) >>> 0;
}

/** `clock >> 26`, 32 bits. */
export function clockFine(clock: Clock): number {
  return ((clock.high << 6) | (clock.low >>> 26)) >>> 0;
}
