/** Where measured steering has its rows from: the machines of this process. */
import type { Config, LinkInterface } from '../config/model.ts';
import { linksOfModel } from '../decide/steer/measured-setup.ts';
import { type KeyedBeacons, keyBeacons } from '../observe/beacon-rows.ts';
import { LinkLoads } from '../observe/link-load.ts';
import { askedKey, type KeyedQueries, QueryColumns } from '../observe/query-rows.ts';
import { type KeyedRows, type RttSource, SteeringRows, type TrafficSource } from '../observe/steering-rows.ts';
import type { DnsServer } from '../serve/dns/server.ts';
import { interfaceBytes } from '../serve/vip/netns.ts';
import type { BeaconRole } from './beacon-role.ts';
import type { HealthBook } from './health-book.ts';
import type { Machine } from './machine.ts';
import type { MeasuredHealth } from './measured-words.ts';
import type { SiteRuntime } from './site-runtime.ts';
import type { SteeringWatch } from './steering-watch.ts';

/** Of a second, so a site may take a million connections of which round trips are sampled. */
const BOUNDS = { rttRows: 200_000, trafficRows: 200_000, queries: 200_000 } as const;

export interface TakenRows {
  readonly rows: KeyedRows;
  readonly queries: KeyedQueries | null;
  readonly beacons: KeyedBeacons | null;
  readonly linkLoad: ReadonlyMap<string, number>;
}

/** Sites and services in rows are their places in the configuration. */
export interface MeasuredSources {
  /** Since the last call. */
  take(config: Config, intervalMs: number): TakenRows;
  health(config: Config): MeasuredHealth;
}

export interface FleetSourcesOptions {
  readonly sites: ReadonlyMap<string, SiteRuntime>;
  readonly steering: SteeringWatch;
  readonly health: HealthBook;
  readonly beacons: Pick<BeaconRole, 'take'>;
  readonly nameServers: ReadonlyMap<string, { readonly server: Pick<DnsServer, 'readAskers'> }>;
}

export class FleetSources implements MeasuredSources {
  readonly #options: FleetSourcesOptions;
  readonly #rows = new SteeringRows(BOUNDS);
  readonly #links = new LinkLoads();
  readonly #queries = new QueryColumns(BOUNDS.queries);

  constructor(options: FleetSourcesOptions) {
    this.#options = options;
  }

  take(config: Config, _intervalMs: number): TakenRows {
    const numbersOf = (names: Iterable<string>) => new Map([...names].map((name, number) => [name, number]));
    const [sites, services] = [numbersOf(config.sites.keys()), numbersOf(config.services.keys())];
    for (const { server } of this.#options.nameServers.values())
      server.readAskers((resolver, subnet, answered, queries) => {
        const [service, site] = [services.get(answered.service), sites.get(answered.site)];
        // Of a name that has just left the file.
        if (service !== undefined && site !== undefined) this.#queries.add(resolver, subnet, service, site, queries);
      });
    const ours = probersOf(config);
    for (const [name, site] of this.#options.sites) {
      const number = sites.get(name);
      if (number !== undefined) this.#readSite(number, site, services, ours);
    }
    return {
      rows: this.#rows.take(),
      queries: this.#queries.take(),
      beacons: keyBeacons(this.#options.beacons.take()),
      linkLoad: this.#readLinks(config),
    };
  }

  /** Bits a second of the links whose interfaces are all of machines in this process, by their names in the model. */
  #readLinks(config: Config): Map<string, number> {
    const roles = new Map<string, { readonly machine: Machine }>();
    for (const { balancers, backends } of this.#options.sites.values())
      for (const role of [...balancers.values(), ...backends.values()]) roles.set(role.name, role);
    const counters = new Map<string, ReturnType<typeof interfaceBytes>>();
    const bytesOf = ({ machine, name }: LinkInterface) => {
      const role = roles.get(machine);
      if (role === undefined) return null;
      const read = counters.get(machine) ?? interfaceBytes(role.machine.netns);
      counters.set(machine, read);
      return read.get(name) ?? null;
    };
    const members = linksOfModel(config);
    this.#links.keep(new Set(members.keys()));
    const loads = new Map<string, number>();
    for (const [name, links] of members) {
      if (links.length === 0 || links.some(({ interfaces }) => interfaces.length === 0)) continue;
      const interfaces = links.flatMap((link) => link.interfaces.map(bytesOf));
      loads.set(name, this.#links.load(name, interfaces, performance.now()));
    }
    return loads;
  }

  /** What the kernels of its machines have measured. */
  #readSite(
    site: number,
    { plan, balancers, backends }: SiteRuntime,
    services: ReadonlyMap<string, number>,
    ours: ReadonlySet<number>,
  ): void {
    const bySubject = new Map(plan.services.map(({ subject, service }) => [subject, services.get(service.name)]));
    const ofUsers = (take: RttSource['takeRtt']): RttSource => ({
      takeRtt: (each) => take((high, low, us) => (ours.has(keyOf(high, low)) ? undefined : each(high, low, us))),
    });
    for (const backend of backends.values())
      this.#rows.readRtt(
        site,
        ofUsers((each) => backend.takeRtt(each)),
      );
    for (const { forwarder } of balancers.values()) {
      const source: TrafficSource = {
        takeTraffic: (each) =>
          forwarder.takeTraffic(bySubject.keys(), (high, low, subject, connections, bytes) => {
            if (!ours.has(keyOf(high, low))) each(high, low, subject, connections, bytes);
          }),
      };
      this.#rows.readRtt(
        site,
        ofUsers((each) => forwarder.handshakes.take(each)),
      );
      this.#rows.readTraffic(site, source, (subject) => bySubject.get(subject));
    }
  }

  /** Of a site: the mean over its services of the weight of backends that are healthy; 0 for services that are down. */
  health(config: Config): MeasuredHealth {
    const { steering } = this.#options;
    const shares = new Map<string, number>();
    for (const site of config.sites.keys()) {
      const services = [...config.services.values()].filter(({ vips }) => vips.has(site));
      let sum = 0;
      for (const service of services)
        if (steering.siteUp(service.name, site)) sum += this.#healthyShare(config, service.name, site);
      shares.set(site, services.length === 0 ? 0 : sum / services.length);
    }
    return { sites: shares };
  }

  #healthyShare(config: Config, service: string, site: string): number {
    // Backends that another process looks at are judged by the probe of the VIP alone.
    if ((this.#options.sites.get(site)?.balancers.size ?? 0) === 0) return 1;
    let [all, healthy] = [0, 0];
    for (const name of config.services.get(service)?.backends.get(site) ?? []) {
      const weight = config.backends.get(name)?.weight ?? 0;
      all += weight;
      if (this.#options.health.verdict(service, name) !== 'unhealthy') healthy += weight;
    }
    return all === 0 || healthy === 0 ? 1 : healthy / all;
  }
}

/** One number for a prefix as the kernel has it. */
function keyOf(high: number, low: number): number {
  return high * 2 ** 32 + low;
}

/** Prefixes that Portico itself probes VIPs from: they are no users. */
function probersOf({ balancers, nameServers }: Config): ReadonlySet<number> {
  const probers = [...balancers.values()].flatMap(({ probePrefix }) =>
    probePrefix === null ? [] : [probePrefix.address],
  );
  const servers = [...nameServers.values()].flatMap(({ listen }) => listen.map(({ address }) => address));
  return new Set([...probers, ...servers].map((address) => keyOf(...askedKey(address))));
}
