/**
 * Answers from the kernel by test-run: nanoseconds a query, with the addresses of few clients in the map and with a million. Needs root.
 */
import { join } from 'node:path';
import type { NetworkEntry } from '../src/config/model.ts';
import { createRandom } from '../src/model/random.ts';
import type { Address } from '../src/net/address.ts';
import { DnsProgram } from '../src/serve/dns/kernel/program.ts';
import { buildKernelTables } from '../src/serve/dns/kernel/tables.ts';
import { address, mutableView, testConfig, testProtocol } from '../src/serve/dns/sample.ts';
import { compileZones } from '../src/serve/dns/zone-compile.ts';
import { makeFrame } from '../test/dns/kernel-frames.ts';
import { timeTurns } from './dns-turns.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, checkThat, spreadOf } from './report.ts';

const OBJECTS = join(import.meta.dirname, '../build/bpf');
const SERVERS = [address('192.0.2.53'), address('2001:db8::53')] as const;
const HEADER = '123401000001000000000000';
const WWW = '03777777076578616d706c6504746573740000010001';
/** Different queries, in turns: what a busy server has in its caches. */
const QUERIES = 1024;
/** Nobody is above it, but everybody is counted. */
const PER_SECOND = 1_000_000;
const MOST_NS = { plain: 60, ecs: 100 } as const;

/** Of client `i`: the first three bytes of IPv4, the first six of IPv6. */
interface Clients {
  readonly networks: readonly NetworkEntry[] | null;
  ipv4(i: number): readonly number[];
  ipv6(i: number): readonly number[];
}

interface Subject {
  readonly text: string;
  readonly ecs: 0 | 1;
  readonly isIpv6: boolean;
  /** The OPT record of query `i` in hexadecimal; empty: none. */
  edns(i: number, clients: Clients): string;
}

const hex = (bytes: readonly number[]): string => Buffer.from(bytes).toString('hex');
const number = (value: number, bytes: number): string => value.toString(16).padStart(bytes * 2, '0');
const opt = (flags: string, options = '') => `00002904d00000${flags}${number(options.length / 2, 2)}${options}`;

const SUBJECTS: readonly Subject[] = [
  { text: 'plain', ecs: 0, isIpv6: false, edns: () => '' },
  { text: 'plain, IPv6', ecs: 0, isIpv6: true, edns: () => '' },
  { text: 'EDNS', ecs: 0, isIpv6: false, edns: () => opt('0000') },
  {
    text: 'client subnet',
    ecs: 1,
    isIpv6: false,
    edns: (i, clients) => opt('0000', `00080007000118${'00'}${hex(clients.ipv4(i))}`),
  },
  { text: 'cookie of the client', ecs: 0, isIpv6: false, edns: (i) => opt('0000', `000a0008${number(i, 8)}`) },
  { text: 'DO', ecs: 0, isIpv6: false, edns: () => opt('8000') },
];

const FEW: Clients = {
  networks: null,
  ipv4: (i) => [10, i >> 2, (i << 6) & 0xff],
  ipv6: () => [0x20, 0x01, 0x0d, 0xb8, 0, 0x0e],
};

/** Half of each family, each in a random place, with one of two sites. */
function manyClients(count: number): Clients {
  const next = createRandom(count);
  const of = (make: () => number[]) => Array.from({ length: count / 2 }, make);
  const ipv4 = of(() => [1 + (next() % 223), next() & 0xff, next() & 0xff]).filter(([first]) => first !== 127);
  const ipv6 = of(() => [0x20, 1 + (next() & 7), next() & 0xff, next() & 0xff, next() & 0xff, next() & 0xff]);
  const entry = (family: 4 | 6, start: readonly number[], index: number): NetworkEntry => {
    const bytes = new Uint8Array(family === 4 ? 4 : 16);
    bytes.set(start);
    const prefix = { address: { family, bytes }, length: family === 4 ? 24 : 48 };
    const site = index % 2 === 0 ? 'eu' : 'us';
    return { name: `n${site}`, prefix, location: null, site, demand: null };
  };
  const networks = [...ipv4.map((each, i) => entry(4, each, i)), ...ipv6.map((each, i) => entry(6, each, i))];
  return { networks, ipv4: (i) => ipv4[(i * 401) % ipv4.length], ipv6: (i) => ipv6[(i * 401) % ipv6.length] };
}

function framesOf({ isIpv6, edns }: Subject, clients: Clients): Uint8Array[] {
  return Array.from({ length: QUERIES }, (_, i) => {
    const more = edns(i, clients);
    const header = more === '' ? HEADER : `${HEADER.slice(0, -2)}01`;
    const bytes = new Uint8Array(isIpv6 ? 16 : 4);
    bytes.set(isIpv6 ? clients.ipv6(i) : clients.ipv4(i));
    bytes[bytes.length - 1] = 7;
    if (isIpv6) bytes.set([i >> 8, i & 0xff], 6);
    const source: Address = { family: isIpv6 ? 6 : 4, bytes };
    const options = { source, destination: SERVERS[isIpv6 ? 1 : 0], sourcePort: 1024 + i, destinationPort: 53 };
    return makeFrame(Buffer.from(`${header}${WWW}${more}`, 'hex'), options);
  });
}

export function kernelCases({ quick, progress }: BenchOptions): { cases: BenchCase[]; checks: BenchCheck[] } {
  const few = measure(FEW, 'few prefixes', 2, quick);
  progress?.('answers from the kernel: a map of a million prefixes');
  const count = quick ? 10_000 : 1_000_000;
  const many = measure(manyClients(count), `${count} prefixes`, count, quick);
  const median = (text: string) => few.find(({ case: name }) => name.includes(`: ${text}, few`))?.median ?? Number.NaN;
  const checks = [
    checkThat('kernel: plain, ns', median('plain'), 'at most', MOST_NS.plain),
    checkThat('kernel: client subnet, ns', median('client subnet'), 'at most', MOST_NS.ecs),
  ];
  return { cases: [...few, ...many], checks };
}

/** A query for a steered name, the answer sent, limits on. */
function measure(clients: Clients, words: string, prefixes: number, quick: boolean): BenchCase[] {
  const rateLimit = { perSecond: PER_SECOND, provedPerSecond: PER_SECOND, slip: 2, exempt: [] };
  const protocol = testProtocol({ rateLimit });
  const config = testConfig({
    dnsProtocol: protocol,
    ...(clients.networks === null ? {} : { networks: clients.networks }),
  });
  const compiled = compileZones(config);
  if (!compiled.ok) throw new Error('the zones have problems');
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
    return SUBJECTS.map((subject) => {
      const { text, ecs } = subject;
      program.refresh(mutableView());
      const { ns, verdict } = timeTurns(OBJECTS, program.programFd, framesOf(subject, clients), 10_000, quick ? 5 : 60);
      if (verdict !== 'tx') throw new Error(`${text}, ${words}: the verdict was ${verdict}`);
      const params = { server: 'portico', path: 'kernel', ecs, prefixes, measure: 'answer' };
      return { case: `kernel: ${text}, ${words}`, params, unit: 'ns', samples: ns.length, ...spreadOf(ns) };
    });
  } finally {
    program.close();
  }
}
