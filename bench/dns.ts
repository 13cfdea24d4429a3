/**
 * How fast the name server answers, beside gdnsd, Knot, NSD and PowerDNS: the same names and map, one worker on one CPU each, one client on
 * another CPU that checks every answer. They take turns; ratios are those of the same round. Then the answer alone, in the process and in the
 * kernel, and over veth beside Knot's XDP mode.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { answerCases } from './dns-answer.ts';
import type { GeneratorResult, GeneratorTask } from './dns-generator.ts';
import { kernelCases } from './dns-kernel.ts';
import { queryList } from './dns-names.ts';
import { installMissing, type RunningServer, SERVERS, type ServerName, startServer } from './dns-servers.ts';
import { xdpCases } from './dns-xdp.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';

const SERVER_CPU = 0;
const CLIENT_CPU = 1;

type Mode = 'plain' | 'ecs';
const MODES: readonly Mode[] = ['plain', 'ecs'];

interface Sample {
  readonly qps: number;
  readonly userNs: number;
  readonly totalNs: number;
  readonly lost: number;
}

/** What was measured of a server in a mode, by round. */
interface Lane {
  readonly server: RunningServer;
  readonly mode: Mode;
  readonly samples: Sample[];
  /** At half of the median rate. */
  readonly p99Us: number[];
}

export async function runBench(options: BenchOptions): Promise<BenchResult> {
  if (availableParallelism() < 2) throw new Error('bench dns needs two CPUs: one for the servers, one for the client');
  const progress = options.progress ?? (() => undefined);
  const missing = installMissing(progress);
  const servers: RunningServer[] = [];
  const client = new Client();
  let result: BenchResult;
  try {
    for (const name of SERVERS.filter((each) => !missing.includes(each))) {
      progress(`starting ${name}`);
      servers.push(await startServer(name, SERVER_CPU));
    }
    const lanes = await measure(servers, client, options, progress);
    const left = missing.length === 0 ? '' : `; not to be had here: ${missing.join(', ')}`;
    const load = `closed loop, 256 queries under way; each server alone with CPU ${SERVER_CPU} as far as the machine lets it${left}`;
    const cases = [...lanes.flatMap(casesOf), ...answerCases(options)];
    result = { bench: 'dns', load, cases, checks: checksOf(lanes) };
  } finally {
    for (const server of servers) await server.stop();
    await client.end();
  }
  progress('answers from the kernel');
  const kernel = kernelCases(options);
  const xdp = missing.includes('knot') ? { cases: [], checks: [] } : await xdpCases(options);
  return {
    ...result,
    cases: [...result.cases, ...kernel.cases, ...xdp.cases],
    checks: [...result.checks, ...kernel.checks, ...xdp.checks],
  };
}

/** The generator's thread. */
class Client {
  readonly #worker = new Worker(new URL('./dns-generator.ts', import.meta.url), { workerData: { cpu: CLIENT_CPU } });
  readonly #lists = { plain: queryList(false), ecs: queryList(true) };

  /** Throws when an answer is wrong. */
  async run(server: RunningServer, mode: Mode, seconds: number, rateQps: number | null): Promise<GeneratorResult> {
    const task: GeneratorTask = { port: server.port, list: this.#lists[mode], seconds, rateQps };
    this.#worker.postMessage(task);
    const [result] = (await once(this.#worker, 'message')) as [GeneratorResult];
    if (result.wrong === 0) return result;
    throw new Error(
      `${result.wrong} answers of ${server.name} are wrong; the first query and answer: ${result.firstWrong}`,
    );
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

async function measure(
  servers: readonly RunningServer[],
  client: Client,
  { quick }: BenchOptions,
  progress: (text: string) => void,
): Promise<Lane[]> {
  const rounds = quick ? 2 : 9;
  const seconds = quick ? 0.4 : 1.5;
  const lanes = MODES.flatMap((mode) =>
    servers
      .filter(({ hasSubnets }) => mode === 'plain' || hasSubnets)
      .map((server): Lane => ({ server, mode, samples: [], p99Us: [] })),
  );
  // Once for long: an engine compiles what is used often.
  for (const { server, mode } of lanes) await client.run(server, mode, FIRST_SECONDS, null);
  for (let round = 0; round < rounds; round++) {
    progress(`rates: round ${round + 1} of ${rounds}`);
    for (const lane of lanes) lane.samples.push(await sample(lane, client, seconds));
  }
  for (let round = 0; round < Math.ceil(rounds / 3); round++) {
    progress(`latency: round ${round + 1} of ${Math.ceil(rounds / 3)}`);
    for (const { server, mode, samples, p99Us } of lanes) {
      const half = spreadOf(samples.map(({ qps }) => qps)).median / 2;
      await client.run(server, mode, WARM_SECONDS, half);
      p99Us.push((await client.run(server, mode, seconds, half)).p99Us);
    }
  }
  return lanes;
}

/** What a server has done before, and for whom, must not count. */
const WARM_SECONDS = 0.3;
const FIRST_SECONDS = 1.5;

async function sample({ server, mode }: Lane, client: Client, seconds: number): Promise<Sample> {
  await client.run(server, mode, WARM_SECONDS, null);
  const before = server.cpu();
  const result = await client.run(server, mode, seconds, null);
  const after = server.cpu();
  const { answers } = result;
  return {
    qps: answers / result.seconds,
    userNs: ((after.user - before.user) * 1e9) / answers,
    totalNs: ((after.total - before.total) * 1e9) / answers,
    lost: result.lost,
  };
}

function casesOf({ server, mode, samples, p99Us }: Lane): BenchCase[] {
  const make = (measure: string, unit: string, values: readonly number[]): BenchCase => ({
    case: `${server.name}, ${mode === 'ecs' ? 'client subnets' : 'plain'}: ${WORDS[measure]}`,
    params: { server: server.name, path: 'process', ecs: mode === 'ecs' ? 1 : 0, measure },
    unit,
    samples: values.length,
    ...spreadOf(values),
  });
  return [
    make(
      'qps',
      'queries/s',
      samples.map(({ qps }) => qps),
    ),
    make(
      'user',
      'ns',
      samples.map(({ userNs }) => userNs),
    ),
    make(
      'cpu',
      'ns',
      samples.map(({ totalNs }) => totalNs),
    ),
    make('p99', 'us', p99Us),
    make(
      'lost',
      'queries',
      samples.map(({ lost }) => lost),
    ),
  ];
}

const WORDS: Readonly<Record<string, string>> = {
  qps: 'rate',
  user: 'user CPU a query',
  cpu: 'CPU a query',
  p99: '99th percentile of latency at half of the rate',
  lost: 'lost in a round',
};

function checksOf(lanes: readonly Lane[]): BenchCheck[] {
  return MODES.flatMap((mode) => {
    const laneOf = (name: ServerName) => lanes.find(({ server, mode: its }) => server.name === name && its === mode);
    const [ours, theirs] = [laneOf('portico'), laneOf('gdnsd')];
    if (ours === undefined || theirs === undefined) return [];
    const words = mode === 'ecs' ? 'with client subnets' : 'plain';
    const ratios = (of: (sample: Sample) => number): number[] =>
      ours.samples.map((sample, round) => of(sample) / of(theirs.samples[round])).filter(Number.isFinite);
    const check = (
      text: string,
      values: readonly number[],
      must: 'at least' | 'at most',
      limit: number,
    ): BenchCheck => {
      const { median, quartiles } = spreadOf(values);
      return { ...checkThat(`${text}, ${words}, beside gdnsd`, median, must, limit), quartiles, rounds: values.length };
    };
    return [
      check(
        'rate',
        ratios(({ qps }) => qps),
        'at least',
        0.95,
      ),
      check(
        'user CPU a query',
        ratios(({ userNs }) => userNs),
        'at most',
        1.3,
      ),
    ];
  });
}
