/** Checks of what is said about signatures. */
import { absoluteName, readDomainName } from './dns-names.ts';
import type { Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';

/** A new signature is valid for a tenth less than `validity` at the least; beyond this share it would be old when it is made. */
const MAX_RENEW_SHARE = 0.8;
/** Records that a signed zone makes from its keys. */
const OWN_TYPES = ['CDS', 'CDNSKEY'];

export function checkDnssec({ dns }: FileValues, report: Report): void {
  const { validity, renewBefore } = dns?.dnssec ?? {};
  if (validity !== undefined && renewBefore !== undefined && renewBefore > validity * MAX_RENEW_SHARE) {
    const message = 'a signature would be made anew as soon as it is made';
    report.error(
      ['dns', 'dnssec', 'renewBefore'],
      message,
      'write at most eight tenths of validity, better half of it',
    );
  }
  for (const [key, { dnssec, records }] of entriesOf(dns?.zones)) {
    const reading = readDomainName(key);
    if (dnssec !== true || !reading.ok) continue;
    for (const [owner, types] of entriesOf(records)) {
      if (absoluteName(owner, reading.value) !== reading.value) continue;
      for (const type of OWN_TYPES) {
        if (types[type] === undefined) continue;
        const message = `a signed zone makes its ${type} records from its keys`;
        report.error(['dns', 'zones', key, 'records', owner, type], message, 'leave them out');
      }
    }
  }
}
