/** What a policy makes of one group of clients, step by step, in words. The steps are those of `policy-plans.ts`. */
import type { GeoRule, Policy } from '../../config/steering-model.ts';
import type { LayeredGroup } from './layers.ts';
import type { Plan } from './plan.ts';
import type { ServiceSteering } from './policy.ts';
import type { WeightedOutcome } from './policy-plans.ts';

export interface PolicyStep {
  /** How far inside the policy it stands: 0 at the top. */
  readonly depth: number;
  readonly text: string;
}

/** What a measured map says of a group. */
export interface MeasuredSites {
  readonly version: number;
  readonly parts: readonly { readonly sites: readonly string[]; readonly share: number }[];
}

/** `fits`: the rule of a `geo` policy that counts for the group. */
export function explainPolicy(
  policy: Policy,
  steering: ServiceSteering,
  { unit }: LayeredGroup,
  fits: (rules: readonly GeoRule[]) => GeoRule,
  measured: MeasuredSites | null,
): PolicyStep[] {
  const steps: PolicyStep[] = [];
  const walk = (part: Policy, place: string, depth: number): void => {
    const say = (text: string) => steps.push({ depth, text });
    if (part.kind === 'site') say(part.site);
    else if (part.kind === 'steered') say(describeSteered(part.sites ?? steering.sites, measured));
    else if (part.kind === 'all') say(`all: ${(part.sites ?? steering.sites).join(', ')} in turns`);
    else if (part.kind === 'failover') {
      say('failover: the first that has an open site');
      for (const [index, each] of part.parts.entries()) walk(each, `${place}/${index}`, depth + 1);
    } else if (part.kind === 'geo') {
      const rule = fits(part.rules);
      const number = part.rules.indexOf(rule);
      say(`geo: rule ${number + 1} of ${part.rules.length}, ${describeRule(rule)}`);
      walk(rule.policy, `${place}/${number}`, depth + 1);
    } else {
      const outcome = steering.weighted.find((each) => each.place === place);
      say(describeWeights(outcome, unit));
      const names = unit === null ? undefined : outcome?.units.get(unit);
      for (const [index, each] of part.parts.entries()) {
        const name = outcome?.parts[index]?.name ?? '';
        const isOwn = names === undefined || names.includes(name);
        if (isOwn && each.policy.kind !== 'site') walk(each.policy, `${place}/${name}`, depth + 1);
      }
    }
  };
  walk(policy, '', 0);
  return steps;
}

function describeSteered(sites: readonly string[], measured: MeasuredSites | null): string {
  if (measured === null) return `steered: the nearest of ${sites.join(', ')}`;
  const parts = measured.parts.map(({ sites: own, share }) => {
    const names = own.join(', then ');
    return share === 1 ? names : `${percent(share)} ${names}`;
  });
  return `steered: by what was measured (map ${measured.version}): ${parts.join('; ')}; the others by distance`;
}

function describeRule({ continents, countries, asns, networks, within }: GeoRule): string {
  const lists = { continent: continents, country: countries, asn: asns, network: networks };
  const conditions = Object.entries(lists).flatMap(([name, list]) =>
    list.length === 0 ? [] : [`${name} ${list.join(' or ')}`],
  );
  if (within !== null) {
    const { latitudeDegrees, longitudeDegrees } = within.center;
    conditions.push(`within ${within.radiusKm} km of ${latitudeDegrees}, ${longitudeDegrees}`);
  }
  return conditions.length === 0 ? 'for all clients' : conditions.join(' and ');
}

function describeWeights(outcome: WeightedOutcome | undefined, unit: string | null): string {
  const parts = outcome?.parts ?? [];
  const names = unit === null ? undefined : outcome?.units.get(unit);
  if (names === undefined) {
    const shares = parts.map(({ name, share }) => `${name} ${percent(share)}`);
    return `weighted: the demand is not known, so answers are spread: ${shares.join(', ')}`;
  }
  const how =
    names.length === 1 ? `the unit ${unit} is at ${names[0]}` : `the unit ${unit} is split: ${names.join(', ')}`;
  const met = parts.map(({ name, share, predicted }) => `${name} ${percent(predicted)} of ${percent(share)}`);
  return `weighted: ${how}; predicted demand ${met.join(', ')}`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Every site that a plan may tell, in the order in which it is preferred. */
export function sitesOfPlan(plan: Plan): number[] {
  if (plan.kind === 'first') return [...plan.sites];
  const parts = plan.kind === 'spread' ? plan.parts.map((part) => part.plan) : plan.parts;
  return [...new Set(parts.flatMap(sitesOfPlan))];
}
