/** What services add beside addresses, names at the apex, and DNAME. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config, Service } from '../../config/model.ts';
import { Answerer } from './answer.ts';
import { MAX_TCP_BYTES, NOBODY } from './exchange.ts';
import { explainDns } from './explain.ts';
import { formatRecordData } from './presentation/record.ts';
import { address, mutableView, record, service, testConfig, zone } from './sample.ts';
import { TELLS_NOTHING } from './server-record.ts';
import { decodeMessage, encodeQuery, type ResourceRecord } from './wire/message.ts';
import { formatName, parseName, ROOT_NAME } from './wire/name.ts';
import { CLASS, formatRcode, formatType, parseType } from './wire/numbers.ts';
import { compileZones } from './zone-compile.ts';

const VIPS = {
  eu: ['192.0.2.10', '192.0.2.11', '2001:db8:1::10'],
  us: ['198.51.100.10', '2001:db8:2::10'],
  jp: ['203.0.113.10', '2001:db8:3::10'],
};
const WEB: Service = {
  ...service('web', 'apex.test', VIPS, 20),
  https: { alpn: ['h2', 'h3'], port: 8443 },
  srv: [
    { name: '_sip._tcp', port: 5060, priority: 10, weight: 60, target: null },
    { name: '_sip._tcp', port: 5061, priority: 10, weight: 40, target: null },
    { name: '_sip._tcp', port: 5060, priority: 20, weight: 0, target: 'backup.example.net' },
  ],
};
const PLAIN: Service = {
  ...service('plain', 'plain.apex.test', { eu: ['192.0.2.12'] }),
  https: { alpn: [], port: null },
};

const RECORDS = [
  record('apex.test', 'MX', '10 mail'),
  record('mail.apex.test', 'A', '192.0.2.25'),
  record('old.apex.test', 'DNAME', 'new'),
  record('a.b.new.apex.test', 'TXT', 'there'),
  record('away.apex.test', 'DNAME', 'elsewhere.test.'),
  record('web.new.apex.test', 'CNAME', '@'),
  record('long.apex.test', 'DNAME', `${'x'.repeat(60)}.${'y'.repeat(60)}`),
];

function configWith(changes: Partial<Record<'web' | 'plain', Partial<Service>>> = {}, records = RECORDS): Config {
  const services = [
    { ...WEB, ...changes.web },
    { ...PLAIN, ...changes.plain },
  ];
  return testConfig({
    zones: [zone('apex.test', records, ['ns.x.test'])],
    services: new Map(services.map((each) => [each.name, each])),
  });
}

const view = mutableView();

function ask(name: string, type: string, from = '192.0.2.200') {
  const compiled = compileZones(configWith());
  assert.ok(compiled.ok, JSON.stringify(compiled));
  const sources = { zones: compiled.zones, view, identity: TELLS_NOTHING, cookieKeys: [] };
  const parsed = parseName(`${name}.`, ROOT_NAME);
  const number = parseType(type);
  assert.ok(parsed.ok && number !== null);
  const query = encodeQuery(1, { name: parsed.name, type: number, class: CLASS.IN }, null);
  const out = new Uint8Array(MAX_TCP_BYTES);
  const length = new Answerer(sources).answer(
    query,
    query.length,
    { ...NOBODY, client: address(from), transport: 'tcp' },
    out,
  );
  const decoded = decodeMessage(out.subarray(0, length));
  assert.ok(decoded.ok, JSON.stringify(decoded));
  const text = (each: ResourceRecord) =>
    `${formatName(each.owner)} ${each.ttlSeconds} ${formatType(each.type)} ${formatRecordData(each.type, each.data)}`;
  const { answers, authorities, flags } = decoded.message;
  return { status: formatRcode(flags & 0xf), answers: answers.map(text), authorities: authorities.map(text) };
}

test('a service at the apex of its zone has addresses and HTTPS beside the records of the zone', () => {
  assert.deepEqual(ask('apex.test', 'A').answers, ['apex.test 20 A 192.0.2.10', 'apex.test 20 A 192.0.2.11']);
  assert.deepEqual(ask('apex.test', 'AAAA').answers, ['apex.test 20 AAAA 2001:db8:1::10']);
  assert.deepEqual(ask('apex.test', 'NS').answers, ['apex.test 3600 NS ns.x.test.']);
  assert.deepEqual(ask('apex.test', 'MX').answers, ['apex.test 3600 MX 10 mail.apex.test.']);
  assert.match(ask('apex.test', 'SOA').answers[0], /^apex\.test 3600 SOA /);
  assert.match(ask('apex.test', 'TXT').authorities[0], /^apex\.test 60 SOA /);
});

test('HTTPS hints are the addresses that A and AAAA tell to the same client', () => {
  const hints = (from: string) => ask('apex.test', 'HTTPS', from).answers;
  assert.deepEqual(hints('192.0.2.200'), [
    'apex.test 20 HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.10,192.0.2.11 ipv6hint=2001:db8:1::10',
  ]);
  for (const from of ['10.0.0.1', '10.1.0.1', '192.0.2.1', '2001:db8:e::1', '2001:db8:f::1']) {
    for (const down of [null, 'us', 'eu', 'jp']) {
      if (down !== null) view.down.add(down);
      const of = (type: string) =>
        ask('apex.test', type, from)
          .answers.map((text) => text.split(' ')[3])
          .join(',');
      assert.ok(hints(from)[0].endsWith(` ipv4hint=${of('A')} ipv6hint=${of('AAAA')}`), `${from} ${down}`);
      view.down.clear();
    }
  }
  assert.deepEqual(ask('plain.apex.test', 'HTTPS').answers, ['plain.apex.test 30 HTTPS 1 . ipv4hint=192.0.2.12']);
});

test('SRV records of a service have their priorities and weights and lead to its name', () => {
  assert.deepEqual(ask('_sip._tcp.apex.test', 'SRV').answers, [
    '_sip._tcp.apex.test 20 SRV 10 60 5060 apex.test.',
    '_sip._tcp.apex.test 20 SRV 10 40 5061 apex.test.',
    '_sip._tcp.apex.test 20 SRV 20 0 5060 backup.example.net.',
  ]);
  assert.deepEqual(
    [ask('_sip._udp.apex.test', 'SRV').status, ask('_tcp.apex.test', 'SRV').status],
    ['NXDOMAIN', 'NOERROR'],
  );
});

test('static records where a service answers are refused', () => {
  const told = (config: Config) => {
    const compiled = compileZones(config);
    return compiled.ok ? [] : compiled.problems.map(({ path, message }) => `${path}: ${message}`);
  };
  const clash = [record('apex.test', 'HTTPS', '1 . alpn=h2'), record('_sip._tcp.apex.test', 'SRV', '0 0 1 .')];
  assert.deepEqual(told(configWith({}, clash)), [
    'services.web.srv[0]: _sip._tcp.apex.test has SRV records of its own',
    'services.web.srv[1]: _sip._tcp.apex.test has SRV records of its own',
    'services.web.srv[2]: _sip._tcp.apex.test has SRV records of its own',
    'dns.zones["apex.test"].records.@.HTTPS: apex.test has static HTTPS records and is the name of service web',
  ]);
  // A service without a record of its own leaves the type to the zone.
  assert.deepEqual(told(configWith({ web: { https: null, srv: [] } }, clash)), []);
});

test('names below a DNAME are answered from below its target, the name itself is not', () => {
  const dname = 'old.apex.test 3600 DNAME new.apex.test.';
  assert.deepEqual(ask('a.b.old.apex.test', 'TXT').answers, [
    dname,
    'a.b.old.apex.test 3600 CNAME a.b.new.apex.test.',
    'a.b.new.apex.test 3600 TXT "there"',
  ]);
  assert.deepEqual(ask('web.old.apex.test', 'A').answers, [
    dname,
    'web.old.apex.test 3600 CNAME web.new.apex.test.',
    'web.new.apex.test 3600 CNAME apex.test.',
    'apex.test 20 A 192.0.2.10',
    'apex.test 20 A 192.0.2.11',
  ]);
  assert.deepEqual(ask('x.y.away.apex.test', 'A').answers, [
    'away.apex.test 3600 DNAME elsewhere.test.',
    'x.y.away.apex.test 3600 CNAME x.y.elsewhere.test.',
  ]);
  const missing = ask('none.old.apex.test', 'A');
  assert.deepEqual([missing.status, missing.answers.length, missing.authorities.length], ['NXDOMAIN', 2, 1]);
  assert.deepEqual(ask('old.apex.test', 'DNAME').answers, [dname]);
  const itself = ask('old.apex.test', 'A');
  assert.deepEqual([itself.status, itself.answers, itself.authorities.length], ['NOERROR', [], 1]);
});

test('a DNAME that makes a name too long is answered with YXDOMAIN', () => {
  const long = `${'a'.repeat(61)}.${'b'.repeat(60)}.long.apex.test`;
  const answer = ask(long, 'A');
  assert.deepEqual([answer.status, answer.answers.length, answer.authorities], ['YXDOMAIN', 1, []]);
});

test('explain tells of HTTPS what it tells of addresses, and follows a DNAME', () => {
  const config = configWith();
  const compiled = compileZones(config);
  assert.ok(compiled.ok);
  const options = { config, zones: compiled.zones, view, from: address('10.0.0.1'), ecs: null };
  const https = explainDns({ ...options, name: 'apex.test', type: 'HTTPS' });
  assert.ok(https.ok && https.explained.steering?.site === 'us');
  const redirected = explainDns({ ...options, name: 'web.old.apex.test', type: 'A' });
  assert.ok(redirected.ok && redirected.explained.steering?.site === 'us');
  assert.deepEqual(
    redirected.explained.path.map(({ found }) => found),
    ['redirected by old.apex.test', 'alias', 'service web'],
  );
});
