/**
 * Answers from the kernel over a veth pair, beside Knot's XDP mode, asked by kxdpgun (packages knot and knot-dnsutils). Needs root.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DRAWS_BYTES, Draws } from '../src/serve/dns/draws.ts';
import { DnsKernel } from '../src/serve/dns/kernel/dns-kernel.ts';
import { address, mutableView, testConfig } from '../src/serve/dns/sample.ts';
import { createIdentity } from '../src/serve/dns/server-record.ts';
import { compileZones } from '../src/serve/dns/zone-compile.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, checkThat, spreadOf } from './report.ts';

/** More than any of them answers. */
const ASKED_PER_SECOND = 2_000_000;
const MIN_RATIO = 2;
/** Of what kxdpgun says that it sent, the last moment's. */
const MOST_LOST = 0.001;
const NEAR = 'dkb-near';
const FAR = 'dkb-far';
const SERVER = '10.78.0.2';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function makePair(): void {
  for (const name of [NEAR, FAR]) ip('netns', 'add', name);
  ip('link', 'add', 'near0', 'netns', NEAR, 'type', 'veth', 'peer', 'name', 'far0', 'netns', FAR);
  ip('-n', NEAR, 'addr', 'add', '10.78.0.1/24', 'dev', 'near0');
  ip('-n', FAR, 'addr', 'add', `${SERVER}/24`, 'dev', 'far0');
  for (const [name, device] of [
    [NEAR, 'near0'],
    [FAR, 'far0'],
  ] as const) {
    ip('-n', name, 'link', 'set', device, 'up');
    execFileSync('ip', ['netns', 'exec', name, 'ethtool', '-K', device, 'gro', 'on', 'tx', 'off'], { stdio: 'ignore' });
  }
}

/** A new one each time: Knot leaves its program on the interface. */
async function inPair<T>(run: () => Promise<T>): Promise<T> {
  try {
    makePair();
    return await run();
  } finally {
    for (const name of [NEAR, FAR]) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  }
}

interface VethResult {
  readonly sentPerSecond: number;
  readonly repliesPerSecond: number;
}

function ask(queries: string): VethResult {
  const args = [
    'netns',
    'exec',
    NEAR,
    'kxdpgun',
    '-t',
    '4',
    '-Q',
    String(ASKED_PER_SECOND),
    '-i',
    queries,
    '-I',
    'near0',
    SERVER,
  ];
  const text = execFileSync('ip', args, { encoding: 'utf8', timeout: 60_000 });
  const rate = (what: string) =>
    Number(new RegExp(`total ${what}:\\s+\\d+ \\((\\d+) pps\\)`).exec(text)?.[1] ?? Number.NaN);
  return { sentPerSecond: rate('queries'), repliesPerSecond: rate('replies') };
}

/** Our kernel program and Knot's XDP mode, in turns, as fast as kxdpgun sends. */
export async function xdpCases({
  quick,
  progress,
}: BenchOptions): Promise<{ cases: BenchCase[]; checks: BenchCheck[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'dns-xdp-'));
  const queries = join(folder, 'queries.txt');
  writeFileSync(queries, 'www.example.test. A\n');
  const rounds = quick ? 1 : 5;
  const [ours, theirs]: [VethResult[], VethResult[]] = [[], []];
  try {
    for (let round = 0; round < rounds; round++) {
      progress?.(`answers over veth: round ${round + 1} of ${rounds}`);
      ours.push(await inPair(() => withPortico(() => ask(queries))));
      theirs.push(await inPair(() => withKnot(folder, () => ask(queries))));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const ratios = ours.map(({ repliesPerSecond }, round) => repliesPerSecond / theirs[round].repliesPerSecond);
  const lost = ours.map(({ sentPerSecond, repliesPerSecond }) => 1 - repliesPerSecond / sentPerSecond);
  const { median, quartiles } = spreadOf(ratios);
  const beside = checkThat('over veth: answers a second beside Knot’s XDP mode', median, 'at least', MIN_RATIO);
  return {
    cases: [...casesOf('portico', ours), ...casesOf('knot', theirs)],
    checks: [
      { ...beside, quartiles, rounds },
      checkThat('over veth: share of queries lost', Math.max(...lost), 'at most', MOST_LOST),
    ],
  };
}

function casesOf(server: string, results: readonly VethResult[]): BenchCase[] {
  const one = (measure: string, words: string, values: readonly number[]): BenchCase => {
    const params = { server, path: 'xdp', ecs: 0, measure };
    return {
      case: `over veth, ${server}: ${words}`,
      params,
      unit: 'a second',
      samples: values.length,
      ...spreadOf(values),
    };
  };
  const sent = results.map(({ sentPerSecond }) => sentPerSecond);
  const replies = results.map(({ repliesPerSecond }) => repliesPerSecond);
  return [one('qps', 'answers', replies), one('sent', 'queries', sent)];
}

async function withPortico(run: () => VethResult): Promise<VethResult> {
  const config = testConfig();
  const compiled = compileZones(config);
  if (!compiled.ok) throw new Error('the zones have problems');
  const listen = [{ address: address(SERVER), port: 53 }];
  const kernel = new DnsKernel({ name: null, netns: FAR, interfaces: ['far0'], listen });
  try {
    const identity = createIdentity(null, null, null);
    const draws = new Draws(new SharedArrayBuffer(DRAWS_BYTES));
    const sources = { zones: compiled.zones, view: mutableView(), identity, cookieKeys: [], draws };
    kernel.publish({ sources, signing: null, config });
    return run();
  } finally {
    kernel.close();
  }
}

async function withKnot(folder: string, run: () => VethResult): Promise<VethResult> {
  const zone =
    '$ORIGIN example.test.\n$TTL 30\n@ SOA ns1 host 1 7200 900 1209600 60\n@ NS ns1\nns1 A 10.78.0.2\nwww A 192.0.2.10\n';
  writeFileSync(join(folder, 'example.test.zone'), zone);
  const conf = `server:\n  rundir: ${folder}\n  udp-workers: 1\n  background-workers: 1\nxdp:\n  listen: far0\ndatabase:\n  storage: ${folder}\nzone:\n  - domain: example.test\n    file: ${folder}/example.test.zone\n`;
  writeFileSync(join(folder, 'knot.conf'), conf);
  const knot = spawn('ip', ['netns', 'exec', FAR, 'knotd', '-c', join(folder, 'knot.conf')], { stdio: 'ignore' });
  try {
    // Loading a zone of four records; kxdpgun itself shows whether it answers.
    await sleep(2000);
    return run();
  } finally {
    knot.kill();
    await new Promise((resolve) => knot.once('exit', resolve));
  }
}
