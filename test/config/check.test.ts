/** `portico check` on the configurations in `broken/`. What each is to be told stands in it: `# expect: PATH PATH` at the end of the
 * line of the errors, `# expect at LINE: PATH` where a line cannot bear a comment, `# warn: PATH` for warnings that must be there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { FORWARDING_MODES, SCHEDULERS } from '../../src/config/model.ts';
import type { MtuPath } from '../../src/config/path-mtu.ts';
import type { ConfigProblem } from '../../src/config/problem.ts';
import { POLICY_KINDS } from '../../src/config/steering-model.ts';

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

test('the example of policies is good and has each of them', async () => {
  const { status, stdout } = await portico('check', 'examples/policies.yaml', '--json');
  assert.equal(status, 0);
  const { warnings, effective } = JSON.parse(stdout) as { warnings: []; effective: { services: { policy: string }[] } };
  assert.deepEqual(warnings, []);
  const policies = effective.services.map(({ policy }) => policy);
  for (const kind of POLICY_KINDS)
    assert.ok(
      policies.some((policy) => policy.includes(kind)),
      kind,
    );
});

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

test('the example of all modes and schedulers is good, and warned of where one balancer knows what another does not', async () => {
  const { status, stdout } = await portico('check', 'examples/modes.yaml', '--json');
  assert.equal(status, 0, stdout);
  const { warnings, effective } = JSON.parse(stdout);
  assert.deepEqual(
    warnings.map(({ path }: ConfigProblem) => path),
    [
      'backends.plain-1.agent',
      'services.shop.forwarding',
      'services.files.scheduler',
      'services.legacy.scheduler',
      'services.names.scheduler',
    ],
  );
  const seen = (pattern: RegExp) =>
    new Set([...readFileSync(join(ROOT, 'examples/modes.yaml'), 'utf8').matchAll(pattern)].map(([, value]) => value));
  for (const scheduler of SCHEDULERS)
    assert.ok(scheduler === 'maglev' || seen(/ scheduler: ([a-z-]+)/g).has(scheduler), scheduler);
  const modes = new Set(effective.paths.map((path: MtuPath) => path.forwarding));
  assert.deepEqual(
    FORWARDING_MODES.filter((mode) => !modes.has(mode)),
    [],
  );
});

test('each path tells how long packets may be, and a table does where some are too long', async () => {
  const paths = JSON.parse((await portico('check', 'examples/modes.yaml', '--json')).stdout).effective
    .paths as MtuPath[];
  const of = (service: string, backend: string) => {
    return paths.find((path) => path.service === service && path.backend === backend);
  };
  assert.deepEqual(
    [of('web', 'far-2'), of('web', 'far-3'), of('media', 'near-1'), of('files', 'near-1'), of('old', 'plain-1')].map(
      (path) => [path?.forwarding, path?.overheadBytes, path?.effectiveMtuBytes, path?.fits],
    ),
    [
      ['gre', 28, 1572, true],
      ['gre', 48, 1552, true],
      ['gue', 36, 1564, true],
      ['l2', 0, 1600, true],
      ['ipip', 20, 1580, true],
    ],
  );
  assert.doesNotMatch((await portico('check', 'examples/modes.yaml')).stdout, /Longest packets/);
  const narrow = join(mkdtempSync(join(tmpdir(), 'portico-check-')), 'narrow.yaml');
  writeFileSync(narrow, readFileSync(join(ROOT, 'examples/modes.yaml'), 'utf8').replace('mtu: 1600', 'mtu: 1530'));
  const { stdout } = await portico('check', narrow);
  rmSync(dirname(narrow), { recursive: true });
  assert.match(stdout, /^ {2}eu +gre over IPv6 +4 +1 +1500 +48 +1530 +1482 \(too few\)$/m);
  assert.match(stdout, /^ {2}eu +gre over IPv4 +4 +2 +1500 +28 +1530 +1502$/m);
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
