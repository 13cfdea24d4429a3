/**
 * Answers from the kernel: nanoseconds a query by test-run, and over a veth pair against Knot's XDP mode, asked by kxdpgun (package knot-dnsutils).
 * Needs root. Usage: node bench/dns-kernel.ts
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../src/net/address.ts';
import { DRAWS_BYTES, Draws } from '../src/serve/dns/draws.ts';
import { DnsKernel } from '../src/serve/dns/kernel/dns-kernel.ts';
import { DnsProgram } from '../src/serve/dns/kernel/program.ts';
import { buildKernelTables } from '../src/serve/dns/kernel/tables.ts';
import { address, mutableView, testConfig, testProtocol } from '../src/serve/dns/sample.ts';
import { createIdentity } from '../src/serve/dns/server-record.ts';
import { compileZones } from '../src/serve/dns/zone-compile.ts';
import { makeFrame } from '../test/dns/kernel-frames.ts';
import { timeTurns } from './dns-turns.ts';

const OBJECTS = join(import.meta.dirname, '../build/bpf');
const SERVERS = [address('192.0.2.53'), address('2001:db8::53')] as const;
const FRAMES = 1024;
const HEADER = '123401000001000000000000';
const WWW = '03777777076578616d706c6504746573740000010001';

export interface KernelCase {
  readonly name: string;
  readonly ns: number;
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0');
}

/** `edns`: the OPT record of query `i` in hexadecimal; empty: none. */
function framesOf(edns: (i: number) => string, isIpv6 = false): Uint8Array[] {
  return Array.from({ length: FRAMES }, (_, i) => {
    const opt = edns(i);
    const header = opt === '' ? HEADER : `${HEADER.slice(0, -2)}01`;
    const message = Buffer.from(`${header}${WWW}${opt}`, 'hex');
    const source: Address = isIpv6
      ? address(`2001:db8:e:${i.toString(16)}::1`)
      : { family: 4, bytes: Uint8Array.of(10, i >> 2, i << 6, 7) };
    const options = { source, destination: SERVERS[isIpv6 ? 1 : 0], sourcePort: 1024 + i, destinationPort: 53 };
    return makeFrame(message, options);
  });
}

const OPT = (flags: string, options = '') =>
  `0000 2904d0 0000 ${flags} ${hex(options.length / 2, 2)} ${options}`.replaceAll(' ', '');
const subnet = (i: number) => `000800070001180${0}0a${hex(i >> 2, 1)}${hex((i << 6) & 0xff, 1)}`;

/** By test-run: a query for a steered name, the answer sent, limits on. */
export function timeKernel(): KernelCase[] {
  const rateLimit = { perSecond: 1_000_000, provedPerSecond: 1_000_000, slip: 2, exempt: [] };
  const protocol = testProtocol({ rateLimit });
  const compiled = compileZones(testConfig({ dnsProtocol: protocol }));
  if (!compiled.ok) throw new Error('the zones have problems');
  const cases: [string, Uint8Array[]][] = [
    ['plain', framesOf(() => '')],
    ['EDNS', framesOf(() => OPT('0000'))],
    ['client subnet', framesOf((i) => OPT('0000', subnet(i)))],
    ['cookie of the client', framesOf((i) => OPT('0000', `000a0008${hex(i, 8)}`))],
    ['DO', framesOf(() => OPT('8000'))],
    ['plain, IPv6', framesOf(() => '', true)],
  ];
  const program = new DnsProgram({
    objects: OBJECTS,
    tables: buildKernelTables(compiled.zones, () => false),
    protocol,
    cookieKeys: [Uint32Array.of(1, 2, 3, 4)],
    listen: SERVERS.map((server) => ({ address: server, port: 53 })),
    rolesFd: null,
    limitsFd: null,
    seed: 1,
  });
  try {
    return cases.map(([name, frames]) => {
      program.refresh(mutableView());
      const { ns, verdict } = timeTurns(OBJECTS, program.programFd, frames);
      if (verdict !== 'tx') throw new Error(`${name}: the verdict was ${verdict}`);
      return { name, ns };
    });
  } finally {
    program.close();
  }
}

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

export interface VethResult {
  readonly server: string;
  readonly sentPerSecond: number;
  readonly repliesPerSecond: number;
}

function ask(server: string, queries: string, perSecond: number): VethResult {
  const args = [
    'netns',
    'exec',
    NEAR,
    'kxdpgun',
    '-t',
    '4',
    '-Q',
    String(perSecond),
    '-i',
    queries,
    '-I',
    'near0',
    SERVER,
  ];
  const text = execFileSync('ip', args, { encoding: 'utf8', timeout: 60_000 });
  const rate = (what: string) =>
    Number(new RegExp(`total ${what}:\\s+\\d+ \\((\\d+) pps\\)`).exec(text)?.[1] ?? Number.NaN);
  return { server, sentPerSecond: rate('queries'), repliesPerSecond: rate('replies') };
}

/** Our kernel program and Knot's XDP mode, in turns, as fast as kxdpgun sends. */
export async function compareOverVeth(rounds = 2, perSecond = 2_000_000): Promise<VethResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'dns-kernel-'));
  const queries = join(folder, 'queries.txt');
  writeFileSync(queries, 'www.example.test. A\n');
  const results: VethResult[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      results.push(await inPair(() => withPortico(() => ask('portico', queries, perSecond))));
      results.push(await inPair(() => withKnot(folder, () => ask('knot', queries, perSecond))));
    }
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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

if (import.meta.main) {
  for (const { name, ns } of timeKernel()) console.log(`${name}: ${ns} ns`);
  console.table(await compareOverVeth());
}
