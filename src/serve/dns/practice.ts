/**
 * A thread practises before it takes over from another: the engine compiles what is used often, and 50,000 queries a second would wait for that in
 * the sockets. Nothing of it is counted, limited or recorded anywhere.
 */
import type { Config } from '../../config/model.ts';
import { Answerer } from './answer.ts';
import { createDnsCounters } from './counters.ts';
import type { DatagramBatch } from './datagram-batch.ts';
import type { Signing } from './dnssec/signing.ts';
import type { AnswerSources, Asker } from './exchange.ts';
import { createRing, QueryRecorder } from './query-log/ring.ts';
import { LIMIT_REGION_BYTES, RateLimiter } from './rate-limit.ts';
import { Responder } from './respond.ts';
import { SteeredAnswers } from './steered-answers.ts';
import { SteeredResponder } from './steered-responder.ts';
import { encodeQuery } from './wire/message.ts';
import type { Name } from './wire/name.ts';
import { CLASS, RECORD_TYPE } from './wire/numbers.ts';

const PRACTICE_MS = 100;
const MAX_TURNS = 30_000;
const MAX_NAMES = 64;
const PORT = 40_000;

/** 10.1.2.0/24. */
const SUBNET = Uint8Array.of(0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2);

export function practise(sources: AnswerSources, signing: Signing | null, config: Config, batch: DatagramBatch): void {
  const counters = createDnsCounters();
  // As large as the real one, and of memory of the same kind.
  const region = new SharedArrayBuffer(LIMIT_REGION_BYTES);
  const limiter = new RateLimiter(config.dnsProtocol.rateLimit, 0, counters.limits, region);
  const recorder = new QueryRecorder(createRing());
  const answers = new SteeredAnswers(sources, signing);
  const steered = new SteeredResponder(answers, limiter, recorder, new Float64Array(1));
  const answerer = new Answerer(sources);
  answerer.signing = signing;
  const responder = new Responder(answerer, limiter, counters, recorder);
  const queries = queriesOf(answers, sources);
  const { bytes, view } = batch;
  const asker: Asker = {
    client: batch.clients[0],
    transport: 'udp',
    nowMs: Date.now(),
    keepaliveTenths: 0,
    listener: 0,
  };
  const deadlineMs = performance.now() + PRACTICE_MS;
  for (let turn = 0; turn < MAX_TURNS && performance.now() < deadlineMs; turn++) {
    const query = queries[turn % queries.length];
    batch.messages[0].set(query);
    steered.refresh();
    const out = batch.answerOf(0);
    const sent = steered.respond(bytes, view, batch.startOf(0), query.length, asker, PORT, out);
    if (sent === 0) responder.respond(batch.messages[0], query.length, asker, PORT, batch.answers[0], steered.verdict);
    steered.count(counters);
  }
}

/** Of steered names, plain and with a client subnet; and of each zone's apex. At least one. */
function queriesOf(answers: SteeredAnswers, { zones }: AnswerSources): Uint8Array[] {
  const ask = (name: Name, type: number, options: Uint8Array | null): Uint8Array => {
    const edns = options === null ? null : { payloadBytes: 1232, flags: 0, options };
    return encodeQuery(0, { name, type, class: CLASS.IN }, edns);
  };
  const names = answers.entries.slice(0, MAX_NAMES).map(({ name }) => name);
  const steered = names.flatMap((name) => [ask(name, RECORD_TYPE.A, null), ask(name, RECORD_TYPE.A, SUBNET)]);
  const apexes = zones.zones.slice(0, MAX_NAMES).map(({ name }) => ask(name, RECORD_TYPE.SOA, new Uint8Array(0)));
  return [...steered, ...apexes, ask(Uint8Array.of(0), RECORD_TYPE.NS, null)];
}
