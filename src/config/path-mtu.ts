/** The longest packets that reach each backend whole: what the links carry, less what the forwarding mode puts before a packet. */
import type { Backend, Balancer, Config, ForwardingMode, Service } from './model.ts';
import { overheadBytes } from './overhead.ts';

/** Of Ethernet, where the file does not say it. */
export const ASSUMED_MTU_BYTES = 1500;
/** Headers of IP and TCP without options: what an MSS leaves out. */
const TCP_IP_BYTES = { 4: 40, 6: 60 } as const;

/** The way of a service's packets from a site's clients to one backend. */
export interface MtuPath {
  readonly service: string;
  readonly site: string;
  readonly backend: string;
  readonly forwarding: ForwardingMode;
  /** Family of the backend's address: of the outer header, where the mode has one. */
  readonly family: 4 | 6;
  /** Families of the service's VIPs at the site. */
  readonly vipFamilies: readonly (4 | 6)[];
  /** Longest packets of clients. */
  readonly clientMtuBytes: number;
  /** With the other candidates, which packets of changing slots carry. */
  readonly overheadBytes: number;
  /** Longest packets between balancers and the backend. */
  readonly linkMtuBytes: number;
  /** Who says so; `assumed`: nobody does. */
  readonly linkMtuFrom: { readonly kind: 'balancer' | 'backend' | 'assumed'; readonly name: string };
  /** Longest packets of clients that reach the backend whole. */
  readonly effectiveMtuBytes: number;
  readonly fits: boolean;
  /** Largest MSS with which TCP segments fit, by family of the VIP. */
  readonly mssBytes: { readonly ipv4: number; readonly ipv6: number };
}

/** One for each service, site and backend, in the order of the file. */
export function listMtuPaths(config: Config): MtuPath[] {
  const paths: MtuPath[] = [];
  for (const service of config.services.values()) {
    for (const [site, backends] of service.backends) {
      const balancers = [...config.balancers.values()].filter((balancer) => balancer.site === site);
      for (const name of backends) {
        const backend = config.backends.get(name);
        if (backend !== undefined) paths.push(pathTo(backend, service, site, balancers, config));
      }
    }
  }
  return paths;
}

function pathTo(
  backend: Backend,
  service: Service,
  site: string,
  balancers: readonly Balancer[],
  config: Config,
): MtuPath {
  const forwarding = backend.forwarding ?? service.forwarding;
  const family = backend.address.family;
  const clientMtuBytes = config.sites.get(site)?.clientMtuBytes ?? ASSUMED_MTU_BYTES;
  const overhead = overheadBytes(forwarding, family, backend.agent);
  const { linkMtuBytes, linkMtuFrom } = narrowest(backend, balancers);
  const effectiveMtuBytes = linkMtuBytes - overhead;
  return {
    service: service.name,
    site,
    backend: backend.name,
    forwarding,
    family,
    vipFamilies: [...new Set((service.vips.get(site) ?? []).map((vip) => vip.address.family))].sort(),
    clientMtuBytes,
    overheadBytes: overhead,
    linkMtuBytes,
    linkMtuFrom,
    effectiveMtuBytes,
    fits: effectiveMtuBytes >= clientMtuBytes,
    mssBytes: { ipv4: effectiveMtuBytes - TCP_IP_BYTES[4], ipv6: effectiveMtuBytes - TCP_IP_BYTES[6] },
  };
}

function narrowest(backend: Backend, balancers: readonly Balancer[]): Pick<MtuPath, 'linkMtuBytes' | 'linkMtuFrom'> {
  const said = [
    ...balancers.map(({ name, mtuBytes }) => ({ kind: 'balancer' as const, name, mtuBytes })),
    { kind: 'backend' as const, name: backend.name, mtuBytes: backend.mtuBytes },
  ].filter((one): one is typeof one & { mtuBytes: number } => one.mtuBytes !== null);
  const [least] = said.sort((a, b) => a.mtuBytes - b.mtuBytes);
  if (least === undefined) return { linkMtuBytes: ASSUMED_MTU_BYTES, linkMtuFrom: { kind: 'assumed', name: '' } };
  return { linkMtuBytes: least.mtuBytes, linkMtuFrom: { kind: least.kind, name: least.name } };
}
