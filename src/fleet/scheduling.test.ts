import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCHEDULERS, type Scheduler, type TrackingMode } from '../config/model.ts';
import { SERVICE_HASH_SOURCE, SERVICE_TRACK_ALL } from '../serve/vip/layout.gen.ts';
import { changesAtOnce, kernelScheduler, kernelWeight, serviceFlags, turnsOf } from './scheduling.ts';

const service = (scheduler: Scheduler, mode: TrackingMode) =>
  ({ scheduler, tracking: { mode }, withoutBackends: 'drop', natTuples: false }) as Parameters<typeof serviceFlags>[0];

test('only where entries or nothing say where flows are, slots change at once', () => {
  assert.equal(changesAtOnce(service('maglev', 'just-enough')), false);
  assert.equal(changesAtOnce(service('maglev', 'full')), true);
  assert.equal(changesAtOnce(service('maglev', 'none')), true);
  assert.equal(changesAtOnce(service('random', 'full')), true);
  assert.equal(changesAtOnce(service('least-connections', 'full')), false);
});

test('schedulers are told to the kernel by its own names', () => {
  assert.deepEqual(
    SCHEDULERS.map((scheduler) => kernelScheduler(service(scheduler, 'full'))),
    ['hash', 'hash', 'round-robin', 'round-robin', 'random', 'least-connections', 'hash', 'hash'],
  );
  assert.equal(kernelScheduler(service('random', 'none')), 'hash', 'without entries a flow must be found by its hash');
  assert.equal(turnsOf(service('round-robin', 'full')), 'equal');
  assert.equal(turnsOf(service('weighted-round-robin', 'full')), 'weighted');
  assert.equal(serviceFlags(service('source-hash', 'just-enough')), SERVICE_HASH_SOURCE);
  assert.equal(serviceFlags(service('source-hash', 'full')), SERVICE_HASH_SOURCE | SERVICE_TRACK_ALL);
});

test('weights of any scale keep their proportions in 16 bits, and nobody has none', () => {
  assert.deepEqual(
    [0.001, 0.0005, 1e-9].map((weight) => kernelWeight(weight, 0.001)),
    [65_535, 32_768, 1],
  );
});
