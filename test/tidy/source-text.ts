/** Reads just enough TypeScript for the rules of the house: what is comment, what is string, what is imported. */

export interface SourceImport {
  /** As written: `../net/address.ts`, `node:fs`, `zod`. */
  readonly specifier: string;
  readonly line: number;
  /** `import(...)`. */
  readonly dynamic: boolean;
}

/** The source with comments, and with `blankStrings` the insides of strings, replaced by spaces; lines stay where they are. */
export function maskSource(source: string, blankStrings: boolean): string {
  let result = '';
  let at = 0;
  // Braces that are open inside each `${` that we are in: a template's expression is code again.
  const templates: number[] = [];
  const blank = (text: string) => text.replace(/[^\n]/g, ' ');
  while (at < source.length) {
    const rest = source.slice(at, at + 2);
    let end = at + 1;
    let keep = true;
    if (rest === '//') {
      end = endOf(source, '\n', at);
      keep = false;
    } else if (rest === '/*') {
      end = endOf(source, '*/', at + 2) + 2;
      keep = false;
    } else if (source[at] === '/' && startsRegularExpression(result)) {
      end = endOfRegularExpression(source, at);
      keep = !blankStrings;
    } else if (source[at] === "'" || source[at] === '"') {
      end = endOfString(source, at, source[at] as string);
      if (blankStrings) {
        result += `${source[at]}${blank(source.slice(at + 1, end - 1))}${source[at]}`;
        at = end;
        continue;
      }
    } else if (source[at] === '`' || (source[at] === '}' && templates.at(-1) === 0)) {
      if (source[at] === '}') templates.pop();
      end = endOfTemplatePart(source, at + 1);
      if (source.slice(end - 2, end) === '${') templates.push(0);
      if (blankStrings) {
        result += `${source[at]}${blank(source.slice(at + 1, end - 1))}${source[end - 1] ?? ''}`;
        at = end;
        continue;
      }
    } else if (source[at] === '{' && templates.length > 0) templates.push((templates.pop() as number) + 1);
    else if (source[at] === '}' && templates.length > 0) templates.push((templates.pop() as number) - 1);
    result += keep ? source.slice(at, end) : blank(source.slice(at, end));
    at = end;
  }
  return result;
}

function endOf(source: string, mark: string, from: number): number {
  const found = source.indexOf(mark, from);
  return found < 0 ? source.length : found;
}

function endOfString(source: string, from: number, quote: string): number {
  let at = from + 1;
  while (at < source.length && source[at] !== quote && source[at] !== '\n') at += source[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** After the closing backtick, or after the `${` that opens an expression. */
function endOfTemplatePart(source: string, from: number): number {
  let at = from;
  while (at < source.length) {
    if (source[at] === '`') return at + 1;
    if (source.startsWith('${', at)) return at + 2;
    at += source[at] === '\\' ? 2 : 1;
  }
  return at;
}

/** A slash after a value divides; after anything else it opens a regular expression. */
function startsRegularExpression(before: string): boolean {
  const text = before.trimEnd();
  if (text === '') return true;
  if (/(^|[^\w$.])(return|typeof|case|in|of|await|yield|void|else)$/.test(text)) return true;
  return !/[\w$)\]}'"`]$/.test(text);
}

function endOfRegularExpression(source: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < source.length && source[at] !== '\n'; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === '[') inClass = true;
    else if (source[at] === ']') inClass = false;
    else if (source[at] === '/' && !inClass) return at + 1;
  }
  return from + 1;
}

const STATIC_IMPORT = /\b(?:import|export)\b(?:[\s\w$*{},]*?\bfrom)?\s*(['"])([^'"\n]+)\1/g;
const DYNAMIC_IMPORT = /\bimport\s*\(\s*(?:(['"`])([^'"`\n]*)\1)?/g;

/** Every import, export-from, type import and dynamic import; a dynamic one that is not a plain string has the specifier `?`. */
export function importsOf(source: string): SourceImport[] {
  const text = maskSource(source, false);
  // Positions are the same in both; an import inside a string is blank here.
  const code = maskSource(source, true);
  const found: SourceImport[] = [];
  const lineAt = (index: number) => text.slice(0, index).split('\n').length;
  for (const match of text.matchAll(STATIC_IMPORT)) {
    if (/^(import|export)/.test(code.slice(match.index))) {
      found.push({ specifier: match[2] as string, line: lineAt(match.index), dynamic: false });
    }
  }
  for (const match of text.matchAll(DYNAMIC_IMPORT)) {
    if (!code.startsWith('import', match.index)) continue;
    const plain = match[2] !== undefined && !match[2].includes('${');
    found.push({ specifier: plain ? (match[2] as string) : '?', line: lineAt(match.index), dynamic: true });
  }
  return found;
}
