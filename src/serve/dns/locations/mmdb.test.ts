import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Reader, type Response } from 'mmdb-lib';
import { formatAddress, formatPrefix, maskAddress, type Prefix } from '../../../net/address.ts';
import { segmentAt } from '../../../net/segment-overlay.ts';
import { readDatabase } from './database.ts';
import { openMmdb } from './mmdb.ts';
import { type SampleMap, writeMmdb } from './mmdb-sample.ts';

function prefixes(family: 4 | 6): fc.Arbitrary<Prefix> {
  const size = family === 4 ? 4 : 16;
  const bytes = fc.uint8Array({ minLength: size, maxLength: size });
  // IPv4 stands under ::/96, and what is inserted above would cut it off.
  const lengths = fc.integer({ min: family === 4 ? 1 : 4, max: size * 8 });
  return fc.tuple(bytes, lengths).map(([random, length]) => {
    const kept = random.map((byte, index) => (family === 6 && index === 0 ? 0x20 | (byte & 1) : byte & 0x81));
    return { address: maskAddress({ family, bytes: kept }, length), length };
  });
}

const values = fc.record({
  country: fc.record({ iso_code: fc.constantFrom('DE', 'JP', 'US') }),
  location: fc.record({ latitude: fc.constantFrom(52.5, -33.125, 0), longitude: fc.constantFrom(-0.5, 139.75, 180) }),
  notes: fc.constantFrom('short', 'long '.repeat(80), ''),
  flags: fc.array(fc.boolean(), { maxLength: 3 }),
});

test('what is known of an address, and of which network, is what another reader finds', () => {
  const property = fc.property(
    fc.array(fc.tuple(fc.oneof(prefixes(4), prefixes(6)), values), { minLength: 1, maxLength: 20 }),
    fc.array(fc.oneof(prefixes(4), prefixes(6)), { maxLength: 20 }),
    fc.constantFrom(24, 28, 32),
    (networks, others, recordBits) => {
      const entries = Object.fromEntries(networks.map(([prefix, value]) => [formatPrefix(prefix), value]));
      const bytes = writeMmdb(entries as unknown as Record<string, SampleMap>, {
        recordBits: recordBits as 24 | 28 | 32,
        aliases: ['2002::/16'],
      });
      const opened = openMmdb(bytes);
      assert.ok(opened.ok, opened.ok ? '' : opened.reason);
      const { database } = opened;
      const reader = new Reader<Response>(Buffer.from(bytes));
      const plain = (value: unknown): unknown => {
        if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
        return Array.isArray(value) ? value.map(plain) : value;
      };
      const rows = { 4: database.segments(4, (offset) => offset, 0), 6: database.segments(6, (offset) => offset, 0) };
      for (const { address } of [...networks.map(([prefix]) => prefix), ...others]) {
        const [expected, length] = reader.getWithPrefixLength(formatAddress(address));
        const found = database.find(address.family, address.bytes);
        assert.equal(found === null, expected === null);
        const row = rows[address.family];
        assert.ok(row !== null);
        assert.equal(row.values[segmentAt(row, address.bytes)], found?.offset ?? 0, formatAddress(address));
        if (found === null) continue;
        assert.equal(found.length, length);
        const read = database.data.read(found.offset);
        assert.ok(read.ok);
        assert.deepEqual(plain(read.value), expected);
      }
    },
  );
  fc.assert(property, { numRuns: 300 });
});

test('IPv4 is told once, not again under every prefix that leads to it', () => {
  const bytes = writeMmdb(
    { '61.0.0.0/16': { country: { iso_code: 'JP' } }, '2001:db8::/32': { country: { iso_code: 'DE' } } },
    {
      aliases: ['2002::/16', '::ffff:0:0/96'],
    },
  );
  const result = readDatabase(bytes, 'country');
  assert.ok(result.ok);
  const { known, ipv4, ipv6 } = result.layer;
  assert.deepEqual(known, [{}, { country: 'JP' }, { country: 'DE' }]);
  assert.deepEqual([...ipv4.values], [0, 1, 0]);
  assert.deepEqual([...ipv6.values], [0, 2, 0]);
});

test('no bytes make the reader throw, or walk without end', () => {
  const good = writeMmdb({ '61.0.0.0/16': { country: { iso_code: 'JP' } }, '10.0.0.0/8': { asn: 'AS64500' } });
  const property = fc.property(
    fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
    fc.nat(20),
    (edits, cut) => {
      const bytes = good.slice(0, good.length - cut);
      for (const [at, byte] of edits) if (at < bytes.length) bytes[at] = byte;
      for (const kind of ['city', 'country', 'asn'] as const) {
        const result = readDatabase(bytes, kind);
        if (!result.ok) assert.notEqual(result.reason, '');
      }
    },
  );
  fc.assert(property, { numRuns: 3000 });
  const loop = good.slice();
  // Both records of the root lead to the root.
  loop.fill(0, 0, 7);
  assert.deepEqual(readDatabase(loop, 'city'), { ok: false, reason: 'its tree leads into itself' });
});

test('the fields of several publishers are understood; a file of another kind is told from a good one', () => {
  const of = (value: SampleMap, kind: 'city' | 'country' | 'asn') => {
    const result = readDatabase(writeMmdb({ '61.0.0.0/16': value }), kind);
    return result.ok ? result.layer.known[1] : result.reason;
  };
  const maxmind = {
    continent: { code: 'EU' },
    registered_country: { iso_code: 'FR' },
    location: { latitude: 52.3759, longitude: 4.8975 },
  };
  const location = { latitudeDegrees: 52.4, longitudeDegrees: 4.9 };
  assert.deepEqual(of(maxmind, 'city'), { continent: 'EU', country: 'FR', location });
  assert.deepEqual(of(maxmind, 'country'), { continent: 'EU', country: 'FR' });
  assert.deepEqual(of({ country_code: 'JP', continent_code: 'AS' }, 'country'), { continent: 'AS', country: 'JP' });
  assert.deepEqual(of({ autonomous_system_number: 4_200_000_001 }, 'asn'), { asn: 4_200_000_001 });
  assert.deepEqual(of({ asn: 'AS64500' }, 'asn'), { asn: 64_500 });
  assert.equal(of(maxmind, 'asn'), 'it tells no autonomous systems');
  assert.equal(of({ asn: 'AS64500' }, 'city'), 'it tells no continents, countries or places');
  assert.deepEqual(readDatabase(new Uint8Array(10), 'city'), {
    ok: false,
    reason: 'it is no MMDB file: its metadata are missing',
  });
});
