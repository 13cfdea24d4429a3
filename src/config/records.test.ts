import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { absoluteName, isWithin, readDomainName, zoneOf } from './dns-names.ts';
import { checkRecordData, isGenericType, knownRecordTypes, recordTarget } from './records.ts';

test('well-formed data of each type is taken', () => {
  const good = [
    ['A', '192.0.2.1'],
    ['AAAA', '2001:db8::1'],
    ['MX', '10 mail.example.net.'],
    ['MX', '0 .'],
    ['TXT', '"v=spf1 include:x" "second \\"quoted\\" part" plain'],
    ['SRV', '0 1 443 @'],
    ['CAA', '128 issue "ca.example.net; account=1"'],
    ['TLSA', '3 1 1 0d6f ce2e'],
    ['HTTPS', '1 . alpn="h2,h3" ipv4hint=192.0.2.1 no-default-alpn'],
    ['HTTPS', '0 other.example.net.'],
    ['NAPTR', '100 10 "u" "E2U+sip" "!^.*$!sip:a@example.net!" .'],
    ['DS', '60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118'],
    ['TYPE65280', '\\# 4 0a 000001'],
    ['A', '\\# 4 c0000201'],
    ['PTR', 'host'],
    ['LOC', '52 22 23 N 4 53 32 E -2m'],
    ['CERT', 'PKIX 0 RSASHA256 AAAA'],
    ['URI', '10 1 "https://www.example.net/"'],
    ['RP', 'admin .'],
  ];
  for (const [type, data] of good) assert.ok(checkRecordData(type, data).ok, `${type} ${data}`);
});

test('malformed data is refused with what is wrong', () => {
  const bad = [
    ['A', '192.0.2.1 192.0.2.2', 'one field too many'],
    ['MX', '10', 'only 1 of 2 fields'],
    ['MX', 'x mail', 'whole number'],
    ['TXT', 'a "open', 'quote'],
    ['TXT', `"${'x'.repeat(256)}"`, '255 octets'],
    ['CNAME', 'a b', 'one field too many'],
    ['TLSA', '3 1 1 0d6', 'hexadecimal'],
    ['TLSA', '3 1 1', 'only 3 of 4'],
    ['HTTPS', '1 . colour=blue', 'service parameter'],
    ['TYPE65280', 'abc', 'generic'],
    ['TYPE65280', '\\# 3 0a000001', 'length'],
  ];
  for (const [type, data, part] of bad) {
    const reading = checkRecordData(type, data);
    assert.ok(!reading.ok && reading.message.includes(part), `${type} ${data}`);
  }
});

test('no data makes the check throw or hang', () => {
  const text = fc.string({ unit: fc.constantFrom('"', '\\', ' ', 'a', '1', '=', '.', '#', '\t'), maxLength: 60 });
  fc.assert(
    fc.property(fc.constantFrom(...knownRecordTypes(), 'TYPE1'), text, (type, data) => {
      checkRecordData(type, data);
      recordTarget(type, data, 'example.test');
    }),
  );
  checkRecordData('TXT', 'a '.repeat(32_000));
  checkRecordData('TXT', '"'.repeat(65_535));
});

test('names are read, made absolute and found in their zones', () => {
  assert.deepEqual(readDomainName('WWW.Example.Net.'), { ok: true, value: 'www.example.net' });
  assert.ok(readDomainName('*.a', true).ok && !readDomainName('*.a').ok && !readDomainName('a.*', true).ok);
  for (const wrong of ['', '.', 'a..b', '-a', 'a-', 'ä.de', 'x'.repeat(64), 'a b', 5, null]) {
    assert.equal(readDomainName(wrong).ok, false, String(wrong));
  }
  assert.equal(absoluteName('@', 'z.test'), 'z.test');
  assert.equal(absoluteName('A', 'z.test'), 'a.z.test');
  assert.equal(absoluteName('a.other.', 'z.test'), 'a.other');
  assert.equal(zoneOf('a.b.z.test', ['z.test', 'b.z.test', 'test2']), 'b.z.test');
  assert.equal(zoneOf('az.test', ['z.test']), null);
  assert.ok(isWithin('z.test', 'z.test') && !isWithin('az.test', 'z.test'));
  assert.ok(isGenericType('TYPE65535') && !isGenericType('TYPE65536'));
});

test('the host that data names is found', () => {
  assert.deepEqual(recordTarget('MX', '10 Mail', 'z.test'), { text: 'Mail', name: 'mail.z.test' });
  assert.equal(recordTarget('HTTPS', '1 . alpn=h2', 'z.test'), null);
  assert.equal(recordTarget('TXT', 'mail', 'z.test'), null);
});
