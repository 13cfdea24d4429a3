/** Files, names and modules are as the house wants them, and each rule finds what it is there to find. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  checkDecisions,
  checkExports,
  checkLicence,
  checkModules,
  checkNames,
  checkWhiteSpace,
  countLines,
  FILE_LIMIT_BYTES,
  HUGE_FILE_LINES,
  LONG_FILE_LINES,
} from './house-rules.ts';
import { filesLike, ROOT, sizeOf, textOf } from './tree.ts';

const typeScript = filesLike('{src,test,bench,scripts,web}/**/*.ts');
const kernel = filesLike('{bpf,bench}/**/*.{c,h}');
const markdown = filesLike('*.md', '{bpf,src,bench,docs,examples,test,web}/**/*.md');
const texts = (paths: readonly string[]) => new Map(paths.map((path) => [path, textOf(path)]));

/** What git has; without git or a repository (a source archive) everything that lies here. */
function committedFiles(): string[] {
  const listed = spawnSync('git', ['-c', 'safe.directory=*', 'ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' });
  if (listed.status !== 0) return filesLike('**/*');
  return listed.stdout.split('\0').filter((path) => path !== '' && existsSync(join(ROOT, path)));
}

test('no committed file is larger than 200 kB', () => {
  assert.deepEqual(
    committedFiles().filter((path) => sizeOf(path) > FILE_LIMIT_BYTES),
    [],
  );
});

test('names of files say what they are about', () => {
  assert.deepEqual(checkNames([...typeScript, ...kernel, ...filesLike('scripts/*')]), []);
  assert.equal(
    checkNames(['src/net/utils.ts', 'src/fleet/site-manager.ts', 'src/helpers/a.ts', 'src/net/index.ts']).length,
    4,
  );
  assert.equal(checkNames(['src/net/ConnectionTable.ts']).length, 1);
  assert.deepEqual(checkNames(['src/net/service-index.ts', 'bpf/root.bpf.c', 'src/serve/vip/layout.gen.ts']), []);
});

test('exports have names that say something, and come from the file that has them', () => {
  assert.deepEqual(
    typeScript.flatMap((path) => checkExports(path, textOf(path))),
    [],
  );
  assert.equal(checkExports('a.ts', 'export default function a() {}').length, 1);
  assert.equal(checkExports('a.ts', 'const a = 1;\nexport { a as default };').length, 1);
  assert.equal(checkExports('a.ts', 'export class SiteManager {}').length, 1);
  assert.equal(checkExports('a.ts', "/** All. */\nexport * from './b.ts';\nexport { c } from './c.ts';").length, 1);
  assert.deepEqual(checkExports('a.ts', "export { c } from './c.ts';\nexport const d = 'export default';"), []);
});

test('source files are short enough to be read', (context) => {
  const lines = [...typeScript, ...kernel]
    .filter((path) => !path.endsWith('.gen.ts'))
    .map((path) => ({ path, lines: countLines(textOf(path)) }));
  for (const { path, lines: count } of lines) {
    if (count > LONG_FILE_LINES) context.diagnostic(`${path} has ${count} lines: split it by subject`);
  }
  assert.deepEqual(
    lines.filter(({ lines: count }) => count > HUGE_FILE_LINES),
    [],
  );
  assert.equal(countLines('a\nb\n'), 2);
});

test('every module has a README of at most a page', () => {
  const readmes = texts(markdown.filter((path) => path.endsWith('README.md')));
  assert.deepEqual(checkModules([...typeScript, ...kernel], readmes), []);
  const long = new Map([['src/net/README.md', 'line\n'.repeat(61)]]);
  assert.deepEqual(checkModules(['src/net/a.ts', 'src/serve/dns/wire/b.ts'], long), [
    'src/net/README.md: is longer than a page of 60 lines',
    'src/serve/dns: has no README.md',
  ]);
});

test('decisions are numbered, named and told in the same sections', () => {
  const path = (name: string) => `docs/decisions/${name}`;
  assert.deepEqual(checkDecisions(texts(filesLike('docs/decisions/*'))), []);
  const sound = '# 001 A choice\n\n## The choice\n\n## Why\n\n## What follows\n';
  assert.deepEqual(checkDecisions(new Map([[path('001-a-choice.md'), sound]])), []);
  assert.equal(checkDecisions(new Map([[path('002-a-choice.md'), sound]])).length, 2);
  assert.equal(checkDecisions(new Map([[path('notes.md'), sound]])).length, 1);
  assert.equal(checkDecisions(new Map([[path('001-a-choice.md'), '# 001 A choice\n\n## Why\n']])).length, 2);
});

test('C files say their licence', () => {
  assert.deepEqual(
    kernel.flatMap((path) => checkLicence(path, textOf(path))),
    [],
  );
  assert.equal(checkLicence('bpf/a.bpf.c', '#include <linux/bpf.h>\n').length, 1);
});

test('text and scripts have no white space at the ends of lines', () => {
  const paths = [...markdown, ...filesLike('scripts/*', 'examples/*', '.ci/run', 'portico', 'docs/**/*.svg')];
  assert.deepEqual(
    paths.flatMap((path) => checkWhiteSpace(path, textOf(path))),
    [],
  );
  assert.deepEqual(checkWhiteSpace('a.md', 'a \nb\t\n'), ['a.md:1 ends in white space', 'a.md:2 ends in white space']);
  assert.equal(checkWhiteSpace('a.md', 'a').length, 1);
  assert.equal(checkWhiteSpace('a.md', 'a\n\n').length, 1);
});
