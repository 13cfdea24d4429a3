/** From a query that came in to what goes out: who is not answered at all, the answer, its limits, and the counting. */
import type { Answerer } from './answer.ts';
import type { BeaconWatch } from './beacon-notes.ts';
import { countSite, type DnsCounters, responseCodeName, typeClass } from './counters.ts';
import { type Asker, NOBODY } from './exchange.ts';
import type { QueryRecorder } from './query-log/ring.ts';
import type { RateLimiter, Verdict } from './rate-limit.ts';
import { answerSigned } from './transfer/signed-answers.ts';
import { RCODE, RECORD_TYPE } from './wire/numbers.ts';
import { HEADER_BYTES, type Query } from './wire/query.ts';

/**
 * Ports whose services answer anything (echo, quotd, chargen) and 0, which cannot be answered: a forged query from there would make a loop
 * or noise.
 */
const LOOP_PORTS: ReadonlySet<number> = new Set([0, 7, 17, 19]);
/** Queries from here are answered: some resolvers still ask from their own port. */
const DNS_PORT = 53;

export class Responder {
  readonly answerer: Answerer;
  readonly #limiter: RateLimiter;
  readonly #counters: DnsCounters;
  readonly #recorder: QueryRecorder | null;
  readonly #countSite: (service: string, site: string) => void;
  /** Told of who got addresses of a service in an answer to a query for A. */
  countAsker: ((query: Query, message: Uint8Array, asker: Asker, service: string, site: string) => void) | null = null;
  /** Told of answered queries; null: there are no names made for one user. */
  beacons: BeaconWatch | null = null;
  /** Of the query in hand. */
  #asker = NOBODY;

  /** `countSiteAnswer`: told of answers with addresses of a service, in place of `counters.sites`. */
  constructor(
    answerer: Answerer,
    limiter: RateLimiter,
    counters: DnsCounters,
    recorder: QueryRecorder | null = null,
    countSiteAnswer = (service: string, site: string): void => countSite(counters, service, site),
  ) {
    this.answerer = answerer;
    this.#limiter = limiter;
    this.#counters = counters;
    this.#recorder = recorder;
    this.#countSite = countSiteAnswer;
    // What needs a signature is judged before it is made, and only once.
    answerer.judge = () => {
      const { facts } = answerer;
      if (this.#asker.transport === 'tcp' || answerer.signer !== null) return true;
      facts.verdict ??= limiter.judge(this.#asker, facts.kind, facts.subject, facts.cookie === 'good');
      return facts.verdict === 'send';
    };
  }

  /** As `Answerer.answer`; `port`: the source port; `known`: what the limits have said already. 0: nothing is to be sent. */
  respond(
    message: Uint8Array,
    length: number,
    asker: Asker,
    port: number,
    out: Uint8Array,
    known: Verdict | null = null,
  ): number {
    const { dropped, queries } = this.#counters;
    const isUdp = asker.transport === 'udp';
    queries[asker.transport]++;
    if (isUdp && LOOP_PORTS.has(port)) {
      dropped.port++;
      return 0;
    }
    this.#asker = asker;
    let answered = this.answerer.answer(message, length, asker, out);
    if (this.answerer.facts.query.tsigStart > 0 && answered > 0) {
      answered = answerSigned(this.answerer, this.#counters.signatures, message, length, asker, out);
    }
    if (answered === 0) {
      if (length < HEADER_BYTES) dropped.short++;
      else dropped.response++;
      return 0;
    }
    const { rcode } = this.answerer.facts;
    if (isUdp && port === DNS_PORT && (rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP)) {
      dropped.loop++;
      return 0;
    }
    // Who signs well is known, and a short answer would need a signature again.
    const sent = isUdp && this.answerer.signer === null ? this.#limit(answered, asker, out, known) : answered;
    if (!isUdp) this.#limiter.prove(asker);
    if (sent > 0) this.#count(message, asker);
    this.#record(message, length, out, sent, asker, port, !isUdp);
    return sent;
  }

  /** Length of what may be sent. */
  #limit(answered: number, asker: Asker, out: Uint8Array, known: Verdict | null): number {
    const { kind, subject, cookie } = this.answerer.facts;
    const verdict =
      known ?? this.answerer.facts.verdict ?? this.#limiter.judge(asker, kind, subject, cookie === 'good');
    if (verdict === 'send') return answered;
    if (verdict === 'drop') {
      this.#counters.dropped.limited++;
      return 0;
    }
    this.#counters.limits.slipped++;
    // Who knows cookies and proves itself by one need not come by TCP (RFC 7873 section 5.2.3).
    const hasCookie = cookie === 'client' || cookie === 'bad';
    return this.answerer.shorten(hasCookie ? 'bad-cookie' : 'truncated', out);
  }

  #record(
    message: Uint8Array,
    length: number,
    out: Uint8Array,
    sent: number,
    { client, listener = 0, nowMs }: Asker,
    port: number,
    isTcp: boolean,
  ): void {
    const { rcode } = this.answerer.facts;
    this.#recorder?.record(message, 0, length, out, 0, sent, client, port, isTcp, listener, rcode, nowMs);
  }

  #count(message: Uint8Array, asker: Asker): void {
    const counters = this.#counters;
    const { query, rcode, isTruncated, cookie, steered, site, reason } = this.answerer.facts;
    counters.responses[responseCodeName(rcode)]++;
    counters.types[query.questionEnd > 0 ? typeClass(query.type) : 'none']++;
    if (query.hasEdns) counters.edns++;
    if (query.hasEdns && query.hasSubnet) counters.ecs++;
    if (query.hasEdns && query.isSubnetMalformed) counters.ecsMalformed++;
    if (cookie !== 'none') counters.cookies[cookie]++;
    if (isTruncated) counters.truncated++;
    if (steered === null) {
      if (rcode === RCODE.NOERROR) this.beacons?.look(query, message, asker);
      return;
    }
    counters.choices[reason]++;
    counters.policies[steered.steering.policy]++;
    this.#countSite(steered.service, steered.steering.sites[site]);
    if (query.type === RECORD_TYPE.A)
      this.countAsker?.(query, message, asker, steered.service, steered.steering.sites[site]);
  }
}
