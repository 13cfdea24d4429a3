import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LAYOUT_TYPES, recordText } from '../../../../test/dns/record-text.ts';
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { formatType, RECORD_TYPE } from '../wire/numbers.ts';
import { readRecordData } from '../wire/record-data.ts';
import { formatRecordData, parseRecordData } from './record.ts';

const parsedOrigin = parseName('example.test.', ROOT_NAME);
assert.ok(parsedOrigin.ok);
const origin = parsedOrigin.name;

function hex(type: string, text: string): string {
  const parsed = parseRecordData(type, text, origin);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return Buffer.from(parsed.rdata.bytes).toString('hex');
}

function latin1(type: string, text: string): string {
  return Buffer.from(hex(type, text), 'hex').toString('latin1');
}

function refusal(type: string, text: string): string {
  const parsed = parseRecordData(type, text, origin);
  assert.ok(!parsed.ok, `${type} ${text} was accepted`);
  assert.notEqual(parsed.remedy, '');
  return parsed.reason;
}

test('each type is read from its text', () => {
  assert.equal(hex('A', '192.0.2.1'), 'c0000201');
  assert.equal(hex('aaaa', '2001:db8::1'), '20010db8000000000000000000000001');
  assert.equal(latin1('NS', 'ns1'), '\x03ns1\x07example\x04test\0');
  assert.equal(latin1('CNAME', 'a.b.'), '\x01a\x01b\0');
  assert.equal(latin1('PTR', '@'), '\x07example\x04test\0');
  assert.equal(latin1('MX', '10 mx.'), '\0\x0a\x02mx\0');
  assert.equal(latin1('TXT', '"a b" c "" \\"\\065\\;'), '\x03a b\x01c\0\x03"A;');
  assert.equal(latin1('TXT', '"ü"'), '\x02\xc3\xbc');
  assert.equal(latin1('SRV', '1 2 443 h.'), '\0\x01\0\x02\x01\xbb\x01h\0');
  assert.equal(latin1('CAA', '128 issue "ca.test; x=1"'), '\x80\x05issueca.test; x=1');
  assert.equal(hex('TLSA', '3 1 1 00ff AA'), '03010100ffaa');
  assert.equal(latin1('HINFO', 'cpu "o s"'), '\x03cpu\x03o s');
  assert.equal(hex('TYPE731', '\\# 6 abcdef 01 23 45'), 'abcdef012345');
  assert.equal(hex('TYPE731', '\\# 0'), '');
  assert.equal(hex('A', '\\# 4 0A000001'), '0a000001');
});

test('the newer and the rarer types are read from their text', () => {
  assert.equal(latin1('DNAME', 'a.b.'), '\x01a\x01b\0');
  assert.equal(latin1('RP', 'admin .'), '\x05admin\x07example\x04test\0\0');
  assert.equal(latin1('URI', '10 1 "ftp://f/"'), '\0\x0a\0\x01ftp://f/');
  assert.equal(latin1('SPF', '"v=spf1" -all'), '\x06v=spf1\x04-all');
  assert.equal(hex('DS', '60485 ECDSAP256SHA256 2 AB cd'), 'ec450d02abcd');
  assert.equal(hex('CDS', '0 0 0 00'), '0000000000');
  assert.equal(hex('CDNSKEY', '0 3 0 AA=='), '0000030000');
  assert.equal(hex('DNSKEY', '257 3 rsasha256 AQ ID'), '0101' + '03' + '08' + '010203');
  assert.equal(hex('CERT', 'PKIX 7 13 AQID'), '000100070d010203');
  assert.equal(hex('CERT', '65534 7 13 AQID'), 'fffe00070d010203');
  assert.equal(hex('OPENPGPKEY', 'AQID BAU='), '0102030405');
  assert.equal(hex('SMIMEA', '3 0 0 00ff'), '03000000ff');
  const soa = hex('SOA', 'a. b. 1 1h 15M 2w1d 60');
  assert.ok(soa.endsWith(`00000001${'00000e10'}${'00000384'}${(1_296_000).toString(16).padStart(8, '0')}0000003c`));
});

test('places are read as RFC 1876 says', () => {
  const place = (text: string) => hex('LOC', text);
  const text = (data: string) => {
    const parsed = parseRecordData('LOC', data, origin);
    assert.ok(parsed.ok);
    return formatRecordData(RECORD_TYPE.LOC, parsed.rdata);
  };
  assert.equal(place('42 21 54 N 71 06 18 W -24m 30m'), '00331613' + '89172dd0' + '70be15f0' + '00988d20');
  assert.equal(text('42 21 54 N 71 06 18 W -24m 30m'), '42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m');
  assert.equal(
    text('0 s 180 e 42849672.95 0 90000000m 0.01m'),
    '0 0 0.000 N 180 0 0.000 E 42849672.95m 0.00m 90000000.00m 0.01m',
  );
  assert.equal(text('1 2 3.4 S 1 W -100000'), '1 2 3.400 S 1 0 0.000 W -100000.00m 1.00m 10000.00m 10.00m');
  assert.match(refusal('LOC', '91 N 0 E 0'), /degrees of a latitude/);
  assert.match(refusal('LOC', '90 0 1 N 0 E 0'), /above 90 degrees/);
  assert.match(refusal('LOC', '1 60 N 0 E 0'), /minutes of a latitude/);
  assert.match(refusal('LOC', '1 2 3 4 N 0 E 0'), /does not end in N or S/);
  assert.match(refusal('LOC', '1 N 2'), /does not end in E or W/);
  assert.match(refusal('LOC', '1 N 2 E'), /altitude is missing/);
  assert.match(refusal('LOC', '1 N 2 E 1km'), /not an altitude/);
  assert.match(refusal('LOC', '1 N 2 E 0 1 1 1 1'), /too much/);
  // Of another version, or with lengths that no digits stand for, the data stays readable as bytes.
  const odd = Uint8Array.of(1, ...new Uint8Array(15));
  assert.equal(formatRecordData(RECORD_TYPE.LOC, { bytes: odd, names: [] }), `\\# 16 01${'00'.repeat(15)}`);
});

test('the parameters that came after RFC 9460 are read', () => {
  assert.ok(hex('SVCB', '1 . tls-supported-groups=29,23').endsWith('00090004001d0017'));
  assert.ok(hex('SVCB', '1 . docpath=a,bc').endsWith('000a0005016102' + '6263'));
  assert.ok(hex('SVCB', '1 . docpath').endsWith('000a0000'));
  assert.match(refusal('SVCB', '1 . tls-supported-groups=29,29'), /twice/);
  assert.match(refusal('SVCB', '1 . tls-supported-groups='), /numbers/);
});

test('the examples of RFC 9460 appendix D are read as it says', () => {
  assert.equal(latin1('HTTPS', '0 foo.example.com.'), '\0\0\x03foo\x07example\x03com\0');
  assert.equal(hex('SVCB', '1 .'), '000100');
  const foo = Buffer.from('\x03foo\x07example\x03com\0', 'latin1').toString('hex');
  assert.equal(hex('SVCB', '16 foo.example.com. port=53'), `0010${foo}000300020035`);
  assert.equal(hex('SVCB', '1 foo.example.com. key667=hello'), `0001${foo}029b000568656c6c6f`);
  assert.equal(hex('SVCB', '1 foo.example.com. key667="hello\\210qoo"'), `0001${foo}029b000968656c6c6fd2716f6f`);
  const hints = '2001:db8::1,2001:db8::53:1';
  const hintBytes = '20010db800000000000000000000000120010db8000000000000000000530001';
  assert.equal(hex('SVCB', `1 foo.example.com. ipv6hint="${hints}"`), `0001${foo}00060020${hintBytes}`);
  const sorted = hex('SVCB', '16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1');
  assert.ok(sorted.endsWith('0000000400010004000100090268320568332d313900040004c0000201'));
  for (const text of ['alpn="f\\\\\\\\oo\\\\,bar,h2"', 'alpn=f\\\\\\092oo\\092,bar,h2']) {
    assert.ok(hex('SVCB', `16 foo.example.org. ${text}`).endsWith('0001000c08665c6f6f2c626172026832'), text);
  }
});

test('long text is cut into strings of 255 bytes', () => {
  const bytes = Buffer.from(hex('TXT', `"${'x'.repeat(600)}"`), 'hex');
  assert.equal(bytes.length, 603);
  assert.deepEqual([bytes[0], bytes[256], bytes[512]], [255, 255, 90]);
});

test('data that is wrong is refused with what is wrong', () => {
  assert.match(refusal('A', '192.0.2'), /"192.0.2" is not an IPv4 address/);
  assert.match(refusal('A', '::1'), /not an IPv4 address/);
  assert.match(refusal('A', '192.0.2.1 192.0.2.2'), /"192.0.2.2" is too much/);
  assert.match(refusal('A', ''), /field 1 is missing/);
  assert.match(refusal('MX', 'mail'), /"mail" is not a number/);
  assert.match(refusal('MX', '65536 mail'), /number from 0 to 65535/);
  assert.match(refusal('MX', '10'), /field 2 is missing/);
  assert.match(refusal('NS', 'a..b'), /label of the name is empty/);
  assert.match(refusal('TXT', 'v=DKIM1; k=rsa'), /";" stands outside quotes/);
  assert.match(refusal('TXT', '"open'), /not closed/);
  assert.match(refusal('CAA', '0 is-sue "x"'), /letters and digits/);
  assert.match(refusal('TLSA', '3 1 1 abc'), /hexadecimal/);
  assert.match(refusal('TYPE731', '\\# 3 abcd'), /says 3 bytes, but 2 follow/);
  assert.match(refusal('TYPE731', 'abcd'), /no text form/);
  assert.match(refusal('A', '\\# 3 abcdef'), /shorter/);
  assert.match(refusal('NS', '\\# 2 c000'), /compressed/);
  assert.match(refusal('SPOOF', 'x'), /not known/);
  assert.match(refusal('TYPE65536', '\\# 0'), /not known/);
  assert.match(refusal('HTTPS', '1 . alpn=h2 alpn=h3'), /twice/);
  assert.match(refusal('HTTPS', '1 . mandatory=alpn'), /not there/);
  assert.match(refusal('HTTPS', '1 . no-default-alpn'), /without alpn/);
  assert.match(refusal('HTTPS', '1 . port=70000'), /not a port/);
  assert.match(refusal('HTTPS', '1 . ipv4hint=::1'), /not an IPv4/);
  assert.match(refusal('HTTPS', '1 . colour=red'), /not known/);
  assert.match(refusal('URI', '1 1 ""'), /shorter/);
  assert.match(refusal('OPENPGPKEY', 'AQI'), /base64/);
  assert.match(refusal('SOA', 'a. b. 1 1x 1 1 1'), /not a time/);
  assert.match(refusal('SOA', 'a. b. 1 1h30 1 1 1'), /not a time/);
  assert.match(refusal('RRSIG', 'A 8 2 60'), /made by a signer/);
});

const seed = Number(process.env.PORTICO_SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed} (PORTICO_SEED repeats it)`);

test('data in text reads back to the same bytes, for every type and any well-formed bytes', () => {
  let read = 0;
  // Noise alone is seldom well-formed: it is tried behind beginnings that some types want.
  const starts = [
    [],
    [0, 1, 0],
    [0, 1, 1, 97, 0],
    [0, 1, 0, 0, 1, 0, 3, 2],
    [3, 97, 98, 99],
    [0, 0x12, 0x16, 0x13, 0x80],
  ];
  fc.assert(
    fc.property(fc.constantFrom(...LAYOUT_TYPES, 65280), fc.uint8Array({ maxLength: 24 }), (type, noise) => {
      for (const start of [...starts, [noise.length]]) {
        const bytes = Uint8Array.of(...start, ...noise);
        const data = readRecordData(type, bytes, 0, bytes.length, false);
        if (!data.ok) continue;
        read++;
        const text = formatRecordData(type, data.data);
        const parsed = parseRecordData(formatType(type), text, origin);
        assert.ok(parsed.ok, `${formatType(type)} ${text}: ${JSON.stringify(parsed)}`);
        assert.deepEqual(parsed.rdata, data.data);
      }
    }),
    { seed, numRuns: 5000 },
  );
  assert.ok(read > 1000, `${read}`);
});

test('what any well-formed text of a type is printed as, reads back to the same', () => {
  const data = fc.constantFrom(...LAYOUT_TYPES).chain((type) => recordText(type).map((text) => ({ type, text })));
  fc.assert(
    fc.property(data, ({ type, text }) => {
      const first = parseRecordData(formatType(type), text, origin);
      assert.ok(first.ok, `${formatType(type)} ${text}: ${JSON.stringify(first)}`);
      const printed = formatRecordData(type, first.rdata);
      const second = parseRecordData(formatType(type), printed, origin);
      assert.ok(second.ok, `${formatType(type)} ${printed}: ${JSON.stringify(second)}`);
      assert.deepEqual(second.rdata, first.rdata);
      assert.equal(formatRecordData(type, second.rdata), printed);
    }),
    { seed, numRuns: 5000 },
  );
});

test('no text makes the reader throw', () => {
  const types = [...Object.keys(RECORD_TYPE), 'TYPE65280', 'x'];
  const pieces = fc.constantFrom(
    '\\#',
    '"',
    '\\',
    ' ',
    '1',
    '.',
    'alpn=',
    ',',
    'a',
    '\\300',
    '0',
    '::',
    'é',
    '@',
    'mandatory=',
    '-',
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...types),
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((list) => list.join('')),
      ),
      (type, text) => {
        const parsed = parseRecordData(type, text, origin);
        assert.ok(parsed.ok || (parsed.reason !== '' && parsed.remedy !== ''));
      },
    ),
    { seed, numRuns: 3000 },
  );
});
