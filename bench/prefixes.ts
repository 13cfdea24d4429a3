/**
 * `portico bench prefixes`: the map from client prefixes to plans. How long a look-up takes when clients come at random, how long the map
 * takes to build and how large it is, with 1, 1,000 and 1,000,000 prefixes far apart, beside a binary trie where that is not too large.
 */

import { createRandom } from '../src/model/random.ts';
import { flattenPrefixes, PrefixColumns, prefixAt } from '../src/net/address-segments.ts';
import { lookupPrefix, type PrefixMap } from '../src/net/prefix-map.ts';
import { compilePrefixMap } from '../src/net/prefix-map-build.ts';
import { buildTrie, type PrefixTrie } from '../src/net/trie.ts';
import { type BenchCase, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';
import { threadTimeNs } from './thread-clock.ts';

const PLANS = 10;
/** Clients that ask, in turns: more than caches hold. */
const CLIENTS = 65_536;
/** As resolvers tell clients, and with what the map is filled. */
const SOURCE_BITS = { 4: 24, 6: 56 } as const;
const PREFIX_BITS = { 4: 24, 6: 48 } as const;
const FAMILIES = [4, 6] as const;
/** The trie has objects that would take gigabytes. */
const TRIE_LIMIT = 1000;

export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const rounds = options.quick ? 3 : 21;
  const cases: BenchCase[] = [];
  for (const size of [1, 1000, options.quick ? 100_000 : 1_000_000]) {
    options.progress?.(`a map of ${size} prefixes`);
    cases.push(...measureSize(size, rounds));
  }
  const median = (name: string) => cases.find((one) => one.case === name)?.median ?? Number.NaN;
  const checks = FAMILIES.flatMap((family) => {
    const name = `look-up, IPv${family}, 1000 prefixes`;
    return [checkThat(`${name}: of the trie's time`, median(name) / median(`${name}, trie`), 'at most', 0.8)];
  });
  return { bench: 'prefixes', cases, checks };
}

function measureSize(size: number, rounds: number): BenchCase[] {
  const lists = drawLists(size);
  const build: number[] = [];
  let map: PrefixMap | undefined;
  for (let i = 0; i < Math.min(rounds, 5); i++) {
    const begin = threadTimeNs();
    map = compilePrefixMap(flattenPrefixes(lists[4]), flattenPrefixes(lists[6]));
    build.push((threadTimeNs() - begin) / 1e6);
  }
  if (map === undefined) throw new Error('no rounds');
  const { words, dominants } = map;
  const one = (name: string, unit: string, samples: number[]): BenchCase => {
    return { case: name, params: { size }, unit, ...spreadOf(samples), samples: samples.length };
  };
  const cases = [
    one(`build ${size} prefixes`, 'ms', build),
    one(`words of ${size} prefixes`, 'MB', [words.byteLength / 1e6]),
    one(`for short sources, ${size} prefixes`, 'MB', [dominants.byteLength / 1e6]),
  ];
  const trie = size <= TRIE_LIMIT ? trieOf(lists) : null;
  for (const family of FAMILIES) {
    const clients = drawClients(family, size);
    const name = `look-up, IPv${family}, ${size} prefixes`;
    const times: number[] = [];
    const trieTimes: number[] = [];
    for (let i = 0; i < rounds + 2; i++) {
      times.push(timeLookups(map, family, clients));
      if (trie !== null) trieTimes.push(timeTrie(trie, family, clients));
    }
    // The first ones run before the compiler is done.
    cases.push(one(name, 'ns', times.slice(2)));
    if (trie !== null) cases.push(one(`${name}, trie`, 'ns', trieTimes.slice(2)));
  }
  return cases;
}

type Lists = Readonly<Record<4 | 6, PrefixColumns>>;

/** Half of each family, in random places of what is in use, and a default. */
function drawLists(size: number): Lists {
  const next = createRandom(size);
  const lists = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };
  for (const family of FAMILIES) lists[family].add(new Uint8Array(16), 0, 0, 0);
  for (let i = 0; i < size; i++) {
    const family = i % 2 === 0 ? 4 : 6;
    lists[family].add(drawAddress(family, size, next), 0, PREFIX_BITS[family], next() % PLANS);
  }
  return lists;
}

function drawAddress(family: 4 | 6, size: number, next: () => number): Uint8Array {
  const bytes = new Uint8Array(16);
  if (family === 4) bytes.set([1 + (next() % 223), next(), next()]);
  else {
    // Some 25 /48 in each /32.
    const block = next() % Math.max(1, Math.ceil(size / 50));
    bytes.set([0x20, 1 + ((block >> 13) & 7), block >> 5, ((block & 31) << 3) | 5, next(), next()]);
  }
  return bytes;
}

function drawClients(family: 4 | 6, size: number): Uint8Array {
  const next = createRandom(size + family);
  const clients = new Uint8Array(CLIENTS * 16);
  for (let i = 0; i < CLIENTS; i++) clients.set(drawAddress(family, size, next), i * 16);
  return clients;
}

/** Nanoseconds each. */
function timeLookups(map: PrefixMap, family: 4 | 6, clients: Uint8Array): number {
  const source = SOURCE_BITS[family];
  let sum = 0;
  const begin = threadTimeNs();
  for (let at = 0; at < clients.length; at += 16) sum += lookupPrefix(map, family, clients, at, source);
  const time = threadTimeNs() - begin;
  if (sum < 0) throw new Error('no values');
  return time / CLIENTS;
}

function trieOf(lists: Lists): PrefixTrie<number> {
  return buildTrie(
    FAMILIES.flatMap((family) => {
      const list = lists[family];
      return Array.from({ length: list.count }, (_, i) => ({ prefix: prefixAt(list, i), value: list.values[i] }));
    }),
  );
}

function timeTrie(trie: PrefixTrie<number>, family: 4 | 6, clients: Uint8Array): number {
  const source = SOURCE_BITS[family];
  const address = { family, bytes: new Uint8Array(family === 4 ? 4 : 16) };
  let sum = 0;
  const begin = threadTimeNs();
  for (let at = 0; at < clients.length; at += 16) {
    for (let i = 0; i < address.bytes.length; i++) address.bytes[i] = clients[at + i];
    sum += trie.lookup(address, source).scopeLength;
  }
  const time = threadTimeNs() - begin;
  if (sum < 0) throw new Error('no scopes');
  return time / CLIENTS;
}
