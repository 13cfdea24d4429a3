import assert from 'node:assert/strict';
import test from 'node:test';
import { createRandom } from '../../model/random.ts';
import type { Address } from '../../net/address.ts';
import { AskerCounter, AskerReader, createAskerMemory } from './asker-counts.ts';
import type { AskerPrefix } from './kernel/askers.ts';

const SEED = Number(process.env['SEED'] ?? 11);
const PAIRS = [
  { service: 'search', site: 'eu' },
  { service: 'search', site: 'us' },
];

const text = ({ family, length, bytes }: AskerPrefix) => `${family}/${length}/${bytes.subarray(0, 6).join('.')}`;

/** As the counter has it, from addresses. */
function prefixText(family: 4 | 6, bytes: Uint8Array, from: number, length: number): string {
  const most = family === 4 ? 24 : 48;
  const kept = new Uint8Array(6);
  for (let i = 0; i < Math.ceil(Math.min(length, most) / 8); i++) kept[i] = bytes[from + i];
  return `${family}/${Math.min(length, most)}/${kept.join('.')}`;
}

function read(reader: AskerReader): Map<string, number> {
  const counts = new Map<string, number>();
  reader.read((resolver, subnet, { site }, queries) => {
    const key = `${text(resolver)} ${subnet === null ? '-' : text(subnet)} ${site}`;
    counts.set(key, (counts.get(key) ?? 0) + queries);
  });
  return counts;
}

test(`queries are counted by resolver, subnet and answer, as one map would (seed ${SEED})`, () => {
  const random = createRandom(SEED);
  const draw = (below: number) => Math.floor((random() / 2 ** 32) * below);
  const memory = createAskerMemory();
  const [counter, reader] = [new AskerCounter(memory, SEED), new AskerReader(memory, PAIRS)];
  for (let look = 0; look < 3; look++) {
    const expected = new Map<string, number>();
    for (let n = 0; n < 20_000; n++) {
      const family = draw(3) === 0 ? 6 : 4;
      const client: Address = { family, bytes: new Uint8Array(family === 4 ? 4 : 16) };
      client.bytes.set([10, draw(2), draw(3), family === 4 ? draw(256) : draw(2)]);
      if (family === 6) client.bytes.set([draw(2), draw(2), draw(256)], 4);
      const subnetFamily = ([0, 4, 6] as const)[draw(3)];
      const length = [0, 16, 22, 24, 32, 48, 56][draw(7)];
      const bytes = new Uint8Array(32);
      const has = Math.ceil(length / 8);
      for (let i = 0; i < has; i++) bytes[5 + i] = i === 2 ? draw(2) << 2 : 20;
      // What stands behind the option is not part of it.
      bytes.fill(99, 5 + has);
      const pair = draw(2);
      counter.count(client, bytes, subnetFamily, 5, length, pair);
      const subnet = subnetFamily === 0 || length === 0 ? '-' : prefixText(subnetFamily, bytes, 5, length);
      const key = `${prefixText(family, client.bytes, 0, 128)} ${subnet} ${PAIRS[pair].site}`;
      expected.set(key, (expected.get(key) ?? 0) + 1);
    }
    assert.deepEqual(new Map([...read(reader)].sort()), new Map([...expected].sort()));
    assert.equal(reader.unplaced, 0);
  }
});

test('the table is bounded: those without a place are counted, and the silent give theirs away', () => {
  const memory = createAskerMemory();
  const [counter, reader] = [new AskerCounter(memory, SEED), new AskerReader(memory, PAIRS)];
  const client: Address = { family: 4, bytes: new Uint8Array(4) };
  const fill = (first: number) => {
    for (let n = 0; n < 100_000; n++) {
      client.bytes[2] = n & 255;
      client.bytes[1] = n >> 8;
      client.bytes[0] = first + (n >> 16);
      counter.count(client, client.bytes, 0, 0, 0, 0);
    }
  };
  fill(1);
  const placed = [...read(reader).values()].reduce((sum, queries) => sum + queries, 0);
  assert.ok(placed > 32_000 && placed <= 32_768);
  assert.equal(placed + reader.unplaced, 100_000);
  for (let look = 0; look < 8; look++) assert.equal(read(reader).size, 0);
  const before = reader.unplaced;
  fill(101);
  const again = read(reader);
  assert.equal([...again.values()].reduce((sum, queries) => sum + queries, 0) + reader.unplaced - before, 100_000);
  assert.ok([...again.keys()].every((key) => /^4\/24\/10[12]\./.test(key)));
});
