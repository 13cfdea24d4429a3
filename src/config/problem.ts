/** What is wrong with a configuration, told to its author: where, what, and what would be right. */

export interface ConfigProblem {
  /** Of keys from the top of the file: `services.www.vips.eu[0]`; names with dots stand in brackets. Empty: the file itself. */
  readonly path: string;
  /** The file that line and column are of; undefined: the configuration itself. */
  readonly file?: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** What stands there, shortened; empty: nothing does. */
  readonly value: string;
  /** One sentence without a full stop. */
  readonly message: string;
  /** What to write or do instead: one sentence without a full stop. */
  readonly remedy: string;
}

/** Keys from the top of the file; numbers count in lists, from 0. */
export type Path = readonly (string | number)[];

/** A problem before its place in the file is known. */
export interface Finding {
  readonly path: Path;
  /** `key`: point at the key (an unknown or doubled name); `value`: at what it has. */
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly remedy: string;
}

/** What the checks report to: they go on after each finding. */
export interface Report {
  /** Whether the file has anything at a path, be it wrong: what could not be read looks like what is not there. */
  isWritten(path: Path): boolean;
  error(path: Path, message: string, remedy: string, at?: 'key' | 'value'): void;
  warn(path: Path, message: string, remedy: string, at?: 'key' | 'value'): void;
}

export interface Findings extends Report {
  readonly errors: Finding[];
  readonly warnings: Finding[];
}

/** `root`: the plain values of the file. */
export function createFindings(root: unknown): Findings {
  const errors: Finding[] = [];
  const warnings: Finding[] = [];
  return {
    errors,
    warnings,
    isWritten: (path) => valueAt(root, path) !== undefined,
    error: (path, message, remedy, at = 'value') => errors.push({ path, at, message, remedy }),
    warn: (path, message, remedy, at = 'value') => warnings.push({ path, at, message, remedy }),
  };
}

/** What stands at a path of plain values; undefined: nothing. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (!/^[A-Za-z0-9_*@-]+$/.test(part)) text += `["${part}"]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

const MAX_VALUE_CHARACTERS = 80;

/** A value of the file in one line of at most 80 characters. Takes anything, also what refers to itself. */
export function formatValue(value: unknown): string {
  if (value === undefined || value === null) return '';
  let text: string;
  if (typeof value === 'string') text = value.replace(/\s+/g, ' ');
  else if (typeof value === 'object' && value !== null) text = formatStructure(value);
  else text = String(value);
  return text.length > MAX_VALUE_CHARACTERS ? `${text.slice(0, MAX_VALUE_CHARACTERS - 3)}...` : text;
}

/** Two levels are enough for a message. */
function formatStructure(value: object): string {
  const inner = (part: unknown) => {
    if (typeof part === 'object' && part !== null) return Array.isArray(part) ? '[...]' : '{...}';
    return String(part).slice(0, MAX_VALUE_CHARACTERS);
  };
  if (Array.isArray(value)) return `[${value.slice(0, 20).map(inner).join(', ')}]`;
  const entries = Object.entries(value).slice(0, 20);
  return `{${entries.map(([key, part]) => `${key}: ${inner(part)}`).join(', ')}}`;
}

/** `a`, `a and b`, `a, b and c`; long lists end with how many more there are. */
export function listNames(names: readonly string[], word: 'and' | 'or' = 'and'): string {
  if (names.length > 8) return `${names.slice(0, 6).join(', ')} ${word} ${names.length - 6} more`;
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} ${word} ${names[names.length - 1]}`;
}
