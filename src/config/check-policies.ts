/** Checks of the policies by which DNS answers for services. */

import { readPolicyOf } from './policy.ts';
import type { Path, Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';
import type { Policy } from './steering-model.ts';

export function checkPolicies(values: FileValues, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) {
    const path = ['services', name, 'policy'];
    if (service.vips === undefined) continue; // told already, and nothing can be said of sites
    const policy = readPolicyOf(name, service, values, report);
    if (policy === null) continue;
    if (report.isWritten(path) && !report.isWritten(['services', name, 'dnsName'])) {
      report.warn(path, 'the service has no DNS name, so its policy is never asked', 'add dnsName', 'key');
    }
    checkDemand(path, policy, values, report);
    checkReach(path, policy, values, report);
  }
}

/** Without demand, weights hold for answers: one answer to a large resolver moves all its users. */
function checkDemand(path: Path, policy: Policy, values: FileValues, report: Report): void {
  if (policy.kind !== 'weighted') return;
  const networks = entriesOf(values.dns?.networks);
  const known = networks.filter(([, { demand }]) => demand !== undefined);
  if (known.length === 0 || known.length === networks.length) return;
  const message = `${networks.length - known.length} of ${networks.length} networks have no demand: there, weights hold for answers only`;
  report.warn(path, message, 'give every network of dns.networks its demand', 'key');
}

/** What stands behind a part that can always answer is never used. */
function checkReach(path: Path, policy: Policy, values: FileValues, report: Report): void {
  if (policy.kind !== 'failover') return;
  for (const [index, part] of policy.parts.entries()) {
    const isWhole = part.kind === 'steered' && part.sites === null;
    if (isWhole && index < policy.parts.length - 1) {
      const next = [...path, 'failover', index + 1];
      report.warn(next, 'the part before it has every site already', 'take it away, or name the sites of that part');
      return;
    }
    checkReach([...path, 'failover', index], part, values, report);
  }
}
