import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig } from '../config/parse.ts';
import { CommandError } from './command.ts';
import { checkFile, loadConfig } from './configuration.ts';

const ROOT = join(import.meta.dirname, '../..');
const LOOP = join(ROOT, 'test/config/broken/cname-loop.yaml');

test('what only the DNS server would refuse is told before anything is started', () => {
  assert.equal(parseConfig(readFileSync(LOOP, 'utf8'), LOOP).ok, true);
  const checked = checkFile(LOOP);
  assert.ok(!checked.ok);
  assert.throws(
    () => loadConfig(LOOP),
    (error) => error instanceof CommandError && error.message.includes(checked.problems[0]?.message as string),
  );
});

test('zone files are read from the folder of the configuration, and what is wrong in them is told with their line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'configuration-'));
  try {
    const file = join(folder, 'portico.yaml');
    const text = readFileSync(join(ROOT, 'test/config/broken/zone-source.yaml'), 'utf8');
    const zones = '  zones: { a.test: { file: zones/a.zone } }\n';
    writeFileSync(file, text.slice(0, text.indexOf('  zones:')) + zones);
    mkdirSync(join(folder, 'zones'));
    const zone = join(folder, 'zones/a.zone');
    const good = '@ SOA ns1 hostmaster 5 1h 15m 14d 60\n@ NS ns1\nns1 A 192.0.2.53\n';
    writeFileSync(zone, good);
    const [loaded] = loadConfig(file).zones;
    assert.deepEqual([loaded.serial, loaded.file?.records?.length], [5, 3]);
    writeFileSync(zone, `${good}w A 192.0.2.256\nx A y\n`);
    const checked = checkFile(file);
    assert.ok(!checked.ok);
    const places = checked.problems.map((problem) => `${problem.file}:${problem.line}:${problem.column}`);
    assert.deepEqual(places, [`${zone}:4:5`, `${zone}:5:5`]);
    assert.throws(
      () => loadConfig(file),
      (error: Error) => error.message.startsWith(`${zone}:4:`),
    );
    writeFileSync(zone, `${good}c CNAME c\n`);
    assert.throws(
      () => loadConfig(file),
      (error: Error) => error.message.startsWith(`${zone}:4:`) && /loop/.test(error.message),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a good file is loaded; one that is not there and a folder are told in one sentence', () => {
  assert.equal(loadConfig(join(ROOT, 'examples/two-sites.yaml')).name, 'two-sites');
  assert.throws(() => loadConfig('nowhere.yaml'), /^Error: There is no file nowhere\.yaml\.$/);
  assert.throws(() => loadConfig(ROOT), /is a folder; name the configuration in it\.$/);
});
