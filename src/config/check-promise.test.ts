import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './parse.ts';

function warnedPaths(service: string, backend = '', balancers = 2): string[] {
  const names = Array.from({ length: balancers }, (_, index) => index + 1);
  const text = [
    'name: promise',
    'sites: { a: { location: { latitude: 0, longitude: 0 }, mtu: 1600 } }',
    `balancers: { ${names.map((n) => `b${n}: { site: a, addresses: [10.0.0.${n}], networks: [10.0.0.0/16] }`).join(', ')} }`,
    `backends: { c1: { site: a, address: 10.0.1.1${backend} }, c2: { site: a, address: 10.0.1.2 } }`,
    `services: { web: { vips: { a: [192.0.2.1] }, ports: [443/tcp], health: { through: direct }${service} } }`,
  ].join('\n');
  const result = parseConfig(text, 'promise.yaml');
  assert.ok(result.ok, JSON.stringify(result));
  return result.warnings.map(({ path }) => path).filter((path) => path !== 'sites.a');
}

test('hash schedulers and least-connections by gre or gue with the agent are covered, so nothing is said', () => {
  for (const scheduler of ['maglev', 'source-hash', 'least-connections', 'least-load', 'predictive']) {
    for (const forwarding of ['gre', 'gue'])
      assert.deepEqual(warnedPaths(`, scheduler: ${scheduler}, forwarding: ${forwarding}`), [], scheduler);
  }
});

test('modes without second chance and backends without the agent are warned of where there is another balancer', () => {
  for (const scheduler of ['maglev', 'least-connections']) {
    for (const forwarding of ['ipip', 'l2', 'nat']) {
      const service = `, scheduler: ${scheduler}, forwarding: ${forwarding}`;
      assert.deepEqual(warnedPaths(service), ['services.web.forwarding'], service);
      assert.deepEqual(warnedPaths(service, '', 1), [], service);
    }
  }
  assert.deepEqual(warnedPaths('', ', forwarding: nat'), ['backends.c1.forwarding']);
  assert.deepEqual(warnedPaths('', ', agent: false'), ['backends.c1.agent']);
  assert.deepEqual(warnedPaths('', ', agent: false', 1), []);
});

test('round robin, random and full tracking are warned of whatever the mode', () => {
  for (const scheduler of ['round-robin', 'weighted-round-robin', 'random']) {
    for (const forwarding of ['gre', 'ipip'])
      assert.deepEqual(
        warnedPaths(`, scheduler: ${scheduler}, forwarding: ${forwarding}`),
        ['services.web.scheduler'],
        scheduler,
      );
    assert.deepEqual(warnedPaths(`, scheduler: ${scheduler}`, '', 1), []);
  }
  assert.deepEqual(warnedPaths(', tracking: { mode: full }'), ['services.web.tracking.mode']);
});
