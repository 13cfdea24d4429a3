/** YAML text to plain values, and back from a path to its line and column. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';
import { type ConfigProblem, type Finding, formatPath, formatValue, type Path, valueAt } from './problem.ts';

export interface ConfigDocument {
  /** Plain values; null when `problems` make it meaningless. */
  readonly value: unknown;
  /** Whether `value` can be judged although there are problems: names that stand twice, and nothing worse. */
  readonly isReadable: boolean;
  /** Of YAML itself. */
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
  /** A finding with its place in the text: of the thing itself, or of the nearest thing around it that is there. */
  place(finding: Finding): ConfigProblem;
}

/** More than a configuration needs; a bound on the work. */
const MAX_CHARACTERS = 8 * 1024 * 1024;

const START = { line: 1, column: 1 };

/** Reads YAML 1.2, one document, with anchors and merge keys. Never throws. */
export function readDocument(text: string): ConfigDocument {
  if (text.length > MAX_CHARACTERS) {
    const message = 'the file is larger than 8 MiB';
    const problem = { path: '', ...START, value: '', message, remedy: 'name a Portico configuration' };
    return {
      value: null,
      isReadable: false,
      problems: [problem],
      warnings: [],
      place: (finding) => toProblem(finding, undefined, START),
    };
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    merge: true,
    prettyErrors: false,
    stringKeys: true,
    logLevel: 'error',
  });
  const toSyntaxProblem = (error: YAMLError) => {
    const path = pathAt(document.contents, error.pos[0]);
    return syntaxProblem(error.code, error.message, path, error.pos[0], lineCounter, text);
  };
  const problems = document.errors.map(toSyntaxProblem);
  const warnings = document.warnings.map(toSyntaxProblem);
  let isReadable = document.errors.every((error) => error.code === 'DUPLICATE_KEY');
  let value: unknown = null;
  try {
    // Aliases in aliases can grow without bound ("billion laughs"): the library counts them and throws.
    if (isReadable) value = document.toJS({ maxAliasCount: 1000 });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const offset = brokenAlias(document) ?? 0;
    problems.push(syntaxProblem('BAD_ALIAS', message, pathAt(document.contents, offset), offset, lineCounter, text));
    isReadable = false;
  }
  return {
    value,
    isReadable,
    problems,
    warnings,
    place(finding) {
      const offset = locate(document, finding.path, finding.at);
      const { line, col } = lineCounter.linePos(offset);
      return toProblem(finding, valueAt(value, finding.path), { line: Math.max(1, line), column: Math.max(1, col) });
    },
  };
}

/** What stands there is not to be printed. */
function isSecret(path: Path): boolean {
  return path[0] === 'dns' && (path[1] === 'keys' || (path[1] === 'cookies' && path[2] === 'secrets'));
}

function toProblem(finding: Finding, value: unknown, place: { line: number; column: number }): ConfigProblem {
  const { message, remedy } = finding;
  // A secret that is nearly right is told to nobody.
  const told = isSecret(finding.path) ? '' : formatValue(value);
  return { path: formatPath(finding.path), ...place, value: told, message, remedy };
}

function locate(document: Document, path: Path, at: 'key' | 'value'): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, part] of path.entries()) {
    const isLast = depth === path.length - 1;
    const container = isAlias(node) ? node.resolve(document) : node;
    if (isSeq(container)) {
      node = container.items[Number(part)];
      offset = startOf(node) ?? offset;
      if (node === undefined) break;
      continue;
    }
    const pair = isMap(container) ? findPair(document, container.items, String(part)) : undefined;
    if (pair === undefined) break;
    // A key stands for its value where the value is absent, or is a block that begins further down.
    offset = startOf(pair.key) ?? offset;
    node = pair.value;
    const isPlain = isScalar(node) || (isAlias(node) && isLast);
    if (isPlain && !(isLast && at === 'key')) offset = startOf(node) ?? offset;
  }
  return offset;
}

/** Where the first alias stands whose anchor is not defined before it. */
function brokenAlias(document: Document): number | undefined {
  let offset: number | undefined;
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return undefined;
      offset = alias.range?.[0];
      return visit.BREAK;
    },
  });
  return offset;
}

/** The path of the deepest key or list entry at or around an offset. */
function pathAt(root: unknown, offset: number): Path {
  const path: (string | number)[] = [];
  let node = root;
  while (isMap(node) || isSeq(node)) {
    let next: unknown;
    for (const [index, item] of node.items.entries()) {
      const first = isMap(node) ? (item as Pair).key : item;
      const begin = (first as Node | null)?.range?.[0];
      if (begin === undefined || begin > offset) break;
      path[path.length - (next === undefined ? 0 : 1)] = isMap(node)
        ? formatValue(isScalar(first) ? first.value : '?')
        : index;
      next = isMap(node) ? ((item as Pair).value ?? null) : item;
    }
    if (next === undefined) break;
    node = next;
    // The offset is in a key: what its value holds begins further down.
    const begin = (node as Node | null)?.range?.[0];
    if (begin === undefined || begin > offset) break;
  }
  return path;
}

/** The pair with a key, its own before merged ones (`<<: *anchor`). */
function findPair(document: Document, items: readonly Pair[], key: string, depth = 0): Pair | undefined {
  const own = items.find((item) => isScalar(item.key) && String(item.key.value) === key);
  if (own !== undefined || depth > 8) return own;
  for (const item of items) {
    if (!isScalar(item.key) || String(item.key.value) !== '<<') continue;
    const sources = isSeq(item.value) ? item.value.items : [item.value];
    for (const source of sources) {
      const map = isAlias(source) ? source.resolve(document) : source;
      const found = isMap(map) ? findPair(document, map.items, key, depth + 1) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Where a node begins; for an empty value (`key:` and nothing) undefined, so that the key is pointed at. */
function startOf(node: unknown): number | undefined {
  const range = (node as Node | null | undefined)?.range;
  if (range === null || range === undefined) return undefined;
  return range[1] > range[0] || isMap(node) || isSeq(node) ? range[0] : undefined;
}

/** What to do about the parser's errors, by its codes. */
const SYNTAX_REMEDIES: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'define the anchor (&name) before its alias (*name), and put a text that begins with * in quotes',
  BAD_COLLECTION_TYPE: 'take the tag away',
  BAD_DIRECTIVE: 'take the line that begins with % away',
  BAD_DQ_ESCAPE: 'write \\\\ for a backslash, or use single quotes',
  BAD_INDENT: 'indent by spaces, the same number for all entries of a map or list',
  BAD_SCALAR_START: 'put the text in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'put one "key: value" on a line, the entries of a map below its key, and text with ": " in quotes',
  BLOCK_IN_FLOW: 'within { } and [ ] separate entries by commas',
  DUPLICATE_KEY: 'keep one of the two, or merge them',
  IMPOSSIBLE: 'write plain YAML',
  KEY_OVER_1024_CHARS: 'put quotes and colons right; a key this long is hardly meant',
  MISSING_CHAR: 'close the bracket, brace or quote, or put what is missing',
  MULTILINE_IMPLICIT_KEY: 'put the key and its colon on one line; close an open quote or bracket above',
  MULTIPLE_ANCHORS: 'give a value one anchor only',
  MULTIPLE_DOCS: 'take the line --- away: a configuration is one document',
  MULTIPLE_TAGS: 'take the tags away',
  NON_STRING_KEY: 'put the key in quotes',
  TAB_AS_INDENT: 'replace tabs by spaces: YAML is indented by spaces only',
  TAG_RESOLVE_FAILED: 'take the tag (!...) away',
  UNEXPECTED_TOKEN: 'put text with special characters in quotes, one entry on a line',
};

/** The library's wording, where a plainer one is at hand. */
const SYNTAX_MESSAGES: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'the name stands twice in this map',
  MULTIPLE_DOCS: 'a second document begins here',
  TAB_AS_INDENT: 'the line is indented by a tab',
};

function syntaxProblem(
  code: string,
  original: string,
  path: Path,
  offset: number,
  lineCounter: LineCounter,
  text: string,
): ConfigProblem {
  const { line, col } = lineCounter.linePos(offset);
  const end = text.indexOf('\n', offset);
  const message = SYNTAX_MESSAGES[code] ?? `this is not valid YAML: ${original.split('\n')[0].replace(/\.$/, '')}`;
  return {
    // What was meant as a secret may look like keys below it.
    path: formatPath(isSecret(path) ? path.slice(0, 4) : path),
    line: Math.max(1, line),
    column: Math.max(1, col),
    value: isSecret(path) ? '' : formatValue(text.slice(offset, end < 0 ? undefined : end).trim()),
    message,
    remedy: SYNTAX_REMEDIES[code] ?? 'put it right; YAML is explained at https://yaml.org/spec/1.2.2/',
  };
}
