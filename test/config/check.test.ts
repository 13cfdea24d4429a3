/** `portico check` on the configurations in `broken/`. What each is to be told stands in it: `# expect: PATH PATH` at the end of the
 * line of the errors, `# expect at LINE: PATH` where a line cannot bear a comment, `# warn: PATH` for warnings that must be there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { ConfigProblem } from '../../src/config/problem.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FOLDER = join(import.meta.dirname, 'broken');
const files = readdirSync(FOLDER).sort();

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function portico(...args: string[]): Promise<Run> {
  return new Promise((settle) => {
    const child = execFile(join(ROOT, 'portico'), args, { cwd: ROOT }, (_error, stdout, stderr) => {
      settle({ status: child.exitCode ?? -1, stdout, stderr });
    });
  });
}

/** `LINE PATH` for each expectation of a kind, sorted. */
function expectations(text: string, kind: 'expect' | 'warn'): string[] {
  const found: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const match = new RegExp(`# ${kind}( at ([0-9]+))?: (.*)$`).exec(line);
    if (match === null) continue;
    // Only a path in brackets may have spaces.
    const paths = match[2] === undefined ? match[3].split(' ') : [match[3]];
    for (const path of paths) found.push(`${match[2] ?? index + 1} ${path === '(file)' ? '' : path}`);
  }
  return found.sort();
}

const placesOf = (problems: readonly ConfigProblem[]) => problems.map(({ line, path }) => `${line} ${path}`).sort();

test('at least 20 broken configurations are there', () => {
  assert.ok(files.length >= 20, String(files.length));
});

for (const name of files) {
  const file = `test/config/broken/${name}`;
  const text = readFileSync(join(FOLDER, name), 'utf8');

  test(`${name}: every error is named with path, line and remedy, and no other`, async () => {
    const [forPrograms, forPeople] = await Promise.all([portico('check', file, '--json'), portico('check', file)]);
    for (const run of [forPrograms, forPeople]) {
      assert.equal(run.status, 1);
      assert.equal(run.stderr, '');
      assert.doesNotMatch(run.stdout, /^\s+at .*[:(]/m, 'a stack trace');
    }
    const told = JSON.parse(forPrograms.stdout) as { ok: boolean; errors: ConfigProblem[]; warnings: ConfigProblem[] };
    assert.equal(told.ok, false);
    const expected = expectations(text, 'expect');
    assert.ok(expected.length > 0, 'the file expects nothing');
    assert.deepEqual(placesOf(told.errors), expected);
    const warned = placesOf(told.warnings);
    for (const warning of expectations(text, 'warn')) assert.ok(warned.includes(warning), warning);
    for (const { path, line, column, message, remedy } of [...told.errors, ...told.warnings]) {
      assert.ok(message.length > 0 && remedy.length > 0, path);
      assert.ok(!/undefined|\[object|NaN/.test(message + remedy), message + remedy);
      assert.ok(forPeople.stdout.includes(`${file}:${line}:${column}: `));
      assert.ok(forPeople.stdout.includes(`    remedy: ${remedy}\n`));
    }
  });
}

test('a good configuration is described, and exits 0', async () => {
  const { status, stdout } = await portico('check', 'examples/two-sites.yaml', '--json');
  assert.equal(status, 0);
  const told = JSON.parse(stdout);
  assert.equal(told.ok, true);
  assert.deepEqual(told.warnings, []);
  assert.deepEqual(told.effective.sites[0], {
    name: 'eu',
    balancers: ['eu-b1', 'eu-b2'],
    backends: ['eu-1', 'eu-2', 'eu-3'],
  });
  const { stdout: text } = await portico('check', 'examples/two-sites.yaml');
  assert.match(text, /good, no warnings/);
});

test('a file that is not there, a folder and a missing argument are told in one sentence', async () => {
  const absent = await portico('check', 'nowhere.yaml');
  assert.deepEqual(absent, { status: 1, stdout: '', stderr: 'portico check: There is no file nowhere.yaml.\n' });
  const folder = await portico('check', 'examples');
  assert.equal(folder.status, 1);
  assert.equal(folder.stderr.split('\n').length, 2);
  const nothing = await portico('check');
  assert.equal(nothing.status, 2);
  assert.match(nothing.stderr, /^portico check: FILE is missing\. See portico check --help\.\n$/);
});
