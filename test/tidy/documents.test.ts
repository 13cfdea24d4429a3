/** What the documents say can be done, can be done. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dirname } from 'node:path/posix';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { calledCommands, codeBlocks, localLinks, namesKey, schemaKeys } from './document-rules.ts';
import { filesLike, ROOT, textOf } from './tree.ts';

const run = promisify(execFile);
const documents = filesLike('*.md', '{bpf,src,bench,docs,examples,test,web}/**/*.md');
const folder = mkdtempSync(join(tmpdir(), 'portico-documents-'));
after(() => rmSync(folder, { recursive: true }));

test('every npm script that a document names is in package.json', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
  const ofNpm = ['ci', 'install', 'i'];
  const unknown = documents.flatMap((path) =>
    [...calledCommands(textOf(path)).npm]
      .filter((name) => !Object.hasOwn(scripts, name) && !ofNpm.includes(name))
      .map((name) => `${path}: npm run ${name}`),
  );
  assert.deepEqual(unknown, []);
  for (const script of Object.values(scripts))
    assert.ok(existsSync(join(ROOT, script.replace(/^exec /, '').split(' ')[0] as string)), script);
});

test('every portico command that a document names answers to --help', async () => {
  const names = new Set(documents.flatMap((path) => [...calledCommands(textOf(path)).portico]));
  assert.ok(names.has('check'));
  for (const name of names) {
    const { stdout } = await run('./portico', [name, '--help'], { cwd: ROOT });
    assert.ok(stdout.includes(`portico ${name}`), name);
  }
});

test('every link inside the repository leads to a file', () => {
  const broken = documents.flatMap((path) =>
    localLinks(textOf(path))
      .filter((link) => !existsSync(join(ROOT, dirname(path), link)))
      .map((link) => `${path}: ${link}`),
  );
  assert.deepEqual(broken, []);
});

test('every whole configuration in a document passes portico check', async () => {
  let checked = 0;
  for (const path of documents) {
    for (const block of codeBlocks(textOf(path))) {
      // A whole one says its sites; the others show a part.
      if (block.language !== 'yaml' || !/^sites:/m.test(block.text)) continue;
      const file = join(folder, `${checked++}.yaml`);
      writeFileSync(file, block.text);
      const { stdout } = await run('./portico', ['check', file, '--json'], { cwd: ROOT });
      assert.equal((JSON.parse(stdout) as { ok: boolean }).ok, true, `${path}:${block.line} ${stdout}`);
    }
  }
  assert.ok(checked > 0);
});

test('docs/configuration.md has every key of the schema, with its default', () => {
  const rows = textOf('docs/configuration.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const missing = schemaKeys(JSON.parse(textOf('docs/portico.schema.json'))).filter(
    ({ key, fallback }) => !rows.some((row) => namesKey(row, key) && (fallback === null || row.includes(fallback))),
  );
  assert.deepEqual(missing, []);
});

test('docs/operations.md tells what every outcome of a packet means', () => {
  const body = /enum outcome \{([^}]*)\}/.exec(textOf('bpf/layout.h'))?.[1] ?? '';
  const names = [...body.matchAll(/\bOUTCOME_(\w+),/g)].map((match) =>
    (match[1] as string).toLowerCase().replaceAll('_', '-'),
  );
  assert.ok(names.length > 10);
  const text = textOf('docs/operations.md');
  assert.deepEqual(
    names.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

test('the first configuration in the README is about 20 lines', () => {
  const block = codeBlocks(textOf('README.md')).find(({ language }) => language === 'yaml');
  const lines = block?.text.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('#')) ?? [];
  assert.ok(lines.length >= 10 && lines.length <= 30, `${lines.length} lines`);
});

test('keys and defaults of a schema are found, and a row that lacks them is not taken for one that has them', () => {
  const number = { type: 'integer', default: 3 };
  const schema = {
    properties: { a: { properties: { b: number } }, c: { additionalProperties: { properties: { d: {} } } } },
  };
  assert.deepEqual(schemaKeys(schema), [
    { key: 'a', fallback: null },
    { key: 'b', fallback: '`3`' },
    { key: 'c', fallback: null },
    { key: 'd', fallback: null },
  ]);
  assert.ok(namesKey('| `soa.a`, `b` | `3` | text |', 'a'));
  assert.ok(!namesKey('| `ab` | - | a |', 'a'));
});

test('code blocks, commands and links are found in Markdown', () => {
  const text = [
    'Run `npm run gone` or [this](docs/gone.md#there), <img src="gone.svg">, [that](https://example.org/), [here](#a).',
    '```sh',
    'npm start -- --once',
    'sudo ./portico vanish FILE   # [no](link.md)',
    '```',
    '',
    '```yaml',
    'sites: {}',
    '```',
  ].join('\n');
  assert.deepEqual(
    codeBlocks(text).map(({ language, line }) => [language, line]),
    [
      ['sh', 3],
      ['yaml', 8],
    ],
  );
  assert.deepEqual([...calledCommands(text).npm], ['start', 'gone']);
  assert.deepEqual([...calledCommands(text).portico], ['vanish']);
  assert.deepEqual(localLinks(text), ['docs/gone.md', 'gone.svg']);
});
