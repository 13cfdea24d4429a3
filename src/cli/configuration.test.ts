import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
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

test('a good file is loaded; one that is not there and a folder are told in one sentence', () => {
  assert.equal(loadConfig(join(ROOT, 'examples/two-sites.yaml')).name, 'two-sites');
  assert.throws(() => loadConfig('nowhere.yaml'), /^Error: There is no file nowhere\.yaml\.$/);
  assert.throws(() => loadConfig(ROOT), /is a folder; name the configuration in it\.$/);
});
