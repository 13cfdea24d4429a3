/** What goes into an answer besides the query, and what is known of it afterwards. */
import type { SteeringView } from '../../decide/steer/nearest.ts';
import type { ChoiceReason } from '../../decide/steer/plan.ts';
import type { Address } from '../../net/address.ts';
import type { CookieState } from './cookie.ts';
import type { Transport } from './counters.ts';
import type { Draws } from './draws.ts';
import type { Explanation } from './extended-error.ts';
import type { ServerIdentity } from './server-record.ts';
import { createQuery, type Query } from './wire/query.ts';
import type { CompiledZone, CompiledZones, SteeredName } from './zones.ts';

/** Ours, in OPT and as the limit of answers: no path fragments it (DNS flag day 2020). */
export const MAX_UDP_BYTES = 1232;
/** Without EDNS (RFC 1035 4.2.1), and the least that EDNS can say (RFC 6891 6.2.3). */
export const MIN_UDP_BYTES = 512;
export const MAX_TCP_BYTES = 65535;

export interface AnswerSources {
  /** Of clients that get turns of a cycle; absent: the answerer has its own. */
  readonly draws?: Draws;
  readonly zones: CompiledZones;
  readonly view: SteeringView;
  readonly identity: ServerIdentity;
  /** Secrets of server cookies, from `sipHashKey`: the first makes them, all know them. None: cookies are ignored. */
  readonly cookieKeys: readonly Uint32Array[];
}

/** Who asks, how and when. */
export interface Asker {
  readonly client: Address;
  readonly transport: Transport;
  /** Unix time. */
  readonly nowMs: number;
  /** Index of the pair of sockets that it came by; default 0. */
  readonly listener?: number;
  /** How long a client by TCP may be silent, for those who want to know (RFC 7828), in tenths of a second. */
  readonly keepaliveTenths: number;
}

export const NOBODY: Asker = {
  client: { family: 4, bytes: new Uint8Array(4) },
  transport: 'udp',
  nowMs: 0,
  keepaliveTenths: 0,
};

export type AnswerKind = 'positive' | 'nodata' | 'nxdomain' | 'referral' | 'error';

/** About the last answer. */
export interface AnswerFacts {
  readonly query: Query;
  rcode: number;
  kind: AnswerKind;
  /**
   * Hash of the name whose data it is: of the one asked for, or what stands closest above it; of the zone for NXDOMAIN; of the delegation.
   * So random names share one. 0: of no name.
   */
  subject: number;
  isTruncated: boolean;
  /** The answer is of a signed zone, to a client that knows compact denial (RFC 9824). */
  isCompact: boolean;
  cookie: CookieState;
  /** Of the rate limit, if it was asked before the answer was made; null: it was not. */
  verdict: 'send' | 'slip' | 'drop' | null;
  /** Of the client subnet. */
  scopeLength: number;
  explanation: Explanation | null;
  /** Of an answer with addresses of a service; null: it has none. */
  steered: SteeredName | null;
  /** Only with `steered`: index of the site that is told first, and why it. */
  site: number;
  reason: ChoiceReason;
  /** A zone that has to be sent as a whole, in place of the answer; null: none. */
  transfer: CompiledZone | null;
}

export function createFacts(): AnswerFacts {
  return {
    query: createQuery(),
    rcode: 0,
    kind: 'error',
    subject: 0,
    isTruncated: false,
    isCompact: false,
    cookie: 'none',
    verdict: null,
    scopeLength: 0,
    explanation: null,
    steered: null,
    site: 0,
    reason: 'free',
    transfer: null,
  };
}

/** All but the query. */
export function clearFacts(facts: AnswerFacts): void {
  facts.rcode = 0;
  facts.kind = 'error';
  facts.subject = 0;
  facts.isTruncated = false;
  facts.isCompact = false;
  facts.cookie = 'none';
  facts.verdict = null;
  facts.scopeLength = 0;
  facts.explanation = null;
  facts.steered = null;
  facts.transfer = null;
}
