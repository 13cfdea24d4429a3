import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress } from './address.ts';
import { foldChecksum, foldSum, onesSum, pseudoHeaderSum, updateChecksum } from './checksum.ts';

test('RFC 1071: the example of section 3 sums to ddf2', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(foldSum(onesSum(bytes, 0, 8)), 0xddf2);
  assert.equal(foldChecksum(onesSum(bytes, 0, 8)), 0x220d);
});

test('bytes with their checksum in place sum to ffff, for odd lengths too', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 65 }), (bytes) => {
      bytes[0] = bytes[1] = 0;
      const checksum = foldChecksum(onesSum(bytes, 0, bytes.length));
      bytes[0] = checksum >> 8;
      bytes[1] = checksum & 0xff;
      assert.equal(foldSum(onesSum(bytes, 0, bytes.length)), 0xffff);
    }),
  );
});

test('RFC 1624: an updated checksum is the one computed anew', () => {
  assert.equal(updateChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
  const word = fc.nat(0xffff);
  fc.assert(
    // Data that is all zero is left out: there the two zeros of ones' complement differ.
    fc.property(
      fc.array(word, { minLength: 2, maxLength: 20 }),
      fc.integer({ min: 1, max: 0xffff }),
      word,
      (rest, a, b) => {
        const sum = (first: number) => foldChecksum([first, 1, ...rest].reduce((x, y) => x + y));
        assert.equal(updateChecksum(sum(a), a, b), sum(b));
      },
    ),
  );
});

test('the pseudo header of IPv4 and IPv6 sums addresses, protocol and length', () => {
  const a = parseAddress('192.0.2.1')!;
  const b = parseAddress('198.51.100.2')!;
  assert.equal(pseudoHeaderSum(a, b, 6, 20), 0xc000 + 0x0201 + 0xc633 + 0x6402 + 6 + 20);
  const c = parseAddress('2001:db8::1')!;
  assert.equal(pseudoHeaderSum(c, c, 17, 0x1_0008), 2 * (0x2001 + 0xdb8 + 1) + 17 + 9);
});
