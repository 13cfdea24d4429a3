import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../model/random.ts';
import { SERVER_ID_BUCKETS, SERVER_IDS } from './layout.gen.ts';
import { MAX_SERVER_IDS, ServerIdTable } from './server-id-table.ts';

function memory(): ArrayBuffer {
  return new ArrayBuffer(SERVER_ID_BUCKETS * SERVER_IDS.sizeBytes);
}

test('IDs are of one service, and a process that takes the memory over finds them', () => {
  const buffer = memory();
  const table = new ServerIdTable(buffer);
  assert.equal(
    table.setService(
      1,
      new Map([
        [5n, 10],
        [6n, 11],
      ]),
    ),
    0,
  );
  assert.equal(table.setService(2, new Map([[5n, 12]])), 0);
  table.setService(
    1,
    new Map([
      [6n, 13],
      [7n, 14],
    ]),
  );
  const heir = new ServerIdTable(buffer);
  const sorted = (subject: number) => [...heir.list(subject)].sort(([a], [b]) => Number(a - b));
  assert.deepEqual(sorted(1), [
    [6n, 13],
    [7n, 14],
  ]);
  assert.deepEqual(sorted(2), [[5n, 12]]);
  assert.equal(heir.count, 3);
  heir.removeBackend(13);
  assert.deepEqual(sorted(1), [[7n, 14]]);
  heir.clear();
  assert.ok(
    new BigUint64Array(buffer).every((word, at) => at % 8 < 4 || word === 0n),
    'no place has an owner',
  );
});

test('all IDs find a place until the table is half full, and then none does', () => {
  const table = new ServerIdTable(memory());
  const random = createRandom(1);
  for (let i = 0; i < MAX_SERVER_IDS; i++)
    assert.ok(table.add(1 + (random() % 1000), (BigInt(random()) << 32n) | BigInt(random()), 1), `ID ${i}`);
  assert.equal(table.refused, 0);
  assert.equal(table.add(1, 1n, 1), false);
  assert.equal(table.refused, 1);
});

test('short IDs that count up find places too: those that are indices', () => {
  const table = new ServerIdTable(memory());
  for (let subject = 1; subject <= 1000; subject++)
    for (let id = 1; id <= 100; id++) assert.ok(table.add(subject, BigInt(id), id), `${subject} ${id}`);
});
