/** Drains with real connections, in the lab, which take a minute: who holds one open, how listings end it, what a deadline does. Needs root. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import type { BackendStatus } from '../../src/api/source.ts';
import type { Config } from '../../src/config/model.ts';
import { startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { exampleConfig, place } from './lab-config.ts';

const LIMIT_MS = 30_000;
/** Three settling steps, each 15 s after the last and two listings, in rounds of 5 s. */
const SETTLED_LIMIT_MS = 150_000;
const PER_REGION = 20;
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function until(what: string, limitMs: number, holds: () => boolean): Promise<void> {
  const limitAt = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > limitAt) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(200);
  }
}

test('a drain tells who holds it open, is over when its connections are, and ends at its deadline', async (t) => {
  const example = exampleConfig();
  const tcpOnly = [...example.services].map(
    ([name, service]) =>
      [name, { ...service, ports: service.ports.filter(({ protocol }) => protocol === 'tcp') }] as const,
  );
  const config: Config = { ...example, services: new Map(tcpOnly) };
  const lab = await startLab({ config, place });
  closers.push(() => lab.stop());
  const told: string[] = [];
  const journal = new Journal({ info: () => {}, warn: (_, text) => void told.push(text), error: console.error });
  const runtime = await startPorticoInLab(lab, config, journal);
  closers.push(() => runtime.stop(false));
  await runtime.untilServing(LIMIT_MS);
  const source = new FleetSource({ runtime, journal, load: null });
  const traffic = startTraffic(lab, { perRegion: PER_REGION, newPerSecond: 0 });
  closers.push(() => traffic.stop());
  await traffic.untilOpen(PER_REGION * lab.machinesOf('client').length, LIMIT_MS);
  const [service] = config.services.keys();
  const of = (backend: string): BackendStatus => {
    const its = source.status().sites.find(({ name }) => name === 'eu');
    const found = its?.services.find(({ name }) => name === service)?.backends.find(({ name }) => name === backend);
    assert.ok(found !== undefined);
    return found;
  };

  assert.ok((await source.drain('backend', 'eu-1')).ok);
  assert.ok((of('eu-1').drain?.slots ?? 0) > 0);
  await until('the agent tells of its connections', LIMIT_MS, () => (of('eu-1').drain?.connections ?? 0) > 0);
  const open = of('eu-1').drain;
  assert.ok((open?.topClients[0]?.connections ?? 0) > 0);
  const asked = await source.settle(service as string, 'eu-b1');
  assert.ok(asked.ok, JSON.stringify(asked));
  assert.match(JSON.stringify(asked), /"settled":0,"notAsked":\["eu-b2"\]/);

  const began = performance.now();
  const connections = open?.connections ?? 0;
  await until(
    'slots without a connection settle',
    SETTLED_LIMIT_MS,
    () => (of('eu-1').drain?.slots ?? 0) <= connections,
  );
  t.diagnostic(
    `${open?.slots} slots held the drain of eu-1 open; after ${Math.round((performance.now() - began) / 1000)} s those of ` +
      `its ${connections} connections were left: ${of('eu-1').drain?.slots}`,
  );
  assert.equal(traffic.snapshot().brokenCount, 0);
  assert.ok((of('eu-1').drain?.slots ?? 0) > 0, 'connections hold their slots');

  assert.ok((await source.undrain('backend', 'eu-1')).ok);
  assert.ok((await source.drain('backend', 'eu-1', 1_000)).ok);
  await until('the deadline', LIMIT_MS, () => of('eu-1').drain?.givenUp === true && of('eu-1').drain?.slots === 0);
  assert.ok(told.some((text) => text.startsWith('time is over for the drain of eu-1')));
  await until('its connections break', LIMIT_MS, () => traffic.snapshot().brokenCount >= connections);
  assert.equal(traffic.snapshot().brokenCount, connections, 'and no others');
});
