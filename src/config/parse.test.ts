import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress, formatPrefix } from '../net/address.ts';
import type { Config } from './model.ts';
import { parseConfig } from './parse.ts';

const EXAMPLE = readFileSync(new URL('../../examples/two-sites.yaml', import.meta.url), 'utf8');

function parseGood(text: string): Config {
  const result = parseConfig(text, 'good.yaml');
  assert.ok(result.ok, result.ok ? '' : JSON.stringify(result.problems));
  return result.config;
}

/** The example with one piece of text replaced; `after` may be empty. */
function edited(before: string, after: string): string {
  assert.ok(EXAMPLE.includes(before), before);
  return EXAMPLE.replace(before, after);
}

function errorsOf(text: string): string[] {
  const result = parseConfig(text, 'x.yaml');
  return result.ok ? [] : result.problems.map(({ line, path, message }) => `${line} ${path}: ${message}`);
}

test('the example becomes a whole configuration', () => {
  const config = parseGood(EXAMPLE);
  assert.deepEqual([...config.sites.keys()], ['eu', 'us']);
  assert.equal(config.sites.get('eu')?.links[0].capacityBitsPerSecond, 1e10);
  const balancer = config.balancers.get('us-b2')!;
  assert.deepEqual(balancer.addresses.map(formatAddress), ['10.20.1.2', 'fd00:20::1:2']);
  assert.equal(formatPrefix(balancer.probePrefix!), '10.20.202.0/26');
  const service = config.services.get('www')!;
  assert.deepEqual(service.backends.get('eu'), ['eu-1', 'eu-2', 'eu-3']);
  assert.deepEqual(service.ports, [
    { port: 80, protocol: 'tcp' },
    { port: 4433, protocol: 'udp' },
  ]);
  assert.equal(service.health.host, 'www.example.test');
  assert.equal(service.health.port, 80);
  const [zone] = config.zones;
  const lines = EXAMPLE.split('\n');
  for (const record of zone.records) {
    const mentions = record.data.includes(' ') ? record.data.split(' ')[0] : record.data;
    assert.ok(lines[record.line - 1].includes(mentions), `${record.name} ${record.type} on line ${record.line}`);
  }
  const mail = zone.records.find((record) => record.name === 'mail2.example.test');
  assert.equal(mail?.ttlSeconds, 600);
  assert.equal(zone.records.find((record) => record.name === '*.pages.example.test')?.ttlSeconds, 3600);
});

test('cookies, limits and what name servers tell are read, with a way to switch each off', () => {
  const added = [
    'dns:',
    '  cookies: { enabled: false, secrets: [00112233445566778899aabbccddeeff] }',
    '  rateLimit: { answers: off, slip: 0, exempt: [192.0.2.0/24] }',
    '  tcp: { connections: 10, idle: 2s }',
    '  tell: { version: false, server: false }',
  ];
  const { dnsProtocol } = parseGood(edited('\ndns:\n', `\n${added.join('\n')}\n`));
  assert.equal(dnsProtocol.cookies.isEnabled, false);
  assert.deepEqual([...dnsProtocol.cookies.secrets[0]].slice(0, 3), [0, 0x11, 0x22]);
  assert.deepEqual(
    { ...dnsProtocol.rateLimit, exempt: dnsProtocol.rateLimit.exempt.map(formatPrefix) },
    {
      perSecond: 0,
      provedPerSecond: 10_000,
      slip: 0,
      exempt: ['192.0.2.0/24'],
    },
  );
  assert.deepEqual(dnsProtocol.tcp, {
    maxConnections: 10,
    maxPerAddress: 50,
    maxPerPrefix: 200,
    idleMs: 2000,
    keepaliveMs: 30_000,
  });
  assert.deepEqual(dnsProtocol.tell, { version: null, server: false, epoch: true });
  const wrong = [
    'dns:',
    '  cookies: { secrets: [abc] }',
    '  rateLimit: { answers: many, slip: -1 }',
    '  tcp: { idle: 0s }',
  ];
  const errors = errorsOf(edited('\ndns:\n', `\n${wrong.join('\n')}\n`)).map((error) => error.split(' ')[1]);
  assert.deepEqual(errors, [
    'dns.cookies.secrets[0]:',
    'dns.rateLimit.answers:',
    'dns.rateLimit.slip:',
    'dns.tcp.idle:',
  ]);
});

test('what is left out has its default', () => {
  const config = parseGood(
    [
      'name: small',
      'sites: { a: { location: { latitude: 0, longitude: 0 } } }',
      'balancers: { b1: { site: a, addresses: [10.0.0.1] }, b2: { site: a, addresses: [10.0.0.2] } }',
      'backends: { c1: { site: a, address: 10.0.1.1 }, c2: { site: a, address: 10.0.1.2 } }',
      'services: { web: { vips: { a: [192.0.2.1] }, ports: [443/tcp], health: { through: direct } } }',
    ].join('\n'),
  );
  const service = config.services.get('web')!;
  assert.equal(service.slots, 65_537);
  assert.equal(service.ttlSeconds, 30);
  assert.equal(service.panicShare, 0.5);
  assert.equal(service.need, 0);
  assert.deepEqual(service.health, {
    type: 'tcp',
    port: 443,
    path: '/',
    host: 'web',
    expectStatus: 200,
    expectBody: null,
    intervalMs: 2000,
    timeoutMs: 1000,
    rise: 2,
    fall: 3,
    through: 'direct',
  });
  assert.deepEqual(service.tracking, {
    mode: 'just-enough',
    settleAfterMs: 3_600_000,
    adoptionMs: 30_000,
    newPerSecond: 1e5,
    tableShare: 0.5,
    prefixNewPerSecond: Number.POSITIVE_INFINITY,
  });
  assert.equal(config.sites.get('a')?.capacityPerSecond, Number.POSITIVE_INFINITY);
  assert.equal(config.defaultLocation, null);
  assert.deepEqual(config.api, { host: '127.0.0.1', port: 7077 });
  assert.deepEqual(config.backends.get('c1')?.interfaces, ['eth0']);
});

test('errors of values and errors between sections are found in one go', () => {
  const text = edited('site: eu, address: 10.10.2.2', 'site: ue, address: 10.10.2.1').replace('ttl: 5s', 'ttl: 5');
  assert.deepEqual(errorsOf(text), [
    '53 backends.eu-2.site: there is no site "ue"',
    '53 backends.eu-2.address: 10.10.2.1 is also an address of backend eu-1',
    '62 services.www.ttl: a duration needs a unit',
  ]);
});

test('a wrong value does not cause errors elsewhere', () => {
  const wrongs: [string, string][] = [
    ['probes: 10.10.201.0/26', 'probes: 10.10.201.0'],
    ['addresses: [10.10.1.1, "fd00:10::1:1"]', 'addresses: [here]'],
    ['address: 10.10.2.3', 'address: there'],
    ['ports: [80/tcp, 4433/udp]', 'ports: [http]'],
    ['us: [198.51.100.10, "2001:db8:2::10"]', 'us: [198.51.100.10, nothing]'],
    ['contact: hostmaster@example.test', 'contact: nobody'],
    ['listen: [10.53.0.1]', 'listen: [somewhere]'],
    ['through: both', 'through: all'],
    ['nameServers: [ns1.example.test, ns2.example.test]', 'nameServers: [-x, ns2.example.test]'],
  ];
  for (const [before, after] of wrongs) assert.equal(errorsOf(edited(before, after)).length, 1, after);
});

test('anchors and merge keys are taken, and an error in what they bring is told where it stands', () => {
  const anchored = edited(
    'eu-1: { site: eu, address: 10.10.2.1 }',
    'eu-1: &one { site: eu, address: 10.10.2.1 }',
  ).replace('eu-2: { site: eu, address: 10.10.2.2 }', 'eu-2: { <<: *one, address: 10.10.2.2, weight: 2 }');
  const config = parseGood(anchored);
  assert.equal(config.backends.get('eu-2')?.site, 'eu');
  assert.equal(config.backends.get('eu-2')?.weight, 2);
  const wrong = anchored.replace('&one { site: eu', '&one { site: ue');
  assert.deepEqual(errorsOf(wrong), [
    '52 backends.eu-1.site: there is no site "ue"',
    '52 backends.eu-2.site: there is no site "ue"',
  ]);
});

test('a name that is a property of every object is only a name', () => {
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const text = edited('backends: all', `backends: [eu-1, us-1, ${name}]`);
    assert.deepEqual(
      errorsOf(text).map((error) => error.replace(/^\d+ /, '')),
      [`services.www.backends[2]: there is no backend "${name}"`],
    );
    const errors = errorsOf(edited('eu-1: { site', `${name}: { site`));
    assert.equal(errors.length, name === 'constructor' ? 0 : 1, name);
  }
});

test('whatever the text, the parser gives a result with places and remedies', () => {
  const seed = Number(process.env.PORTICO_SEED ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed} (PORTICO_SEED repeats it)`);
  const pieces = [
    '&a ',
    '*a',
    ': ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '\t',
    '\n',
    '#',
    '!x ',
    '<<: *a',
    '0',
    '-1',
    'null',
    '~',
  ];
  const piece = fc.oneof(
    fc.constantFrom(
      ...pieces,
      'eu',
      'us',
      '10.10.1.1',
      '1e999',
      '.nan',
      '9'.repeat(400),
      '?',
      '|',
      '>',
      '%',
      '@',
      '`',
      '\0',
      '\ud800',
    ),
    fc.string({ maxLength: 8 }),
  );
  const mutation = fc.record({ at: fc.nat(EXAMPLE.length), cut: fc.nat(40), piece, duplicate: fc.boolean() });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
      let text = EXAMPLE;
      for (const { at, cut, piece, duplicate } of mutations) {
        text = text.slice(0, at) + piece + (duplicate ? text.slice(at, at + cut).repeat(2) : '') + text.slice(at + cut);
      }
      const result = parseConfig(text, 'x.yaml');
      const problems = result.ok ? result.warnings : [...result.problems, ...result.warnings];
      assert.ok(result.ok || result.problems.length > 0);
      const lines = text.split('\n').length;
      for (const { line, column, message, remedy, value } of problems) {
        assert.ok(line >= 1 && line <= lines && column >= 1);
        assert.ok(message !== '' && remedy !== '' && value.length <= 80);
        assert.ok(!/undefined|\[object/.test(message + remedy), message + remedy);
      }
    }),
    { seed, numRuns: Number(process.env.PORTICO_RUNS ?? 300) },
  );
});

test('a service has a forwarding mode, a backend may have its own, and IP in IP is warned of', () => {
  const text = edited('    ports: [80/tcp, 4433/udp]', '    ports: [80/tcp, 4433/udp]\n    forwarding: gue');
  const config = parseGood(text);
  assert.equal(config.services.get('www')?.forwarding, 'gue');
  assert.equal(config.backends.get('eu-1')?.forwarding, null);
  const own = parseConfig(text.replace('eu-1: { site: eu,', 'eu-1: { site: eu, forwarding: ipip,'), 'x.yaml');
  assert.ok(own.ok);
  assert.equal(own.config.backends.get('eu-1')?.forwarding, 'ipip');
  assert.deepEqual(
    own.warnings.map(({ path }) => path),
    ['backends.eu-1.forwarding'],
  );
  const all = parseConfig(text.replace('forwarding: gue', 'forwarding: ipip'), 'x.yaml');
  assert.ok(all.ok);
  assert.deepEqual(
    all.warnings.map(({ path }) => path),
    ['services.www.forwarding'],
  );
  assert.equal(errorsOf(text.replace('forwarding: gue', 'forwarding: vxlan')).length, 1);
});
