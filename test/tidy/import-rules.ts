/** The rules on what may import what; each gives the findings, one line each, as `path:line what`. */
import { dirname, normalize } from 'node:path/posix';
import { importsOf, maskSource } from './source-text.ts';

/** Path from the repository's root -> text. */
export type Sources = ReadonlyMap<string, string>;

const PURE = ['net', 'config', 'decide', 'model', 'simulate'];

/**
 * Folder of `src` -> the others that it may import. The order of the house: net <- config <- decide <- observe, serve, announce <-
 * fleet <- api, lab <- cli. Those that stand in one place do not import each other. `model` and `simulate` stand on `decide`.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  net: [],
  config: ['net'],
  decide: ['net', 'config'],
  model: ['net', 'config', 'decide'],
  simulate: ['net', 'config', 'decide'],
  observe: ['net', 'config', 'decide'],
  announce: ['net', 'config', 'decide'],
  serve: ['net', 'config', 'decide', 'model'],
  fleet: ['net', 'config', 'decide', 'model', 'observe', 'serve', 'announce'],
  api: ['net', 'config', 'decide', 'model', 'observe', 'serve', 'announce', 'fleet'],
  lab: ['net', 'config', 'decide', 'model', 'observe', 'serve', 'announce', 'fleet'],
  // A benchmark is a plain script in `bench`, which the command of that name runs.
  cli: [
    'net',
    'config',
    'decide',
    'model',
    'observe',
    'serve',
    'announce',
    'fleet',
    'api',
    'lab',
    'simulate',
    '../bench',
  ],
};

/** What a pure module may take from npm: the reader of the operator's file needs its two. */
const PURE_PACKAGES: Readonly<Record<string, readonly string[]>> = { config: ['yaml', 'zod'] };

/** Scripts that stand beside what they generate; nothing imports them. */
const SCRIPTS = /(^|\/)generate-[\w-]+\.ts$/;

/** Globals that tell the time, draw at random, wait or touch the world. */
const WORLD =
  /(?<![\w$.])(?:Date\.now|new\s+Date\s*\(\s*\)|Math\.random|(?:performance|process|console|setTimeout|setInterval|setImmediate|queueMicrotask|fetch|globalThis|crypto|Buffer)(?![\w$]|\s*\??\s*:))/g;

function isTest(path: string): boolean {
  return path.endsWith('.test.ts');
}

function moduleOf(path: string): string | null {
  return /^src\/([\w-]+)\//.exec(path)?.[1] ?? null;
}

function targetOf(path: string, specifier: string): string {
  return normalize(`${dirname(path)}/${specifier}`);
}

/** Imports against the arrows. Tests stand outside: they may use what they need to make their claim. */
export function checkArrows(sources: Sources): string[] {
  const findings: string[] = [];
  for (const [path, source] of sources) {
    const from = moduleOf(path);
    if (from === null || isTest(path)) continue;
    const allowed = ARROWS[from];
    if (allowed === undefined) {
      findings.push(`${path}:1 the folder src/${from} has no place among the arrows`);
      continue;
    }
    for (const { specifier, line } of importsOf(source)) {
      if (!specifier.startsWith('.')) continue;
      const target = targetOf(path, specifier);
      const to = moduleOf(target) ?? `../${target.split('/')[0]}`;
      if (to !== from && !allowed.includes(to)) findings.push(`${path}:${line} ${from} must not import ${target}`);
    }
  }
  return findings;
}

/** Imports that are written differently from what the house wants. */
export function checkSpecifiers(sources: Sources): string[] {
  const findings: string[] = [];
  for (const [path, source] of sources) {
    for (const { specifier, line, dynamic } of importsOf(source)) {
      if (specifier === '?' && path !== 'src/cli/main.ts' && !isTest(path)) {
        findings.push(`${path}:${line} imports a name that is computed: no reader and no rule can follow it`);
      }
      if (specifier.startsWith('.') && !dynamic && !sources.has(targetOf(path, specifier))) {
        findings.push(`${path}:${line} imports ${specifier}, which is not there`);
      }
    }
  }
  return findings;
}

/** The pure modules do nothing but compute. */
export function checkPurity(sources: Sources): string[] {
  const findings: string[] = [];
  for (const [path, source] of sources) {
    const module = moduleOf(path);
    if (module === null || !PURE.includes(module) || isTest(path) || SCRIPTS.test(path)) continue;
    for (const { specifier, line } of importsOf(source)) {
      const ours = specifier.startsWith('.') || PURE_PACKAGES[module]?.includes(specifier);
      if (!ours) findings.push(`${path}:${line} ${module} is pure and must not import ${specifier}`);
    }
    const code = maskSource(source, true);
    for (const match of code.matchAll(WORLD)) {
      const line = code.slice(0, match.index).split('\n').length;
      findings.push(`${path}:${line} ${module} is pure and must not use ${match[0]}: make it an argument`);
    }
  }
  return findings;
}

/** Files that import each other in a ring, type imports included. Each ring is told once, from its first file in order. */
export function checkCycles(sources: Sources): string[] {
  const targets = new Map<string, string[]>();
  for (const [path, source] of sources) {
    const relative = importsOf(source).filter(({ specifier }) => specifier.startsWith('.'));
    targets.set(path, [...new Set(relative.map(({ specifier }) => targetOf(path, specifier)))]);
  }
  const findings: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const begin = way.indexOf(path);
    if (begin >= 0) {
      findings.push(`${way[begin]}:1 imports itself by way of ${[...way.slice(begin + 1), path].join(' -> ')}`);
      return;
    }
    if (done.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of [...targets.keys()].sort()) visit(path, []);
  return findings;
}
