/** The short way around `respond.ts`: answers of `SteeredAnswers`, limited, recorded and counted as those are. */
import { POLICY_KINDS } from '../../config/model.ts';
import type { DnsCounters } from './counters.ts';
import type { Asker } from './exchange.ts';
import type { QueryRecorder } from './query-log/ring.ts';
import type { RateLimiter, Verdict } from './rate-limit.ts';
import type { SiteLayout } from './shared-view.ts';
import type { SteeredAnswers } from './steered-answers.ts';

/** Places in `#counts`; the first three are the types. */
const EDNS = 3;
const ECS = 4;
const FREE = 5;
const FULL = 6;
const STATIC = 7;
/** Of the first kind of policy. */
const POLICIES = 8;

export class SteeredResponder {
  /** What the limits said about a query that was found and not answered here; null: it was not found. */
  verdict: Verdict | null = null;
  readonly #answers: SteeredAnswers;
  readonly #limiter: RateLimiter;
  readonly #recorder: QueryRecorder;
  /** By entry of `SteeredAnswers`. */
  readonly #policies: Uint8Array;
  readonly #siteNumbers: readonly Int32Array[];
  readonly #siteAnswers: Float64Array;
  /** Since they were last counted. */
  readonly #counts = new Uint32Array(POLICIES + POLICY_KINDS.length);

  constructor(
    answers: SteeredAnswers,
    limiter: RateLimiter,
    recorder: QueryRecorder,
    layout: SiteLayout,
    siteAnswers: Float64Array,
  ) {
    this.#answers = answers;
    this.#limiter = limiter;
    this.#recorder = recorder;
    this.#siteAnswers = siteAnswers;
    const steerings = answers.entries.map(({ steered }) => steered.steering);
    this.#policies = Uint8Array.from(steerings, ({ policy }) => POLICY_KINDS.indexOf(policy));
    this.#siteNumbers = steerings.map(({ service, sites }) =>
      Int32Array.from(sites, (site) => layout.numberOf(service, site)),
    );
  }

  /**
   * Answers the query of `length` bytes at `start` into `out`, both in `bytes` and `view`. 0: `Responder` is to do it, and is told
   * the `verdict`.
   */
  respond(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    length: number,
    asker: Asker,
    port: number,
    out: number,
  ): number {
    const answers = this.#answers;
    this.verdict = null;
    // Those are never answered; see `respond.ts`.
    if (port < 20 || !answers.find(bytes, view, start, length, asker)) return 0;
    const verdict = this.#limiter.judge(asker, 'positive', answers.subject, false);
    if (verdict !== 'send') {
      this.verdict = verdict;
      return 0;
    }
    const sent = answers.write(bytes, view, out);
    this.#recorder.record(
      bytes,
      start,
      length,
      bytes,
      out,
      sent,
      asker.client,
      port,
      false,
      asker.listener ?? 0,
      0,
      asker.nowMs,
    );
    const counts = this.#counts;
    counts[answers.typeIndex]++;
    if (answers.hasEdns) counts[EDNS]++;
    if (answers.hasSubnet) counts[ECS]++;
    counts[answers.reason === 'free' ? FREE : answers.reason === 'full' ? FULL : STATIC]++;
    counts[POLICIES + this.#policies[answers.entry]]++;
    this.#siteAnswers[this.#siteNumbers[answers.entry][answers.site]]++;
    return sent;
  }

  /** Brings what was answered into the counters, after each batch. */
  count(counters: DnsCounters): void {
    const counts = this.#counts;
    const sum = counts[0] + counts[1] + counts[2];
    if (sum === 0) return;
    counters.queries.udp += sum;
    counters.responses.noerror += sum;
    counters.types.a += counts[0];
    counters.types.aaaa += counts[1];
    counters.types.https += counts[2];
    counters.edns += counts[EDNS];
    counters.ecs += counts[ECS];
    counters.choices.free += counts[FREE];
    counters.choices.full += counts[FULL];
    counters.choices.static += counts[STATIC];
    for (const [index, kind] of POLICY_KINDS.entries()) counters.policies[kind] += counts[POLICIES + index];
    counts.fill(0);
  }
}
