import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Config } from '../../config/model.ts';
import { parsePrefix } from '../../net/address.ts';
import { Answerer } from './answer.ts';
import { createDnsCounters, type DnsCounters, type Transport } from './counters.ts';
import { type Asker, MAX_TCP_BYTES, MAX_UDP_BYTES } from './exchange.ts';
import { explainDns } from './explain.ts';
import { formatRecordData } from './presentation/record.ts';
import { RateLimiter } from './rate-limit.ts';
import { Responder } from './respond.ts';
import { address, mutableView, record, service, testConfig, testProtocol, zone } from './sample.ts';
import { createIdentity, TELLS_NOTHING } from './server-record.ts';
import { decodeMessage, encodeQuery, type Message } from './wire/message.ts';
import { parseName, ROOT_NAME } from './wire/name.ts';
import { CLASS, FLAG, parseType } from './wire/numbers.ts';
import { compileZones } from './zone-compile.ts';
import type { CompiledZones } from './zones.ts';

function compile(config: Config): CompiledZones {
  const result = compileZones(config);
  assert.ok(result.ok, JSON.stringify(result));
  return result.zones;
}

const view = mutableView();
const counters = createDnsCounters();
const sources = { view, identity: TELLS_NOTHING, cookieKeys: [] };
const limiter = new RateLimiter(testProtocol().rateLimit, 1, counters.limits);
const responder = new Responder(new Answerer({ ...sources, zones: compile(testConfig()) }), limiter, counters);

function asker(client: string, transport: Transport): Asker {
  return { client: address(client), transport, nowMs: 1_800_000_000_000, keepaliveTenths: 100 };
}

function queryBytes(nameText: string, typeText: string, options: Uint8Array | null = null): Uint8Array {
  const name = parseName(`${nameText}.`, ROOT_NAME);
  const type = parseType(typeText);
  assert.ok(name.ok && type !== null);
  const edns = options === null ? null : { payloadBytes: 4096, flags: 0, options };
  return encodeQuery(77, { name: name.name, type, class: CLASS.IN }, edns);
}

function ask(bytes: Uint8Array, client = '192.0.2.200', transport: 'udp' | 'tcp' = 'udp'): Message | null {
  const out = new Uint8Array(transport === 'udp' ? MAX_UDP_BYTES : MAX_TCP_BYTES);
  const length = responder.respond(bytes, bytes.length, asker(client, transport), 1024, out);
  if (length === 0) return null;
  const decoded = decodeMessage(out.subarray(0, length));
  assert.ok(decoded.ok, JSON.stringify(decoded));
  assert.equal(decoded.message.id, (bytes[0] << 8) | bytes[1]);
  return decoded.message;
}

function askText(nameText: string, typeText: string, client?: string): string[] {
  const message = ask(queryBytes(nameText, typeText), client);
  assert.ok(message !== null);
  return message.answers.map(({ type, data }) => formatRecordData(type, data));
}

function sumOf(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function checkArithmetic(counts: DnsCounters): void {
  assert.equal(sumOf(counts.queries), sumOf(counts.responses) + sumOf(counts.dropped));
  assert.equal(sumOf(counts.types), sumOf(counts.responses));
  assert.equal(sumOf(counts.policies), sumOf(counts.choices));
  assert.equal(
    sumOf(counts.choices),
    Object.values(counts.sites)
      .map(sumOf)
      .reduce((a, b) => a + b, 0),
  );
}

test('a client gets the nearest site that is up and has room, the same for A and AAAA', () => {
  assert.deepEqual(askText('www.example.test', 'A', '10.0.0.1'), ['198.51.100.10']);
  assert.deepEqual(askText('www.example.test', 'AAAA', '10.0.0.1'), ['2001:db8:2::10']);
  assert.deepEqual(askText('www.example.test', 'A', '10.1.0.1'), ['203.0.113.10']);
  assert.deepEqual(askText('www.example.test', 'A', '192.0.2.1'), ['192.0.2.10']);
  view.down.add('us');
  assert.deepEqual(askText('www.example.test', 'A', '10.0.0.1'), ['192.0.2.10']);
  view.full.add('eu');
  assert.deepEqual(askText('www.example.test', 'A', '10.0.0.1'), ['203.0.113.10']);
  assert.deepEqual(askText('www.example.test', 'AAAA', '10.0.0.1'), ['2001:db8:3::10']);
  const before = { ...counters.choices };
  view.down.add('eu').add('jp');
  assert.deepEqual(askText('www.example.test', 'A', '10.0.0.1'), ['198.51.100.10'], 'all down: as if all were up');
  assert.equal(counters.choices.static, before.static + 1);
  view.down.clear();
  view.full.clear();
});

test('a client subnet of source 0 leaves the choice to the address that asks', () => {
  for (const option of [
    [0, 8, 0, 4, 0, 1, 0, 0],
    [0, 8, 0, 4, 0, 2, 0, 0],
    [0, 8, 0, 4, 0, 0, 0, 0],
  ]) {
    const message = ask(queryBytes('www.example.test', 'A', Uint8Array.from(option)), '10.0.0.1');
    assert.ok(message !== null);
    assert.equal(formatRecordData(1, message.answers[0].data), '198.51.100.10');
    assert.deepEqual([...message.additionals[0].data.bytes], option, 'echoed with scope 0');
  }
});

test('what an earlier client subnet held does not change a later answer', () => {
  const subnet = (...data: number[]) => Uint8Array.of(0, 8, 0, data.length, ...data);
  const siteOf = (option: Uint8Array) =>
    ask(queryBytes('www.example.test', 'A', option))?.answers[0].data.bytes.join('.');
  const short = subnet(0, 1, 8, 0, 10);
  const before = siteOf(short);
  assert.equal(siteOf(subnet(0, 1, 16, 0, 10, 1)), '203.0.113.10');
  assert.equal(siteOf(short), before);
});

test('answers are never answered, and neither is what has no whole header', () => {
  const query = queryBytes('www.example.test', 'A');
  const dropped = { ...counters.dropped };
  query[2] |= 0x80;
  assert.equal(ask(query), null);
  for (let length = 0; length < 12; length++) assert.equal(ask(query.subarray(0, length)), null);
  assert.equal(counters.dropped.response, dropped.response + 1);
  assert.equal(counters.dropped.short, dropped.short + 12);
});

test('a short answer is no longer than the query, but for the part of a cookie that is ours', () => {
  const cookieKeys = [new Uint32Array(4)];
  const identity = createIdentity('Portico', 'n'.repeat(64), 'e'.repeat(64));
  const short = new Answerer({ view, identity, cookieKeys, zones: compile(testConfig()) });
  const out = new Uint8Array(MAX_UDP_BYTES);
  const nsid = [0, 3, 0, 0];
  const subnet = [0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2];
  const cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
  for (const options of [[], nsid, subnet, cookie, [...nsid, ...subnet, ...cookie]]) {
    const query = queryBytes('www.example.test', 'A', Uint8Array.from(options));
    const hasCookie = options.length > 11;
    for (const how of hasCookie ? (['bad-cookie', 'truncated'] as const) : (['truncated'] as const)) {
      short.answer(query, query.length, asker('10.0.0.1', 'udp'), out);
      const length = short.shorten(how, out);
      assert.equal(length, query.length + (hasCookie ? 16 : 0) - (options[1] === 3 ? 4 : 0));
      assert.ok(decodeMessage(out.subarray(0, length)).ok);
    }
  }
});

test('by UDP nothing is answered to ports whose services answer anything, nor to one that cannot be', () => {
  const query = queryBytes('www.example.test', 'A');
  const out = new Uint8Array(MAX_UDP_BYTES);
  const send = (port: number, transport: Transport = 'udp') =>
    responder.respond(query, query.length, asker('10.0.0.1', transport), port, out);
  const before = counters.dropped.port;
  for (const port of [0, 7, 17, 19]) assert.equal(send(port), 0, `${port}`);
  assert.equal(counters.dropped.port, before + 4);
  for (const port of [1, 53, 1024, 65535]) assert.ok(send(port) > 0, `${port}`);
  assert.ok(send(7, 'tcp') > 0, 'a connection cannot be forged');
});

test('any bytes are answered within the size limits and counted once', () => {
  const check = (bytes: Uint8Array) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const out = new Uint8Array(transport === 'udp' ? MAX_UDP_BYTES : MAX_TCP_BYTES);
      const length = responder.respond(bytes, bytes.length, asker('10.0.0.1', transport), 1024, out);
      assert.ok(length === 0 || (length >= 12 && length <= out.length));
      if (length === 0) continue;
      const decoded = decodeMessage(out.subarray(0, length));
      assert.ok(decoded.ok, JSON.stringify(decoded));
      assert.ok((decoded.message.flags & FLAG.QR) !== 0);
    }
    checkArithmetic(counters);
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), check), { numRuns: 1000 });
  const names = [
    'www.example.test',
    'large.example.test',
    'a.pages.example.test',
    'x.sub.example.test',
    'nope.test',
    'alias1.example.test',
  ];
  const types = ['A', 'AAAA', 'NS', 'ANY', 'TXT', 'DS', 'TYPE731', 'AXFR'];
  const options = fc.oneof(fc.constant(null), fc.uint8Array({ maxLength: 12 }));
  const mutations = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 });
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.constantFrom(...types),
      options,
      mutations,
      (name, type, option, changes) => {
        const bytes = queryBytes(name, type, option);
        for (const [place, value] of changes) bytes[place % bytes.length] = value;
        check(bytes);
      },
    ),
    { numRuns: 2000 },
  );
});

test('an answer without EDNS has at most 512 bytes, with it at most what both sides take', () => {
  const sizes = fc.integer({ min: 0, max: 65535 });
  fc.assert(
    fc.property(fc.constantFrom('large', 'many', 'wide', 'www'), fc.option(sizes), (label, payloadBytes) => {
      const type = label === 'large' ? 'TXT' : 'A';
      const name = parseName(`${label}.example.test.`, ROOT_NAME);
      assert.ok(name.ok);
      const edns = payloadBytes === null ? null : { payloadBytes, flags: 0, options: new Uint8Array(0) };
      const query = encodeQuery(1, { name: name.name, type: parseType(type) ?? 0, class: CLASS.IN }, edns);
      const out = new Uint8Array(MAX_TCP_BYTES);
      const length = responder.respond(query, query.length, asker('10.0.0.1', 'udp'), 1024, out);
      assert.ok(length <= (payloadBytes === null ? 512 : Math.min(1232, Math.max(512, payloadBytes))));
    }),
    { numRuns: 300 },
  );
});

test('problems of zones are all found, each with its place', () => {
  const records = [
    record('bad.test', 'A', 'not an address'),
    record('x.other.test', 'A', '192.0.2.1'),
    record('c.bad.test', 'CNAME', 'd'),
    record('c.bad.test', 'A', '192.0.2.1'),
    record('l1.bad.test', 'CNAME', 'l2'),
    record('l2.bad.test', 'CNAME', 'l1'),
    record('*.w.bad.test', 'CNAME', 'x.w'),
    record('sub.bad.test', 'NS', 'ns.sub'),
    record('a.sub.bad.test', 'TXT', 'never seen'),
    record('bad.test', 'NS', 'ns1'),
    record('bad.test', 'SOA', '. . 1 1 1 1 1'),
    record('d.bad.test', 'DNAME', 'x.'),
    record('d.bad.test', 'DNAME', 'y.'),
    record('below.d.bad.test', 'TXT', 'never seen'),
    record('*.d2.bad.test', 'DNAME', 'x.'),
    record('o.bad.test', 'OPT', '\\# 0'),
    record('s.bad.test', 'A', '192.0.2.1'),
    record('t.bad.test', 'TXT', '"x"', -1),
    record('*.n.bad.test', 'NS', 'ns.elsewhere.test.'),
    record('in.child.bad.test', 'TXT', 'x'),
  ];
  const services = [
    service('s', 's.bad.test', { eu: ['192.0.2.1'] }),
    service('nozone', 'www.nozone.test', { eu: ['192.0.2.1'] }),
    service('mixed', 'm.bad.test', { eu: ['192.0.2.1', '2001:db8::1'], us: ['192.0.2.2'] }),
    service('twice', 'm.bad.test', { eu: ['192.0.2.1'] }),
    service('below', 'b.sub.bad.test', { eu: ['192.0.2.1'] }),
  ];
  const config = testConfig({
    zones: [zone('bad.test', records, ['missing.bad.test']), zone('child.bad.test', [], ['ns.elsewhere.test'])],
    services: new Map(services.map((each) => [each.name, each])),
  });
  const result = compileZones(config);
  assert.ok(!result.ok);
  const found = result.problems.map(({ path, message }) => `${path}: ${message}`).join('\n');
  for (const problem of result.problems) assert.ok(problem.remedy !== '' && problem.line >= 1);
  const expected = [
    /"bad\.test"\]\.records\.@\.A: the A record is not valid: field 1: "not"/,
    /x\.other\.test is not in the zone/,
    /c\.bad\.test has a CNAME beside A/,
    /l1\.bad\.test on make a loop/,
    /l2\.bad\.test on make a loop/,
    /w\.bad\.test on make a loop/,
    /ns\.sub\.bad\.test of sub\.bad\.test has no address/,
    /a\.sub\.bad\.test TXT would never be answered/,
    /name servers of the zone stand in its records/,
    /no SOA records of its own/,
    /d\.bad\.test has more than one DNAME/,
    /below\.d\.bad\.test would never be answered: d\.bad\.test has a DNAME/,
    /\*\.d2\.bad\.test is a wildcard with a DNAME/,
    /OPT is no type of data/,
    /s\.bad\.test has static A records and is the name of service s/,
    /the TTL -1 s is not possible/,
    /delegates a wildcard/,
    /in\.child\.bad\.test belongs to a zone below/,
    /missing\.bad\.test of bad\.test has no address/,
    /www\.nozone\.test is in no zone/,
    /mixed has IPv6 VIPs at other sites, but none at us/,
    /m\.bad\.test is the name of two services/,
    /b\.sub\.bad\.test is delegated to other name servers/,
  ];
  for (const pattern of expected) assert.match(found, pattern);
  assert.equal(result.problems.length, expected.length, found);
});

test('different TTLs of one set are warned of, and the lowest is used', () => {
  const records = [record('x.ok.test', 'A', '192.0.2.1', 60), record('x.ok.test', 'A', '192.0.2.2', 30)];
  const result = compileZones(testConfig({ zones: [zone('ok.test', records, ['ns.x.test'])], services: new Map() }));
  assert.ok(result.ok);
  assert.match(result.warnings[0].message, /different TTLs; the lowest, 30 s/);
});

test('a zone below another that is served too answers for its names', () => {
  const config = testConfig({
    zones: [
      zone('up.test', [record('a.b.up.test', 'TXT', 'up')], ['ns.x.test']),
      zone('q.p.up.test', [], ['ns.x.test']),
      zone('c.b.up.test', [record('x.c.b.up.test', 'TXT', 'down')], ['ns.x.test']),
    ],
    services: new Map(),
  });
  const nested = new Answerer({ ...sources, zones: compile(config) });
  const out = new Uint8Array(MAX_UDP_BYTES);
  const authority = (name: string) => {
    const bytes = queryBytes(name, 'A');
    const length = nested.answer(bytes, bytes.length, asker('::1', 'udp'), out);
    const decoded = decodeMessage(out.subarray(0, length));
    assert.ok(decoded.ok);
    return [decoded.message.flags & 0xf, Buffer.from(decoded.message.authorities[0].owner).toString('latin1')];
  };
  assert.deepEqual(authority('x.c.b.up.test'), [0, '\x01c\x01b\x02up\x04test\0']);
  assert.deepEqual(authority('y.c.b.up.test'), [3, '\x01c\x01b\x02up\x04test\0']);
  assert.deepEqual(authority('b.up.test'), [0, '\x02up\x04test\0']);
  assert.deepEqual(authority('p.up.test'), [0, '\x02up\x04test\0']);
  assert.deepEqual(authority('d.b.up.test'), [3, '\x02up\x04test\0']);
});

function explain(name: string, type: string, from: string, ecsText: string | null = null) {
  const config = testConfig();
  const ecs = ecsText === null ? null : parsePrefix(ecsText);
  const result = explainDns({ config, zones: compile(config), view, name, type, from: address(from), ecs });
  assert.ok(result.ok);
  return result.explained;
}

test('explain tells network, candidates, what excluded each, and the answer', () => {
  view.down.add('us');
  const explained = explain('web.example.test', 'A', '192.0.2.1', '10.0.5.0/24');
  view.down.clear();
  assert.deepEqual(explained.path, [
    { name: 'web.example.test', found: 'alias' },
    { name: 'www.example.test', found: 'service www' },
  ]);
  assert.equal(explained.steering?.network, '10.0.0.0/8');
  assert.equal(explained.steering?.by, 'subnet');
  assert.deepEqual(explained.steering?.candidates, [
    { site: 'us', distanceKm: 0, excluded: 'down' },
    { site: 'eu', distanceKm: 5863, excluded: null },
    { site: 'jp', distanceKm: 10850, excluded: 'farther' },
  ]);
  assert.equal(explained.status, 'NOERROR');
  assert.equal(explained.scopeLength, 16);
  assert.deepEqual(explained.answer, [
    'web.example.test. 3600 IN CNAME www.example.test.',
    'www.example.test. 30 IN A 192.0.2.10',
  ]);
});

test('explain says when a subnet holds several networks, and when the client does not matter', () => {
  const mixed = explain('www.example.test', 'A', '192.0.2.1', '10.0.0.0/12');
  assert.ok(mixed.steering?.isMixed && mixed.steering.network === '10.0.0.0/8' && mixed.scopeLength === 12);
  const around = explain('www.example.test', 'A', '192.0.2.1', '8.0.0.0/6');
  assert.ok(around.steering?.isMixed && around.steering.site === 'eu' && around.scopeLength === 6);
  assert.equal(explain('www.example.test', 'A', '192.0.2.1', '10.1.2.0/24').steering?.isMixed, false);
  assert.equal(explain('static.example.test', 'A', '192.0.2.1', '10.0.0.0/24').steering, null);
  assert.equal(explain('static.example.test', 'A', '192.0.2.1', '10.0.0.0/24').scopeLength, 0);
  assert.equal(explain('www.elsewhere.test', 'A', '192.0.2.1').status, 'REFUSED');
  assert.equal(explain('nope.example.test', 'A', '192.0.2.1').status, 'NXDOMAIN');
  assert.deepEqual(explain('a.sub.example.test', 'A', '192.0.2.1').path, [
    { name: 'sub.example.test', found: 'delegation' },
  ]);
});
