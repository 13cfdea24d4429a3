/** The arrows of the house hold in the whole source, and each rule finds what it is there to find. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkArrows, checkCycles, checkPurity, checkSpecifiers, type Sources } from './import-rules.ts';
import { importsOf, maskSource } from './source-text.ts';
import { filesLike, textOf } from './tree.ts';

const source: Sources = new Map(
  filesLike('src/**/*.ts', 'bench/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts').map((path) => [path, textOf(path)]),
);
const tree = (files: Record<string, string>): Sources => new Map(Object.entries(files));

test('imports follow the arrows: net <- config <- decide <- observe, serve, announce <- fleet <- api, lab <- cli', () => {
  assert.deepEqual(checkArrows(source), []);
});

test('net, config, decide and model import no node module and read no clock, randomness or environment', () => {
  assert.deepEqual(checkPurity(source), []);
});

test('no file imports itself by way of others', () => {
  assert.deepEqual(checkCycles(source), []);
});

test('every relative import names a file that is there, and only the command line computes a name', () => {
  assert.deepEqual(checkSpecifiers(source), []);
});

test('an import against the arrows is found in each of its forms', () => {
  const forms = [
    "import { a } from '../serve/a.ts';",
    "import type { A } from '../serve/a.ts';",
    "import {\n  a,\n  type A,\n} from '../serve/a.ts';",
    "import * as a from '../serve/a.ts';",
    "import '../serve/a.ts';",
    "export { a } from '../serve/a.ts';",
    "export * from '../serve/a.ts';",
    "const a = await import('../serve/a.ts');",
    "type A = import('../serve/a.ts').A;",
  ];
  for (const form of forms) {
    const findings = checkArrows(tree({ 'src/decide/b.ts': form }));
    assert.deepEqual(findings, ['src/decide/b.ts:1 decide must not import src/serve/a.ts'], form);
  }
});

test('neighbours do not import each other, a new folder needs a place, and a test beside the source is free', () => {
  assert.equal(checkArrows(tree({ 'src/observe/a.ts': "import '../serve/vip/b.ts';" })).length, 1);
  assert.equal(checkArrows(tree({ 'src/api/a.ts': "import '../lab/b.ts';" })).length, 1);
  assert.equal(checkArrows(tree({ 'src/serve/a.ts': "import '../../bench/b.ts';" })).length, 1);
  assert.equal(checkArrows(tree({ 'src/tools/a.ts': '' })).length, 1);
  assert.deepEqual(checkArrows(tree({ 'src/net/a.test.ts': "import '../model/b.ts';" })), []);
  assert.deepEqual(checkArrows(tree({ 'src/serve/a.ts': "import '../model/b.ts'; import './vip/c.ts';" })), []);
});

test('an impure import or global in a pure module is found with its line', () => {
  const impure = [
    "import { readFileSync } from 'node:fs';",
    "import fs from 'fs';",
    "import koffi from 'koffi';",
    'const now = Date.now();',
    'const now = new Date();',
    'const chance = Math.random();',
    'const now = performance.now();',
    'const home = process.env.HOME;',
    'setTimeout(() => {}, 1);',
    'console.log(1);',
    // An expression inside a template is code.
    'const text = `${Date.now()}`;',
  ];
  for (const line of impure) {
    const findings = checkPurity(tree({ 'src/decide/a.ts': `// why\n${line}\n` }));
    assert.equal(findings.length, 1, line);
    assert.match(findings[0] as string, /^src\/decide\/a\.ts:2 /);
  }
});

test('what only looks impure is not found', () => {
  const pure = [
    '/** Date.now() would be wrong here; import nothing from "node:fs". */',
    "const text = 'process.exit, Math.random()';",
    'const text = `process ${1}`;',
    'const step = machine.process(1);',
    'const record = { process: 1, console: 2 };',
    'const day = new Date(0);',
    'const slash = /process/.test(text);',
    "import { z } from 'zod';",
  ];
  for (const line of pure) assert.deepEqual(checkPurity(tree({ 'src/config/a.ts': line })), [], line);
  assert.deepEqual(checkPurity(tree({ 'src/serve/a.ts': 'Date.now();' })), []);
  assert.deepEqual(checkPurity(tree({ 'src/config/generate-schema.ts': "import 'node:fs';" })), []);
});

test('a ring of imports is found, also when only types go round', () => {
  const ring = tree({
    'src/net/a.ts': "import type { B } from './b.ts';",
    'src/net/b.ts': "import { c } from './c.ts';",
    'src/net/c.ts': "import { a } from './a.ts';",
  });
  assert.deepEqual(checkCycles(ring), [
    'src/net/a.ts:1 imports itself by way of src/net/b.ts -> src/net/c.ts -> src/net/a.ts',
  ]);
  const diamond = tree({
    'src/net/a.ts': "import './b.ts'; import './c.ts';",
    'src/net/b.ts': "import './d.ts';",
    'src/net/c.ts': "import './d.ts';",
    'src/net/d.ts': '',
  });
  assert.deepEqual(checkCycles(diamond), []);
});

test('an import of a file that is not there, or of a computed name, is found', () => {
  assert.equal(checkSpecifiers(tree({ 'src/net/a.ts': "import './gone.ts';" })).length, 1);
  assert.equal(checkSpecifiers(tree({ 'src/net/a.ts': 'await import(name);' })).length, 1);
  assert.equal(checkSpecifiers(tree({ 'src/net/a.ts': 'await import(`./${name}.ts`);' })).length, 1);
});

test('imports are read past comments, strings, templates and regular expressions', () => {
  const text = [
    "// import './no.ts'",
    "/* import './no.ts' */",
    'const a = "import \'./no.ts\'";',
    "const b = `import './no.ts' ${`${1}`} import('./no.ts')`;",
    'const c = /[\'"`]/.test(a) ? 4 / 2 : 1 / 1;',
    "import { yes } from './yes.ts';",
  ].join('\n');
  assert.deepEqual(importsOf(text), [{ specifier: './yes.ts', line: 6, dynamic: false }]);
  assert.equal(maskSource(text, true).split('\n').length, text.split('\n').length);
});
