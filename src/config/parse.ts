/** The operator's file to a checked configuration, or to everything that is wrong with it. */
import { buildConfig } from './build.ts';
import { checkDns } from './check-dns.ts';
import { checkForwarding } from './check-forwarding.ts';
import { checkMachines } from './check-machines.ts';
import { checkMtu } from './check-mtu.ts';
import { checkNat } from './check-nat.ts';
import { checkPolicies } from './check-policies.ts';
import { checkPromise } from './check-promise.ts';
import { checkQuic } from './check-quic.ts';
import { checkScheduling } from './check-scheduling.ts';
import { checkServiceRecords } from './check-service-records.ts';
import { checkServices } from './check-services.ts';
import { checkVips } from './check-vips.ts';
import { readDocument } from './document.ts';
import { reportIssues } from './issues.ts';
import type { Config } from './model.ts';
import { type ConfigProblem, createFindings, type Finding } from './problem.ts';
import { createRoster } from './roster.ts';
import { createFileSchema, type FileValues } from './schema.ts';

export type { ConfigProblem } from './problem.ts';

export type ParseResult = ParsedConfig | RefusedConfig;

export interface ParsedConfig {
  readonly ok: true;
  readonly file: string;
  readonly config: Config;
  readonly warnings: readonly ConfigProblem[];
}

export interface RefusedConfig {
  readonly ok: false;
  readonly file: string;
  /** All errors, in the order of the file; at least one. */
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

const STRICT = createFileSchema('strict');
const LOOSE = createFileSchema('loose');

/**
 * Reads a configuration. `file` is its name for messages and is not opened. Never throws, whatever the text. Errors of single values
 * and errors between sections are found in one go; where YAML itself is broken, only that is told, because what follows from
 * a misread file would mislead. Cost: milliseconds for hundreds of machines.
 */
export function parseConfig(text: string, file: string): ParseResult {
  const document = readDocument(text);
  const findings = createFindings(document.value);
  let values: FileValues | undefined;
  if (document.isReadable) {
    const strict = STRICT.safeParse(document.value);
    if (!strict.success) reportIssues(strict.error.issues, document.value, findings);
    values = strict.success ? strict.data : LOOSE.safeParse(document.value).data;
  }
  if (values !== undefined) {
    const roster = createRoster(values);
    checkMachines(values, roster, findings);
    checkVips(values, roster, findings);
    checkServices(values, roster, findings);
    checkServiceRecords(values, findings);
    checkPolicies(values, findings);
    checkScheduling(values, roster, findings);
    checkForwarding(values, roster, findings);
    checkNat(values, roster, findings);
    checkQuic(values, roster, findings);
    checkPromise(values, roster, findings);
    checkDns(values, findings);
  }
  const place = (finding: Finding) => document.place(finding);
  let config: Config | null = null;
  if (document.problems.length === 0 && findings.errors.length === 0 && values !== undefined) {
    config = buildConfig(values, (path) => place({ path, at: 'value', message: '', remedy: '' }).line);
    // Needs what defaults and inheritance give, so it speaks only of files that are right so far.
    checkMtu(config, findings);
  }
  const warnings = inOrder([...document.warnings, ...findings.warnings.map(place)]);
  const problems = inOrder([...document.problems, ...findings.errors.map(place)]);
  if (problems.length > 0 || config === null) return { ok: false, file, problems, warnings };
  return { ok: true, file, config, warnings };
}

/** By line; a problem that two checks found is told once. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>();
  const unique = problems.filter(({ path, line, message }) => {
    const key = `${path} ${line} ${message}`;
    return !seen.has(key) && seen.add(key);
  });
  return unique.sort((a, b) => a.line - b.line || a.column - b.column);
}
