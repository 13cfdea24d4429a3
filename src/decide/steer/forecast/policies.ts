/**
 * Forecasts by policies: where DNS sends whom after a change follows from the file and from health; how many come from each follows from the
 * counters of sites; when they come, from TTLs and from when answers were given. For where nothing is measured of resolvers.
 */
import type { Config, Service, Site } from '../../../config/model.ts';
import type { CachePhases } from '../control/fills.ts';
import { type GroupColumns, PATH_LINKS, PredictedLoad } from '../control/predicted-load.ts';
import type { SiteShare } from '../measured.ts';
import type { SteeringView } from '../nearest.ts';
import { choices } from '../plan.ts';
import { compileSteering, type ServiceSteering } from '../policy.ts';
import {
  type Forecast,
  landingOf,
  MinuteLoads,
  overloadsOf,
  type PlanChange,
  settlingOf,
  siteForecasts,
} from './forecast.ts';
import { meanRttMs, type PlanUsers, type WeighedPlans, weighPlans } from './plan-weights.ts';

/** What is known of the running fleet. */
export interface PolicyState {
  readonly config: Config;
  readonly view: SteeringView;
  /** New connections a second now. */
  rateOf(service: string, site: string): number;
  /** When caches with a service's answer of a site refresh; null: not known. */
  phasesOf(service: string, site: string): CachePhases | null;
  /** Of names of the service. */
  queriesPerSecond(service: string): number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

const STEP_SECONDS = 5;
const SAMPLE_SECONDS = 0.5;
/** As the runtime has it: a full site has room again below this share of its capacity. */
const ROOM_AGAIN_SHARE = 0.9;

/** Users of a service who are at a site and have the same plans now and then. */
interface Flow {
  readonly service: number;
  readonly users: PlanUsers;
  readonly site: number;
  readonly demand: number;
}

/** Cost: some milliseconds, and 10 us a minute for each plan of each service. */
export function forecastPolicies(state: PolicyState, change: PlanChange, minutes: number): Forecast {
  const run = new PolicyRun(state, change);
  const { load, names, capacity } = run;
  const before = load.profile(state.nowMs, Float64Array.of(Infinity)).site.slice();
  const loads = new MinuteLoads(minutes, names.length, 0);
  for (let seconds = 0; seconds < minutes * 60; seconds += STEP_SECONDS) {
    run.answer(state.nowMs + seconds * 1000);
    loads.sample(load, state.nowMs, seconds, seconds + STEP_SECONDS, SAMPLE_SECONDS);
  }
  const after = load.profile(state.nowMs + minutes * 60_000, Float64Array.of(Infinity)).site;
  const sites = siteForecasts(names, capacity, before, loads);
  const loadsAt = (seconds: number) => {
    const minute = Math.min(minutes - 1, Math.floor(seconds / 60));
    return run.settlingLoads(seconds) ?? Float64Array.from(sites, ({ load: row }) => row[minute]);
  };
  return {
    change,
    basis: 'policies',
    atMs: state.nowMs,
    minutes,
    sites,
    links: [],
    ...landingOf(names, before, after),
    rttMs: run.rtt(before),
    overloads: overloadsOf(sites, []),
    settles: settlingOf(before, after, loadsAt, minutes * 60),
    queriesPerSecond: run.queries(),
    notes: run.notes,
  };
}

class PolicyRun {
  readonly names: readonly string[];
  readonly capacity: readonly number[];
  readonly load: PredictedLoad;
  readonly notes: string[] = [];
  readonly #state: PolicyState;
  readonly #change: PlanChange;
  readonly #services: readonly Service[];
  /** Now and then. */
  readonly #before: readonly ServiceSteering[];
  readonly #after: readonly ServiceSteering[];
  readonly #weighed: readonly WeighedPlans[];
  readonly #flows: readonly Flow[];
  readonly #full = new Set<number>();
  /** Of the last answers: sites that were full. */
  #answered: string | null = null;
  #answers = 0;

  constructor(state: PolicyState, change: PlanChange) {
    this.#state = state;
    this.#change = change;
    const { config } = state;
    const planned = changedConfig(config, change);
    this.names = [...planned.sites.keys()];
    this.capacity = [...planned.sites.values()].map(({ capacityPerSecond }) => capacityPerSecond);
    const before = compileSteering(config);
    const after = change.kind === 'site' ? compileSteering(planned) : before;
    this.#services = [...config.services.values()].filter(({ name }) => before.has(name));
    this.#before = this.#services.map(({ name }) => before.get(name) as ServiceSteering);
    this.#after = this.#services.map(({ name }) => after.get(name) as ServiceSteering);
    this.#weighed = this.#before.map((steering, service) => weighPlans(planned, steering, this.#after[service]));
    this.#flows = this.#services.flatMap((_, service) => this.#flowsOf(service));
    this.load = new PredictedLoad({
      sites: this.names.length,
      links: 0,
      classes: 1,
      siteLoad: Float64Array.of(1),
      linkLoad: Float64Array.of(0),
      paths: new Int32Array(this.names.length * PATH_LINKS).fill(-1),
    });
    this.load.setColumns(this.#columns());
    const site = Uint16Array.from(this.#flows, (flow) => flow.site);
    const { groups } = this.load.columns;
    this.load.answered({ version: 0, groups, classes: 1, site, splits: new Map() }, Number.NEGATIVE_INFINITY);
    this.#tellUnknown();
  }

  /** Users of each site are of those plans that lead there, by the weights of plans. */
  #flowsOf(service: number): Flow[] {
    const { name } = this.#services[service];
    const steering = this.#before[service];
    const { users } = this.#weighed[service];
    const told = users.map(({ before }) => this.#shares(steering, before, this.#state.view));
    return this.names.flatMap((siteName, site) => {
      const rate = steering.sites.includes(siteName) ? this.#state.rateOf(name, siteName) : 0;
      if (rate <= 0) return [];
      const parts = users.map(({ weight }, index) => weight * (told[index].get(site) ?? 0));
      const sum = parts.reduce((total, part) => total + part, 0);
      return users.flatMap((its, index): Flow[] => {
        // Nobody should be there: they may be anybody.
        const share = sum > 0 ? parts[index] / sum : its.weight;
        return share > 0 ? [{ service, users: its, site, demand: rate * share }] : [];
      });
    });
  }

  #columns(): GroupColumns {
    const flows = this.#flows;
    const ttlOf = ({ service }: Flow) => this.#services[service].ttlSeconds;
    const phases = flows.map(({ service, site }) =>
      this.#state.phasesOf(this.#services[service].name, this.names[site]),
    );
    return {
      groups: Uint32Array.from(flows.keys()),
      region: new Int32Array(flows.length),
      demand: Float64Array.from(flows, ({ demand }) => demand),
      ttlSeconds: Float32Array.from(flows, ttlOf),
      lateShare: new Float32Array(flows.length),
      lateSeconds: new Float32Array(flows.length),
      phases,
    };
  }

  #tellUnknown(): void {
    const { columns } = this.load;
    if (this.#flows.length === 0) this.notes.push('no site has new connections: there is nobody to move');
    if (this.#weighed.some(({ isKnown }) => !isKnown))
      this.notes.push('dns.networks says no demand: users of a site are taken as spread evenly over its networks');
    const guessed = this.#flows.filter((_, item) => columns.phases?.[item] === null);
    const services = [...new Set(guessed.map(({ service }) => this.#services[service].name))];
    if (services.length > 0)
      this.notes.push(`when caches refresh is taken as evenly spread over the TTL: ${services.join(', ')}`);
    this.notes.push('resolvers are taken as obeying the TTL: dns.steering.measured learns which do not');
  }

  /** Sites as indexes of `names`, with their shares, as things will be. */
  #shares(steering: ServiceSteering, plan: number, view: SteeringView): ReadonlyMap<number, number> {
    const shares = new Map<number, number>();
    const { cycle } = choices(steering, steering.plans[plan], view);
    for (const { sites } of cycle) {
      for (const site of sites) {
        const index = this.names.indexOf(steering.sites[site]);
        shares.set(index, (shares.get(index) ?? 0) + 1 / (sites.length * cycle.length));
      }
    }
    return shares;
  }

  #viewThen(): SteeringView {
    const { view } = this.#state;
    const change = this.#change;
    const isGone = (site: string) => change.kind === 'drain' && change.site === site;
    const isNew = (site: string) => change.kind === 'site' && change.site === site;
    return {
      siteUp: (service, site) => isNew(site) || (!isGone(site) && view.siteUp(service, site)),
      siteFull: (_service, site) => this.#full.has(this.names.indexOf(site)),
      siteWasUp: (service, site) => view.siteWasUp?.(service, site) ?? false,
    };
  }

  /** What DNS answers from now on, if that is something else than before. */
  answer(nowMs: number): void {
    this.#lookAtRates(nowMs);
    const key = [...this.#full].sort().join();
    if (key === this.#answered) return;
    this.#answered = key;
    this.#answers++;
    const view = this.#viewThen();
    const site = new Uint16Array(this.#flows.length);
    const splits = new Map<number, readonly SiteShare[]>();
    for (const [item, flow] of this.#flows.entries()) {
      const to = this.#moved(flow, this.#shares(this.#after[flow.service], flow.users.after, view));
      site[item] = to[0].site;
      if (to.length > 1) splits.set(item, to);
    }
    this.load.answered({ version: this.#answers, groups: this.load.columns.groups, classes: 1, site, splits }, nowMs);
  }

  /** Of who is at a site, as many stay as the shares allow; the others go where shares grow. */
  #moved(flow: Flow, shares: ReadonlyMap<number, number>): SiteShare[] {
    const before = this.#shares(this.#before[flow.service], flow.users.before, this.#state.view);
    const [had, has] = [before.get(flow.site) ?? 0, shares.get(flow.site) ?? 0];
    const stays = had > 0 ? Math.min(1, has / had) : 0;
    const growth = [...shares].map(([site, share]) => ({ site, share: Math.max(0, share - (before.get(site) ?? 0)) }));
    const grown = growth.reduce((sum, { share }) => sum + share, 0);
    if (had === 0 || (stays < 1 && grown === 0)) return [...shares].map(([site, share]) => ({ site, share }));
    const goes = growth.map(({ site, share }) => ({ site, share: grown > 0 ? (share / grown) * (1 - stays) : 0 }));
    return [{ site: flow.site, share: stays }, ...goes].filter(({ share }) => share > 1e-9);
  }

  /** Which sites are full: by what comes then, as the runtime looks at it. */
  #lookAtRates(nowMs: number): void {
    const { site } = this.load.profile(nowMs, Float64Array.of(0));
    for (const [index, capacity] of this.capacity.entries()) {
      const limit = capacity * (this.#full.has(index) ? ROOM_AGAIN_SHARE : 1);
      if (site[index] >= limit) this.#full.add(index);
      else this.#full.delete(index);
    }
  }

  /** Loads at a moment, if one change of answers was all; null: answers changed again and again. */
  settlingLoads(seconds: number): Float64Array | null {
    if (this.#answers > 1) return null;
    return this.load.profile(this.#state.nowMs, Float64Array.of(seconds)).site;
  }

  /** By distance, over the users of plans. */
  rtt(before: Float64Array): Forecast['rttMs'] {
    const total = before.reduce((sum, load) => sum + load, 0);
    if (total === 0) return null;
    let [old, now] = [0, 0];
    const sites = [...changedConfig(this.#state.config, this.#change).sites.values()];
    const known = new Map<PlanUsers, number[]>();
    for (const [item, { users, site, demand }] of this.#flows.entries()) {
      const rtts = known.get(users) ?? sites.map((its) => meanRttMs(users, its));
      known.set(users, rtts);
      old += demand * rtts[site];
      for (const { site: at, share } of this.load.sharesOf(item)) now += demand * share * rtts[at];
    }
    return { before: old / total, after: now / total, source: 'distance' };
  }

  /** A cache that is asked all the time asks once a TTL. */
  queries(): Forecast['queriesPerSecond'] {
    const change = this.#change;
    if (change.kind !== 'ttl') return null;
    const before = this.#state.queriesPerSecond(change.service);
    const ttlSeconds = this.#state.config.services.get(change.service)?.ttlSeconds ?? change.ttlSeconds;
    return { before, after: (before * ttlSeconds) / change.ttlSeconds };
  }
}

/** The configuration with what is planned; a new site has addresses of every service. */
function changedConfig(config: Config, change: PlanChange): Config {
  const withSite = (name: string, site: Site): Config => ({
    ...config,
    sites: new Map([...config.sites, [name, site]]),
  });
  if (change.kind === 'capacity') {
    const site = config.sites.get(change.site) as Site;
    return withSite(site.name, { ...site, capacityPerSecond: site.capacityPerSecond * change.share });
  }
  if (change.kind !== 'site') return config;
  const [first] = config.sites.values();
  const largest = Math.max(...[...config.sites.values()].map(({ capacityPerSecond }) => capacityPerSecond));
  const { site: name, latitudeDegrees, longitudeDegrees } = change;
  const location = { latitudeDegrees, longitudeDegrees };
  const added = { ...first, name, location, links: [], capacityPerSecond: change.capacityPerSecond ?? largest };
  const services = [...config.services].map(([key, service]) => {
    const [vips] = service.vips.values();
    return [
      key,
      vips === undefined ? service : { ...service, vips: new Map([...service.vips, [name, vips]]) },
    ] as const;
  });
  return { ...withSite(name, added), services: new Map(services) };
}
