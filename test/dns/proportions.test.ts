/**
 * Whether weights hold for demand. Resolvers of very unequal demand keep each answer for its 30 s and ask again when a user comes; the answers
 * are those of the code that answers. The clock is simulated, the seed printed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/model.ts';
import { NO_STEERING_STATE, type Policy } from '../../src/config/steering-model.ts';
import { assignmentsOf, compileSteering } from '../../src/decide/steer/policy.ts';
import { createRandom } from '../../src/model/random.ts';
import type { Address } from '../../src/net/address.ts';
import { Answerer } from '../../src/serve/dns/answer.ts';
import { AMSTERDAM, address, mutableView, network, service, testConfig } from '../../src/serve/dns/sample.ts';
import { TELLS_NOTHING } from '../../src/serve/dns/server-record.ts';
import { decodeMessage, encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { compileZones } from '../../src/serve/dns/zone-compile.ts';

const SEED = Number(process.env.PORTICO_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`seed ${SEED} (PORTICO_SEED repeats it)`);

const TTL_MS = 30_000;
const EPOCH_MS = 600_000;
const START_MS = 1_790_000_000_000;
const SITES = ['eu', 'us', 'jp'];
const WEIGHTS = { eu: 40, us: 35, jp: 25 };

interface Resolver {
  readonly client: Address;
  /** Users that come a second. */
  readonly demand: number;
}

/** The largest has 44 % of all: more than any site shall have. */
const RESOLVERS: readonly Resolver[] = Array.from({ length: 300 }, (_, i) => ({
  client: address(`10.${i >> 8}.${i & 255}.53`),
  demand: 1000 / (i + 1) ** 1.6,
}));
const TOTAL = RESOLVERS.reduce((sum, { demand }) => sum + demand, 0);

function weighted(weights: Record<string, number>): Policy {
  const parts = Object.entries(weights).map(([site, weight]) => ({ weight, policy: { kind: 'site', site } as const }));
  return { kind: 'weighted', parts };
}

function configOf(weights: Record<string, number>, knowsDemand: boolean, before?: Config): Config {
  const www = service('www', 'www.example.test', {
    eu: ['192.0.2.1', '2001:db8:1::1'],
    us: ['192.0.2.2', '2001:db8:2::1'],
    jp: ['192.0.2.3', '2001:db8:3::1'],
  });
  const config = testConfig({
    services: new Map([['www', { ...www, policy: weighted(weights), https: { alpn: [], port: null } }]]),
    networks: RESOLVERS.map(({ client, demand }) => {
      const text = `${client.bytes.join('.')}/32`;
      return { ...network(text, AMSTERDAM), demand: knowsDemand ? demand : null };
    }),
  });
  if (before === undefined) return config;
  return { ...config, steeringState: { ...NO_STEERING_STATE, assignments: assignmentsOf(compileSteering(before)) } };
}

/** Sites that are told, by the last number of their addresses. */
class Server {
  readonly #answerer: Answerer;
  readonly #out = new Uint8Array(1232);

  constructor(config: Config) {
    const compiled = compileZones(config);
    assert.ok(compiled.ok, JSON.stringify(compiled));
    this.#answerer = new Answerer({
      zones: compiled.zones,
      view: mutableView(),
      identity: TELLS_NOTHING,
      cookieKeys: [],
    });
  }

  ask(client: Address, type: number, nowMs: number): string[] {
    const name = parseName('www.example.test.', ROOT_NAME);
    assert.ok(name.ok);
    const query = encodeQuery(1, { name: name.name, type, class: CLASS.IN }, null);
    const asker = { client, transport: 'udp', nowMs, keepaliveTenths: 0 } as const;
    const decoded = decodeMessage(this.#out.subarray(0, this.#answerer.answer(query, query.length, asker, this.#out)));
    assert.ok(decoded.ok && decoded.message.answers.length > 0);
    return decoded.message.answers.map(({ data }) => {
      // Hints of HTTPS: priority, target, key 4 and its length stand before the address.
      if (type === RECORD_TYPE.HTTPS) return SITES[data.bytes[10] - 1];
      return SITES[(type === RECORD_TYPE.A ? data.bytes[3] : data.bytes[5]) - 1];
    });
  }
}

/** Demand by site over a time, and what each resolver was told, in its order. */
function simulate(server: Server, fromMs: number, untilMs: number) {
  const random = createRandom(SEED);
  const demand = new Map(SITES.map((site) => [site, 0]));
  const told = new Map<Resolver, string[]>();
  for (const resolver of RESOLVERS) {
    let nowMs = fromMs + (random() % TTL_MS);
    const answers: string[] = [];
    told.set(resolver, answers);
    while (nowMs < untilMs) {
      const sites = server.ask(resolver.client, RECORD_TYPE.A, nowMs);
      for (const site of sites) {
        demand.set(site, (demand.get(site) ?? 0) + (resolver.demand * TTL_MS) / sites.length);
      }
      answers.push(sites.toSorted().join('+'));
      assert.deepEqual(server.ask(resolver.client, RECORD_TYPE.AAAA, nowMs + 5), sites);
      if (sites.length === 1) assert.deepEqual(server.ask(resolver.client, RECORD_TYPE.HTTPS, nowMs + 9), sites);
      // The next user comes after the answer is forgotten.
      const waitMs = (-Math.log((random() % 1e6) / 1e6 + 1e-6) * 1000) / resolver.demand;
      nowMs += TTL_MS + waitMs;
    }
  }
  const sum = [...demand.values()].reduce((all, each) => all + each, 0);
  return { shares: SITES.map((site) => (demand.get(site) ?? 0) / sum), told };
}

test('Proportions: unequal resolvers with caches of 30 s: demand within 1 point of each weight, no unit moves without an epoch', () => {
  const config = configOf(WEIGHTS, true);
  const { shares, told } = simulate(new Server(config), START_MS, START_MS + EPOCH_MS);
  for (const [index, site] of SITES.entries()) {
    const wanted = WEIGHTS[site as keyof typeof WEIGHTS] / 100;
    assert.ok(Math.abs(shares[index] - wanted) < 0.01, `${site} ${shares[index]}`);
  }
  let split = 0;
  for (const [resolver, answers] of told) {
    assert.equal(new Set(answers).size, 1, 'a unit moved within an epoch');
    if (!answers[0].includes('+')) continue;
    split++;
    assert.ok(resolver.demand / TOTAL > config.steering.splitShare, 'only units above the share are split');
  }
  assert.ok(split >= 1, 'the largest resolver has more than the share');

  // The next epoch: other weights. Little more moves than has to, 5 points.
  const next = configOf({ eu: 35, us: 35, jp: 30 }, true, config);
  const later = simulate(new Server(next), START_MS + EPOCH_MS, START_MS + 2 * EPOCH_MS);
  for (const [index, wanted] of [0.35, 0.35, 0.3].entries()) assert.ok(Math.abs(later.shares[index] - wanted) < 0.01);
  let moved = 0;
  for (const [resolver, answers] of later.told) {
    assert.equal(new Set(answers).size, 1);
    if (answers[0] !== told.get(resolver)?.[0]) moved += resolver.demand / TOTAL;
  }
  assert.ok(moved > 0.03 && moved < 0.08, `moved ${moved}`);
});

test('Proportions: without known demand, answers within 0.1 point of each weight after 10,000', () => {
  const server = new Server(configOf(WEIGHTS, false));
  const random = createRandom(SEED);
  const counts = new Map(SITES.map((site) => [site, 0]));
  for (let i = 0; i < 10_000; i++) {
    const { client } = RESOLVERS[random() % RESOLVERS.length];
    // So far apart that no draw is kept.
    const [site] = server.ask(client, RECORD_TYPE.A, START_MS + i * 3000);
    counts.set(site, (counts.get(site) ?? 0) + 1);
  }
  for (const [site, weight] of Object.entries(WEIGHTS)) {
    assert.ok(Math.abs((counts.get(site) ?? 0) / 10_000 - weight / 100) <= 0.001, `${site} ${counts.get(site)}`);
  }
});

test('Proportions: a client whose demand is not known gets one draw for A, AAAA and HTTPS', () => {
  const server = new Server(configOf(WEIGHTS, false));
  const seen = new Set<string>();
  for (const [i, { client }] of RESOLVERS.entries()) {
    const nowMs = START_MS + i * 10;
    const sites = server.ask(client, RECORD_TYPE.HTTPS, nowMs);
    assert.deepEqual(server.ask(client, RECORD_TYPE.A, nowMs + 1), sites);
    assert.deepEqual(server.ask(client, RECORD_TYPE.AAAA, nowMs + 1), sites);
    seen.add(sites.join());
  }
  assert.equal(seen.size, 3);
});
