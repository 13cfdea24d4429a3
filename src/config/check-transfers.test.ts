/** Keys and secondaries in the operator's file: what is told, all at once, and that secrets never are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffConfigs } from './diff.ts';
import { type ConfigProblem, parseConfig } from './parse.ts';

const SECRET = 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0';

function parse(
  dns: string,
  zone = 'serial: auto, soa: { primary: ns1.example.net, contact: h@example.net }',
  service = '',
) {
  return parseConfig(
    [
      'name: t',
      'sites: { eu: { location: { latitude: 1, longitude: 1 } } }',
      'balancers: { b: { site: eu, addresses: [10.0.0.1] } }',
      'backends: { c: { site: eu, address: 10.0.0.2 } }',
      `services: { www: { vips: { eu: [192.0.2.1] }, ports: [80/tcp], health: { through: direct }${service} } }`,
      'dns:',
      '  servers: { ns1: { listen: [192.0.2.53] } }',
      `  zones: { example.net: { nameServers: [ns1.example.com, ns2.example.com], ${zone} } }`,
      dns,
      '',
    ].join('\n'),
    'portico.yaml',
  );
}

function textOf({ path, value, message, remedy }: ConfigProblem): string {
  return `${path} = ${value}: ${message}; ${remedy}`;
}

test('a whole section is read, with its defaults', () => {
  const result = parse(
    [
      '  keys:',
      `    Transfer.Example: { secret: ${SECRET} }`,
      '  secondaries:',
      '    s: { from: ["2001:db8::/32", 192.0.2.100/32], notify: ["192.0.2.100:5300"], key: transfer.example }',
      '  transfers: { journal: 512KiB }',
    ].join('\n'),
  );
  assert.ok(result.ok, JSON.stringify(result));
  const { keys, secondaries, limits } = result.config.transfers;
  assert.deepEqual(
    [...keys.values()].map(({ name, algorithm, secret }) => [name, algorithm, Buffer.from(secret).toString('base64')]),
    [['transfer.example', 'hmac-sha256', SECRET]],
  );
  const s = secondaries.get('s');
  assert.deepEqual([s?.from.length, s?.notify[0].port, s?.key, s?.zones], [2, 5300, 'transfer.example', null]);
  assert.deepEqual(limits, { maxAtOnce: 10, journalBytes: 524_288 });
  assert.deepEqual([result.config.zones[0].isSerialCounted, result.config.zones[0].serial], [true, 0]);
  assert.deepEqual(result.config.services.get('www')?.secondarySites, ['eu']);
});

test('all that is wrong is told at once, and no secret is in it', () => {
  const result = parse(
    [
      '  keys:',
      '    short: { secret: c2VjcmV0 }',
      '    old: { algorithm: hmac-sha1, secret: SECRETSECRETSECRET!! }',
      `    good: { secret: ${SECRET}, more: 1 }`,
      '  secondaries:',
      '    open: { notify: [192.0.2.1] }',
      '    all: { from: [0.0.0.0/0] }',
      '    a: { key: god, zones: [exmple.net] }',
      '  transfers: { atOnce: 0, journal: many }',
    ].join('\n'),
    'soa: { primary: ns1.example.net, contact: h@example.net }',
    ', secondarySites: [us]',
  );
  assert.ok(!result.ok);
  const texts = result.problems.map(textOf);
  const all = texts.join('\n');
  for (const expected of [
    /^services\.www\.secondarySites\[0\] = us: the service has no VIPs at us/m,
    /^dns\.zones\["example\.net"\]\.soa = .*"serial" is missing; add serial: 2026010101, or serial: auto/m,
    /^dns\.keys\.short\.secret = : the secret has 6 bytes/m,
    /^dns\.keys\.old\.algorithm = : hmac-sha1 is not safe/m,
    /^dns\.keys\.old\.secret = : the secret is not base64/m,
    /^dns\.keys\.good\.more = : "more" is not known here/m,
    /^dns\.secondaries\.open = .*anybody would get the zones of open/m,
    /^dns\.secondaries\.all\.from\[0\] = 0\.0\.0\.0\/0: this is everybody/m,
    /^dns\.secondaries\.a\.key = god: there is no key god; did you mean good\?/m,
    /^dns\.secondaries\.a\.zones\[0\] = exmple\.net: there is no zone exmple\.net; did you mean example\.net\?/m,
    /^dns\.transfers\.atOnce = 0/m,
    /^dns\.transfers\.journal = many/m,
  ])
    assert.match(all, expected);
  assert.equal(texts.length, 12, all);
  assert.doesNotMatch(all, /c2VjcmV0|SECRET/);
  const broken = parse(`  keys: { a: { secret: ${SECRET}: ${SECRET} } }`);
  assert.ok(!broken.ok);
  assert.doesNotMatch(broken.problems.map(textOf).join(), /c2VjcmV0/);
});

test('a secret that changes is seen, and not shown', () => {
  const load = (secret: string) => {
    const result = parse(`  keys: { k: { secret: ${secret} } }\n  secondaries: { s: { key: k, notify: [192.0.2.1] } }`);
    assert.ok(result.ok);
    return result.config;
  };
  const changes = diffConfigs(load(SECRET), load('b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=='));
  assert.deepEqual(
    changes.map(({ name }) => name),
    ['transfers'],
  );
  assert.doesNotMatch(JSON.stringify(changes), /7365637265|c2Vj|b3Ro/);
  assert.deepEqual(diffConfigs(load(SECRET), load(SECRET)), []);
});
