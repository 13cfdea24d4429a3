/** From policies to plans: for each group of clients and each unit of demand, what the policy of a service leaves. */
import type { ClientGroup, Config, Service } from '../../config/model.ts';
import type { GeoRule, KeptAssignments, MeasuredOrder, Policy } from '../../config/steering-model.ts';
import { type AssignOptions, assignUnits, predictShares, type Unit, type WeightedPart } from './assign.ts';
import { distanceKm } from './distance.ts';
import { orderAt } from './measured-answers.ts';
import { orderSites, placeOfGroup } from './nearest.ts';
import type { Plan } from './plan.ts';

/** How a weighted policy came out. */
export interface WeightedOutcome {
  /** Where it stands in the service's policy: empty at the top. */
  readonly place: string;
  readonly parts: readonly {
    readonly name: string;
    /** Of all; what it should get. */
    readonly share: number;
    /** Of the known demand; what it is predicted to get. */
    readonly predicted: number;
  }[];
  /** Known demand that comes to the policy; 0: none, so weights hold for answers. */
  readonly demand: number;
  /** Names of parts by unit; several: split evenly. */
  readonly units: ReadonlyMap<string, readonly string[]>;
}

/** A unit of demand and whom it is made of. */
export interface DemandUnit extends Unit {
  readonly group: ClientGroup;
}

/** Whom a plan is for. */
interface PlannedClients {
  readonly group: ClientGroup;
  readonly unit: string | null;
  /** What was measured for them; null: nothing. */
  readonly order: MeasuredOrder | null;
}

interface WeightedNode {
  readonly outcome: WeightedOutcome;
  /** Parts by unit, and the part that takes over when the only one has no open site. */
  readonly at: ReadonlyMap<string, { readonly parts: readonly number[]; readonly second: number }>;
}

export class PolicyPlans {
  readonly #config: Config;
  readonly #service: Service;
  /** In the order of indexes. */
  readonly #sites: readonly string[];
  readonly #weighted = new Map<string, WeightedNode>();

  constructor(config: Config, service: Service, sites: readonly string[], units: readonly DemandUnit[]) {
    this.#config = config;
    this.#service = service;
    this.#sites = sites;
    this.#assign(service.policy, '', units);
  }

  outcomes(): WeightedOutcome[] {
    return [...this.#weighted.values()].map(({ outcome }) => outcome);
  }

  /** `unit`: of the demand that the group belongs to; null: none is known. */
  planFor(group: ClientGroup, unit: string | null, order: MeasuredOrder | null): Plan {
    return this.#planOf(this.#service.policy, '', { group, unit, order });
  }

  /** The service's, at a row of the measured answers; the same object for what is the same. */
  orderOf(row: number): MeasuredOrder | null {
    const { measured } = this.#config.steeringState;
    const itsClass = measured?.classes.get(this.#service.name);
    return measured === null || itsClass === undefined || row < 0 ? null : orderAt(measured, row, itsClass);
  }

  /** Goes the ways of the units through the policy; each weighted policy assigns those that come to it. */
  #assign(policy: Policy, place: string, units: readonly DemandUnit[]): void {
    if (policy.kind === 'failover') {
      for (const [index, part] of policy.parts.entries()) this.#assign(part, `${place}/${index}`, units);
    } else if (policy.kind === 'geo') {
      for (const [index, rule] of policy.rules.entries()) {
        const own = units.filter(({ group }) => ruleFor(this.#config, policy.rules, group) === rule);
        this.#assign(rule.policy, `${place}/${index}`, own);
      }
    } else if (policy.kind === 'weighted') this.#assignWeighted(policy, place, units);
  }

  #assignWeighted(policy: Policy & { readonly kind: 'weighted' }, place: string, units: readonly DemandUnit[]): void {
    const names = namesOf(policy);
    const parts = policy.parts.map(({ weight }, index): WeightedPart => ({ name: names[index], weight }));
    const options: AssignOptions = {
      seed: `${this.#service.name}${place}`,
      splitShare: this.#config.steering.splitShare,
      previous: keptUnits(this.#config.steeringState.assignments, this.#service.name, place),
    };
    const assignment = assignUnits(units, parts, options);
    const seconds = assignSeconds(units, parts, assignment, options);
    const at = new Map<string, { parts: readonly number[]; second: number }>();
    for (const [key, assigned] of assignment) at.set(key, { parts: assigned, second: seconds.get(key) ?? -1 });
    const shares = predictShares(units, parts.length, assignment);
    const sum = parts.reduce((all, { weight }) => all + weight, 0);
    this.#weighted.set(place, {
      at,
      outcome: {
        place,
        parts: parts.map(({ name, weight }, index) => ({ name, share: weight / sum, predicted: shares[index] })),
        demand: units.reduce((all, { demand }) => all + demand, 0),
        units: new Map([...assignment].map(([key, assigned]) => [key, assigned.map((index) => names[index])])),
      },
    });
    for (const [index, part] of policy.parts.entries()) {
      const own = units.filter(({ key }) => assignment.get(key)?.includes(index));
      this.#assign(part.policy, `${place}/${names[index]}`, own);
    }
  }

  #planOf(policy: Policy, place: string, clients: PlannedClients): Plan {
    switch (policy.kind) {
      case 'site':
        return first([this.#sites.indexOf(policy.site)]);
      case 'steered':
        return this.#steered(policy.sites, clients);
      case 'all':
        return simplify({ kind: 'together', parts: this.#indexes(policy.sites).map((site) => first([site])) });
      case 'failover':
        return simplify({
          kind: 'failover',
          parts: policy.parts.map((part, index) => this.#planOf(part, `${place}/${index}`, clients)),
        });
      case 'geo': {
        const rule = ruleFor(this.#config, policy.rules, clients.group);
        return this.#planOf(rule.policy, `${place}/${policy.rules.indexOf(rule)}`, clients);
      }
      case 'weighted':
        return this.#planOfWeighted(policy, place, clients);
    }
  }

  #planOfWeighted(policy: Policy & { readonly kind: 'weighted' }, place: string, clients: PlannedClients): Plan {
    const { unit } = clients;
    const names = namesOf(policy);
    const plans = policy.parts.map((part, index) => {
      return { plan: this.#planOf(part.policy, `${place}/${names[index]}`, clients), weight: part.weight };
    });
    const assigned = unit === null ? undefined : this.#weighted.get(place)?.at.get(unit);
    const spread: Plan = simplify({ kind: 'spread', parts: plans });
    if (assigned === undefined) return spread;
    const { parts, second } = assigned;
    const own = parts.map((index) => plans[index].plan);
    if (own.length > 1) return simplify({ kind: 'failover', parts: [{ kind: 'together', parts: own }, spread] });
    const others = plans.filter((_, index) => index !== parts[0] && index !== second).map(({ plan }) => plan);
    const next = second < 0 ? [] : [plans[second].plan];
    return simplify({ kind: 'failover', parts: [...own, ...next, ...others] });
  }

  #indexes(names: readonly string[] | null): number[] {
    return (names ?? this.#sites).map((name) => this.#sites.indexOf(name));
  }

  /** The measured order first, as far as the policy has its sites; then by distance. */
  #steered(names: readonly string[] | null, { group, order }: PlannedClients): Plan {
    const nearest = this.#nearest(names, group);
    const { measured } = this.#config.steeringState;
    if (order === null || measured === null) return first(nearest);
    const parts = order.flatMap(({ sites, share }) => {
      const own = sites
        .map((site) => this.#sites.indexOf(measured.sites[site]))
        .filter((site) => nearest.includes(site));
      const isOwn = own.length > 0 && this.#sites[own[0]] === measured.sites[sites[0]];
      return isOwn ? [{ plan: first([...own, ...nearest.filter((site) => !own.includes(site))]), weight: share }] : [];
    });
    return parts.length === 0 ? first(nearest) : simplify({ kind: 'spread', parts });
  }

  #nearest(names: readonly string[] | null, group: ClientGroup): number[] {
    const indexes = this.#indexes(names);
    const own = indexes.map((index) => this.#sites[index]);
    return orderSites(this.#config, own, placeOfGroup(this.#config, group)).map((index) => indexes[index]);
  }
}

/** The first rule that a group fits. */
export function ruleFor(config: Config, rules: readonly GeoRule[], group: ClientGroup): GeoRule {
  const rule = rules.find((each) => fits(config, each, group));
  if (rule === undefined) throw new Error('no rule fits all clients');
  return rule;
}

function fits(config: Config, { continents, countries, asns, networks, within }: GeoRule, group: ClientGroup): boolean {
  const has = <T>(list: readonly T[], value: T | null | undefined) =>
    list.length === 0 || (value != null && list.includes(value));
  if (!has<string>(continents, group.continent) || !has(countries, group.country) || !has(asns, group.asn))
    return false;
  if (!has(networks, group.entry?.name)) return false;
  if (within === null) return true;
  // Where nothing is known of a client it is nowhere, not at the default location.
  if (group.location === null && group.site === null) return false;
  return distanceKm(within.center, placeOfGroup(config, group).location) <= within.radiusKm;
}

/** Sites by their names, other policies by what they say: so that units are found again after a change of the order. */
function namesOf(policy: Policy & { readonly kind: 'weighted' }): string[] {
  const names = policy.parts.map(({ policy: part }) => (part.kind === 'site' ? part.site : JSON.stringify(part)));
  return names.map((name, index) => (names.indexOf(name) < index ? `${name} (${index})` : name));
}

function keptUnits(kept: KeptAssignments, service: string, place: string): AssignOptions['previous'] {
  return kept.get(service)?.get(place) ?? new Map();
}

/** The units of each part spread over the others: their weights hold, too, when one part has no open site. */
function assignSeconds(
  units: readonly DemandUnit[],
  parts: readonly WeightedPart[],
  assignment: ReadonlyMap<string, readonly number[]>,
  options: AssignOptions,
): Map<string, number> {
  const seconds = new Map<string, number>();
  if (parts.length < 2) return seconds;
  for (const index of parts.keys()) {
    const own = units.filter(({ key }) => assignment.get(key)?.length === 1 && assignment.get(key)?.[0] === index);
    const others = parts.map((part, other) => (other === index ? { ...part, weight: 0 } : part));
    if (own.length === 0) continue;
    const again = { ...options, splitShare: 1, previous: new Map() };
    for (const [key, [second]] of assignUnits(own, others, again)) seconds.set(key, second);
  }
  return seconds;
}

function first(sites: readonly number[]): Plan {
  return { kind: 'first', sites };
}

/** The same in fewer parts, so that plans which say the same are the same. */
function simplify(plan: Plan): Plan {
  if (plan.kind === 'first') return plan;
  if (plan.kind === 'spread') return plan.parts.length === 1 ? plan.parts[0].plan : plan;
  if (plan.parts.length === 1) return plan.parts[0];
  if (plan.kind === 'together') return plan;
  const parts: Plan[] = [];
  for (const part of plan.parts.flatMap((each) => (each.kind === 'failover' ? each.parts : [each]))) {
    const last = parts.at(-1);
    if (part.kind !== 'first' || last?.kind !== 'first') parts.push(part);
    else parts[parts.length - 1] = first([...last.sites, ...part.sites.filter((site) => !last.sites.includes(site))]);
  }
  return parts.length === 1 ? parts[0] : { kind: 'failover', parts };
}
