/**
 * What the lab consists of, as data: machines (each a network namespace), the links between them and the routes over each
 * link, derived from a configuration. Pure: `build.ts` makes it real.
 *
 * Every link is a point-to-point link between two addresses: a machine has one IPv4 and one IPv6 address, whatever the
 * number of its interfaces, and the addresses of its neighbours are peer addresses. So nothing is shared but routes. But where a
 * service is forwarded by l2 or nat, the balancers and those backends of a site have a second interface, lan0, at a switch.
 */
import type { Backend, Balancer, Config, ForwardingMode } from '../config/model.ts';
import type { Address } from '../net/address.ts';
import { addressInPrefix, formatAddress, formatPrefix } from '../net/address.ts';

export type MachineRole =
  | 'core'
  | 'router'
  | 'switch'
  | 'balancer'
  | 'prober'
  | 'backend'
  | 'nameserver'
  | 'resolver'
  | 'client';

export interface LabInterface {
  readonly name: string;
  /** A TUN device is one end of a delay line. */
  readonly kind: 'veth' | 'tun';
  readonly peer: { readonly machine: string; readonly interface: string };
  readonly mtuBytes: number;
  /** Routes over this interface: destination and, if it is not the peer itself, the gateway. */
  readonly routes: readonly { readonly to: string; readonly via: string | null }[];
  /** Receives frames that an XDP program at the other end sends: those arrive only where a program is attached too. */
  readonly needsXdpPass: boolean;
  /** `port`: of a switch's bridge, without addresses. `shared`: in a broadcast domain, so its peer has no address there. */
  readonly broadcast?: 'port' | 'shared';
  /** The default route leads over these, all at once. */
  readonly gateways?: readonly string[];
}

export interface LabMachine {
  readonly name: string;
  readonly role: MachineRole;
  /** The site it belongs to; for the internet's machines, the site that is near. */
  readonly site: string;
  /** Name of its network namespace, as in `ip netns`; a fitting name for its pins too: they are removed with the lab. */
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** Prefixes all of whose addresses are its own: clients and probers use many source addresses. */
  readonly ownPrefixes: readonly string[];
  readonly forwards: boolean;
  readonly interfaces: readonly LabInterface[];
  readonly asn: number | null;
}

export interface DelayLinePlan {
  readonly ends: readonly [
    { readonly machine: string; readonly device: string },
    { readonly machine: string; readonly device: string },
  ];
}

export interface LabPlan {
  readonly machines: ReadonlyMap<string, LabMachine>;
  readonly delayLines: readonly DelayLinePlan[];
}

/** Inside a site, GRE around a client's 1,500 bytes must fit. */
const SITE_MTU_BYTES = 1700;
const INTERNET_MTU_BYTES = 1500;
/** Private AS numbers of the cores (RFC 6996), one a site. */
const CORE_ASN = 4_200_000_000;

/** Client networks near each site, from the documentation prefixes (RFC 5737, RFC 3849) as far as they reach. */
const CLIENT_NETWORKS = [
  { ipv4: '203.0.113.0/25', address4: '203.0.113.1', ipv6: '2001:db8:e::/48', address6: '2001:db8:e::1' },
  { ipv4: '203.0.113.128/25', address4: '203.0.113.129', ipv6: '2001:db8:f::/48', address6: '2001:db8:f::1' },
  { ipv4: '198.18.113.0/25', address4: '198.18.113.1', ipv6: '2001:db8:10::/48', address6: '2001:db8:10::1' },
] as const;

export const RESOLVER_ADDRESSES = { ipv4: '10.53.0.53', ipv6: 'fd00:53::53' } as const;

interface LinkOptions {
  readonly mtuBytes: number;
  /** Interface names; by default eth0 below and the lower machine's name above. */
  readonly lowerName?: string;
  readonly upperName?: string;
  /** What is reached through the lower machine; by default its own prefixes. */
  readonly behind?: readonly string[];
  /** False: the lower machine's default route is another. */
  readonly isDefault?: boolean;
}

interface MachineDraft extends Omit<LabMachine, 'interfaces'> {
  readonly interfaces: LabInterface[];
}

/** Interface names have at most 15 bytes: the name of the machine at the other end, or its end if that is too long. */
function interfaceTo(machine: string): string {
  return machine.length <= 15 ? machine : machine.slice(-15);
}

function firstOf(family: 4 | 6, addresses: readonly Address[]): string | null {
  const found = addresses.find((address) => address.family === family);
  return found === undefined ? null : formatAddress(found);
}

class LabDraft {
  readonly machines = new Map<string, MachineDraft>();
  readonly delayLines: DelayLinePlan[] = [];
  readonly #prefix: string;
  #unnamed = 0;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Adds a machine; an address family that the configuration does not give it gets an address of the lab's own. */
  add(
    role: MachineRole,
    name: string,
    site: string,
    given: {
      readonly ipv4?: string | null;
      readonly ipv6?: string | null;
      readonly ownPrefixes?: readonly string[];
      readonly asn?: number;
    },
  ): MachineDraft {
    if (this.machines.has(name)) {
      throw new Error(
        `lab: two machines are named ${name}; the lab itself makes core-SITE, router-SITE, client-SITE, probe-BALANCER and resolver`,
      );
    }
    this.#unnamed++;
    const machine: MachineDraft = {
      name,
      role,
      site,
      netns: `${this.#prefix}${name}`,
      ipv4: given.ipv4 ?? `100.64.${this.#unnamed >> 8}.${this.#unnamed & 255}`,
      ipv6: given.ipv6 ?? `fd00:64::${this.#unnamed.toString(16)}`,
      ownPrefixes: given.ownPrefixes ?? [],
      forwards: role === 'core' || role === 'router' || role === 'balancer',
      interfaces: [],
      asn: given.asn ?? null,
    };
    this.machines.set(name, machine);
    return machine;
  }

  /** Links a machine to the router or core that it hangs on, with a default route there, and tells the upper one what is behind. */
  hang(lower: MachineDraft, upper: MachineDraft, options: LinkOptions): void {
    const names = { lower: options.lowerName ?? 'eth0', upper: options.upperName ?? interfaceTo(lower.name) };
    lower.interfaces.push({
      name: names.lower,
      kind: 'veth',
      peer: { machine: upper.name, interface: names.upper },
      mtuBytes: options.mtuBytes,
      routes: options.isDefault === false ? [] : [upper.ipv4, upper.ipv6].map((via) => ({ to: 'default', via })),
      needsXdpPass: lower.role === 'prober',
    });
    upper.interfaces.push({
      name: names.upper,
      kind: 'veth',
      peer: { machine: lower.name, interface: names.lower },
      mtuBytes: options.mtuBytes,
      routes: (options.behind ?? lower.ownPrefixes).map((to) => ({
        to,
        via: to.includes(':') ? lower.ipv6 : lower.ipv4,
      })),
      needsXdpPass: lower.role === 'balancer' || lower.role === 'backend' || lower.role === 'nameserver',
    });
  }

  /** Puts machines into one broadcast domain. `answering` have their default route there, over all `gateways`. */
  share(
    site: string,
    members: readonly MachineDraft[],
    answering: ReadonlySet<MachineDraft>,
    gateways: readonly MachineDraft[],
  ): void {
    const hub = this.add('switch', `switch-${site}`, site, {});
    for (const machine of members) {
      const port = interfaceTo(machine.name);
      const others = members.filter((other) => other !== machine);
      const isAnswering = answering.has(machine);
      machine.interfaces.push({
        name: 'lan0',
        kind: 'veth',
        peer: { machine: hub.name, interface: port },
        mtuBytes: SITE_MTU_BYTES,
        routes: [
          ...others.flatMap(({ ipv4, ipv6 }) => [`${ipv4}/32`, `${ipv6}/128`].map((to) => ({ to, via: null }))),
          ...(isAnswering ? gateways.flatMap((gateway) => this.#probersBehind(gateway)) : []),
        ],
        needsXdpPass: false,
        broadcast: 'shared',
        gateways: isAnswering ? gateways.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]) : [],
      });
      hub.interfaces.push({
        name: port,
        kind: 'veth',
        peer: { machine: machine.name, interface: 'lan0' },
        mtuBytes: SITE_MTU_BYTES,
        routes: [],
        needsXdpPass: true,
        broadcast: 'port',
      });
    }
  }

  /** Answers to a balancer's probes go to that balancer: another one would take them for answers to users, and rewrite them. */
  #probersBehind(balancer: MachineDraft): { to: string; via: string }[] {
    const prefixes = this.machines.get(`probe-${balancer.name}`)?.ownPrefixes ?? [];
    return prefixes.map((to) => ({ to, via: to.includes(':') ? balancer.ipv6 : balancer.ipv4 }));
  }

  /** Joins two cores by a delay line; each reaches over it what hangs on the other. */
  join(one: MachineDraft, other: MachineDraft): void {
    const ends = [
      { machine: one.name, device: interfaceTo(`wan-${other.site}`) },
      { machine: other.name, device: interfaceTo(`wan-${one.site}`) },
    ] as const;
    this.delayLines.push({ ends });
    for (const [here, there, own, peer] of [
      [one, other, ends[0], ends[1]],
      [other, one, ends[1], ends[0]],
    ] as const) {
      here.interfaces.push({
        name: own.device,
        kind: 'tun',
        peer: { machine: there.name, interface: peer.device },
        mtuBytes: INTERNET_MTU_BYTES,
        routes: this.prefixesOf(
          (machine) => machine.site === there.site && machine !== there && machine.role !== 'prober',
        ).map((to) => ({ to, via: null })),
        needsXdpPass: false,
      });
    }
  }

  /** Addresses (as host prefixes) and own prefixes of the machines that fit. */
  prefixesOf(fits: (machine: MachineDraft) => boolean): string[] {
    return [...this.machines.values()]
      .filter(fits)
      .flatMap((machine) => [`${machine.ipv4}/32`, `${machine.ipv6}/128`, ...machine.ownPrefixes]);
  }
}

/** The router of a site has the addresses and AS number that its balancers name; they must agree, for there is one. */
function addRouter(draft: LabDraft, config: Config, site: string): MachineDraft {
  const balancers = [...config.balancers.values()].filter((balancer) => balancer.site === site);
  const peers = balancers.flatMap((balancer) => balancer.routers);
  const asns = new Set(peers.map((peer) => peer.asn));
  const addresses = new Set(peers.map((peer) => formatAddress(peer.address)));
  if (
    asns.size > 1 ||
    [...addresses].filter((a) => a.includes(':')).length > 1 ||
    [...addresses].filter((a) => !a.includes(':')).length > 1
  ) {
    throw new Error(
      `lab: site ${site} has one router, but its balancers name ${[...addresses].join(', ')} (AS ${[...asns].join(', ')})`,
    );
  }
  const given = peers.map((peer) => peer.address);
  const asn = peers[0]?.asn;
  return draft.add('router', `router-${site}`, site, {
    ipv4: firstOf(4, given),
    ipv6: firstOf(6, given),
    ...(asn === undefined ? {} : { asn }),
  });
}

function addBalancer(draft: LabDraft, balancer: Balancer, router: MachineDraft): void {
  const machine = draft.add('balancer', balancer.name, balancer.site, {
    ipv4: firstOf(4, balancer.addresses),
    ipv6: firstOf(6, balancer.addresses),
    asn: balancer.asn,
  });
  draft.hang(machine, router, { mtuBytes: SITE_MTU_BYTES });
  const probes = balancer.probePrefix;
  if (probes === null) return;
  const first = addressInPrefix(probes, 1) ?? probes.address;
  const prober = draft.add('prober', `probe-${balancer.name}`, balancer.site, {
    [first.family === 4 ? 'ipv4' : 'ipv6']: formatAddress(first),
    ownPrefixes: [formatPrefix(probes)],
  });
  draft.hang(prober, machine, { mtuBytes: SITE_MTU_BYTES, upperName: 'probe0' });
}

/** The modes in which a backend of the site is reached. */
function modesOf(config: Config, backend: Backend): Set<ForwardingMode> {
  const services = [...config.services.values()].filter(({ backends }) =>
    backends.get(backend.site)?.includes(backend.name),
  );
  return new Set(services.map((service) => backend.forwarding ?? service.forwarding));
}

/** Backends without a tunnel stand at a switch with all balancers; by nat also their answers pass one of those. */
function addSwitch(draft: LabDraft, config: Config, site: string): void {
  const backends = [...config.backends.values()].filter((backend) => backend.site === site);
  const members = backends.filter((backend) => {
    const modes = modesOf(config, backend);
    return modes.has('l2') || modes.has('nat');
  });
  if (members.length === 0) return;
  const balancers = [...draft.machines.values()].filter((one) => one.site === site && one.role === 'balancer');
  const machineOf = (backend: Backend): MachineDraft => draft.machines.get(backend.name)!;
  const answering = members.filter((backend) => modesOf(config, backend).has('nat')).map(machineOf);
  draft.share(site, [...balancers, ...members.map(machineOf)], new Set(answering), balancers);
}

function addSite(draft: LabDraft, config: Config, site: string, core: MachineDraft): void {
  const before = new Set(draft.machines.values());
  const router = addRouter(draft, config, site);
  for (const balancer of config.balancers.values()) {
    if (balancer.site === site) addBalancer(draft, balancer, router);
  }
  for (const backend of config.backends.values()) {
    if (backend.site !== site) continue;
    const machine = draft.add('backend', backend.name, site, {
      ipv4: firstOf(4, [backend.address]),
      ipv6: firstOf(6, [backend.address]),
    });
    draft.hang(machine, router, { mtuBytes: SITE_MTU_BYTES, isDefault: !modesOf(config, backend).has('nat') });
  }
  addSwitch(draft, config, site);
  const behind = draft.prefixesOf(
    (machine) => !before.has(machine) && machine !== router && !['prober', 'switch'].includes(machine.role),
  );
  draft.hang(router, core, { mtuBytes: INTERNET_MTU_BYTES, lowerName: 'uplink', behind });
}

/** `prefix` begins every namespace's name. Throws when the configuration does not fit the lab's shape. */
export function planLab(config: Config, prefix: string): LabPlan {
  const draft = new LabDraft(prefix);
  const sites = [...config.sites.keys()];
  if (sites.length > CLIENT_NETWORKS.length)
    throw new Error(`lab: at most ${CLIENT_NETWORKS.length} sites, not ${sites.length}`);
  const cores = sites.map((site, index) =>
    draft.add('core', `core-${site}`, site, {
      ipv4: `198.18.0.${index + 1}`,
      ipv6: `fd00:18::${index + 1}`,
      asn: CORE_ASN + index,
    }),
  );
  for (const [index, site] of sites.entries()) {
    addSite(draft, config, site, cores[index]);
    const network = CLIENT_NETWORKS[index];
    const client = draft.add('client', `client-${site}`, site, {
      ipv4: network.address4,
      ipv6: network.address6,
      ownPrefixes: [network.ipv4, network.ipv6],
    });
    draft.hang(client, cores[index], { mtuBytes: INTERNET_MTU_BYTES });
  }
  const resolver = draft.add('resolver', 'resolver', sites[0], RESOLVER_ADDRESSES);
  draft.hang(resolver, cores[0], { mtuBytes: INTERNET_MTU_BYTES });
  for (const [index, server] of [...config.nameServers.values()].entries()) {
    const core = cores[index % cores.length];
    const listen = server.listen.map((entry) => entry.address);
    const machine = draft.add('nameserver', server.name, core.site, {
      ipv4: firstOf(4, listen),
      ipv6: firstOf(6, listen),
    });
    draft.hang(machine, core, { mtuBytes: INTERNET_MTU_BYTES });
  }
  for (const [index, one] of cores.entries()) for (const other of cores.slice(index + 1)) draft.join(one, other);
  return { machines: draft.machines, delayLines: draft.delayLines };
}
