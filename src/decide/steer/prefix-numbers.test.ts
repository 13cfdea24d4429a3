import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPrefix, parseAddress } from '../../net/address.ts';
import { NO_PREFIX } from './measured.ts';
import { PrefixNumbers } from './prefix-numbers.ts';

function ask(numbers: PrefixNumbers, text: string): number {
  const address = parseAddress(text);
  assert.ok(address !== null);
  return numbers.numberOf(address.family, address.bytes, 0);
}

test('an address has the number of its /24 or /48, and the number tells the prefix', () => {
  const numbers = new PrefixNumbers(10, 1);
  const [first, second, third] = ['198.51.100.7', '2001:db8:1:2::3', '0.0.0.9'].map((text) => ask(numbers, text));
  assert.equal(ask(numbers, '198.51.100.250'), first);
  assert.equal(ask(numbers, '2001:db8:1:ffff::'), second);
  assert.equal(ask(numbers, '::'), 3, 'the first IPv6 prefix is another than the first of IPv4');
  assert.notEqual(ask(numbers, '198.51.101.7'), first);
  assert.deepEqual(
    [first, second, third].map((number) => formatPrefix(numbers.prefixOf(number))),
    ['198.51.100.0/24', '2001:db8:1::/48', '0.0.0.0/24'],
  );
  assert.deepEqual([numbers.familyOf(first), numbers.familyOf(second)], [4, 6]);
  assert.equal(numbers.find(4, Uint8Array.of(9, 9, 198, 51, 100), 2), first, 'bytes are read from the offset on');
  assert.equal(numbers.find(4, Uint8Array.of(9, 9, 9), 0), NO_PREFIX);
  assert.throws(() => numbers.prefixOf(9), /no prefix has the number 9/);
});

test('beyond the bound prefixes get no number, and are counted; who has one keeps it', () => {
  const numbers = new PrefixNumbers(2, 1);
  const first = ask(numbers, '192.0.2.1');
  ask(numbers, '192.0.3.1');
  assert.equal(ask(numbers, '192.0.4.1'), NO_PREFIX);
  assert.equal(ask(numbers, '192.0.5.1'), NO_PREFIX);
  assert.equal(numbers.refused, 2);
  assert.equal(ask(numbers, '192.0.2.9'), first);
  assert.equal(numbers.size, 2);
});

test('the least important are named, and their numbers go to others', () => {
  const numbers = new PrefixNumbers(4, 1);
  const [a, b, c, d] = ['192.0.2.0', '192.0.3.0', '192.0.4.0', '192.0.5.0'].map((text) => ask(numbers, text));
  numbers.importance[a] = 8;
  numbers.importance[b] = 1;
  numbers.importance[c] = 4;
  numbers.importance[d] = 1;
  numbers.fade(0.5);
  assert.equal(numbers.importance[a], 4);
  assert.deepEqual([...numbers.least(1)], [b]);
  assert.deepEqual([...numbers.least(3)], [b, c, d]);
  numbers.forget(numbers.least(2));
  assert.equal(numbers.has(b), false);
  assert.deepEqual([...numbers.least(9)], [a, c]);
  const fresh = [ask(numbers, '2001:db8::'), ask(numbers, '192.0.3.0')];
  assert.deepEqual([...fresh].sort(), [b, d]);
  assert.equal(numbers.importance[fresh[0]], 0);
  assert.deepEqual([...numbers.least(2)], [b, d]);
});

test('whatever is asked and forgotten, it is a map from prefixes to numbers', () => {
  const operation = fc.record({ prefix: fc.integer({ min: 1, max: 60 }), isIpv6: fc.boolean(), forgets: fc.boolean() });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), fc.integer(), (operations, seed) => {
      const numbers = new PrefixNumbers(20, seed);
      const known = new Map<string, number>();
      for (const { prefix, isIpv6, forgets } of operations) {
        const text = isIpv6 ? `2001:db8:${prefix.toString(16)}::/48` : `10.0.${prefix}.0/24`;
        const bytes = isIpv6 ? Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, prefix) : Uint8Array.of(10, 0, prefix);
        if (forgets) {
          const number = known.get(text);
          assert.equal(numbers.find(isIpv6 ? 6 : 4, bytes, 0), number ?? NO_PREFIX);
          if (number !== undefined) numbers.forget([number]);
          known.delete(text);
          continue;
        }
        const number = numbers.numberOf(isIpv6 ? 6 : 4, bytes, 0);
        if (number === NO_PREFIX) assert.equal(known.size, 20);
        else {
          assert.equal(known.get(text) ?? number, number);
          known.set(text, number);
        }
      }
      assert.equal(numbers.size, known.size);
      assert.equal(new Set(known.values()).size, known.size);
      for (const [text, number] of known) {
        assert.ok(number < numbers.end);
        assert.equal(formatPrefix(numbers.prefixOf(number)), text);
      }
    }),
  );
});
