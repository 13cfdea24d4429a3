import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mutableView } from '../../src/serve/dns/sample.ts';
import { dig, type RunningServer, startServer } from './fixture.ts';

let running: RunningServer;
const view = mutableView();
before(async () => {
  running = await startServer({ steering: view });
});
after(() => running.server.stop());

const ask = (args: string) => dig(running.port, args);

const SOA = 'ns1.example.test. host\\.master.example.test. 4000000001 7200 900 1209600 300';
const NEGATIVE = [`example.test. 300 IN SOA ${SOA}`];

/** Name, type, and the data of each record as dig prints it. */
const TYPES: readonly [string, string, readonly string[]][] = [
  ['example.test', 'SOA', [SOA]],
  ['example.test', 'NS', ['ns1.example.test.', 'ns2.example.test.']],
  ['example.test', 'A', ['192.0.2.80']],
  ['example.test', 'MX', ['10 mail1.example.test.', '20 mail2.example.test.']],
  ['example.test', 'TXT', ['"v=spf1 mx -all"']],
  ['example.test', 'CAA', ['0 issue "ca.example.net; x=1"']],
  ['ns1.example.test', 'AAAA', ['2001:db8::53']],
  ['static.example.test', 'A', ['192.0.2.81', '192.0.2.82']],
  ['static.example.test', 'HTTPS', ['1 . alpn="h2,h3" ipv4hint=192.0.2.81']],
  ['_dns.example.test', 'SVCB', ['1 ns1.example.test. alpn="dot" port=853']],
  ['_imap._tcp.example.test', 'SRV', ['0 1 143 mail1.example.test.']],
  ['_25._tcp.mail1.example.test', 'TLSA', [`3 1 1 ${'0D6FCE2E'.repeat(7)} 0D6FCE2E`]],
  ['ptr.example.test', 'PTR', ['static.example.test.']],
  ['web.example.test', 'CNAME', ['www.example.test.']],
  ['odd.example.test', 'TYPE731', ['\\# 6 ABCDEF012345']],
  ['naptr.example.test', 'NAPTR', ['100 10 "u" "E2U+sip" "!^.*$!sip:info@example.net!" .']],
  ['sub.example.test', 'DS', [`60485 13 2 ${'AB'.repeat(28)} ${'AB'.repeat(4)}`]],
  ['place.example.test', 'LOC', ['52 22 23.000 N 4 53 32.500 E -2.00m 30m 10000m 10m']],
  ['place.example.test', 'RP', ['admin.example.test. ptr.example.test.']],
  ['place.example.test', 'URI', ['10 1 "https://static.example.test/"']],
  ['place.example.test', 'SPF', ['"v=spf1 -all"']],
  ['place.example.test', 'HINFO', ['"cpu" "o s"']],
  ['keys.example.test', 'CERT', ['PKIX 7 ECDSAP256SHA256 AQIDBA==']],
  ['keys.example.test', 'OPENPGPKEY', ['AQIDBAUG']],
  ['keys.example.test', 'SMIMEA', ['3 0 0 01AB']],
  ['keys.example.test', 'SSHFP', [`4 2 ${'AB'.repeat(32)}`]],
  ['keys.example.test', 'CDS', ['0 0 0 00']],
  ['keys.example.test', 'CDNSKEY', ['0 3 0 AA==']],
  ['moved.example.test', 'DNAME', ['pages.example.test.']],
  ['www.example.test', 'A', ['192.0.2.10']],
  ['www.example.test', 'AAAA', ['2001:db8:1::10']],
  ['shop.test', 'A', ['192.0.2.11']],
  ['shop.test', 'TXT', ['"apex"']],
];

for (const [name, type, data] of TYPES) {
  test(`${name} ${type} is answered by UDP and TCP, over IPv4 and IPv6, with and without EDNS`, async () => {
    for (const how of ['+notcp', '+tcp', '+noedns', '+bufsize=512', '@::1', '@::1 +tcp']) {
      const answer = await ask(`${how} ${name} ${type}`);
      assert.equal(answer.status, 'NOERROR', how);
      assert.deepEqual(answer.flags, ['qr', 'aa'], how);
      assert.deepEqual(answer.question, [`;${name}. IN ${type}`], how);
      const own = answer.answer.map((line) => line.split(' ').slice(4).join(' '));
      // dig breaks long digests with blanks.
      assert.deepEqual(
        own.map((text) => text.replaceAll(' ', '')),
        data.map((text) => text.replaceAll(' ', '')),
        how,
      );
      for (const line of answer.answer) assert.match(line, new RegExp(`^${name}\\. [0-9]+ IN ${type} `));
    }
  });
}

test('a record has its own TTL, a steered one that of its service', async () => {
  assert.deepEqual((await ask('www.example.test')).answer, ['www.example.test. 30 IN A 192.0.2.10']);
  assert.deepEqual((await ask('shop.test')).answer, ['shop.test. 5 IN A 192.0.2.11']);
  assert.deepEqual((await ask('ns1.example.test')).answer, ['ns1.example.test. 3600 IN A 192.0.2.53']);
});

test('a name that is not there is NXDOMAIN with SOA, for the negative TTL', async () => {
  for (const name of ['nope.example.test', 'a.b.c.nope.example.test', 'x.static.example.test', 'x.www.example.test']) {
    const answer = await ask(name);
    assert.equal(answer.status, 'NXDOMAIN', name);
    assert.deepEqual(answer.flags, ['qr', 'aa']);
    assert.deepEqual(answer.answer, []);
    assert.deepEqual(answer.authority, NEGATIVE);
  }
});

test('a type that is not there is NODATA, also at names that only have names below', async () => {
  const missing = [
    'static.example.test AAAA',
    '_tcp.example.test TXT',
    'pages.example.test A',
    'example.test TYPE65280',
  ];
  for (const question of missing) {
    const answer = await ask(question);
    assert.equal(answer.status, 'NOERROR', question);
    assert.deepEqual(answer.flags, ['qr', 'aa']);
    assert.deepEqual(answer.answer, []);
    assert.deepEqual(answer.authority, NEGATIVE);
  }
});

test('NODATA at a steered name holds for at most 60 s', async () => {
  const answer = await ask('www.example.test TXT');
  assert.equal(answer.status, 'NOERROR');
  assert.deepEqual(answer.authority, [`example.test. 60 IN SOA ${SOA}`]);
  const family = await ask('shop.test AAAA');
  assert.equal(family.status, 'NOERROR');
  assert.match(family.authority[0], /^shop\.test\. 60 IN SOA /);
});

test('names of other zones, other classes and transfers are refused', async () => {
  for (const question of ['www.example.net', 'test', '.', 'www.example.test -c HS']) {
    const answer = await ask(question);
    assert.equal(answer.status, 'REFUSED', question);
    assert.deepEqual(answer.flags, ['qr']);
    assert.deepEqual([...answer.answer, ...answer.authority], []);
  }
  assert.match((await ask('example.test AXFR')).text, /Transfer failed/);
  const { refused } = running.server.counters.responses;
  await ask('example.test IXFR=1 +notcp'); // dig prints no status of it
  assert.equal(running.server.counters.responses.refused, refused + 1);
});

test('a wildcard answers for names that do not exist, and for no others', async () => {
  assert.deepEqual((await ask('a.pages.example.test')).answer, ['a.pages.example.test. 3600 IN A 192.0.2.83']);
  assert.deepEqual((await ask('a.b.pages.example.test')).answer, ['a.b.pages.example.test. 3600 IN A 192.0.2.83']);
  assert.deepEqual((await ask('*.pages.example.test TXT')).answer, ['*.pages.example.test. 3600 IN TXT "any name"']);
  assert.deepEqual((await ask('fixed.pages.example.test')).answer, ['fixed.pages.example.test. 3600 IN A 192.0.2.84']);
  // RFC 4592 2.2.1: the wildcard neither covers the types of a name that exists nor the names below it.
  assert.deepEqual((await ask('fixed.pages.example.test TXT')).answer, []);
  assert.equal((await ask('x.fixed.pages.example.test')).status, 'NXDOMAIN');
  const nodata = await ask('a.pages.example.test AAAA');
  assert.equal(nodata.status, 'NOERROR');
  assert.deepEqual(nodata.authority, NEGATIVE);
  assert.deepEqual((await ask('a.any.example.test +subnet=10.0.0.0/24')).answer, [
    'a.any.example.test. 30 IN A 198.51.100.12',
  ]);
  assert.deepEqual((await ask('a.to.example.test TXT')).answer, [
    'a.to.example.test. 3600 IN CNAME static.example.test.',
  ]);
});

test('CNAMEs are followed within the zone', async () => {
  assert.deepEqual((await ask('alias1.example.test')).answer, [
    'alias1.example.test. 3600 IN CNAME alias2.example.test.',
    'alias2.example.test. 3600 IN CNAME static.example.test.',
    'static.example.test. 3600 IN A 192.0.2.81',
    'static.example.test. 3600 IN A 192.0.2.82',
  ]);
  assert.deepEqual((await ask('web.example.test AAAA')).answer, [
    'web.example.test. 3600 IN CNAME www.example.test.',
    'www.example.test. 30 IN AAAA 2001:db8:1::10',
  ]);
  const gone = await ask('gone.example.test');
  assert.equal(gone.status, 'NXDOMAIN');
  assert.deepEqual(gone.answer, ['gone.example.test. 3600 IN CNAME nowhere.example.test.']);
  assert.deepEqual(gone.authority, NEGATIVE);
  const outside = await ask('outside.example.test');
  assert.equal(outside.status, 'NOERROR');
  assert.deepEqual(outside.answer, ['outside.example.test. 3600 IN CNAME www.example.net.']);
  assert.deepEqual(outside.authority, []);
  // Another zone of ours: a resolver asks for it anew.
  assert.deepEqual((await ask('cross.example.test')).answer, ['cross.example.test. 3600 IN CNAME shop.test.']);
});

test('a delegated name is referred to its name servers with glue, without authority', async () => {
  for (const question of [
    'sub.example.test',
    'a.b.sub.example.test TXT',
    'ns.sub.example.test',
    'a.sub.example.test DS',
  ]) {
    const answer = await ask(question);
    assert.equal(answer.status, 'NOERROR', question);
    assert.deepEqual(answer.flags, ['qr']);
    assert.deepEqual(answer.answer, []);
    assert.deepEqual(answer.authority, [
      'sub.example.test. 3600 IN NS ns.sub.example.test.',
      'sub.example.test. 3600 IN NS ns2.example.test.',
    ]);
    assert.deepEqual(answer.additional, [
      'ns.sub.example.test. 3600 IN A 192.0.2.90',
      'ns2.example.test. 3600 IN A 198.51.100.53',
    ]);
  }
});

test('ANY gets one small record (RFC 8482)', async () => {
  assert.deepEqual((await ask('example.test ANY +notcp')).answer, ['example.test. 3600 IN HINFO "RFC8482" ""']);
  assert.deepEqual((await ask('www.example.test ANY +tcp')).answer, ['www.example.test. 3600 IN HINFO "RFC8482" ""']);
  assert.deepEqual((await ask('web.example.test ANY +notcp')).answer, [
    'web.example.test. 3600 IN CNAME www.example.test.',
  ]);
  assert.equal((await ask('nope.example.test ANY +notcp')).status, 'NXDOMAIN');
});

test('the letters of a question come back as they were sent', async () => {
  const answer = await ask('wWw.ExAmPlE.tEsT');
  assert.deepEqual(answer.question, [';wWw.ExAmPlE.tEsT. IN A']);
  assert.deepEqual(answer.answer, ['wWw.ExAmPlE.tEsT. 30 IN A 192.0.2.10']);
});

test('a dot in a label is no border between labels', async () => {
  assert.deepEqual((await ask('x\\.y.example.test TXT')).answer, ['x\\.y.example.test. 3600 IN TXT "dot in a label"']);
  assert.equal((await ask('x.y.example.test TXT')).status, 'NXDOMAIN');
});

test('an answer that does not fit is truncated whole and complete by TCP', async () => {
  for (const how of ['+noedns', '+bufsize=512', '+bufsize=4096', '+bufsize=1232', '+bufsize=100']) {
    const answer = await ask(`${how} large.example.test TXT`);
    assert.deepEqual(answer.flags, ['qr', 'aa', 'tc'], how);
    assert.deepEqual(answer.answer, [], how);
    assert.ok(answer.sizeBytes <= 512);
    assert.equal(answer.text.includes('udp: 1232'), how !== '+noedns', 'OPT stays in a truncated answer');
  }
  const byTcp = await ask('+noignore large.example.test TXT');
  assert.equal(byTcp.answer.length, 8);
  assert.match(byTcp.text, /Truncated, retrying in TCP mode/);
  // A static set is whole or truncated; 40 addresses take 640 bytes and more.
  assert.deepEqual((await ask('+noedns many.example.test')).flags, ['qr', 'aa', 'tc']);
  assert.equal((await ask('many.example.test')).answer.length, 40);
});

test('of the addresses of a service as many are told as fit, without truncation', async () => {
  const small = await ask('+noedns wide.example.test');
  assert.deepEqual(small.flags, ['qr', 'aa']);
  assert.equal(small.answer.length, Math.floor((512 - 12 - 23) / 16));
  assert.ok(small.sizeBytes <= 512);
  assert.equal((await ask('wide.example.test')).answer.length, 40);
});

test('a site that goes down is left at once', async () => {
  view.down.add('eu');
  const answer = await ask('www.example.test');
  view.down.delete('eu');
  assert.deepEqual(answer.answer, ['www.example.test. 30 IN A 198.51.100.10']);
});
