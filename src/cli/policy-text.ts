/** A policy in one line. */
import type { Policy } from '../config/steering-model.ts';

/** `failover of (geo with 3 rules, all of eu and us)`. */
export function describePolicy(policy: Policy): string {
  switch (policy.kind) {
    case 'site':
      return policy.site;
    case 'steered':
      return policy.sites === null ? 'steered' : `steered to ${policy.sites.join(' or ')}`;
    case 'all':
      return policy.sites === null ? 'all' : `all of ${policy.sites.join(' and ')}`;
    case 'failover':
      return `failover of (${policy.parts.map(describePolicy).join(', ')})`;
    case 'geo':
      return `geo with ${policy.rules.length} rules, the last ${describePolicy(policy.rules[policy.rules.length - 1].policy)}`;
    case 'weighted':
      return `weighted (${policy.parts.map(({ weight, policy: part }) => `${describePolicy(part)} ${weight}`).join(', ')})`;
  }
}
