import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import type { Config } from '../config/model.ts';
import { type MeasuredAnswers, UNMEASURED } from '../config/steering-model.ts';
import { clientsOf } from '../decide/steer/clients.ts';
import { compileSteering } from '../decide/steer/policy.ts';
import { KEY_REST } from '../decide/steer/prefix-numbers.ts';
import { parseAddress } from '../net/address.ts';
import { lookupPrefix, prefixValue } from '../net/prefix-map.ts';
import type { KeyedQueries } from '../observe/query-rows.ts';
import type { KeyedRows } from '../observe/steering-rows.ts';
import { testConfig } from '../serve/dns/sample.ts';
import type { MeasuredSources } from './measured-sources.ts';
import { MeasuredController } from './measured-steering.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-measured-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const running = new Set<MeasuredController>();
afterEach(async () => {
  await Promise.all([...running].map((controller) => controller.stop()));
  running.clear();
});

/** Resolvers near New York and Tokyo, by the networks of the test configuration. */
const ASKERS = ['10.0.7.0', '10.1.7.0'];

function queriesOf(askers: readonly string[]): KeyedQueries {
  const { length } = askers;
  const low = askers.map((text) => {
    const [a, b, c] = text.split('.').map(Number);
    return (a << 16) | (b << 8) | c;
  });
  return {
    length,
    high: new Uint32Array(length),
    low: Uint32Array.from(low),
    subnetHigh: new Uint32Array(length).fill(KEY_REST),
    subnetLow: new Uint32Array(length),
    service: new Uint16Array(length),
    site: new Uint16Array(length),
    queries: new Float64Array(length).fill(5),
  };
}

function noRows(): KeyedRows {
  const none = { length: 0, high: new Uint32Array(0), low: new Uint32Array(0), site: new Uint16Array(0) };
  const traffic = { service: new Uint16Array(0), connections: new Float64Array(0), bytes: new Float64Array(0) };
  return { rtt: { ...none, ms: new Float32Array(0) }, traffic: { ...none, ...traffic }, lostRtt: 0 };
}

interface Bed {
  readonly controller: MeasuredController;
  readonly orders: { measured: MeasuredAnswers | null; frozenSinceMs: number | null };
  readonly errors: string[];
  applied: number;
  /** Thrown by the next `applySteering`. */
  failure: Error | null;
  askers: readonly string[];
  down: ReadonlySet<string>;
  /** Rows that the thread cannot read. */
  isPoisoned: boolean;
  config: Config;
  /** A second goes by. */
  tick(): void;
}

function bedOf(name: string, mode: 'observe' | 'on' | 'off', parts: { load?: boolean } = {}): Bed {
  let now = 0;
  const bed = {
    applied: 0,
    failure: null,
    askers: ASKERS,
    down: new Set(),
    isPoisoned: false,
    errors: [],
  } as unknown as Bed;
  const base = testConfig();
  const measured = { ...UNMEASURED, mode, intervalMs: 1000 };
  bed.config = { ...base, steering: { ...base.steering, measured } };
  const orders = { measured: null as MeasuredAnswers | null, frozenSinceMs: null as number | null };
  const fleet = {
    get config() {
      return bed.config;
    },
    orders,
    async applySteering() {
      const { failure } = bed;
      bed.failure = null;
      await turn();
      if (failure !== null) throw failure;
      bed.applied++;
    },
  };
  const sources: MeasuredSources = {
    take: () => ({
      rows: noRows(),
      queries: bed.isPoisoned ? ({ ...queriesOf(bed.askers), low: null } as never) : queriesOf(bed.askers),
      beacons: null,
      linkLoad: new Map(),
    }),
    health: ({ sites }) => ({ sites: new Map([...sites.keys()].map((site) => [site, bed.down.has(site) ? 0 : 1])) }),
  };
  const log = { info: () => {}, warn: () => {}, error: (_: object, text: string) => void bed.errors.push(text) };
  const file = join(folder, name);
  const controller = new MeasuredController({
    fleet,
    sources,
    log,
    file,
    nowMs: () => now,
    thread: { firstRestartMs: 10 },
  });
  running.add(controller);
  if (parts.load !== false) controller.load(bed.config);
  const tick = () => {
    now += 1000;
    controller.tick();
  };
  Object.assign(bed, { controller, orders, tick });
  controller.setConfig(bed.config);
  return bed;
}

/** Seconds go by until it is so; the thread answers when it can. */
async function until(bed: Bed, what: string, isSo: () => boolean): Promise<void> {
  const limit = performance.now() + 20_000;
  while (!isSo()) {
    assert.ok(performance.now() < limit, `not within 20 s: ${what}; ${JSON.stringify(bed.controller.status())}`);
    bed.tick();
    await wait(20);
  }
}

function siteFor(config: Config, measured: MeasuredAnswers | null, client: string): string {
  const steering = compileSteering({ ...config, steeringState: { ...config.steeringState, measured } }).get('www');
  const address = parseAddress(client);
  assert.ok(steering !== undefined && address !== null);
  const plan = steering.plans[prefixValue(lookupPrefix(steering.map, 4, address.bytes, 0, 32))];
  assert.ok(plan.kind === 'first');
  return steering.sites[plan.sites[0]];
}

test('DNS answers by what was decided, from maps that the thread has made, and goes on so after a restart', async () => {
  const bed = bedOf('serves', 'on');
  await until(bed, 'served', () => bed.applied > 0);
  const [first] = [bed.orders.measured];
  assert.equal(siteFor(bed.config, first, '10.0.7.9'), 'us');
  assert.equal(siteFor(bed.config, first, '10.1.7.9'), 'jp');
  const { maps } = clientsOf(bed.config);
  const made = maps.length;
  assert.ok(made > 0);
  compileSteering({ ...bed.config, steeringState: { ...bed.config.steeringState, measured: first } });
  assert.equal(maps.length, made, 'nothing was left to be made');
  bed.down = new Set(['jp']);
  await until(bed, 'site left', () => siteFor(bed.config, bed.orders.measured, '10.1.7.9') !== 'jp');
  const { mode, last, thread } = bed.controller.status()!;
  assert.equal(mode, 'on');
  assert.equal(last?.groups, 2);
  assert.equal(thread.failure, null);
  const why = await bed.controller.explain({ service: 'www', address: parseAddress('10.1.7.200')! });
  assert.equal(why?.group, '10.1.7.0/24');
  assert.ok(why?.candidates.some(({ site }) => site === 'jp'));
  await bed.controller.stop();
  running.delete(bed.controller);

  const next = bedOf('serves', 'on');
  assert.equal(siteFor(next.config, next.orders.measured, '10.0.7.9'), 'us', 'before anything was measured');
  next.askers = [];
  await until(next, 'decided', () => next.controller.status()?.last != null);
  assert.equal(next.controller.status()?.last?.groups, 2, 'what was learned before is known');
  assert.equal(siteFor(next.config, next.orders.measured, '10.0.7.9'), 'us');
  assert.deepEqual([...bed.errors, ...next.errors], []);
});

test('observe tells what it would do and serves nothing; off forgets', async () => {
  const bed = bedOf('observes', 'observe');
  await until(bed, 'decided', () => bed.controller.status()?.last != null);
  assert.equal(bed.applied, 0);
  assert.equal(bed.orders.measured, null);
  assert.equal(bed.controller.status()?.last?.groups, 2);
  await bed.controller.stop();
  running.delete(bed.controller);
  const kept = () => readdirSync(folder).filter((name) => name.startsWith('observes'));
  assert.deepEqual(kept(), ['observes-learned']);
  const off = bedOf('observes', 'off');
  assert.equal(off.controller.status(), null);
  assert.deepEqual(kept(), []);
});

test('a frozen map and one that cannot be taken over leave the last one; it is tried again', async () => {
  const bed = bedOf('held', 'on');
  bed.orders.frozenSinceMs = 1;
  await until(bed, 'held', () => bed.controller.status()?.held === 'the map is frozen');
  assert.equal(bed.orders.measured, null);
  bed.orders.frozenSinceMs = null;
  bed.failure = new Error('no room');
  await until(bed, 'refused', () => bed.controller.status()?.held === 'no room');
  assert.equal(bed.orders.measured, null);
  await until(bed, 'served', () => bed.applied === 1);
  assert.ok(bed.orders.measured !== null);
  assert.equal(bed.controller.status()?.held, null);
  assert.deepEqual(bed.errors, ['a measured map was not taken over: the last one stays']);
});

test('when the thread dies the last map stays, it is told, and another thread goes on', async () => {
  const bed = bedOf('dies', 'on');
  await until(bed, 'served', () => bed.applied > 0);
  const served = bed.orders.measured;
  bed.isPoisoned = true;
  await until(bed, 'dead', () => bed.errors.length > 0);
  bed.isPoisoned = false;
  assert.equal(bed.orders.measured, served);
  assert.deepEqual(bed.errors.slice(0, 1), ['the thread of measured steering ended: the last map stays']);
  await until(bed, 'back', () => bed.controller.status()?.thread.failure === null);
  bed.down = new Set(['jp']);
  await until(bed, 'decides', () => siteFor(bed.config, bed.orders.measured, '10.1.7.9') !== 'jp');
  assert.ok((bed.controller.status()?.thread.restarts ?? 0) > 0);
});

test('files that are damaged are told, and it begins without', async () => {
  for (const kind of ['answers', 'learned'])
    writeFileSync(join(folder, `damaged-${kind}`), 'portico measured 1\nnonsense');
  const bed = bedOf('damaged', 'on');
  assert.equal(bed.orders.measured, null);
  await until(bed, 'served', () => bed.applied > 0);
  assert.deepEqual(bed.errors, [
    'the map of before cannot be used: DNS begins without measurements',
    'what steering had learned cannot be used: it begins anew',
  ]);
});
