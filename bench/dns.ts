/**
 * How fast the name server answers: the answer alone, in the process (ns), and through sockets on loopback (queries per second), beside a
 * responder in the same run that sends every datagram back with QR set: the most that Node's sockets give. Client and server share the
 * machine, so quote ratios within one run.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { parseAddress } from '../src/net/address.ts';
import { Answerer } from '../src/serve/dns/answer.ts';
import { MAX_UDP_BYTES } from '../src/serve/dns/exchange.ts';
import { mutableView, testConfig } from '../src/serve/dns/sample.ts';
import { createDnsServer } from '../src/serve/dns/server.ts';
import { TELLS_NOTHING } from '../src/serve/dns/server-record.ts';
import { encodeQuery } from '../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../src/serve/dns/wire/name.ts';
import { parseType } from '../src/serve/dns/wire/numbers.ts';
import { compileZones } from '../src/serve/dns/zone-compile.ts';
import { type BenchCase, type BenchOptions, type BenchResult, spreadOf } from './report.ts';

interface Subject {
  readonly text: string;
  readonly name: string;
  readonly type: string;
  /** Client subnet option, a /24 in 10/8; null: none. */
  readonly hasSubnet: boolean;
}

const SUBJECTS: readonly Subject[] = [
  { text: 'A of a service', name: 'www.example.test', type: 'A', hasSubnet: false },
  { text: 'A of a service, client subnet', name: 'www.example.test', type: 'A', hasSubnet: true },
  { text: 'static MX', name: 'example.test', type: 'MX', hasSubnet: false },
  { text: 'NXDOMAIN', name: 'nope.example.test', type: 'A', hasSubnet: false },
];

function queryOf({ name, type, hasSubnet }: Subject): Uint8Array {
  const parsed = parseName(`${name}.`, ROOT_NAME);
  if (!parsed.ok) throw new Error(parsed.reason);
  const options = hasSubnet ? Uint8Array.of(0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2) : new Uint8Array(0);
  const question = { name: parsed.name, type: parseType(type) ?? 0, class: 1 };
  return encodeQuery(1, question, { payloadBytes: 1232, flags: 0, options });
}

export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const samples = options.quick ? 3 : 9;
  const cases: BenchCase[] = SUBJECTS.map((subject) => {
    options.progress?.(`answer: ${subject.text}`);
    return benchAnswer(subject, samples, options.quick ? 20_000 : 200_000);
  });
  const seconds = options.quick ? 0.3 : 1;
  const view = mutableView();
  for (const subject of SUBJECTS.slice(0, 2)) {
    // Taken in turns, so that a busy moment of the machine does not hit one of them alone.
    const rates = { portico: [] as number[], echo: [] as number[] };
    for (let sample = 0; sample < samples; sample++) {
      options.progress?.(`sockets: ${subject.text}, ${sample + 1} of ${samples}`);
      const server = await startPortico(view);
      rates.portico.push(await measureRate(server.port, queryOf(subject), seconds));
      await server.stop();
      const echo = await startEcho();
      rates.echo.push(await measureRate(echo.port, queryOf(subject), seconds));
      await echo.stop();
    }
    for (const server of ['portico', 'echo'] as const) {
      const params = { server, path: 'process', ecs: subject.hasSubnet ? 1 : 0, measure: 'qps' };
      cases.push({
        case: `${server}: ${subject.text}`,
        params,
        unit: 'queries/s',
        samples,
        ...spreadOf(rates[server]),
      });
    }
  }
  return { bench: 'dns', cases, checks: [] };
}

function benchAnswer(subject: Subject, samples: number, turns: number): BenchCase {
  const compiled = compileZones(testConfig());
  if (!compiled.ok) throw new Error('the sample configuration has problems');
  const sources = { zones: compiled.zones, view: mutableView(), identity: TELLS_NOTHING, cookieKeys: [] };
  const answerer = new Answerer(sources);
  const query = queryOf(subject);
  const client = parseAddress('10.1.2.3');
  if (client === null) throw new Error('no address');
  const asker = { client, transport: 'udp', nowMs: 0, keepaliveTenths: 0 } as const;
  const out = new Uint8Array(MAX_UDP_BYTES);
  const times: number[] = [];
  for (let sample = -1; sample < samples; sample++) {
    const begin = process.hrtime.bigint();
    for (let turn = 0; turn < turns; turn++) {
      if (answerer.answer(query, query.length, asker, out) === 0) throw new Error('no answer');
    }
    // The first sample warms the compiler.
    if (sample >= 0) times.push(Number(process.hrtime.bigint() - begin) / turns);
  }
  const params = { server: 'portico', path: 'process', ecs: subject.hasSubnet ? 1 : 0, measure: 'answer' };
  return { case: `answer: ${subject.text}`, params, unit: 'ns', samples, ...spreadOf(times) };
}

interface Running {
  readonly port: number;
  stop(): Promise<void>;
}

async function startPortico(steering: ReturnType<typeof mutableView>): Promise<Running> {
  const free = { family: 4, address: '127.0.0.1', port: 0 } as const;
  const server = createDnsServer({ config: testConfig(), steering, sockets: [{ udp: free, tcp: free }] });
  await server.start();
  return { port: server.bound()[0].udp.port, stop: server.stop };
}

async function startEcho(): Promise<Running> {
  const socket = createSocket({ type: 'udp4', lookup: (host, _options, callback) => callback(null, host, 4) });
  socket.on('message', (message, from) => {
    message[2] |= 0x80;
    socket.send(message, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const stop = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  return { port: socket.address().port, stop };
}

/** Answers per second that a client in a thread of its own gets. */
async function measureRate(port: number, query: Uint8Array, seconds: number): Promise<number> {
  const worker = new Worker(new URL('./dns-client.ts', import.meta.url), { workerData: { port, query, seconds } });
  // Both are waited for from the start: a thread's last message may come together with its end.
  const [[rate]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
  return rate as number;
}
