/**
 * Policies of services, compiled: which plan holds for which clients. A plan's index stands in the map; plans that say the same are one, so
 * that neighbours with the same plan merge and scopes (RFC 7871) are as wide as they can be.
 */
import type { ClientGroup, Config, Service } from '../../config/model.ts';
import type {
  KeptAssignments,
  MeasuredOrder,
  NothingHealthy,
  PolicyKind,
  SteeringPin,
} from '../../config/steering-model.ts';
import { isHost } from '../../net/address.ts';
import type { PrefixMap } from '../../net/prefix-map.ts';
import { clientsOf, mapPlans } from './clients.ts';
import { hasWeights, type LayeredClients, layerClients } from './layers.ts';
import type { Plan } from './plan.ts';
import { type DemandUnit, PolicyPlans, type WeightedOutcome } from './policy-plans.ts';

export interface ServiceSteering {
  readonly service: string;
  /** Names of the sites that have VIPs of the service, in the configuration's order. */
  readonly sites: readonly string[];
  /** At the top; a single site counts as `steered`. */
  readonly policy: PolicyKind;
  readonly nothingHealthy: NothingHealthy;
  readonly plans: readonly Plan[];
  /** Covers every address of both families; values are indexes of plans. */
  readonly map: PrefixMap;
  readonly weighted: readonly WeightedOutcome[];
}

type CompiledMap = Pick<ServiceSteering, 'plans' | 'map' | 'weighted'>;

/** Steering of each service that has addresses, by its name. Cost: a plan for each group of clients and service, and the map. */
export function compileSteering(config: Config): ReadonlyMap<string, ServiceSteering> {
  const compiled = new Map<string, CompiledMap>();
  const steering = new Map<string, ServiceSteering>();
  const clients = layerClients(clientsOf(config), config);
  const units = unitsOf(clients);
  for (const service of config.services.values()) {
    const sites = [...config.sites.keys()].filter((site) => service.vips.get(site)?.some(isHost));
    if (sites.length === 0) continue;
    const key = sharedKey(config, service, sites);
    let map = compiled.get(key);
    if (map === undefined) {
      map = compileMap(config, service, sites, clients, units);
      compiled.set(key, map);
    }
    const { name, nothingHealthy } = service;
    const policy = service.policy.kind === 'site' ? 'steered' : service.policy.kind;
    steering.set(name, { service: name, sites, policy, nothingHealthy, ...map });
  }
  return steering;
}

/** Services with the same have the same plans. Units of two services are spread in different ways, and pins may be of one. */
function sharedKey({ steeringState }: Config, { name, policy }: Service, sites: readonly string[]): string {
  const isOwn = hasWeights(policy) || steeringState.pins.some(({ service }) => service === name);
  return JSON.stringify([sites, policy, isOwn ? name : null, steeringState.measured?.classes.get(name) ?? null]);
}

function unitsOf({ of }: LayeredClients): DemandUnit[] {
  const units = new Map<string, DemandUnit>();
  for (const { group, unit, demand } of of) {
    if (unit !== null && demand > 0 && !units.has(unit)) units.set(unit, { key: unit, demand, group });
  }
  return [...units.values()];
}

function compileMap(
  config: Config,
  service: Service,
  sites: readonly string[],
  { ground, of }: LayeredClients,
  units: readonly DemandUnit[],
): CompiledMap {
  const policy = new PolicyPlans(config, service, sites, units);
  const plans: Plan[] = [];
  const indexOf = new Map<string, number>();
  const indexOfPlan = (plan: Plan): number => {
    const key = JSON.stringify(plan);
    let index = indexOf.get(key);
    if (index === undefined) {
      index = plans.push(plan) - 1;
      indexOf.set(key, index);
    }
    return index;
  };
  // Many thousand rows of measurements, but few orders.
  const known = new Map<ClientGroup, Map<MeasuredOrder | null, number>>();
  const planOfGroup = Uint32Array.from(of, ({ group, unit, pins, row }) => {
    const order = policy.orderOf(row);
    const plan = (): Plan => pinned(policy.planFor(group, unit, order), service.name, sites, pins);
    if (unit !== null || pins.length > 0) return indexOfPlan(plan());
    const ofGroup = known.get(group) ?? new Map<MeasuredOrder | null, number>();
    known.set(group, ofGroup);
    const index = ofGroup.get(order) ?? indexOfPlan(plan());
    ofGroup.set(order, index);
    return index;
  });
  return { plans, map: mapPlans(ground, planOfGroup), weighted: policy.outcomes() };
}

/** The site of the pin first, then what the policy says: a pin holds as long as its site is open. */
function pinned(plan: Plan, service: string, sites: readonly string[], pins: readonly SteeringPin[]): Plan {
  const pin = pinFor(pins, service, sites);
  if (pin === undefined) return plan;
  return { kind: 'failover', parts: [{ kind: 'first', sites: [sites.indexOf(pin.site)] }, plan] };
}

/** The one that counts, of all that cover a client. */
export function pinFor(
  pins: readonly SteeringPin[],
  service: string,
  sites: readonly string[],
): SteeringPin | undefined {
  return pins.find((pin) => (pin.service ?? service) === service && sites.includes(pin.site));
}

/** Where units are, to be kept over a restart and given back in `Config.steeringState`. */
export function assignmentsOf(steering: ReadonlyMap<string, ServiceSteering>): KeptAssignments {
  const kept = new Map<string, ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>>();
  for (const { service, weighted } of steering.values()) {
    const known = weighted.filter(({ units }) => units.size > 0);
    if (known.length > 0) kept.set(service, new Map(known.map(({ place, units }) => [place, units])));
  }
  return kept;
}
