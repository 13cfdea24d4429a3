/** Complete values of the section `dns.delegation` to a `DelegationCheck`; and what is checked before. */
import { readDomainName } from './dns-names.ts';
import type { DelegationCheck } from './model.ts';
import { listNames, type Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';

export type DelegationValues = NonNullable<NonNullable<FileValues['dns']>['delegation']>;

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a checked configuration has a gap');
  return value;
}

function canonical(name: string): string | null {
  const reading = readDomainName(name);
  return reading.ok ? reading.value : null;
}

export function buildDelegation(values: DelegationValues | undefined): DelegationCheck | null {
  if (values === undefined) return null;
  return {
    intervalMs: given(values.interval),
    resolver: values.resolver ?? null,
    parents: new Map(
      entriesOf(values.parents).map(([zone, list]) => [given(canonical(zone) ?? undefined), list.map(given)]),
    ),
  };
}

export function checkDelegation(values: FileValues, report: Report): void {
  const path = ['dns', 'delegation'];
  if (!report.isWritten(path)) return;
  if (!report.isWritten([...path, 'resolver']) && !report.isWritten([...path, 'parents']))
    report.error(path, 'there is nobody to ask', 'add resolver: ADDRESS, or parents', 'key');
  const zones = new Set(Object.keys(values.dns?.zones ?? {}).map(canonical));
  for (const zone of Object.keys(values.dns?.delegation?.parents ?? {})) {
    if (zones.has(canonical(zone))) continue;
    const known = [...zones].filter((name) => name !== null);
    const remedy = known.length === 0 ? 'add it under dns.zones' : `the zones are ${listNames(known)}`;
    report.error([...path, 'parents', zone], `there is no zone ${zone}`, remedy, 'key');
  }
}
