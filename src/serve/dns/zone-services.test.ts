import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Policy } from '../../config/steering-model.ts';
import { AMSTERDAM, network, service, testConfig, zone } from './sample.ts';
import { compileZones } from './zone-compile.ts';

const WEIGHTED: Policy = {
  kind: 'weighted',
  parts: [
    { weight: 80, policy: { kind: 'site', site: 'eu' } },
    { weight: 20, policy: { kind: 'site', site: 'us' } },
  ],
};

function warningsWith(resolvers: number): string[] {
  const www = service('www', 'www.example.test', { eu: ['192.0.2.1'], us: ['192.0.2.2'] });
  const compiled = compileZones(
    testConfig({
      services: new Map([['www', { ...www, policy: WEIGHTED }]]),
      zones: [zone('example.test', [], ['ns.other.test'])],
      networks: Array.from({ length: resolvers }, (_, i) => ({ ...network(`10.0.0.${i}/32`, AMSTERDAM), demand: 1 })),
    }),
  );
  assert.ok(compiled.ok);
  return compiled.warnings.map(({ path, message }) => `${path}: ${message}`);
}

test('weights that the sizes of units do not allow are told, others not', () => {
  assert.deepEqual(warningsWith(100), []);
  assert.deepEqual(warningsWith(2), [
    'services.www.policy: weights are missed: of the predicted demand eu gets 75.0 % instead of 80.0 %, us gets 25.0 % instead of 20.0 %',
  ]);
});
