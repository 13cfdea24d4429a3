import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressBits, maskAddress, type Prefix, parseAddress, parsePrefix, prefixContains } from './address.ts';
import { lookupPrefix, NO_VALUE, type PrefixMap, prefixScope, prefixValue } from './prefix-map.ts';
import { buildPrefixMap, type PrefixEntry } from './prefix-map-build.ts';
import { buildTrie } from './trie.ts';

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed !== null, text);
  return parsed;
}

function find(map: PrefixMap, text: string) {
  const [address, length] = text.split('/');
  const parsed = parseAddress(address);
  assert.ok(parsed !== null, text);
  const source = length === undefined ? addressBits(parsed.family) : Number(length);
  const found = lookupPrefix(map, parsed.family, parsed.bytes, 0, source);
  return { value: prefixValue(found), scope: prefixScope(found) };
}

/** Few bits vary in each byte, so that prefixes nest and touch. */
function prefixes(family: 4 | 6): fc.Arbitrary<Prefix> {
  const bytes = fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 });
  const mask = fc.constantFrom(0x00, 0x81, 0x18, 0xc3, 0xff, 0xf0);
  return fc.tuple(bytes, mask, fc.nat(family === 4 ? 32 : 128)).map(([random, kept, length]) => {
    return { address: maskAddress({ family, bytes: random.map((byte) => byte & kept) }, length), length };
  });
}

function lists(family: 4 | 6, values: number): fc.Arbitrary<PrefixEntry[]> {
  const entry = fc.record({ prefix: prefixes(family), value: fc.nat(values - 1) });
  // Of equal weights the trie takes the value that was listed first, the map the least: so values are numbered as they come.
  return fc.array(entry, { maxLength: 40 }).map((list) => {
    const numbers = new Map<number, number>();
    return list.map((each) => {
      if (!numbers.has(each.value)) numbers.set(each.value, numbers.size);
      return { ...each, value: numbers.get(each.value) as number };
    });
  });
}

for (const family of [4, 6] as const) {
  test(`IPv${family}: value and scope are those of the binary trie, for whole addresses and for sources that are too short`, () => {
    const property = fc.property(
      fc.constantFrom(2, 5, 40).chain((values) => lists(family, values)),
      fc.array(prefixes(family), { minLength: 1, maxLength: 30 }),
      (entries, asked) => {
        const map = buildPrefixMap(entries);
        const trie = buildTrie(entries);
        const near = entries.flatMap((each) => [each.prefix, { ...each.prefix, length: addressBits(family) }]);
        for (const { address, length } of [...asked, ...near]) {
          const expected = trie.lookup(address, length);
          const found = lookupPrefix(map, family, address.bytes, 0, length);
          const message = `${address.bytes.join()}/${length}`;
          assert.equal(prefixValue(found), expected.value ?? NO_VALUE, message);
          assert.equal(prefixScope(found), expected.scopeLength, message);
        }
      },
    );
    fc.assert(property, { numRuns: 1500 });
  });
}

test('scopes never overlap with another answer, and half as many would not do', () => {
  const property = fc.property(
    lists(4, 3),
    fc.array(prefixes(4), { minLength: 2, maxLength: 20 }),
    (entries, asked) => {
      const map = buildPrefixMap(entries);
      const answers = [...asked, ...entries.map((each) => each.prefix)].map(({ address }) => {
        const found = lookupPrefix(map, 4, address.bytes, 0, 32);
        const length = prefixScope(found);
        return { value: prefixValue(found), scope: { address: maskAddress(address, length), length } };
      });
      for (const { value, scope } of answers) {
        for (const other of answers) {
          if (!prefixContains(scope, other.scope.address)) continue;
          if (other.scope.length < scope.length) continue;
          assert.deepEqual(other, { value, scope });
        }
        if (scope.length === 0) continue;
        // The other half of the next wider prefix has another answer, or is itself cut.
        const bytes = scope.address.bytes.slice();
        bytes[(scope.length - 1) >> 3] ^= 0x80 >> ((scope.length - 1) & 7);
        const beside = lookupPrefix(map, 4, bytes, 0, 32);
        assert.ok(prefixScope(beside) > scope.length || prefixValue(beside) !== value);
      }
    },
  );
  fc.assert(property, { numRuns: 1000 });
});

test('a hole narrows the scope around it, equal neighbours widen it, families do not mix', () => {
  const map = buildPrefixMap([
    { prefix: prefix('61.0.0.0/16'), value: 1 },
    { prefix: prefix('61.0.7.0/24'), value: 2 },
    { prefix: prefix('192.0.2.0/25'), value: 2 },
    { prefix: prefix('192.0.2.128/25'), value: 2 },
    { prefix: prefix('2001:db8::/32'), value: 1 },
    { prefix: prefix('2001:db8:8000::/48'), value: 2 },
    { prefix: prefix('2001:db8::7/128'), value: 2 },
  ]);
  assert.deepEqual(find(map, '61.0.200.0/24'), { value: 1, scope: 17 });
  assert.deepEqual(find(map, '61.0.6.0/24'), { value: 1, scope: 24 });
  assert.deepEqual(find(map, '61.0.7.0/24'), { value: 2, scope: 24 });
  assert.deepEqual(find(map, '192.0.2.7'), { value: 2, scope: 24 });
  assert.deepEqual(find(map, '2001:db8:4000::'), { value: 1, scope: 34 });
  assert.deepEqual(find(map, '2001:db8::7'), { value: 2, scope: 128 });
  assert.deepEqual(find(map, '2001:db8::6'), { value: 1, scope: 128 });
  assert.deepEqual(find(map, '2001:db8:8001::1'), { value: 1, scope: 48 });
  assert.deepEqual(find(buildPrefixMap([]), '::1'), { value: NO_VALUE, scope: 0 });
});

test('a source that is too short gets the value of most weight; what has no weight counts less than what has', () => {
  const map = buildPrefixMap([
    { prefix: prefix('0.0.0.0/0'), value: 0 },
    { prefix: prefix('10.0.0.0/16'), value: 1, weight: 5 },
    { prefix: prefix('10.0.7.0/24'), value: 2, weight: 4 },
    { prefix: prefix('10.0.9.0/24'), value: 2, weight: 3 },
    { prefix: prefix('10.200.0.0/16'), value: 3, weight: 0 },
  ]);
  assert.deepEqual(find(map, '10.0.0.0/15'), { value: 2, scope: 15 });
  // Half of the /16, whose weight is spread over what the two /24 leave of it.
  assert.deepEqual(find(map, '10.0.0.0/17'), { value: 2, scope: 17 });
  assert.deepEqual(find(map, '10.0.8.0/22'), { value: 2, scope: 22 });
  assert.deepEqual(find(map, '10.0.128.0/17'), { value: 1, scope: 17 });
  assert.deepEqual(find(map, '10.192.0.0/11'), { value: 0, scope: 11 });
  assert.deepEqual(find(map, '0.0.0.0/0'), { value: 2, scope: 0 });
});

test('weights of entries are spread over what longer prefixes leave of them, for random lists', () => {
  const entry = fc.record({
    low: fc.nat(255),
    length: fc.integer({ min: 24, max: 32 }),
    value: fc.nat(3),
    weight: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
  });
  const property = fc.property(
    fc.array(entry, { maxLength: 12 }),
    fc.nat(255),
    fc.integer({ min: 24, max: 32 }),
    (list, low, source) => {
      const at = (byte: number) => ({ family: 4 as const, bytes: Uint8Array.of(10, 0, 0, byte) });
      const entries = list.map(({ low: byte, length, value, weight }) => {
        const each = { prefix: { address: maskAddress(at(byte), length), length }, value };
        return weight === undefined ? each : { ...each, weight };
      });
      const map = buildPrefixMap(entries);
      // Of each address the entry that counts; of each entry how many addresses it counts for.
      const counting = Array.from({ length: 256 }, (_, byte) => {
        let best = -1;
        for (const [index, { prefix: inner }] of entries.entries()) {
          if (prefixContains(inner, at(byte)) && (best < 0 || inner.length >= entries[best].prefix.length))
            best = index;
        }
        return best;
      });
      const sums = new Map<number, number>();
      const outer = { address: maskAddress(at(low), source), length: source };
      for (const [byte, index] of counting.entries()) {
        if (index < 0 || !prefixContains(outer, at(byte))) continue;
        const { value, weight } = entries[index] as PrefixEntry;
        const own = weight === undefined ? 1e-13 : weight / counting.filter((other) => other === index).length;
        sums.set(value, (sums.get(value) ?? 0) + own);
      }
      const found = prefixValue(lookupPrefix(map, 4, at(low).bytes, 0, source));
      if (found === NO_VALUE) assert.equal(sums.size, 0);
      else for (const sum of sums.values()) assert.ok((sums.get(found) ?? -1) >= sum - 1e-10, `${found}: ${[...sums]}`);
    },
  );
  fc.assert(property, { numRuns: 3000 });
});

test('bits and bytes beyond the source are not looked at', () => {
  const map = buildPrefixMap([{ prefix: prefix('10.0.0.128/25'), value: 1 }]);
  const asked = Uint8Array.of(0xff, 10, 0, 0, 200, 0xff);
  assert.equal(prefixScope(lookupPrefix(map, 4, asked, 1, 24)), 24);
  assert.equal(prefixValue(lookupPrefix(map, 4, asked.subarray(0, 4), 1, 24)), 1);
  assert.equal(prefixValue(lookupPrefix(map, 4, asked, 1, 32)), 1);
  assert.equal(prefixValue(lookupPrefix(map, 4, asked, 1, 25)), 1);
  assert.equal(prefixScope(lookupPrefix(map, 4, Uint8Array.of(0xff), 1, 0)), 0);
});
