import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, maskAddress, type Prefix, parseAddress, parsePrefix, prefixContains } from './address.ts';
import { buildTrie } from './trie.ts';

/** A universe of 256 addresses under one /24, so that brute force can look at all of them. */
const BITS = 8;
const BASE = 24;
const at = (low: number): Address => ({ family: 4, bytes: Uint8Array.of(10, 0, 0, low) });
const under = (low: number, length: number): Prefix => ({ address: maskAddress(at(low), length), length });

const list = fc.array(
  fc.record({
    prefix: fc
      .tuple(fc.nat(255), fc.integer({ min: BASE, max: BASE + BITS }))
      .map(([low, length]) => under(low, length)),
    value: fc.constantFrom('a', 'b', 'c'),
  }),
  { maxLength: 12 },
);

type Entry = { readonly prefix: Prefix; readonly value: string };

function bruteMatch(entries: Entry[], address: Address, longest: number) {
  let best: { value: string | null; matchedLength: number } = { value: null, matchedLength: -1 };
  for (const { prefix, value } of entries) {
    if (prefix.length > longest || prefix.length < best.matchedLength || !prefixContains(prefix, address)) continue;
    best = { value, matchedLength: prefix.length };
  }
  return best;
}

function valuesUnder(entries: Entry[], prefix: Prefix): (string | null)[] {
  const values: (string | null)[] = [];
  for (let low = 0; low < 256; low++) {
    if (prefixContains(prefix, at(low))) values.push(bruteMatch(entries, at(low), 32).value);
  }
  return values;
}

test('value and matched length are those of the longest prefix, the later of equals', () => {
  fc.assert(
    fc.property(list, fc.nat(255), (entries, low) => {
      const found = buildTrie(entries).lookup(at(low));
      const expected = bruteMatch(entries, at(low), 32);
      assert.equal(found.value, expected.value);
      assert.equal(found.matchedLength, expected.matchedLength);
    }),
    { numRuns: 2000 },
  );
});

test('the scope is the shortest prefix under which all addresses have the same value', () => {
  fc.assert(
    fc.property(list, fc.nat(255), (entries, low) => {
      const { value, scopeLength } = buildTrie(entries).lookup(at(low));
      const isUniform = (length: number) => valuesUnder(entries, under(low, length)).every((other) => other === value);
      if (scopeLength >= BASE) assert.ok(isUniform(scopeLength));
      else if (value !== null) assert.fail('a value beyond the list');
      else assert.ok(isUniform(BASE));
      if (scopeLength > BASE) assert.ok(!isUniform(scopeLength - 1));
      // Above the universe everything is unlisted.
      if (scopeLength === BASE && value === null) assert.fail('unlisted /24 must merge with its neighbour');
    }),
    { numRuns: 2000 },
  );
});

test('scopes of two addresses never overlap unless they are the same', () => {
  fc.assert(
    fc.property(list, fc.nat(255), fc.nat(255), (entries, a, b) => {
      const trie = buildTrie(entries);
      const [first, second] = [trie.lookup(at(a)), trie.lookup(at(b))];
      if (!prefixContains(under(a, first.scopeLength), at(b))) return;
      assert.equal(second.scopeLength, first.scopeLength);
      assert.equal(second.value, first.value);
    }),
    { numRuns: 1000 },
  );
});

test('a source that is too short gets the value of most addresses under it, and itself as scope', () => {
  fc.assert(
    fc.property(list, fc.nat(255), fc.integer({ min: BASE, max: 32 }), (entries, low, source) => {
      const found = buildTrie(entries).lookup(maskAddress(at(low), source), source);
      assert.ok(found.scopeLength <= source);
      assert.equal(found.matchedLength, bruteMatch(entries, at(low), source).matchedLength);
      const values = valuesUnder(entries, under(low, source));
      if (values.every((value) => value === values[0])) {
        assert.equal(found.value, values[0]);
        return;
      }
      assert.equal(found.scopeLength, source);
      const count = (wanted: string | null) => values.filter((value) => value === wanted).length;
      assert.ok(found.value !== null);
      for (const other of ['a', 'b', 'c']) assert.ok(count(found.value) >= count(other));
    }),
    { numRuns: 2000 },
  );
});

test('bits beyond the source are not looked at', () => {
  const trie = buildTrie([{ prefix: parsePrefix('10.0.0.128/25')!, value: 'a' }]);
  assert.deepEqual(trie.lookup(at(200), 24), { value: 'a', matchedLength: -1, scopeLength: 24 });
  assert.deepEqual(trie.lookup(at(200), 24), trie.lookup(at(0), 24));
});

test('a hole narrows the scope around it, equal neighbours widen it, families do not mix', () => {
  const trie = buildTrie([
    { prefix: parsePrefix('192.0.2.0/25')!, value: 'eu' },
    { prefix: parsePrefix('192.0.2.128/25')!, value: 'eu' },
    { prefix: parsePrefix('2001:db8::/32')!, value: 'us' },
    { prefix: parsePrefix('2001:db8:8000::/48')!, value: 'eu' },
  ]);
  assert.deepEqual(trie.lookup(parseAddress('192.0.2.7')!), { value: 'eu', matchedLength: 25, scopeLength: 24 });
  assert.deepEqual(trie.lookup(parseAddress('2001:db8::1')!), { value: 'us', matchedLength: 32, scopeLength: 33 });
  assert.deepEqual(trie.lookup(parseAddress('2001:db8:8000::1')!), { value: 'eu', matchedLength: 48, scopeLength: 48 });
  assert.deepEqual(trie.lookup(parseAddress('2001:db8:8001::1')!), { value: 'us', matchedLength: 32, scopeLength: 48 });
  const empty = buildTrie<string>([]);
  assert.deepEqual(empty.lookup(parseAddress('::1')!), { value: null, matchedLength: -1, scopeLength: 0 });
});

test('values are told apart by key, not by identity, where a key is given', () => {
  const trie = buildTrie(
    [
      { prefix: parsePrefix('10.0.0.0/9')!, value: { site: 'eu' } },
      { prefix: parsePrefix('10.128.0.0/9')!, value: { site: 'eu' } },
    ],
    (value) => value.site,
  );
  assert.equal(trie.lookup(parseAddress('10.1.1.1')!).scopeLength, 8);
});
