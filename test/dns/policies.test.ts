/** Policies of services through real queries. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { NetworkEntry, Service } from '../../src/config/model.ts';
import { type Policy, UNMEASURED } from '../../src/config/steering-model.ts';
import {
  AMSTERDAM,
  mutableView,
  NEW_YORK,
  network,
  service,
  TOKYO,
  testConfig,
  zone,
} from '../../src/serve/dns/sample.ts';
import { dig, type RunningServer, startServer } from './fixture.ts';

const VIPS = {
  eu: ['192.0.2.1', '2001:db8:1::1'],
  us: ['192.0.2.2', '2001:db8:2::1'],
  jp: ['192.0.2.3', '2001:db8:3::1'],
};
const SITES = Object.keys(VIPS);
const site = (name: string): Policy => ({ kind: 'site', site: name });
const NO_CONDITION = { continents: [], countries: [], asns: [], networks: [], within: null };

const geo: Policy = {
  kind: 'geo',
  rules: [
    { ...NO_CONDITION, networks: ['campus'], policy: site('jp') },
    { ...NO_CONDITION, within: { center: NEW_YORK, radiusKm: 500 }, policy: site('us') },
    { ...NO_CONDITION, policy: site('eu') },
  ],
};
const weighted = (weights: Record<string, number>): Policy => {
  return { kind: 'weighted', parts: Object.entries(weights).map(([name, weight]) => ({ weight, policy: site(name) })) };
};

const POLICIES: Readonly<Record<string, Policy>> = {
  steered: { kind: 'steered', sites: ['us', 'jp'] },
  weighted: weighted({ eu: 2, us: 1, jp: 1 }),
  failover: { kind: 'failover', parts: [site('us'), site('eu')] },
  lasting: { kind: 'failover', parts: [site('us'), site('eu')] },
  geo,
  nested: { kind: 'failover', parts: [geo, { kind: 'all', sites: ['eu', 'us'] }] },
  all: { kind: 'all', sites: null },
};

function serviceOf(name: string, policy: Policy): [string, Service] {
  const base = service(name, `${name}.example.test`, VIPS);
  const nothingHealthy = name === 'lasting' ? 'last' : 'all';
  return [name, { ...base, policy, nothingHealthy, https: { alpn: ['h2'], port: null } }];
}

function entry(name: string, prefix: string, location: typeof AMSTERDAM, demand: number | null = null): NetworkEntry {
  return { ...network(prefix, location), name, demand };
}

const CONFIG = testConfig({
  services: new Map(Object.entries(POLICIES).map(([name, policy]) => serviceOf(name, policy))),
  zones: [zone('example.test', [], ['ns.other.test'])],
  networks: [
    entry('campus', '10.0.0.0/8', AMSTERDAM),
    entry('york', '11.0.0.0/8', NEW_YORK),
    entry('edo', '12.0.0.0/8', TOKYO),
    entry('first', '20.0.0.0/16', AMSTERDAM, 10),
    entry('second', '21.0.0.0/16', AMSTERDAM, 10),
    entry('third', '22.0.0.0/16', AMSTERDAM, 10),
    entry('fourth', '23.0.0.0/16', AMSTERDAM, 10),
  ],
  steering: { splitShare: 0.3, maxMovedShare: 1, measured: UNMEASURED },
});

let running: RunningServer;
/** Sites that were up when last one was. */
const was = new Set<string>();
const view = { ...mutableView(), siteWasUp: (_: string, name: string) => was.has(name) };
before(async () => {
  running = await startServer({ config: CONFIG, steering: view });
});
after(() => running.server.stop());

/** Sites told, in order, and the scope. */
async function ask(name: string, from: string, type = 'A'): Promise<{ sites: string[]; scope: string }> {
  const answer = await dig(running.port, `${name}.example.test ${type} +subnet=${from}`);
  assert.equal(answer.status, 'NOERROR');
  const sites = answer.answer.map((line) => {
    const data = line.split(' ').slice(4).join(' ');
    return SITES[Number((type === 'AAAA' ? /db8:(\d)::/ : /192\.0\.2\.(\d)/).exec(data)?.[1]) - 1];
  });
  return { sites, scope: answer.subnet?.split('/')[2] ?? '' };
}

const told = async (name: string, from: string, type?: string) => (await ask(name, from, type)).sites.join();

async function withDown<T>(sites: readonly string[], run: () => Promise<T>): Promise<T> {
  for (const each of sites) view.down.add(each);
  try {
    return await run();
  } finally {
    view.down.clear();
  }
}

test('steered: the nearest of the sites that are named', async () => {
  assert.equal(await told('steered', '12.0.0.0/24'), 'jp');
  assert.equal(await told('steered', '10.0.0.0/24'), 'us', 'eu would be nearer, but is not in the policy');
  assert.equal(await withDown(['us'], () => told('steered', '10.0.0.0/24')), 'jp');
});

test('failover: the first site that is open, for everyone', async () => {
  assert.deepEqual(await ask('failover', '12.0.0.0/24'), { sites: ['us'], scope: '0' });
  assert.equal(await withDown(['us'], () => told('failover', '12.0.0.0/24')), 'eu');
  assert.equal(
    await withDown(['us', 'eu'], () => told('failover', '12.0.0.0/24')),
    'us',
    'never a site that it has not',
  );
});

test('nothing healthy: as if all were up, or as before the last site went; the types stay, and an error says it', async () => {
  const all = SITES;
  assert.equal(await withDown(all, () => told('failover', '12.0.0.0/24')), 'us');
  was.add('eu');
  assert.equal(await withDown(all, () => told('lasting', '12.0.0.0/24')), 'eu');
  assert.equal(await withDown(all, () => told('lasting', '12.0.0.0/24', 'AAAA')), 'eu');
  const answer = await withDown(all, () => dig(running.port, 'lasting.example.test'));
  assert.match(answer.text, /EDE: 0 .*no site is healthy/);
  was.clear();
  assert.equal(await withDown(all, () => told('lasting', '12.0.0.0/24')), 'us', 'where nobody knows');
});

test('geo: the first rule that fits, by network and by distance', async () => {
  assert.equal(await told('geo', '10.1.0.0/24'), 'jp');
  assert.equal(await told('geo', '11.1.0.0/24'), 'us');
  assert.equal(await told('geo', '12.1.0.0/24'), 'eu');
  assert.equal(await told('geo', '99.0.0.0/24'), 'eu', 'of whom nothing is known');
});

test('all: every site in one answer, each first in its turn', async () => {
  const first = new Set<string>();
  for (let turn = 0; turn < 3; turn++) {
    const { sites, scope } = await ask('all', '30.0.0.0/24');
    assert.deepEqual(sites.toSorted(), ['eu', 'jp', 'us']);
    assert.equal(scope, '0');
    first.add(sites[0]);
  }
  assert.equal(first.size, 3);
  assert.equal(await withDown(['us'], async () => (await ask('all', '33.0.0.0/24')).sites.length), 2);
});

test('all: the HTTPS record has the hints of every site', async () => {
  const answer = await dig(running.port, 'all.example.test HTTPS');
  assert.equal(answer.answer.length, 1);
  assert.match(answer.answer[0], /alpn="h2"/);
  for (const number of [1, 2, 3]) {
    assert.ok(answer.answer[0].includes(`192.0.2.${number}`) && answer.answer[0].includes(`2001:db8:${number}::1`));
  }
});

test('a failover of geo: another policy takes over where the rule has no open site', async () => {
  assert.equal(await told('nested', '11.1.0.0/24'), 'us');
  const both = await withDown(['jp'], async () => (await ask('nested', '10.1.0.0/24')).sites.toSorted().join());
  assert.equal(both, 'eu,us');
});

test('weighted: units with demand are at one site each, and their demand meets the weights', async () => {
  const units = ['20.0.0.0/24', '21.0.0.0/24', '22.0.0.0/24', '23.0.0.0/24'];
  const first = await Promise.all(units.map((unit) => told('weighted', unit)));
  assert.deepEqual(first.toSorted(), ['eu', 'eu', 'jp', 'us']);
  for (const [index, unit] of units.entries()) {
    assert.equal(await told('weighted', unit), first[index], 'asked again');
    assert.equal(await told('weighted', unit, 'AAAA'), first[index]);
    assert.equal(await told('weighted', unit, 'HTTPS'), first[index]);
  }
  assert.equal((await ask('weighted', units[0])).scope.length > 0, true);
  const dead = first[0];
  const moved = await withDown([dead], () => Promise.all(units.map((unit) => told('weighted', unit))));
  for (const [index, name] of moved.entries()) {
    if (first[index] === dead) assert.notEqual(name, dead);
    else assert.equal(name, first[index], 'units of other sites stay');
  }
});

test('weighted: clients without known demand are spread by their weights, one draw for all types', async () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 8; i++) {
    // All of one scope: the same type again is the next turn.
    const drawn = await told('weighted', '99.0.0.0/24');
    assert.equal(await told('weighted', '99.0.0.0/24', 'AAAA'), drawn);
    assert.equal(await told('weighted', '99.0.0.0/24', 'HTTPS'), drawn);
    counts.set(drawn, (counts.get(drawn) ?? 0) + 1);
  }
  assert.deepEqual([...counts].sort(), [
    ['eu', 4],
    ['jp', 2],
    ['us', 2],
  ]);
});

test('answers are counted by policy', () => {
  const { policies, choices } = running.server.counters;
  assert.ok(policies.weighted > 20 && policies.geo > 0 && policies.failover > 0 && policies.all > 0);
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((all, each) => all + each, 0);
  assert.equal(sum(policies), sum(choices));
});
