/**
 * What a DNS server counts. All only grow. The arithmetic:
 *
 *     queries.udp + queries.tcp = all of `responses` + all of `dropped`
 *     all of `types`            = all of `responses`
 *     all of `choices`          = all of `sites` = all of `policies` = answers with addresses of a service
 *     tcp.accepted - tcp.closed = connections open now; tcp.refused* were never accepted
 *
 * `edns`, `ecs`, `ecsMalformed`, `cookies`, `truncated`, `limits.slipped` and `unsent` are parts of `responses`.
 */
import { POLICY_KINDS, type PolicyKind } from '../../config/steering-model.ts';
import type { ChoiceReason } from '../../decide/steer/plan.ts';
import { createSigningCounters, type SigningCounters } from './dnssec/signing-counters.ts';
import {
  createNotifyCounts,
  createTransferCounts,
  type NotifyCounts,
  type TransferCounts,
} from './transfer/transfer-counts.ts';
import { RCODE, RECORD_TYPE } from './wire/numbers.ts';

export type Transport = 'udp' | 'tcp';

/** What signatures of queries proved to be (RFC 8945). */
export interface SignatureCounts {
  good: number;
  badkey: number;
  badsig: number;
  badtime: number;
  /** The MAC is cut off. */
  badtrunc: number;
  malformed: number;
}

export interface DnsCounters {
  readonly queries: Record<Transport, number>;
  /** By RCODE. */
  readonly responses: Record<ResponseCode, number>;
  /**
   * Never answered: shorter than a header; answers (QR set); UDP from port 0, 7, 17 or 19; errors to a name server's port, which might be
   * answered with an error for ever; above the rate limit; see `failed`.
   */
  readonly dropped: {
    short: number;
    response: number;
    port: number;
    loop: number;
    limited: number;
    /** What answers broke down over them: a fault of ours. */
    failed: number;
  };
  /** By the question's type; `none`: no question could be read. */
  readonly types: Record<TypeClass, number>;
  /** The query had EDNS. */
  edns: number;
  /** The query had a well-formed client subnet. */
  ecs: number;
  /** FORMERR because of the client subnet. */
  ecsMalformed: number;
  /** Cookies in queries: the client's part only; proved to be ours; not ours or too old. */
  readonly cookies: { client: number; good: number; bad: number };
  /** TC set. */
  truncated: number;
  readonly limits: {
    /** Answers above the rate limit that were replaced by TC or BADCOOKIE; those without an answer are in `dropped`. */
    slipped: number;
    /** Limits that another prefix took the place of while they were in use: more prefixes at once than there is room for. */
    displaced: number;
  };
  /** What is signed on demand. */
  readonly dnssec: SigningCounters;
  readonly transfers: TransferCounts;
  readonly notifies: NotifyCounts;
  /** Of queries with TSIG. */
  readonly signatures: SignatureCounts;
  /** Answers that the socket did not take, or whose connection went. */
  unsent: number;
  /** Why the site of a steered answer was chosen. */
  readonly choices: Record<ChoiceReason, number>;
  /** The same answers by the policy of the service. */
  readonly policies: Record<PolicyKind, number>;
  /** Steered answers by service and site: where clients were sent. */
  readonly sites: Record<string, Record<string, number>>;
  readonly tcp: {
    accepted: number;
    closed: number;
    /** Turned away: the client has too many connections already. */
    refusedPerClient: number;
    /** Closed to make room for a new connection. */
    evicted: number;
    /** Closed after silence, or because answers were not read. */
    timedOut: number;
  };
  readonly workers: {
    /** Threads that ended although nobody stopped them, and were replaced. */
    restarted: number;
  };
}

const RESPONSE_CODES = [
  'noerror',
  'formerr',
  'servfail',
  'nxdomain',
  'notimp',
  'refused',
  'yxdomain',
  'notauth',
  'badvers',
  'badcookie',
] as const;
export type ResponseCode = (typeof RESPONSE_CODES)[number];

/** Others than these are never sent. */
export function responseCodeName(rcode: number): ResponseCode {
  if (rcode === RCODE.BADVERS) return 'badvers';
  if (rcode === RCODE.NOTAUTH) return 'notauth';
  return rcode === RCODE.BADCOOKIE ? 'badcookie' : RESPONSE_CODES[rcode];
}

const TYPE_CLASSES = {
  a: RECORD_TYPE.A,
  aaaa: RECORD_TYPE.AAAA,
  any: RECORD_TYPE.ANY,
  caa: RECORD_TYPE.CAA,
  cname: RECORD_TYPE.CNAME,
  ds: RECORD_TYPE.DS,
  https: RECORD_TYPE.HTTPS,
  mx: RECORD_TYPE.MX,
  ns: RECORD_TYPE.NS,
  ptr: RECORD_TYPE.PTR,
  soa: RECORD_TYPE.SOA,
  srv: RECORD_TYPE.SRV,
  tlsa: RECORD_TYPE.TLSA,
  txt: RECORD_TYPE.TXT,
} as const;
export type TypeClass = keyof typeof TYPE_CLASSES | 'other' | 'none';

const classOfType = new Map<number, TypeClass>();
for (const [name, type] of Object.entries(TYPE_CLASSES)) classOfType.set(type, name as TypeClass);

export function typeClass(type: number): TypeClass {
  return classOfType.get(type) ?? 'other';
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

export function createDnsCounters(): DnsCounters {
  return {
    queries: { udp: 0, tcp: 0 },
    responses: zeros(RESPONSE_CODES),
    dropped: { short: 0, response: 0, port: 0, loop: 0, limited: 0, failed: 0 },
    types: zeros<TypeClass>([...(Object.keys(TYPE_CLASSES) as TypeClass[]), 'other', 'none']),
    edns: 0,
    ecs: 0,
    ecsMalformed: 0,
    cookies: { client: 0, good: 0, bad: 0 },
    truncated: 0,
    limits: { slipped: 0, displaced: 0 },
    dnssec: createSigningCounters(),
    transfers: createTransferCounts(),
    notifies: createNotifyCounts(),
    signatures: { good: 0, badkey: 0, badsig: 0, badtime: 0, badtrunc: 0, malformed: 0 },
    unsent: 0,
    choices: { free: 0, full: 0, static: 0 },
    policies: zeros(POLICY_KINDS),
    sites: {},
    tcp: { accepted: 0, closed: 0, refusedPerClient: 0, evicted: 0, timedOut: 0 },
    workers: { restarted: 0 },
  };
}

export function countSite(counters: DnsCounters, service: string, site: string, answers = 1): void {
  counters.sites[service] ??= {};
  const sites = counters.sites[service];
  sites[site] = (sites[site] ?? 0) + answers;
}

/** Every counter but those of `sites`, always in the same order. */
function* leavesOf(counters: object): Generator<{ readonly parent: Record<string, number>; readonly key: string }> {
  for (const [key, value] of Object.entries(counters)) {
    if (key === 'sites') continue;
    if (typeof value === 'number') yield { parent: counters as Record<string, number>, key };
    else yield* leavesOf(value as object);
  }
}

/** Adds all counters of another set. */
export function addCounters(counters: DnsCounters, others: DnsCounters): void {
  const added = leavesOf(others);
  for (const { parent, key } of leavesOf(counters)) {
    const other = added.next().value;
    if (other !== undefined) parent[key] += other.parent[other.key];
  }
  for (const [service, sites] of Object.entries(others.sites))
    for (const [site, answers] of Object.entries(sites)) countSite(counters, service, site, answers);
}

/** Memory in which a thread tells its counters to another. */
export function createCounterMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer([...leavesOf(createDnsCounters())].length * 8);
}

/** Tells counters, but for those of `sites`. Costs some 10 ns a counter. */
export class CounterPublisher {
  readonly #leaves: readonly { readonly parent: Record<string, number>; readonly key: string }[];
  readonly #values: Float64Array;

  constructor(counters: DnsCounters, memory: SharedArrayBuffer) {
    this.#leaves = [...leavesOf(counters)];
    this.#values = new Float64Array(memory);
  }

  publish(): void {
    const leaves = this.#leaves;
    for (let i = 0; i < leaves.length; i++) this.#values[i] = leaves[i].parent[leaves[i].key];
  }

  /** For `publishSome`: the places of counters, each by what it is part of and its name. */
  placesOf(counters: readonly (readonly [parent: object, key: string])[]): Uint16Array {
    return Uint16Array.from(counters, ([parent, key]) =>
      this.#leaves.findIndex((leaf) => leaf.parent === parent && leaf.key === key),
    );
  }

  /** The others have not changed. */
  publishSome(places: Uint16Array): void {
    const leaves = this.#leaves;
    for (let i = 0; i < places.length; i++) {
      const leaf = leaves[places[i]];
      this.#values[places[i]] = leaf.parent[leaf.key];
    }
  }
}

/** Adds what a `CounterPublisher` told. */
export function addPublished(counters: DnsCounters, memory: SharedArrayBuffer): void {
  const values = new Float64Array(memory);
  let index = 0;
  for (const { parent, key } of leavesOf(counters)) parent[key] += values[index++];
}
