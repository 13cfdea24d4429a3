/** Orders about DNS steering, done by a running fleet. */
import type { Config } from '../config/model.ts';
import type { SteeringPin } from '../config/steering-model.ts';
import { compileSteering, type ServiceSteering } from '../decide/steer/policy.ts';
import type { ResolverQuestion } from '../fleet/measured-resolvers.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { MAX_PINS } from '../fleet/steering-orders.ts';
import { formatPrefix } from '../net/address.ts';
import type { FleetSourceOptions } from './fleet-options.ts';
import type { Journal } from './journal.ts';
import type { ApiResult } from './source.ts';
import type { PinOrder, SteeringApi, SteeringStatus } from './steering.ts';

export class FleetSteering implements SteeringApi {
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #load: FleetSourceOptions['load'];
  #compiled: { readonly config: Config; readonly steering: ReadonlyMap<string, ServiceSteering> } | null = null;

  constructor({ runtime, journal, load }: FleetSourceOptions) {
    this.#runtime = runtime;
    this.#journal = journal;
    this.#load = load;
  }

  /** Compiled once a configuration: it is asked for often. */
  #compiledSteering(): ReadonlyMap<string, ServiceSteering> {
    const { config } = this.#runtime;
    if (this.#compiled?.config !== config) this.#compiled = { config, steering: compileSteering(config) };
    return this.#compiled.steering;
  }

  status(): SteeringStatus {
    const { orders } = this.#runtime;
    return {
      measured: this.#runtime.measured.status(),
      frozenSinceMs: orders.frozenSinceMs,
      pins: orders.pins.map(plainPin),
      services: [...this.#compiledSteering().values()].map(({ service, sites, policy, plans, weighted }) => ({
        service,
        policy,
        sites,
        plans: plans.length,
        weighted: weighted.map(({ place, parts, demand, units }) => ({
          place,
          parts,
          demand,
          units: units.size,
          split: [...units].filter(([, names]) => names.length > 1).map(([unit]) => unit),
        })),
      })),
    };
  }

  async resolvers(question: ResolverQuestion): Promise<ApiResult<object>> {
    const told = await this.#runtime.measured.resolvers(question);
    if (told !== null) return { ok: true, value: told };
    return { ok: false, error: 'steering does not measure', remedy: 'set dns.steering.measured to observe or on' };
  }

  async pin(order: PinOrder): Promise<ApiResult<object>> {
    const { orders, config } = this.#runtime;
    const { prefix, service, site, forMs } = order;
    const refused = this.#refusal();
    if (refused !== null) return refused;
    if (!config.sites.has(site))
      return { ok: false, error: `there is no site ${site}`, remedy: `known: ${[...config.sites.keys()].join(', ')}` };
    if (service !== null && !config.services.has(service)) return this.#noService(service);
    const pinned = [...config.services.values()].filter(({ name }) => service === null || name === service);
    if (!pinned.some(({ vips }) => vips.has(site)))
      return { ok: false, error: `no such service has addresses at ${site}`, remedy: 'pin to a site that serves it' };
    const untilMs = forMs === null ? null : Date.now() + forMs;
    const pin: SteeringPin = { prefix, service, site, untilMs };
    const before = orders.pins;
    orders.pin(pin);
    if (orders.pins.length > MAX_PINS) {
      orders.pins = before;
      return { ok: false, error: `there are ${MAX_PINS} pins`, remedy: 'take some away: portico steer unpin' };
    }
    return this.#apply(plainPin(pin), 'pinned', () => {
      orders.pins = before;
    });
  }

  async unpin(order: Pick<PinOrder, 'prefix' | 'service'>): Promise<ApiResult<object>> {
    const { orders } = this.#runtime;
    const refused = this.#refusal();
    if (refused !== null) return refused;
    const before = orders.pins;
    if (!orders.unpin(order)) return { ok: false, error: 'there is no such pin', remedy: 'portico steer shows them' };
    const fields = { prefix: order.prefix === null ? null : formatPrefix(order.prefix), service: order.service };
    return this.#apply(fields, 'pin taken away', () => {
      orders.pins = before;
    });
  }

  async freeze(isFrozen: boolean): Promise<ApiResult<object>> {
    const { orders } = this.#runtime;
    if (this.#runtime.nameServers.size === 0) return NO_NAME_SERVER;
    if (isFrozen) orders.frozenSinceMs ??= Date.now();
    else orders.frozenSinceMs = null;
    const { frozenSinceMs } = orders;
    return this.#apply(
      { frozenSinceMs },
      isFrozen ? 'the map of clients is frozen' : 'the map of clients is free',
      null,
    );
  }

  async diff(): Promise<ApiResult<object>> {
    if (this.#load === null)
      return { ok: false, error: 'there is no configuration file to read', remedy: 'start it with portico up FILE' };
    const loaded = await this.#load(this.#runtime.config.steeringState);
    if (!loaded.ok) return loaded;
    const { orders, config } = this.#runtime;
    const next = orders.complete(loaded.value);
    const refusal = orders.refusal(config, next, false);
    return { ok: true, value: { services: orders.diff(config, next), refusal } };
  }

  #refusal(): Extract<ApiResult<object>, { ok: false }> | null {
    const { nameServers, orders } = this.#runtime;
    if (nameServers.size === 0) return NO_NAME_SERVER;
    if (orders.frozenSinceMs === null) return null;
    return { ok: false, error: 'the map is frozen', remedy: 'portico steer unfreeze, then pin' };
  }

  #noService(service: string): Extract<ApiResult<object>, { ok: false }> {
    const known = [...this.#runtime.config.services.keys()].join(', ');
    return { ok: false, error: `there is no service ${service}`, remedy: `known: ${known}` };
  }

  async #apply(fields: object, what: string, takeBack: (() => void) | null): Promise<ApiResult<object>> {
    try {
      await this.#runtime.applySteering();
    } catch (error) {
      takeBack?.();
      const reason = (error as Error).message;
      this.#journal.error({ ...fields, reason }, `not ${what}`);
      return { ok: false, error: reason, remedy: 'portico status shows what runs' };
    }
    this.#journal.info(fields, what);
    return { ok: true, value: fields };
  }
}

const NO_NAME_SERVER = {
  ok: false,
  error: 'a name server is not run by this process',
  remedy: 'ask the process that runs it (--api URL)',
} as const;

function plainPin({ prefix, service, site, untilMs }: SteeringPin): SteeringStatus['pins'][number] {
  return { prefix: prefix === null ? null : formatPrefix(prefix), service, site, untilMs };
}
