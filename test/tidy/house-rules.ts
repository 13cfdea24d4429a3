/** The rules on files and names; each gives the findings, one line each. */
import { importsOf, maskSource } from './source-text.ts';

/** Names that say nothing about their subject. */
const EMPTY_NAMES = [
  'util',
  'utils',
  'utility',
  'helper',
  'helpers',
  'manager',
  'managers',
  'common',
  'misc',
  'stuff',
  'index',
];

/** Files and folders whose name, or a word of it, is empty. */
export function checkNames(paths: readonly string[]): string[] {
  const findings: string[] = [];
  for (const path of paths) {
    for (const segment of path.split('/')) {
      const words = segment
        .replace(/([a-z])([A-Z])/g, '$1-$2')
        .toLowerCase()
        .split(/[-_.]/);
      // `service-index.ts` says which index; `index.ts` says nothing.
      const empty = words.find((word) => EMPTY_NAMES.includes(word) && (word !== 'index' || words[0] === 'index'));
      if (empty !== undefined) findings.push(`${path}: "${empty}" does not say what the file is about`);
    }
    if (
      /\.(ts|c|h)$/.test(path) &&
      !/^[a-z0-9]+([-_][a-z0-9]+)*(\.[a-z0-9]+)*$/.test(path.split('/').at(-1) as string)
    ) {
      findings.push(`${path}: names of source files are lower case with hyphens`);
    }
  }
  return findings;
}

/** Default exports, files that only pass on others' exports, names that end in Manager or the like. */
export function checkExports(path: string, source: string): string[] {
  const findings: string[] = [];
  const code = maskSource(source, true);
  if (/\bexport\s+default\b|\bas\s+default\b/.test(code)) findings.push(`${path}: a default export has no name`);
  const named = /\b(?:class|interface|type|function|const)\s+(\w*(?:Manager|Utils?|Helpers?))\b/.exec(code);
  if (named !== null) findings.push(`${path}: ${named[1]} does not say what it does`);
  const statements = code
    .replace(/\bexport\s*(?:type\s*)?(?:\*(?:\s*as\s+\w+)?|\{[^}]*\})\s*from\s*(['"])\s*\1;?/g, '')
    .trim();
  if (statements === '' && importsOf(source).length > 0)
    findings.push(`${path}: a barrel; import from the file that has it`);
  return findings;
}

/** Lines in a source file above which it should be split by subject. */
export const LONG_FILE_LINES = 500;

/** No file of ours may have more. */
export const HUGE_FILE_LINES = 800;

/** Bytes in any file of the repository. */
export const FILE_LIMIT_BYTES = 200_000;

export function countLines(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}

/** Folders of source files that lack a README, or have one of over a page. `readmes`: path -> text. */
export function checkModules(sources: readonly string[], readmes: ReadonlyMap<string, string>): string[] {
  const modules = new Set<string>();
  for (const path of sources) {
    // src/serve is three modules, one a protocol; its folders stand where others' files do.
    const module = /^(src\/serve\/[\w-]+|src\/(?!serve\/)[\w-]+|bpf|bench)\//.exec(path)?.[1];
    if (module !== undefined) modules.add(module);
  }
  const findings: string[] = [];
  for (const module of [...modules].sort()) {
    const readme = readmes.get(`${module}/README.md`);
    if (readme === undefined) findings.push(`${module}: has no README.md`);
    else if (countLines(readme) > 60) findings.push(`${module}/README.md: is longer than a page of 60 lines`);
  }
  return findings;
}

/** Decisions are `NNN-what-was-chosen.md`, numbered without a gap, and have the sections that make a decision readable. */
export function checkDecisions(decisions: ReadonlyMap<string, string>): string[] {
  const findings: string[] = [];
  let expected = 1;
  for (const path of [...decisions.keys()].sort()) {
    const number = /^docs\/decisions\/(\d{3})(-[a-z0-9]+)+\.md$/.exec(path)?.[1];
    if (number === undefined) {
      findings.push(`${path}: a decision is named NNN-what-was-chosen.md`);
      continue;
    }
    if (Number(number) !== expected) findings.push(`${path}: expected number ${String(expected).padStart(3, '0')}`);
    expected = Number(number) + 1;
    const text = decisions.get(path) as string;
    if (!text.startsWith(`# ${number} `)) findings.push(`${path}: the title begins with "# ${number} "`);
    for (const section of ['## The choice', '## Why', '## What follows']) {
      if (!text.includes(`\n${section}\n`)) findings.push(`${path}: has no section "${section}"`);
    }
  }
  return findings;
}

/** C files say their licence in the first line, and kernel programs tell it to the kernel. */
export function checkLicence(path: string, text: string): string[] {
  const findings: string[] = [];
  if (!text.startsWith('/* SPDX-License-Identifier: MIT OR GPL-2.0-only */\n')) {
    findings.push(`${path}: the first line is not the SPDX identifier`);
  }
  return findings;
}

/** White space at the ends of lines, tabs, and a missing or doubled end of the file. */
export function checkWhiteSpace(path: string, text: string): string[] {
  const findings: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (/[ \t\r]$/.test(line)) findings.push(`${path}:${index + 1} ends in white space`);
  }
  if (!text.endsWith('\n') || text.endsWith('\n\n')) findings.push(`${path}: does not end in one new line`);
  return findings;
}
