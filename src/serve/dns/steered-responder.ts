/** The short way around `respond.ts`: answers of `SteeredAnswers`, limited, recorded and counted as those are. */
import { POLICY_KINDS } from '../../config/steering-model.ts';
import type { AskerCounter } from './asker-counts.ts';
import type { DnsCounters } from './counters.ts';
import type { Asker } from './exchange.ts';
import type { QueryRecorder } from './query-log/ring.ts';
import type { RateLimiter, Verdict } from './rate-limit.ts';
import { REASONS } from './ready-rows.ts';
import type { SteeredAnswers } from './steered-answers.ts';

/** Places in `#counts`; the first three are the types. */
const EDNS = 3;
const ECS = 4;
/** Of the first of `REASONS`. */
const CHOSEN = 5;
/** Of the first kind of policy. */
const POLICIES = 8;

/** What `count` and the limits count: few, for they are told after each batch. */
export function steeredCounters(counters: DnsCounters): (readonly [object, string])[] {
  const { queries, responses, types, choices, policies, limits } = counters;
  return [
    [queries, 'udp'],
    [responses, 'noerror'],
    ...['a', 'aaaa', 'https'].map((type) => [types, type] as const),
    [counters, 'edns'],
    [counters, 'ecs'],
    ...REASONS.map((reason) => [choices, reason] as const),
    ...POLICY_KINDS.map((kind) => [policies, kind] as const),
    [limits, 'displaced'],
  ];
}

export class SteeredResponder {
  /** What the limits said about a query that was found and not answered here; null: it was not found. */
  verdict: Verdict | null = null;
  readonly #answers: SteeredAnswers;
  readonly #limiter: RateLimiter;
  readonly #recorder: QueryRecorder;
  /** By entry of `SteeredAnswers`. */
  readonly #policies: Uint8Array;
  /** By the numbers that `SteeredAnswers.site` tells. */
  readonly #siteAnswers: Float64Array;
  readonly #askers: AskerCounter | null;
  /** Since they were last counted. */
  readonly #counts = new Uint32Array(POLICIES + POLICY_KINDS.length);

  /** `askers`: counts who asks, by the numbers that `SteeredAnswers.site` tells; null: nobody wants to know. */
  constructor(
    answers: SteeredAnswers,
    limiter: RateLimiter,
    recorder: QueryRecorder,
    siteAnswers: Float64Array,
    askers: AskerCounter | null = null,
  ) {
    this.#askers = askers;
    this.#answers = answers;
    this.#limiter = limiter;
    this.#recorder = recorder;
    this.#siteAnswers = siteAnswers;
    this.#policies = Uint8Array.from(answers.entries, ({ steered }) => POLICY_KINDS.indexOf(steered.steering.policy));
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
    counts[CHOSEN + answers.reasonIndex]++;
    counts[POLICIES + this.#policies[answers.entry]]++;
    this.#siteAnswers[answers.site]++;
    if (this.#askers !== null && answers.typeIndex === 0) this.#countAsker(this.#askers, bytes, asker);
    return sent;
  }

  #countAsker(askers: AskerCounter, bytes: Uint8Array, { client }: Asker): void {
    const { hasSubnet, subnetFamily, subnetAt, subnetLength, site } = this.#answers;
    askers.count(client, bytes, hasSubnet ? subnetFamily : 0, subnetAt, subnetLength, site);
  }

  /** Takes notice of health, before each batch. */
  refresh(): void {
    this.#answers.refresh();
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
    for (const [index, reason] of REASONS.entries()) counters.choices[reason] += counts[CHOSEN + index];
    for (const [index, kind] of POLICY_KINDS.entries()) counters.policies[kind] += counts[POLICIES + index];
    counts.fill(0);
  }
}
