/** Signed zones as validators see them: delv, drill and Unbound believe what is told, and nothing else. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { decodeMessage, encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, RCODE, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { dig, exchange } from './fixture.ts';
import { dnskeyLine, dsLine, type SignedServer, startSigned, writeDelvAnchors } from './signed-fixture.ts';
import { startUnbound, type Unbound } from './unbound.ts';

const run = promisify(execFile);
let signed: SignedServer;
let unbound: Unbound;
let anchors = '';

before(async () => {
  signed = await startSigned();
  anchors = join(signed.keyFolder, 'anchors');
  const keys = ['example.test', 'shop.test'].map((zone) => [zone, signed.keysOf(zone).active] as const);
  writeDelvAnchors(anchors, keys);
  const lines = keys.map(([zone, key]) => dsLine(zone, key));
  unbound = await startUnbound(lines, ['example.test', 'shop.test'], signed.port);
});
after(async () => {
  await unbound.stop();
  await signed.stop();
});

const ask = (args: string) => dig(signed.port, `+dnssec ${args}`);

/** What delv says of one question. */
async function delv(zone: string, question: string): Promise<string> {
  const args = `@127.0.0.1 -p ${signed.port} -a ${anchors} +root=${zone} ${question}`;
  const { stdout, stderr } = await run('delv', args.split(' '));
  return stdout + stderr;
}

/** Question, and a pattern that the validated answer has. */
const POSITIVE: readonly (readonly [question: string, record: RegExp])[] = [
  ['example.test SOA', /SOA\tns1\.example\.test\./],
  ['example.test NS', /NS\tns2\.example\.test\./],
  ['example.test DNSKEY', /DNSKEY\t257 3 13/],
  ['example.test CDS', /CDS\t[0-9]+ 13 2/],
  ['example.test CDNSKEY', /CDNSKEY\t257 3 13/],
  ['www.example.test A', /A\t192\.0\.2\.10/],
  ['www.example.test AAAA', /AAAA\t2001:db8:1::10/],
  ['wide.example.test A', /A\t203\.0\.113\.40/],
  ['many.example.test A', /A\t192\.0\.2\.139/],
  ['large.example.test TXT', /TXT\t"7777/],
  // Names in data are signed in lower case, whatever is told (RFC 4034 section 6.2).
  ['mixed.case.example.test SRV', /Mail1\.Example\.Test\./],
  ['legacy.example.test AFSDB', /AFSDB\t1 Foo\.Test\./],
  ['place.example.test RP', /RP\tadmin/],
  ['naptr.example.test NAPTR', /NAPTR/],
  ['odd.example.test TYPE731', /ABCDEF012345/],
  ['static.example.test HTTPS', /HTTPS\t1 \./],
  ['*.pages.example.test A', /A\t192\.0\.2\.83/],
  ['a.pages.example.test A', /a\.pages\.example\.test\.\t300\tIN\tA\t192\.0\.2\.83/],
  ['a.b.c.pages.example.test TXT', /"any name"/],
  ['\\000.pages.example.test A', /A\t192\.0\.2\.83/],
  ['fixed\\000.pages.example.test A', /A\t192\.0\.2\.83/],
  ['a.any.example.test A', /A\t192\.0\.2\.12/],
  ['alias1.example.test A', /A\t192\.0\.2\.82/],
  ['web.example.test A', /A\t192\.0\.2\.10/],
  ['a.to.example.test A', /A\t192\.0\.2\.82/],
  ['x.moved.example.test A', /x\.pages\.example\.test\.\t300\tIN\tA/],
  ['sub.example.test DS', /DS\t60485/],
  ['inner.example.test DS', /DS\t[0-9]+ 13 2/],
  ['x.inner.example.test TXT', /"inner"/],
  ['example.test ANY', /"RFC8482"/],
  ['www.example.test NSEC', /NSEC\t\\000\.www\.example\.test\. A AAAA RRSIG NSEC/],
];

for (const [question, record] of POSITIVE) {
  test(`delv believes ${question}`, async () => {
    const text = await delv('example.test', question);
    assert.match(text, /^; fully validated$/m, text);
    assert.match(text, record, text);
  });
}

const NEGATIVE = [
  'nope.example.test A',
  'a.b.c.nope.example.test TXT',
  'example.test TYPE65280',
  'static.example.test AAAA',
  'www.example.test TXT',
  '_tcp.example.test A',
  'a.pages.example.test AAAA',
  'x.fixed.pages.example.test A',
  'open.example.test DS',
  'bare.example.test DS',
  'gone.example.test A',
  '\\000.example.test A',
  'ns1.example.test TXT',
  `${'x'.repeat(63)}.${'y'.repeat(63)}.${'z'.repeat(63)}.${'w'.repeat(46)}.example.test A`,
];

for (const question of NEGATIVE) {
  test(`delv believes that there is no ${question.slice(0, 60)}`, async () => {
    const text = await delv('example.test', question);
    assert.match(text, /negative response, fully validated|resolution failed: ncache/, text);
    assert.doesNotMatch(text, /unsigned|broken|no valid/, text);
    assert.match(text, /NXRRSET/, text);
  });
}

test('delv believes steered names at an apex, and their NODATA for 60 s', async () => {
  assert.match(await delv('shop.test', 'shop.test A'), /fully validated\nshop\.test\.\t+5\tIN\tA\t192\.0\.2\.11/);
  assert.match(await delv('shop.test', 'shop.test AAAA'), /fully validated\n; shop\.test\.\t+60\t/);
});

test('a zone inside a signed one that is not signed itself is answered without signatures', async () => {
  assert.match(await delv('example.test', 'x.bare.example.test TXT'), /^; unsigned answer$/m);
});

test('a delegation shows whether it is signed', async () => {
  const withDs = await ask('x.sub.example.test');
  const types = (lines: readonly string[]) => [...new Set(lines.map((line) => line.split(' ').slice(3, 5).join(' ')))];
  assert.deepEqual(
    types(withDs.authority).map((text) => text.replace(/ .*/, '')),
    ['NS', 'NS', 'DS', 'RRSIG'],
  );
  assert.equal(withDs.flags.includes('aa'), false);
  const without = await ask('x.open.example.test');
  assert.match(without.authority[1], /^open\.example\.test\. 300 IN NSEC \\000\.open\.example\.test\. NS RRSIG NSEC$/);
  assert.match(without.authority[2], /^open\.example\.test\. 300 IN RRSIG NSEC 13 3 300 /);
  // Glue is not signed.
  assert.deepEqual(types(without.additional.filter((line) => !line.startsWith(';'))), ['A 192.0.2.91']);
});

test('Unbound marks answers as authentic, and takes NXDOMAIN for what it is', async () => {
  for (const [question, status] of [
    ['www.example.test A', 'NOERROR'],
    ['a.pages.example.test A', 'NOERROR'],
    ['b.pages.example.test A', 'NOERROR'],
    ['a.pages.example.test AAAA', 'NOERROR'],
    ['fixed.pages.example.test A', 'NOERROR'],
    ['a.to.example.test A', 'NOERROR'],
    ['x.moved.example.test A', 'NOERROR'],
    ['static.example.test AAAA', 'NOERROR'],
    ['_tcp.example.test A', 'NOERROR'],
    ['inner.example.test DS', 'NOERROR'],
    ['x.inner.example.test TXT', 'NOERROR'],
    ['shop.test A', 'NOERROR'],
    ['shop.test AAAA', 'NOERROR'],
    ['nope.example.test A', 'NOERROR'],
  ]) {
    const answer = await dig(unbound.port, `+adflag +recurse ${question}`);
    assert.equal(answer.status, status, question);
    assert.ok(answer.flags.includes('ad'), `${question}: ${answer.text}`);
  }
  const bare = await dig(unbound.port, '+adflag +recurse x.bare.example.test TXT');
  assert.equal(bare.status, 'NOERROR');
  assert.equal(bare.flags.includes('ad'), false);
});

test('drill checks signatures of positive and negative answers', async () => {
  const keys = join(signed.keyFolder, 'drill.key');
  writeFileSync(keys, `${dnskeyLine('example.test', signed.keysOf('example.test').active)}\n`);
  for (const question of ['example.test SOA', 'www.example.test A', 'static.example.test A', 'example.test MX']) {
    const args = `-k ${keys} -p ${signed.port} -D -V 5 @127.0.0.1 ${question}`;
    const { stdout } = await run('drill', args.split(' '));
    assert.match(stdout, /RRSIG/, question);
  }
  const { stdout } = await run('drill', `-S -k ${keys} -p ${signed.port} @127.0.0.1 www.example.test A`.split(' '));
  assert.match(stdout, /Number of trusted keys: 1/);
  assert.doesNotMatch(stdout, /BOGUS|bogus/);
});

test('a name that is not there has NXNAME, and NXDOMAIN for those who know it (RFC 9824)', async () => {
  const plain = await ask('nope.example.test');
  assert.equal(plain.status, 'NOERROR');
  const nsec = /^nope\.example\.test\. 300 IN NSEC \\000\.nope\.example\.test\. RRSIG NSEC TYPE128$/;
  assert.match(plain.authority[2], nsec);
  // CO, which dig cannot say: rcode, and flags of OPT.
  const askKnowing = async (flags: number) => {
    const parsed = parseName('nope.example.test', ROOT_NAME);
    assert.ok(parsed.ok);
    const question = { name: parsed.name, type: RECORD_TYPE.A, class: CLASS.IN };
    const edns = { payloadBytes: 1232, flags, options: new Uint8Array(0) };
    const answer = await exchange(signed.port, encodeQuery(1, question, edns));
    assert.ok(answer !== null);
    const decoded = decodeMessage(answer);
    assert.ok(decoded.ok);
    const { flags: header, additionals, authorities } = decoded.message;
    return [header & 0xf, additionals[0].ttlSeconds, authorities.length];
  };
  assert.deepEqual(await askKnowing(0x8000), [RCODE.NOERROR, 0x8000, 4]);
  assert.deepEqual(await askKnowing(0xc000), [RCODE.NXDOMAIN, 0xc000, 4]);
  assert.deepEqual(await askKnowing(0x4000), [RCODE.NXDOMAIN, 0, 1]);
  assert.equal((await dig(signed.port, 'nope.example.test')).status, 'NXDOMAIN');
  // An empty non-terminal is there.
  assert.match((await ask('_tcp.example.test')).authority[2], / NSEC \\000\._tcp\.example\.test\. RRSIG NSEC$/);
  assert.equal((await ask('nope.example.test TYPE128')).status, 'FORMERR');
});

test('without DO there are no signatures, and types that a zone has by its keys are there all the same', async () => {
  const answer = await dig(signed.port, 'static.example.test');
  assert.equal(answer.answer.length, 2);
  assert.deepEqual((await dig(signed.port, 'example.test DNSKEY')).answer.length, 1);
  assert.match((await dig(signed.port, 'www.example.test NSEC')).answer[0], /NSEC/);
  const rrsig = await dig(signed.port, 'www.example.test RRSIG');
  assert.match(rrsig.answer[0], /^www\.example\.test\. 60 IN RRSIG NSEC 13 3 60 /);
});

test('AD and CD of a query are not copied, DO is', async () => {
  const answer = await ask('+adflag +cdflag example.test SOA');
  assert.deepEqual(answer.flags, ['qr', 'aa']);
  assert.match(answer.text, /flags: do;/);
});

test('a signed set is whole, or the answer is TC', async () => {
  const whole = await ask('+bufsize=1232 +notcp wide.example.test');
  assert.equal(whole.answer.length, 41);
  assert.ok(whole.sizeBytes <= 1232);
  const short = await ask('+bufsize=512 +notcp wide.example.test');
  assert.ok(short.flags.includes('tc'));
  assert.deepEqual(short.answer, []);
  assert.equal((await ask('+bufsize=512 +tcp wide.example.test')).answer.length, 41);
});

test('a signed zone is not transferred', async () => {
  const answer = await dig(signed.port, '+tcp example.test AXFR');
  assert.match(answer.text, /Transfer failed/);
});

test('the state of signing is told', () => {
  const status = signed.server.signing();
  assert.deepEqual(
    status.map(({ zone, step }) => [zone, step]),
    [
      ['example.test', 'steady'],
      ['shop.test', 'steady'],
      ['inner.example.test', 'steady'],
    ],
  );
  const [example] = status;
  assert.ok(example.sets > 60);
  assert.equal(example.problem, null);
  assert.deepEqual(example.keyTags, [signed.keysOf('example.test').active.tag]);
  const daysLeft = ((example.earliestEndMs ?? 0) - Date.now()) / 86_400_000;
  assert.ok(daysLeft > 12 && daysLeft < 14, `${daysLeft}`);
});
