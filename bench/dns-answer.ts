/** The answer alone, in the process: how long `answer.ts` takes for it, and the short way of steered names. */

import { CALM_VIEW } from '../src/decide/steer/nearest.ts';
import { parseAddress } from '../src/net/address.ts';
import { Answerer } from '../src/serve/dns/answer.ts';
import { AskerCounter, createAskerMemory } from '../src/serve/dns/asker-counts.ts';
import { DRAWS_BYTES } from '../src/serve/dns/draws.ts';
import { type Asker, MAX_UDP_BYTES } from '../src/serve/dns/exchange.ts';
import { testConfig } from '../src/serve/dns/sample.ts';
import { compileServed } from '../src/serve/dns/served.ts';
import { SteeredAnswers } from '../src/serve/dns/steered-answers.ts';
import { encodeQuery } from '../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../src/serve/dns/wire/name.ts';
import { parseType } from '../src/serve/dns/wire/numbers.ts';
import { type BenchCase, type BenchOptions, spreadOf } from './report.ts';

interface Subject {
  readonly text: string;
  readonly name: string;
  readonly type: string;
  /** Client subnet option, a /24 in 10/8. */
  readonly hasSubnet: boolean;
  readonly isShort: boolean;
  /** Who asks is counted, as where steering measures; of 4,096 resolvers. */
  readonly isCounted?: boolean;
}

const STEERED = { name: 'www.example.test', type: 'A' };
const SUBJECTS: readonly Subject[] = [
  { text: 'A of a service', ...STEERED, hasSubnet: false, isShort: false },
  { text: 'A of a service, client subnet', ...STEERED, hasSubnet: true, isShort: false },
  { text: 'A of a service, the short way', ...STEERED, hasSubnet: false, isShort: true },
  { text: 'A of a service, client subnet, the short way', ...STEERED, hasSubnet: true, isShort: true },
  {
    text: 'A of a service, the short way, askers counted',
    ...STEERED,
    hasSubnet: false,
    isShort: true,
    isCounted: true,
  },
  { text: 'static MX', name: 'example.test', type: 'MX', hasSubnet: false, isShort: false },
  { text: 'NXDOMAIN', name: 'nope.example.test', type: 'A', hasSubnet: false, isShort: false },
];

export function answerCases({ quick, progress }: BenchOptions): BenchCase[] {
  return SUBJECTS.map((subject) => {
    progress?.(`answer: ${subject.text}`);
    const samples = quick ? 3 : 9;
    const times = measure(subject, samples, quick ? 20_000 : 200_000);
    const params = { server: 'portico', path: 'process', ecs: subject.hasSubnet ? 1 : 0, measure: 'answer' };
    return { case: `answer: ${subject.text}`, params, unit: 'ns', samples, ...spreadOf(times) };
  });
}

function queryOf({ name, type, hasSubnet }: Subject): Uint8Array {
  const parsed = parseName(`${name}.`, ROOT_NAME);
  if (!parsed.ok) throw new Error(parsed.reason);
  const options = hasSubnet ? Uint8Array.of(0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2) : new Uint8Array(0);
  const question = { name: parsed.name, type: parseType(type) ?? 0, class: 1 };
  return encodeQuery(1, question, { payloadBytes: 1232, flags: 0, options });
}

/** Nanoseconds an answer, by sample. */
function measure(subject: Subject, samples: number, turns: number): number[] {
  const compiled = compileServed(
    {
      config: testConfig(),
      serverName: null,
      epoch: null,
      ownSecret: new Uint8Array(16),
      draws: new SharedArrayBuffer(DRAWS_BYTES),
      keys: [],
      signatures: [],
    },
    { ...CALM_VIEW, version: 1 },
  );
  const client = parseAddress('10.1.2.3');
  if (!compiled.ok || client === null) throw new Error('the sample configuration has problems');
  const asker: Asker = { client, transport: 'udp', nowMs: 0, keepaliveTenths: 0 };
  const query = queryOf(subject);
  const answers = new SteeredAnswers(compiled.sources);
  const shortAnswer = subject.isShort ? shortWay(answers, query, asker) : null;
  const answer =
    shortAnswer !== null && subject.isCounted === true ? counted(shortAnswer, answers, asker) : shortAnswer;
  const answerer = new Answerer(compiled.sources);
  const out = new Uint8Array(MAX_UDP_BYTES);
  const times: number[] = [];
  for (let sample = -1; sample < samples; sample++) {
    const begin = process.hrtime.bigint();
    for (let turn = 0; turn < turns; turn++) {
      const length = answer === null ? answerer.answer(query, query.length, asker, out) : answer();
      if (length === 0) throw new Error('no answer');
    }
    // The first sample warms the compiler.
    if (sample >= 0) times.push(Number(process.hrtime.bigint() - begin) / turns);
  }
  return times;
}

function shortWay(answers: SteeredAnswers, query: Uint8Array, asker: Asker): () => number {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  bytes.set(query);
  answers.refresh();
  return () => (answers.find(bytes, view, 0, query.length, asker) ? answers.write(bytes, view, 2048) : 0);
}

function counted(answer: () => number, answers: SteeredAnswers, { client }: Asker): () => number {
  const counter = new AskerCounter(createAskerMemory(), 1);
  let turn = 0;
  return () => {
    const length = answer();
    turn = (turn + 1) & 4095;
    client.bytes[1] = turn >> 8;
    client.bytes[2] = turn;
    counter.count(client, client.bytes, 0, 0, 0, answers.site);
    return length;
  };
}
