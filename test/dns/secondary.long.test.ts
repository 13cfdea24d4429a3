/** Large zones to a real secondary (Knot DNS), signed, with a connection that is cut in between. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort, type RunningServer, startServer } from './fixture.ts';
import { type Knot, startKnot } from './knot.ts';
import { framed, open, until } from './tcp-client.ts';
import { KEY, prefix, secondary, transfer, wireZone, withSecondaries } from './transfer-fixture.ts';

const RECORDS = 100_000;
let running: RunningServer;
let knot: Knot | null = null;
before(async () => {
  const secondaries = [secondary(), secondary({ name: 'plain', key: null, from: [prefix('127.0.0.0/8')] })];
  const limits = { maxAtOnce: 10, journalBytes: 1_000_000 };
  running = await startServer({ config: withSecondaries(secondaries, wireZone(RECORDS, 60), limits) });
});
after(async () => {
  await knot?.stop();
  await running.server.stop();
});

test('Knot gets 100,000 records, signed message by message', { timeout: 120_000 }, async (t) => {
  const began = performance.now();
  knot = await startKnot({ port: await freePort(), masterPort: running.port, zones: ['example.test'], key: KEY });
  while ((await knot.serial('example.test')) !== 1) await new Promise((resolve) => setTimeout(resolve, 50));
  const { transfers, signatures } = running.server.counters;
  t.diagnostic(`there after ${Math.round(performance.now() - began)} ms, ${transfers.bytes} bytes`);
  assert.equal(transfers.records, RECORDS + 4);
  assert.equal(transfers.whole, 1);
  assert.ok(signatures.good >= 1);
  const answer = await knot.dig(`+short h${RECORDS - 1}.example.test TYPE65280`);
  assert.match(answer, /^\\# 60 /);
});

test('dig gets them too, and a connection that is cut frees its place', { timeout: 120_000 }, async (t) => {
  const socket = open(running.port);
  socket.once('data', () => socket.destroy());
  socket.write(framed(1, 'example.test', 252));
  await until('it was cut', () => running.server.counters.transfers.cut === 1);
  const began = performance.now();
  const { records } = await transfer(running.port, 'example.test AXFR');
  t.diagnostic(`there after ${Math.round(performance.now() - began)} ms`);
  assert.equal(records.length, RECORDS + 4);
});
