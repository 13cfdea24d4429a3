import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Config } from '../config/model.ts';
import type { SteeringPin } from '../config/steering-model.ts';
import { parsePrefix } from '../net/address.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { SteeringOrders } from './steering-orders.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-steering-'));
after(() => rmSync(folder, { recursive: true }));

const said: string[] = [];
const log = {
  info: (_: object, message: string) => void said.push(message),
  warn: (_: object, message: string) => void said.push(message),
  error: (_: object, message: string) => void said.push(message),
};

let files = 0;
const newFile = () => join(folder, `orders-${files++}.json`);
const ordersIn = (file: string, apply = async () => {}) => new SteeringOrders(file, log, apply);

function pin(prefix: string | null, site: string, untilMs: number | null = null): SteeringPin {
  return { prefix: prefix === null ? null : parsePrefix(prefix), service: null, site, untilMs };
}

/** 100 networks of the same demand. */
function weightedConfig(eu: number, us: number, maxMoved = '100%'): Config {
  const networks = Array.from(
    { length: 100 },
    (_, i) => `    n${i}: { prefixes: [10.${i}.0.0/16], site: eu, demand: 1 }`,
  );
  return fixtureConfig((text) =>
    text
      .replace('    ports:', `    policy: { weighted: { eu: ${eu}, us: ${us} } }\n    ports:`)
      .replace('  zones:', `  steering: { maxMoved: ${maxMoved} }\n  networks:\n${networks.join('\n')}\n  zones:`),
  );
}

test('pins, freeze and places of units outlive the process', () => {
  const file = newFile();
  const orders = ordersIn(file);
  orders.load(0);
  orders.pin(pin('203.0.113.0/24', 'us', 5000));
  orders.pin(pin(null, 'eu'));
  const config = orders.complete(weightedConfig(60, 40));
  assert.equal(config.steeringState.assignments.get('www')?.get('')?.size, 100);
  orders.frozenSinceMs = 1234;
  orders.keep(config);

  const next = ordersIn(file);
  next.load(4000);
  assert.deepEqual(next.pins, orders.pins);
  assert.equal(next.frozenSinceMs, 1234);
  assert.deepEqual(next.complete(weightedConfig(60, 40)).steeringState, config.steeringState);
});

test('where nothing was ordered, nothing is written', () => {
  const file = newFile();
  const orders = ordersIn(file);
  orders.load(0);
  orders.keep(orders.complete(fixtureConfig()));
  assert.throws(() => readFileSync(file), /ENOENT/);
});

test('a broken file is told and does not hold up the start', () => {
  const file = newFile();
  for (const text of [
    '{',
    '{"pins":[{"prefix":"nonsense","service":null,"site":"eu"}],"frozenSinceMs":null,"assignments":{}}',
  ]) {
    writeFileSync(file, text);
    said.length = 0;
    const orders = ordersIn(file);
    orders.load(0);
    assert.deepEqual(orders.pins, []);
    assert.match(said.join(), /are lost/);
  }
});

test('a pin ends with its time, but not while the map is frozen', async () => {
  let applied = 0;
  const orders = ordersIn(newFile(), async () => void applied++);
  orders.pin(pin('203.0.113.0/24', 'us', 1000));
  orders.pin(pin(null, 'us'));
  orders.frozenSinceMs = 1;
  orders.tick(2000);
  assert.equal(orders.pins.length, 2);
  orders.frozenSinceMs = null;
  orders.tick(999);
  assert.equal(orders.pins.length, 2);
  orders.tick(1000);
  assert.equal(orders.pins.length, 1);
  assert.equal(applied, 1);
});

test('a pin takes the place of the one for the same clients', () => {
  const orders = ordersIn(newFile());
  orders.pin(pin('203.0.113.0/24', 'us'));
  orders.pin(pin('203.0.113.0/25', 'us'));
  orders.pin(pin('203.0.113.0/24', 'eu'));
  assert.deepEqual(
    orders.pins.map(({ site }) => site),
    ['us', 'eu'],
  );
  assert.equal(orders.unpin(pin('203.0.113.0/24', 'eu')), true);
  assert.equal(orders.unpin(pin('203.0.113.0/24', 'eu')), false);
});

test('a frozen map refuses what would move clients, and nothing else', () => {
  const orders = ordersIn(newFile());
  const before = orders.complete(weightedConfig(60, 40));
  orders.keep(before);
  orders.frozenSinceMs = 1;
  assert.match(orders.refusal(before, orders.complete(weightedConfig(50, 50)), true) ?? '', /frozen.*www.*unfreeze/);
  assert.equal(orders.refusal(before, orders.complete(weightedConfig(60, 40, '1%')), false), null);
});

test('more demand than the limit does not move at once, unless the operator wants it', () => {
  const orders = ordersIn(newFile());
  const before = orders.complete(weightedConfig(60, 40));
  orders.keep(before);
  const after = orders.complete(weightedConfig(50, 50, '5%'));
  assert.match(orders.refusal(before, after, false) ?? '', /^10 % of the demand of www.*maxMoved is 5 %/);
  assert.equal(orders.refusal(before, after, true), null);
  assert.equal(orders.refusal(before, orders.complete(weightedConfig(50, 50, '10%')), false), null);
});
