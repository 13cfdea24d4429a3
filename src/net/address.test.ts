import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Address,
  addressInPrefix,
  compareAddresses,
  formatAddress,
  formatPrefix,
  fromMapped,
  maskAddress,
  parseAddress,
  parseLoosePrefix,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  sameAddress,
  toMapped,
} from './address.ts';

const anyAddress: fc.Arbitrary<Address> = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => ({ family: 4 as const, bytes })),
  // Few different bytes, so that runs of zeros and mapped addresses turn up.
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
    .map((bytes) => ({ family: 6 as const, bytes: Uint8Array.from(bytes) })),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ({ family: 6 as const, bytes })),
);

test('an address that is formatted and parsed is the same, and the text is canonical', () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      const text = formatAddress(address);
      const parsed = parseAddress(text);
      assert.ok(parsed !== null, text);
      assert.deepEqual(parsed.bytes, address.bytes);
      assert.equal(parsed.family, address.family);
      assert.ok(address.family === 4 ? isIPv4(text) : isIPv6(text));
    }),
  );
});

test('RFC 5952: the examples are written canonically', () => {
  const examples = [
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:DB8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8::AAAA', '2001:db8::aaaa'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ];
  for (const [text, canonical] of examples) assert.equal(formatAddress(parseAddress(text)!), canonical);
});

test('what is no address is refused', () => {
  const wrong = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.4 ',
    ':',
    ':::',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7',
  ];
  wrong.push(
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4::5:6:7:8',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    'fe80::1%eth0',
    '[::1]',
    ':1::2',
  );
  for (const text of wrong) assert.equal(parseAddress(text), null, text);
});

test('parsing agrees with the runtime on arbitrary text', () => {
  const text = fc.string({
    unit: fc.constantFrom('0', '1', 'f', 'A', '9', ':', '::', '.', '255', '1.2.3.4'),
    maxLength: 14,
  });
  fc.assert(
    fc.property(text, (candidate) => {
      assert.equal(parseAddress(candidate) !== null, isIPv4(candidate) || isIPv6(candidate), candidate);
    }),
    { numRuns: 5000 },
  );
});

test('mapped bytes lead back to the address; an IPv4-mapped IPv6 address becomes IPv4', () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      const back = fromMapped(toMapped(address));
      assert.deepEqual(toMapped(back), toMapped(address));
      if (address.family === 4) assert.ok(sameAddress(back, address));
    }),
  );
  assert.equal(formatAddress(fromMapped(parseAddress('::ffff:10.0.0.1')!.bytes)), '10.0.0.1');
});

test('a prefix contains exactly the addresses that share its bits', () => {
  assert.equal(parsePrefix('10.0.0.1/8'), null);
  assert.equal(formatPrefix(parsePrefix('10.0.0.0/8')!), '10.0.0.0/8');
  assert.equal(parsePrefix('10.0.0.0/33'), null);
  assert.equal(parsePrefix('10.0.0.0/08'), null);
  assert.equal(parsePrefix('10.0.0.0'), null);
  assert.equal(formatPrefix(parsePrefix('::/0')!), '::/0');
  assert.equal(parseLoosePrefix('10.1.2.3/8')!.address.bytes[3], 3);
  fc.assert(
    fc.property(anyAddress, anyAddress, fc.nat(128), (a, b, bits) => {
      const length = Math.min(bits, a.bytes.length * 8);
      const prefix = { address: maskAddress(a, length), length };
      assert.ok(prefixContains(prefix, a));
      const binary = (x: Address) => [...x.bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
      const shares = a.family === b.family && binary(a).slice(0, length) === binary(b).slice(0, length);
      assert.equal(prefixContains(prefix, b), shares);
      assert.ok(prefixesOverlap(prefix, { address: a, length: a.bytes.length * 8 }));
    }),
  );
});

test('addresses are ordered by family and number', () => {
  const texts = ['0.0.0.0', '9.0.0.0', '10.0.0.1', '::', '::1', 'ff00::'];
  const sorted = texts.map((text) => parseAddress(text)!).sort(compareAddresses);
  assert.deepEqual(sorted.map(formatAddress), texts);
});

test('addresses of a prefix are numbered from its first, and end with it', () => {
  const prefix = parsePrefix('10.10.201.0/26')!;
  assert.equal(formatAddress(addressInPrefix(prefix, 63)!), '10.10.201.63');
  assert.equal(addressInPrefix(prefix, 64), null);
  assert.equal(formatAddress(addressInPrefix(parsePrefix('fd00::/64')!, 65536)!), 'fd00::1:0');
});
