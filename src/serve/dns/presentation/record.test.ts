import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { formatType, RECORD_TYPE } from '../wire/numbers.ts';
import { layoutOf, readRecordData } from '../wire/record-data.ts';
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
});

test('data in text reads back to the same bytes, for every type and any well-formed bytes', () => {
  const types = [...Object.values(RECORD_TYPE).filter((type) => layoutOf(type) !== null), 65280];
  let read = 0;
  fc.assert(
    fc.property(fc.constantFrom(...types), fc.uint8Array({ maxLength: 24 }), (type, noise) => {
      // Noise alone is seldom well-formed: try it behind prefixes that some types want.
      const starts = [[], [0, 1, 0], [0, 1, 1, 97, 0], [0, 1, 0, 0, 1, 0, 3, 2], [3, 97, 98, 99], [noise.length]];
      for (const start of starts) {
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
    { numRuns: 3000 },
  );
  assert.ok(read > 1000, `${read}`);
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
    { numRuns: 3000 },
  );
});
