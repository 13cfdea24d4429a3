/** What the API asks and orders, done by a running fleet. */
import { explainFlow } from '../fleet/explain-flow.ts';
import type { ExplainedGroup } from '../fleet/measured-words.ts';
import type { Runtime } from '../fleet/runtime.ts';
import type { SiteRuntime } from '../fleet/site-runtime.ts';
import { type ExplainedDns, explainDns } from '../serve/dns/explain.ts';
import { compileZones } from '../serve/dns/zone-compile.ts';
import { startFleetCapture } from './fleet-capture.ts';
import { fleetCounters } from './fleet-counters.ts';
import type { FleetSourceOptions } from './fleet-options.ts';
import { FleetPlans } from './fleet-plans.ts';
import { fleetStatus } from './fleet-status.ts';
import { FleetSteering } from './fleet-steering.ts';
import type { Journal } from './journal.ts';
import { dnsTops } from './name-server-status.ts';
import type {
  ApiResult,
  ApiSource,
  CaptureQuery,
  DnsQuery,
  DrainKind,
  FlowQuery,
  RunningCapture,
  ShownPacket,
  StateChange,
} from './source.ts';

/** Answer of `POST /explain/dns`. */
export interface MeasuredDns extends ExplainedDns {
  /** Null: nothing was measured of who asks. */
  readonly measured: ExplainedGroup | null;
}

export class FleetSource implements ApiSource {
  readonly steering: FleetSteering;
  readonly plans: FleetPlans;
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #load: FleetSourceOptions['load'];
  /** One at a time, or what was read first could be applied last. */
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(options: FleetSourceOptions) {
    this.#runtime = options.runtime;
    this.#journal = options.journal;
    this.#load = options.load;
    this.steering = new FleetSteering(options);
    this.plans = new FleetPlans(options.runtime);
  }

  status() {
    return fleetStatus(this.#runtime);
  }

  counters() {
    return fleetCounters(this.#runtime);
  }

  dnsTop(count: number) {
    return dnsTops(this.#runtime, count);
  }

  async explainFlow(query: FlowQuery): Promise<ApiResult<object>> {
    return explainFlow(this.#runtime, query);
  }

  async explainDns(query: DnsQuery): Promise<ApiResult<object>> {
    const { config, steering } = this.#runtime;
    const compiled = compileZones(config);
    if (!compiled.ok)
      return { ok: false, error: 'the zones have problems', remedy: 'run portico check on the configuration' };
    const result = explainDns({ config, zones: compiled.zones, view: steering, ...query });
    if (result.ok) return { ok: true, value: await this.#withMeasured(query, result.explained) };
    return { ok: false, error: result.reason, remedy: 'give a name such as www.example.test and a type such as AAAA' };
  }

  /** With what was measured of who asks, and what the last decision made of it. */
  async #withMeasured({ from, ecs }: DnsQuery, explained: ExplainedDns): Promise<MeasuredDns> {
    const { steering } = explained;
    if (steering === null) return { ...explained, measured: null };
    const address = ecs !== null && ecs.length > 0 ? ecs.address : from;
    return { ...explained, measured: await this.#runtime.measured.explain({ service: steering.service, address }) };
  }

  capture(query: CaptureQuery, onPacket: (packet: ShownPacket) => void): ApiResult<RunningCapture> {
    return startFleetCapture(this.#runtime, query, onPacket, (error) =>
      this.#journal.error({ reason: error.message }, 'a captured packet could not be shown'),
    );
  }

  async drain(kind: DrainKind, name: string, deadlineMs: number | null = null): Promise<ApiResult<object>> {
    if (deadlineMs !== null && kind !== 'backend')
      return {
        ok: false,
        error: `a ${kind} is drained without a deadline`,
        remedy: 'only connections of a backend can be given up; leave the deadline out',
      };
    return this.#setDrained(kind, name, true, deadlineMs);
  }

  undrain(kind: DrainKind, name: string): Promise<ApiResult<object>> {
    return this.#setDrained(kind, name, false, null);
  }

  async #setDrained(
    kind: DrainKind,
    name: string,
    drained: boolean,
    deadlineMs: number | null,
  ): Promise<ApiResult<object>> {
    const { config } = this.#runtime;
    const { backends: backend, balancers: balancer, sites: site, nameServers: nameserver } = config;
    const known = { backend, balancer, site, nameserver }[kind];
    if (!known.has(name))
      return { ok: false, error: `there is no ${kind} ${name}`, remedy: `known: ${[...known.keys()].join(', ')}` };
    const done = await {
      backend: () => this.#drainBackend(name, drained, deadlineMs),
      balancer: () => this.#drainBalancer(name, drained),
      site: () => this.#drainSite(name, drained),
      nameserver: () => this.#drainNameServer(name, drained),
    }[kind]();
    if (!done.ok) return done;
    this.#journal.info({ kind, name, deadlineMs }, drained ? 'drained' : 'drain taken back');
    return { ok: true, value: { kind, name, drained, deadlineMs } };
  }

  #keepDrains(): void {
    try {
      this.#runtime.keepDrains();
    } catch (error) {
      this.#journal.error({ reason: (error as Error).message }, 'drains will not outlive this process');
    }
  }

  async #drainBackend(name: string, drained: boolean, deadlineMs: number | null): Promise<ApiResult<object>> {
    const backend = this.#runtime.config.backends.get(name);
    const site = backend === undefined ? undefined : this.#runtime.sites.get(backend.site);
    // Drains are made by those who have the tables.
    if (site === undefined || site.balancers.size === 0) return notHere(`a balancer of backend ${name}`);
    if (!drained && backend?.drain)
      return {
        ok: false,
        error: `the configuration drains ${name}`,
        remedy: `take "drain: true" out of backends.${name} and reload`,
      };
    if (drained && isLast(this.#runtime, site, name))
      return {
        ok: false,
        error: `${name} is the last backend in service of one of its services at ${site.name}`,
        remedy: `bring another backend into service first, or drain the site: portico drain site ${site.name}`,
      };
    site.drains.set(name, drained, deadlineMs);
    // Before the tables: what cannot be changed now is changed later, by the next process too.
    this.#keepDrains();
    try {
      await site.refresh();
    } catch (error) {
      return {
        ok: false,
        error: `not every table could be changed: ${(error as Error).message}`,
        remedy: 'portico status shows what runs; it is tried again with the next change of health',
      };
    }
    return { ok: true, value: {} };
  }

  async #drainBalancer(name: string, drained: boolean): Promise<ApiResult<object>> {
    for (const site of this.#runtime.sites.values()) {
      const role = site.balancers.get(name);
      if (role === undefined) continue;
      if (role.announcer === null)
        return {
          ok: false,
          error: `balancer ${name} announces nothing, so Portico cannot move its packets elsewhere`,
          remedy: 'change the static routes that lead to it, or give it bgp in the configuration',
        };
      try {
        await role.setDrained(drained);
      } catch (error) {
        return { ok: false, error: (error as Error).message, remedy: 'try again when BIRD runs' };
      }
      this.#keepDrains();
      return { ok: true, value: {} };
    }
    return notHere(`balancer ${name}`);
  }

  async #drainSite(name: string, drained: boolean): Promise<ApiResult<object>> {
    const { nameServers, steering, config } = this.#runtime;
    if (nameServers.size === 0) return notHere('a name server');
    const { drainedSites } = steering;
    const others = [...config.sites.keys()].filter((other) => other !== name && !drainedSites.has(other));
    if (drained && others.length === 0)
      return {
        ok: false,
        error: `${name} is the last site in service`,
        remedy: 'undrain another site first',
      };
    if (drained) this.plans.followDrain(name);
    else this.plans.endDrain();
    if (drained) drainedSites.add(name);
    else drainedSites.delete(name);
    this.#keepDrains();
    return { ok: true, value: {} };
  }

  async #drainNameServer(name: string, drained: boolean): Promise<ApiResult<object>> {
    const role = this.#runtime.nameServers.get(name);
    if (role === undefined) return notHere(`name server ${name}`);
    if (role.anycast === null)
      return {
        ok: false,
        error: `name server ${name} has no anycast addresses, so resolvers choose it by its own`,
        remedy:
          'take it out of the NS records of its zones and wait for their TTL, or give it anycast in the configuration',
      };
    role.anycast.setDrained(drained);
    this.#keepDrains();
    return { ok: true, value: {} };
  }

  async settle(service: string, balancer: string | null): Promise<ApiResult<object>> {
    const { config, sites } = this.#runtime;
    const known = config.services.get(service);
    if (known === undefined)
      return {
        ok: false,
        error: `there is no service ${service}`,
        remedy: `known: ${[...config.services.keys()].join(', ')}`,
      };
    const here = [...sites.values()].filter(({ name, balancers }) => known.vips.has(name) && balancers.size > 0);
    const ofSite = balancer === null ? null : config.balancers.get(balancer)?.site;
    if (ofSite === undefined)
      return {
        ok: false,
        error: `there is no balancer ${balancer}`,
        remedy: `known: ${[...config.balancers.keys()].join(', ')}`,
      };
    const asked = here.filter(({ name }) => ofSite === null || name === ofSite);
    if (asked.length === 0) return notHere(balancer === null ? `a balancer of ${service}` : `balancer ${balancer}`);
    const others = [...config.balancers.values()].filter(({ site, name }) =>
      asked.some((one) => one.name === site && !one.balancers.has(name)),
    );
    if (others.length > 0)
      return {
        ok: false,
        error: `settling is decided for the whole site, and ${others.map(({ name }) => name).join(', ')} is run by another process`,
        remedy: 'slots settle by themselves after settleAfter',
      };
    const answers = [];
    for (const site of asked) {
      const answer = await site.settleNow(service, balancer);
      if (answer !== null) answers.push({ site: site.name, ...answer });
    }
    return { ok: true, value: { service, sites: answers } };
  }

  reload(anyway = false): Promise<ApiResult<object>> {
    const result = this.#reloading.then(() => this.#reloadNow(anyway));
    this.#reloading = result.catch(() => undefined);
    return result;
  }

  async #reloadNow(anyway: boolean): Promise<ApiResult<object>> {
    if (this.#load === null)
      return { ok: false, error: 'there is no configuration file to read', remedy: 'start it with portico up FILE' };
    const loaded = await this.#load(this.#runtime.config.steeringState);
    if (!loaded.ok) {
      this.#journal.error({ reason: loaded.error }, 'configuration refused: the last good one stays');
      return loaded;
    }
    try {
      await this.#runtime.apply(loaded.value, anyway);
    } catch (error) {
      const reason = (error as Error).message;
      this.#journal.error({ reason }, 'configuration not applied');
      return { ok: false, error: reason, remedy: 'correct it and reload; portico status shows what runs' };
    }
    return { ok: true, value: { epoch: this.#runtime.epoch } };
  }

  subscribe(listener: (change: StateChange) => void): () => void {
    return this.#journal.subscribe(listener);
  }
}

function notHere(what: string): ApiResult<object> {
  return { ok: false, error: `${what} is not run by this process`, remedy: 'ask the process that runs it (--api URL)' };
}

/** Whether some service of the site would be left without a backend that takes new flows: the others are drained or dead. */
function isLast({ config, health }: Runtime, site: SiteRuntime, name: string): boolean {
  return [...config.services.values()].some((service) => {
    const names = service.backends.get(site.name) ?? [];
    const isOut = (other: string): boolean =>
      site.drains.isDrained(other) || health.verdict(service.name, other) === 'unhealthy';
    return names.includes(name) && names.every((other) => other === name || isOut(other));
  });
}
