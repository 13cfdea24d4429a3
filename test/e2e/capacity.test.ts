import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { exampleConfig, place } from './lab-config.ts';

const LIMIT_MS = 30_000;
const QUIET = { info: () => {}, warn: () => {}, error: () => {} };
const closers: (() => Promise<void>)[] = [];

after(async () => {
  for (const close of closers.reverse()) await close();
});

async function until(what: string, holds: () => boolean): Promise<void> {
  const limitAt = performance.now() + LIMIT_MS;
  while (!holds()) {
    assert.ok(performance.now() < limitAt, `not within ${LIMIT_MS} ms: ${what}`);
    await sleep(50);
  }
}

test('a site that takes more new connections than its capacity is left out by DNS, and its clients go elsewhere', async () => {
  const example = exampleConfig();
  const us = example.sites.get('us')!;
  const config = { ...example, sites: new Map([...example.sites, ['us', { ...us, capacityPerSecond: 20 }]]) };
  const lab = await startLab({ config, place });
  closers.push(() => lab.stop());
  const runtime = await startPorticoInLab(lab, config, QUIET);
  closers.push(() => runtime.stop(false));
  await runtime.untilServing(LIMIT_MS);
  assert.equal(runtime.steering.siteFull('www', 'us'), false, 'probes alone do not fill it');
  const traffic = startTraffic(lab, { perRegion: 5, newPerSecond: 60 });
  closers.push(() => traffic.stop());
  await until('the site is full', () => runtime.steering.siteFull('www', 'us'));
  await until('clients near us reach eu', () => (traffic.snapshot().regions['client-us']?.newBySite.eu ?? 0) > 20);
  assert.equal(traffic.snapshot().newFailed, 0);
  assert.equal(runtime.steering.siteFull('www', 'eu'), false);
});
