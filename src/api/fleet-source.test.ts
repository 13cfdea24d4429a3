import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureConfig } from '../fleet/fleet-fixture.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { SiteDrains } from '../fleet/site-drains.ts';
import { FleetSource } from './fleet-source.ts';
import { Journal } from './journal.ts';

test('a drain that not every table takes is in force, and kept for the next process', async () => {
  const drains = new SiteDrains('eu', Date.now);
  const kept: string[][] = [];
  const site = {
    name: 'eu',
    drains,
    balancers: new Map([['eu-b1', {}]]),
    refresh: () => Promise.reject(new Error('no memory')),
  };
  const runtime = {
    config: fixtureConfig(),
    sites: new Map([['eu', site]]),
    health: { verdict: () => 'healthy' },
    keepDrains: () => void kept.push([...drains.byOperator]),
  };
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  const source = new FleetSource({
    runtime: runtime as unknown as Runtime,
    journal: new Journal(silent),
    load: null,
  });
  const answer = await source.drain('backend', 'eu-1');
  assert.equal(answer.ok, false);
  assert.deepEqual(kept, [['eu-1']]);
});
