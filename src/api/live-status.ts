/** The state with its rates: what `GET /status` answers and the page shows. Pure. */
import type { Rates, Traffic } from './rates.ts';
import type {
  BackendStatus,
  BalancerStatus,
  NameServerStatus,
  SiteServiceStatus,
  SiteStatus,
  Status,
} from './source.ts';

export interface LiveBackend extends BackendStatus {
  /** Of the service's slots, 0 to 1. */
  readonly share: number;
  /** Packets that the backend's agent handed up, for all of its services; null: no agent tells. */
  readonly packetsPerSecond: number | null;
}

export interface LiveService extends Omit<SiteServiceStatus, 'backends'> {
  readonly traffic: Traffic;
  /** DNS answers that sent clients here. */
  readonly answersPerSecond: number;
  readonly backends: readonly LiveBackend[];
}

export interface LiveBalancer extends BalancerStatus {
  readonly traffic: Traffic;
}

export interface LiveSite extends Omit<SiteStatus, 'balancers' | 'services'> {
  readonly traffic: Traffic;
  readonly balancers: readonly LiveBalancer[];
  readonly services: readonly LiveService[];
}

export interface LiveNameServer extends NameServerStatus {
  readonly queriesPerSecond: number;
}

export interface LiveStatus extends Omit<Status, 'sites' | 'nameServers'> {
  readonly sites: readonly LiveSite[];
  readonly nameServers: readonly LiveNameServer[];
}

const NO_TRAFFIC: Traffic = { packetsPerSecond: 0, bytesPerSecond: 0, droppedPerSecond: 0 };

export function addRates(status: Status, rates: Rates): LiveStatus {
  return {
    ...status,
    sites: status.sites.map((site) => liveSite(site, rates)),
    nameServers: status.nameServers.map((server) => ({
      ...server,
      queriesPerSecond: rates.nameServers.get(server.name) ?? 0,
    })),
  };
}

function liveSite(site: SiteStatus, rates: Rates): LiveSite {
  const balancers = site.balancers.map((balancer) => ({
    ...balancer,
    traffic: rates.balancers.get(balancer.name) ?? NO_TRAFFIC,
  }));
  const services = site.services.map((service) => liveService(service, site.name, rates));
  return { ...site, traffic: addTraffic(balancers.map(({ traffic }) => traffic)), balancers, services };
}

function liveService(service: SiteServiceStatus, site: string, rates: Rates): LiveService {
  return {
    ...service,
    traffic: rates.services.get(`${site}/${service.name}`) ?? NO_TRAFFIC,
    answersPerSecond: rates.answers.get(`${service.name}/${site}`) ?? 0,
    backends: service.backends.map((backend) => ({
      ...backend,
      share: service.slots === 0 ? 0 : backend.slots / service.slots,
      packetsPerSecond: rates.backends.get(backend.name) ?? null,
    })),
  };
}

function addTraffic(list: readonly Traffic[]): Traffic {
  return list.reduce(
    (sum, one) => ({
      packetsPerSecond: sum.packetsPerSecond + one.packetsPerSecond,
      bytesPerSecond: sum.bytesPerSecond + one.bytesPerSecond,
      droppedPerSecond: sum.droppedPerSecond + one.droppedPerSecond,
    }),
    NO_TRAFFIC,
  );
}
