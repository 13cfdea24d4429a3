/** A real secondary (Knot DNS) beside a real Portico: it is told of changes, fetches differences, and answers the same. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import type { Config } from '../../src/config/model.ts';
import { record } from '../../src/serve/dns/sample.ts';
import { ZoneHistory } from '../../src/serve/dns/transfer/zone-history.ts';
import { openUdpSocket } from '../../src/serve/vip/netns.ts';
import { dig, freePort, type RunningServer, startServer } from './fixture.ts';
import { type Knot, startKnot } from './knot.ts';
import { KEY, oneZone, secondary, withSecondaries } from './transfer-fixture.ts';

let running: RunningServer | null = null;
let knot: Knot | null = null;
const folders: string[] = [];
afterEach(async () => {
  await knot?.stop();
  await running?.server.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  [running, knot] = [null, null];
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'portico-zones-'));
  folders.push(made);
  return made;
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}; ${knot?.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const FILLER = Array.from({ length: 40 }, (_, i) => record(`h${i}.example.test`, 'A', `192.0.2.${i}`));

function told(port: number, records: readonly string[], serial: number, isCounted = false): Config {
  const texts = records.map((text) => record('a.example.test', 'TXT', `"${text}"`));
  const notify = [{ address: { family: 4 as const, bytes: Uint8Array.of(127, 0, 0, 1) }, port }];
  return withSecondaries([secondary({ notify })], oneZone([...FILLER, ...texts], serial, isCounted));
}

test('Knot fetches the zone, is told of each change, and fetches the difference', async () => {
  const port = await freePort();
  // As machines in network namespaces have it: a socket that somebody else opened.
  const here = { family: 4 as const, bytes: Uint8Array.of(127, 0, 0, 1) };
  const notifyFrom = (family: 4 | 6) => (family === 4 ? { family, fd: openUdpSocket(null, here, 0) } : null);
  running = await startServer({ config: told(port, ['one'], 1), notifyFrom });
  const { server, port: own } = running;
  knot = await startKnot({ port, masterPort: own, zones: ['example.test'], key: KEY });
  await eventually('the whole zone is there', async () => (await knot?.serial('example.test')) === 1);
  assert.equal(server.counters.transfers.axfr, 1);
  assert.ok((await server.reload(told(port, ['one', 'two'], 2))).ok);
  await eventually('the first change is there', async () => (await knot?.serial('example.test')) === 2);
  assert.ok((await server.reload(told(port, ['three'], 3))).ok);
  await eventually('the second change is there', async () => (await knot?.serial('example.test')) === 3);
  assert.equal(server.counters.transfers.ixfr, 2);
  assert.equal(server.counters.transfers.axfr, 1);
  assert.equal((await knot.dig('+short a.example.test TXT')).trim(), '"three"');
  // Both answer the same for everything that was transferred.
  for (const question of ['example.test NS', 'h7.example.test A', 'nope.example.test A', 'ns1.example.test AAAA']) {
    const ours = await dig(own, question);
    const theirs = await dig(port, question);
    assert.deepEqual([theirs.status, theirs.answer, theirs.authority], [ours.status, ours.answer, ours.authority]);
  }
  await eventually('it has acknowledged', async () => server.secondaries()[0]?.notify?.result === 'acknowledged');
  const [seen] = server.secondaries();
  assert.equal(seen?.serial, 3);
  assert.deepEqual([seen?.transfer?.kind, seen?.transfer?.serial, seen?.notify?.serial], ['IXFR', 3, 3]);
  assert.equal(server.counters.signatures.badsig + server.counters.signatures.badkey, 0);
});

test('differences outlive a restart, and a counted serial goes on', async () => {
  const port = await freePort();
  const state = folder();
  running = await startServer({ config: told(port, ['one'], 0, true), history: new ZoneHistory(state) });
  const { port: own, server } = running;
  knot = await startKnot({ port, masterPort: own, zones: ['example.test'], key: KEY });
  await eventually('the zone is there', async () => (await knot?.serial('example.test')) !== null);
  const first = (await knot.serial('example.test')) as number;
  assert.match(String(first), /^20[0-9]{8}$/);
  await server.stop();
  const sockets = (['127.0.0.1'] as const).map((address) => {
    const at = { family: 4 as const, address, port: own };
    return { udp: at, tcp: at };
  });
  const again = await startServer({ config: told(port, ['two'], 0, true), history: new ZoneHistory(state), sockets });
  running = { server: again.server, port: own };
  // It is told at the start.
  await eventually('the change is there', async () => (await knot?.serial('example.test')) === first + 1);
  assert.deepEqual([again.server.counters.transfers.axfr, again.server.counters.transfers.ixfr], [0, 1]);
  // The same once more moves nothing.
  assert.ok((await again.server.reload(told(port, ['two'], 0, true))).ok);
  assert.match((await dig(own, 'example.test SOA')).answer[0] ?? '', new RegExp(` ${first + 1} `));
});

test('who does not answer is told again, and one that refuses is not', async () => {
  const port = await freePort();
  running = await startServer({ config: told(port, ['one'], 1) });
  const { server, port: own } = running;
  // Nobody listens there yet: the second notice is heard.
  await eventually('it was told once', async () => server.counters.notifies.sent >= 1);
  knot = await startKnot({ port, masterPort: own, zones: ['example.test'], key: KEY });
  await eventually('it heard a later one', async () => server.counters.notifies.acknowledged === 1);
  assert.ok(server.counters.notifies.sent >= 2);
  await knot.stop();
  // Another one without the key refuses.
  knot = await startKnot({ port, masterPort: own, zones: ['example.test'], key: { ...KEY, name: 'else' } });
  const { bad, refused } = server.counters.notifies;
  assert.ok((await server.reload(told(port, ['two'], 2))).ok);
  await eventually('its answer came', async () => {
    const now = server.counters.notifies;
    return now.bad > bad || now.refused > refused;
  });
});
