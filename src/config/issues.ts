/** Zod's issues in our words. */
import type { z } from 'zod';
import type { IssueNotes } from './fields.ts';
import { nearestName } from './nearest.ts';
import { formatPath, formatValue, listNames, type Path, type Report, valueAt } from './problem.ts';

type Issue = z.core.$ZodIssue;

/** Reports each issue of a strict schema about the plain values `root`. */
export function reportIssues(issues: readonly Issue[], root: unknown, report: Report): void {
  for (const issue of issues) {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    const raw = valueAt(root, path);
    if (issue.code === 'unrecognized_keys') reportUnknownKeys(path, issue.keys, issue.message.split(' '), report);
    else if (raw === undefined || raw === null) reportMissing(path, raw, issue, report);
    else if (issue.code === 'custom') report.error(path, issue.message, notesOf(issue).remedy);
    else report.error(path, ...wordStructure(issue, raw));
  }
}

function notesOf(issue: Issue): IssueNotes {
  const params = issue.code === 'custom' ? issue.params : undefined;
  return { remedy: String(params?.remedy ?? 'put it right'), example: params?.example };
}

function reportUnknownKeys(path: Path, keys: readonly string[], known: readonly string[], report: Report): void {
  for (const key of keys) {
    const nearest = nearestName(key, known);
    const remedy = nearest === null ? `known here: ${known.join(', ')}` : `did you mean "${nearest}"?`;
    report.error([...path, key], `"${key}" is not known here`, remedy, 'key');
  }
}

function reportMissing(path: Path, raw: unknown, issue: Issue, report: Report): void {
  if (path.length === 0) {
    report.error(
      path,
      'the file is empty',
      'begin with name, sites, balancers, backends, services and dns, as examples/two-sites.yaml does',
    );
    return;
  }
  const last = path[path.length - 1];
  const name = typeof last === 'number' ? formatPath(path.slice(-2)) : `"${last}"`;
  // Of maps and lists the message is an example: fields.ts.
  const hint = issue.code === 'custom' ? formatExample(notesOf(issue).example) : issue.message;
  const remedy =
    typeof last === 'number'
      ? 'write a value, or take the empty entry away'
      : `add ${last}: ${hint === '' ? 'and its entries, indented' : hint}`;
  report.error(path, raw === undefined ? `${name} is missing` : `${name} has no value`, remedy, 'key');
}

function formatExample(example: unknown): string {
  return Array.isArray(example) ? `[${example.join(', ')}]` : formatValue(example);
}

function expectsList(issue: Issue): boolean {
  return issue.code === 'invalid_type' && issue.expected === 'array';
}

/** Message and remedy for a map or list that is none, or is empty. */
function wordStructure(issue: Issue, raw: unknown): [message: string, remedy: string] {
  if (issue.code === 'too_small') return ['the list is empty', 'write at least one entry'];
  if (expectsList(issue)) {
    const remedy =
      typeof raw === 'object'
        ? 'write the entries in [ ], or each on a line after "- "'
        : `write [${formatValue(raw)}]`;
    return ['this is not a list', remedy];
  }
  if (issue.code === 'invalid_type') {
    const names = Array.isArray(raw) ? raw.filter((item) => typeof item === 'string') : [];
    const hint = names.length > 0 ? `, the names being the keys: ${listNames(names)}` : '';
    return ['this is not a map', `write "key: value" lines below it, indented${hint}`];
  }
  return [issue.message, 'write what the schema in docs/portico.schema.json says'];
}
