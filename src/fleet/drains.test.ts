import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NO_DRAINS, readDrains, writeDrains } from './drains.ts';

test('drains are read as they were written, and a damaged file is told', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-drains-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'drains/b.json');
  assert.deepEqual(readDrains(file), NO_DRAINS);
  const drains = {
    backend: ['eu-1'],
    balancer: [],
    site: ['us'],
    nameserver: ['ns1'],
    deadlines: { 'eu-1': 1_790_000_000_000 },
    fromFile: { 'eu-1': 600_000 },
  };
  writeDrains(file, drains);
  assert.deepEqual(readDrains(file), drains);
  assert.deepEqual(readdirSync(join(folder, 'drains')), ['b.json']);
  writeFileSync(file, '{"backend":[],"balancer":["eu-b1"],"site":[]}');
  assert.deepEqual(readDrains(file), { ...NO_DRAINS, balancer: ['eu-b1'] }, 'of an earlier version');
  for (const text of ['', '{}', '[]', 'null', '{"backend":[1],"balancer":[],"site":[]}']) {
    writeFileSync(file, text);
    assert.throws(() => readDrains(file), /does not hold drains/, text);
  }
});
