import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Service } from '../config/model.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { type WeightStore, weightStore } from './kept-weights.ts';
import { roundMs, ServiceWeights } from './service-weights.ts';

const POLL_MS = 1_000;

function weightsOf(text: string, store?: WeightStore) {
  let nowMs = 1_000_000;
  const said: string[] = [];
  const say = (_: object, line: string) => void said.push(line);
  const weights = new ServiceWeights({
    site: 'eu',
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    log: { info: say, warn: say, error: say },
    ...(store === undefined ? {} : { store }),
  });
  const config = fixtureConfig((all) => all.replace('    slots: 307\n', `    slots: 307\n${text}`));
  const service = config.services.get('www') as Service;
  const base = (...names: string[]) => names.map((name) => ({ name, index: Number(name.slice(1)), weight: 10 }));
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { weights, service, base, pass, said };
}

const FULL = (): boolean => false;
const nobody = (): boolean => false;

test('somebody added begins small and comes to its weight in steps; the last is an ordinary change', () => {
  const { weights, service, base, pass } = weightsOf('    slowStart: 30s\n');
  const weigh = () => weights.weigh(service, base('b1', 'b2', 'b3'), nobody);
  const first = weights.weigh(service, base('b1', 'b2'), nobody);
  assert.deepEqual(
    first.members.map(({ weight }) => weight),
    [10, 10],
    'those of a new table begin whole',
  );
  assert.ok(Math.abs((weigh().members[2]?.weight ?? 0) - 1) < 0.01);
  assert.deepEqual(weights.look(FULL), [], 'not yet');
  pass(3_000);
  assert.deepEqual(weights.look(FULL), ['www']);
  const second = weigh();
  assert.ok(Math.abs((second.members[2]?.weight ?? 0) - 2) < 0.01);
  assert.equal(second.weightsOnly, true);
  assert.match(weights.status('www', 'b3')?.reason ?? '', /slow start, 20 %/);
  pass(27_000);
  const last = weigh();
  assert.equal(last.members[2]?.weight, 10);
  assert.equal(last.weightsOnly, false);
  assert.equal(weights.status('www', 'b3')?.reason, 'configured');
});

test('who has slots already is no newcomer: a restart begins nothing anew', () => {
  const { weights, service, base } = weightsOf('    slowStart: 30s\n');
  weights.weigh(service, base('b1'), nobody);
  const { members } = weights.weigh(service, base('b1', 'b2'), (index) => index === 2);
  assert.equal(members[1]?.weight, 10);
});

const LOAD = `    scheduler: least-load\n    load: { port: 9000, path: /load, interval: ${POLL_MS / 1_000}s }\n`;

test('weights follow reported load, in rounds, and not while slots wait for the last round', () => {
  const { weights, service, base, pass } = weightsOf(LOAD);
  const weigh = () => weights.weigh(service, base('b1', 'b2'), nobody).members.map(({ weight }) => weight);
  weigh();
  const round = (held: boolean) => {
    let changed = false;
    for (let poll = 0; poll < roundMs(POLL_MS) / POLL_MS; poll++) {
      pass(POLL_MS);
      weights.takeReport('www', 'b1', 0.9, null);
      weights.takeReport('www', 'b2', 0.3, null);
      changed = weights.look(() => held).length > 0 || changed;
    }
    return changed;
  };
  assert.equal(round(true), false);
  assert.deepEqual(weigh(), [10, 10]);
  assert.equal(round(false), true);
  const [one = 0, two = 0] = weigh();
  assert.ok(one < 10 && two > 10, `${one} ${two}`);
  assert.match(weights.status('www', 'b1')?.reason ?? '', /reported load, x 0\.9/);
  weights.mayFollowLoad = false;
  assert.equal(round(false), false, 'several processes cannot agree');
});

test('without reports the weight stays, and an alarm says so once, with the reason', () => {
  const { weights, service, base, pass, said } = weightsOf(LOAD);
  weights.weigh(service, base('b1', 'b2'), nobody);
  for (let poll = 0; poll < (3 * roundMs(POLL_MS)) / POLL_MS; poll++) {
    pass(POLL_MS);
    weights.takeReport('www', 'b1', 0.9, null);
    weights.takeReport('www', 'b2', null, 'ECONNREFUSED');
    assert.deepEqual(weights.look(FULL), []);
  }
  assert.deepEqual(said, ['backend b2 reports no load: its weight stays']);
  assert.match(weights.problems()[0] ?? '', /b2 reports no load for www.*ECONNREFUSED/);
  weights.takeReport('www', 'b2', 0.9, null);
  weights.look(FULL);
  assert.deepEqual(weights.problems(), []);
});

function storeIn(t: { after: (end: () => void) => void }) {
  const folder = mkdtempSync(join(tmpdir(), 'portico-weights-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'weights/eu.json');
  const said: string[] = [];
  const say = (_: object, line: string) => void said.push(line);
  return { file, said, store: () => weightStore(file, { info: say, warn: say, error: say }) };
}

/** A round in which b1 is full and b2 idle. */
function unevenRound({ weights, pass }: ReturnType<typeof weightsOf>): void {
  for (let poll = 0; poll < roundMs(POLL_MS) / POLL_MS; poll++) {
    pass(POLL_MS);
    weights.takeReport('www', 'b1', 0.9, null);
    weights.takeReport('www', 'b2', 0.3, null);
    weights.look(nobody);
  }
}

test('the next process goes on with the factors, and moves its table no faster', (t) => {
  const { store } = storeIn(t);
  const before = weightsOf(LOAD, store());
  const weigh = ({ weights, service, base }: typeof before, adopted: boolean) =>
    weights.weigh(service, base('b1', 'b2'), () => true, adopted);
  weigh(before, false);
  unevenRound(before);
  const { members } = weigh(before, false);
  assert.ok((members[0]?.weight ?? 10) < 10);
  before.weights.save();
  const after = weightsOf(LOAD, store());
  assert.deepEqual(weigh(after, true), { members, weightsOnly: true });
  const heavier = weightsOf(LOAD, store());
  const changed = heavier.base('b1', 'b2').map((member) => ({ ...member, weight: 20 }));
  assert.equal(
    heavier.weights.weigh(heavier.service, changed, () => true, true).weightsOnly,
    false,
    'the file changed',
  );
  const lost = weightsOf(LOAD);
  assert.equal(weigh(lost, true).weightsOnly, true, 'a table that follows load is moved in small steps');
  assert.equal(weigh(weightsOf(''), true).weightsOnly, false);
});

test('who is away for an hour keeps its factor; later it begins anew', () => {
  const its = weightsOf(LOAD);
  const { weights, service, base, pass } = its;
  const weigh = (...names: string[]) =>
    weights.weigh(service, base(...names), () => true).members.map(({ weight }) => weight);
  weigh('b1', 'b2');
  unevenRound(its);
  const [one] = weigh('b1', 'b2');
  weigh('b2');
  pass(3_500_000);
  assert.equal(weigh('b1', 'b2')[0], one);
  weigh('b2');
  pass(3_700_000);
  assert.equal(weigh('b1', 'b2')[0], 10);
});

test('a forecast is kept whole; a damaged file is told and begins anew', (t) => {
  const { store, file, said } = storeIn(t);
  const text = LOAD.replace('least-load', 'predictive');
  const before = weightsOf(text, store());
  before.weights.weigh(before.service, before.base('b1', 'b2'), nobody);
  for (let round = 0; round < 10; round++) unevenRound(before);
  before.weights.save();
  const kept = store().load();
  const after = weightsOf(text, store());
  after.weights.weigh(after.service, after.base('b1', 'b2'), nobody);
  after.weights.save();
  assert.deepEqual(store().load(), kept);
  assert.ok((kept.www?.prediction?.series.b1?.count ?? 0) > 1);
  for (const damaged of ['', '[]', '{"www":{}}', '{"www":{"key":"","factors":{"b1":-1},"prediction":null}}']) {
    writeFileSync(file, damaged);
    assert.deepEqual(store().load(), {}, damaged);
  }
  assert.equal(said.length, 4);
});
