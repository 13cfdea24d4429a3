/**
 * Why a packet goes where it goes: the steps of the kernel program, with the model's code, on what stands in the kernels
 * of the site's balancers now.
 */
import type { ForwardingMode, Service, TransportProtocol } from '../config/model.ts';
import { hasKey, overheadBytes } from '../config/overhead.ts';
import { serviceAt } from '../config/service-keys.ts';
import type { SlotFields } from '../decide/slot-word.ts';
import type { FlowPlaces } from '../model/connections.ts';
import { hashAddresses, hashSource, placesOf, slotOfHash } from '../model/flow-hash.ts';
import { sipHashKey } from '../model/siphash.ts';
import {
  type Address,
  formatAddress,
  formatHostOrPrefix,
  formatPrefix,
  isHost,
  type Prefix,
  prefixContains,
} from '../net/address.ts';
import { AGE_MASK, FINE_SHIFT, TICK_SHIFT, YOUNG_TICKS } from '../serve/vip/layout.gen.ts';
import type { BalancerRole } from './balancer-role.ts';
import { type PathMtu, pathMtu, pathMtuSentences } from './path-mtu.ts';
import type { Runtime } from './runtime.ts';
import { kernelScheduler, tracksAll } from './scheduling.ts';
import type { SitePlan } from './site-plan.ts';
import type { SiteRuntime } from './site-runtime.ts';

export interface Flow {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly protocol: TransportProtocol;
}

/** The flow as one balancer would treat it. */
export interface BalancerView {
  readonly balancer: string;
  readonly current: string | null;
  readonly previous: string | null;
  readonly third: string | null;
  readonly settled: boolean;
  /** Backend of the flow's connection entry; null: it has none. */
  readonly tracked: string | null;
  readonly entryAgeSeconds: number | null;
  /** Where a packet of a connection that is open goes. */
  readonly toBackend: string | null;
  /** Where a new connection goes; null: to nobody, or as the scheduler decides when it comes. */
  readonly newToBackend: string | null;
  /** Every flow of the service has an entry. */
  readonly tracksAll: boolean;
  readonly encapsulation: {
    readonly mode: ForwardingMode;
    readonly source: string;
    readonly destination: string;
    /** Other candidates in the packet, for the backend's second chance. */
    readonly otherCandidates: readonly string[];
    readonly bytes: number;
  } | null;
  /** How long packets may be, and what becomes of longer ones. */
  readonly mtu: PathMtu | null;
  readonly nextHop: { readonly interface: string; readonly mac: string; readonly mtuBytes: number } | null;
}

export interface ExplainedFlow {
  readonly site: string;
  readonly vip: string;
  readonly service: string;
  readonly slot: number;
  readonly slots: number;
  readonly balancers: readonly BalancerView[];
  /** The same in sentences. */
  readonly why: readonly string[];
}

type Result =
  | { readonly ok: true; readonly value: ExplainedFlow }
  | { readonly ok: false; readonly error: string; readonly remedy: string };

const MODE_NAME = { gre: 'GRE', ipip: 'IP', gue: 'GUE', l2: 'no other IP header', nat: 'no other IP header' } as const;
const PROTOCOL = { tcp: 6, udp: 17 } as const;
const TICK_SECONDS = 2 ** TICK_SHIFT / 1e9;

interface Found {
  readonly vip: Prefix;
  readonly service: Service;
  readonly subject: number;
}

function serviceOf(plan: SitePlan, { destination, protocol, destinationPort }: Flow): Found | null {
  const reached = plan.services.map(({ service, subject, vips }) => {
    return { service, subject, vips: vips.map(({ prefix }) => prefix), ports: service.ports };
  });
  const found = serviceAt(reached, destination, protocol, destinationPort);
  return found === null ? null : { vip: found.vip, service: found.service.service, subject: found.service.subject };
}

export function explainFlow(runtime: Runtime, flow: Flow): Result {
  const destination = formatAddress(flow.destination);
  const sites = [...runtime.sites.values()].filter(({ plan }) =>
    plan.vips.some((vip) => prefixContains(vip.prefix, flow.destination)),
  );
  // Several sites may share a VIP; only those whose balancers are here can be asked.
  const site = sites.find(({ balancers }) => balancers.size > 0) ?? sites[0];
  if (site === undefined) {
    const known = [...runtime.sites.values()].flatMap(({ plan }) =>
      plan.vips.map((vip) => formatHostOrPrefix(vip.prefix)),
    );
    return {
      ok: false,
      error: `${destination} is no VIP: packets to it pass to the host`,
      remedy: `VIPs: ${known.join(', ')}`,
    };
  }
  const found = serviceOf(site.plan, flow);
  if (found === null)
    return {
      ok: false,
      error: `no service of VIP ${destination} takes ${flow.protocol} port ${flow.destinationPort}: such packets pass to the host`,
      remedy: `its services: ${site.plan.services.map(({ service }) => `${service.name} (${service.ports.map((one) => `${one.port}/${one.protocol}`).join(', ')})`).join('; ')}`,
    };
  const balancer = [...site.balancers.values()][0];
  const hashKey = runtime.hashKeyOf(site.name);
  if (balancer === undefined || hashKey === undefined)
    return {
      ok: false,
      error: `no balancer of ${site.name} is run by this process`,
      remedy: 'ask the process that runs it',
    };
  return { ok: true, value: explain(site, found, flow, hashKey) };
}

function explain(site: SiteRuntime, found: Found, flow: Flow, hashKey: Uint8Array): ExplainedFlow {
  const { service, subject } = found;
  const addressBytes = flow.source.family === 4 ? 4 : 16;
  const bytes = new Uint8Array(2 * addressBytes);
  bytes.set(flow.source.bytes);
  bytes.set(flow.destination.bytes, addressBytes);
  const { sourcePort, destinationPort } = flow;
  const ports = { sourcePort, destinationPort, protocol: PROTOCOL[flow.protocol] };
  const key = sipHashKey(hashKey);
  const hash = hashAddresses(key, bytes, 0, addressBytes, ports);
  const slotHash = service.scheduler === 'source-hash' ? hashSource(key, bytes, 0, addressBytes) : hash.firstHigh;
  const slot = slotOfHash(slotHash, service.slots);
  const views = [...site.balancers.values()].map((role) =>
    viewOf(site, role, service, subject, slot, flow, (salt, generation, mask) =>
      placesOf(hash, salt, generation, mask),
    ),
  );
  const vip = formatAddress(flow.destination);
  const head = [
    `${vip} is ${isHost(found.vip) ? 'a VIP' : `in ${formatPrefix(found.vip)}, a VIP`} of service ${service.name} at site ${site.name}`,
    `the ${service.scheduler === 'source-hash' ? "client's address" : 'flow'} hashes to slot ${slot} of ${service.slots}`,
  ];
  const why = [...head, ...views.flatMap((view) => sentences(view, service, flow.source.family))];
  return { site: site.name, vip, service: service.name, slot, slots: service.slots, balancers: views, why };
}

const EMPTY_SLOT: SlotFields = { current: 0, previous: 0, third: 0, generation: 0, tick: 0 };

function viewOf(
  site: SiteRuntime,
  role: BalancerRole,
  service: Service,
  subject: number,
  slot: number,
  { protocol, source }: Flow,
  places: (salt: number, generation: number, bucketMask: number) => FlowPlaces,
): BalancerView {
  const table = role.table(subject);
  const isUdp = protocol === 'udp';
  const nameOf = (index: number): string | null =>
    index === 0 ? null : (site.indices.nameOf(index) ?? `number ${index}`);
  const { current, previous, third, generation, tick } = table?.read(slot) ?? EMPTY_SLOT;
  const settled = tick === 0;
  const { connections } = role.forwarder;
  const mask = connections.capacity / 8 - 1;
  const all = tracksAll(service);
  const isAsked = all || !settled;
  const entry = isAsked ? connections.find(places(role.saltOf(subject), all ? 0 : generation, mask)) : null;
  const clockNs = role.forwarder.clockNs();
  const ageTicks = entry === null ? 0 : entryAgeTicks(entry.age, clockNs);
  const candidates = [previous, current, third].filter((index) => index !== 0);
  // As bpf/select.h: what names nobody of the slot, a dead backend or is too old counts as no entry.
  const isAlive = (index: number): boolean => index !== 0 && role.isAlive(index);
  const tracked =
    entry !== null &&
    (all || candidates.includes(entry.backend)) &&
    isAlive(entry.backend) &&
    ageTicks <= role.lifetimeTicks(service)
      ? entry.backend
      : null;
  const fallback = isAlive(previous) ? previous : current;
  const chosen = isAsked ? (tracked ?? fallback) : current;
  const adopting = isUdp && isBefore(clockNs, role.forwarder.adoptUntil(subject));
  // As bpf/tracked.h: a SYN follows its entry.
  const follows = tracked !== null && (all || isUdp || ageTicks <= YOUNG_TICKS);
  const fresh = isAlive(current) && !adopting ? current : fallback;
  return {
    balancer: role.name,
    current: nameOf(current),
    previous: nameOf(previous),
    third: nameOf(third),
    settled,
    tracked: tracked === null ? null : nameOf(tracked),
    entryAgeSeconds: tracked === null ? null : Math.round(ageTicks * TICK_SECONDS),
    toBackend: nameOf(chosen),
    newToBackend:
      all && kernelScheduler(service) !== 'hash' ? null : nameOf(!isAsked ? current : follows ? tracked : fresh),
    tracksAll: all,
    ...wayTo(
      site,
      role,
      service,
      source.family,
      chosen,
      settled ? [] : [...new Set(candidates)].filter((index) => index !== chosen && isAlive(index)),
    ),
  };
}

/** An entry from another processor may be a tick ahead: that counts as new. */
function entryAgeTicks(written: number, clockNs: bigint): number {
  const age = (Number(clockNs >> BigInt(TICK_SHIFT)) - written) & AGE_MASK;
  return age === AGE_MASK ? 0 : age;
}

/** Whether the deadline, the low 32 bits of the fine clock, is still to come. */
function isBefore(clockNs: bigint, deadline: number): boolean {
  return ((Number((clockNs >> BigInt(FINE_SHIFT)) & 0xffffffffn) - deadline) | 0) < 0;
}

function wayTo(
  site: SiteRuntime,
  role: BalancerRole,
  service: Service,
  family: 4 | 6,
  index: number,
  others: readonly number[],
): Pick<BalancerView, 'encapsulation' | 'mtu' | 'nextHop'> {
  const backend = role.backendOf(index);
  const source = role.balancer.addresses.find((address) => address.family === backend?.address.family);
  if (backend === undefined || source === undefined) return { encapsulation: null, mtu: null, nextHop: null };
  const mode = backend.forwarding ?? service.forwarding;
  const isKeyed = backend.agent && hasKey(mode);
  const otherCandidates = isKeyed ? others.map((other) => site.indices.nameOf(other) ?? `number ${other}`) : [];
  const hop = role.nextHopOf(index);
  return {
    encapsulation: {
      mode,
      source: formatAddress(source),
      destination: formatAddress(backend.address),
      otherCandidates,
      bytes: overheadBytes(mode, backend.address.family, otherCandidates.length > 0),
    },
    mtu: pathMtu(role.forwarder.backends.view.at(index).mtu, mode, family, backend.address.family, backend.agent),
    nextHop:
      hop === undefined
        ? null
        : {
            interface: hop.interfaceName,
            mac: Buffer.from(hop.mac)
              .toString('hex', 0, 6)
              .replace(/..(?=.)/g, '$&:'),
            mtuBytes: hop.mtuBytes,
          },
  };
}

function sentences(view: BalancerView, { scheduler }: Service, family: 4 | 6): string[] {
  const lines = [`balancer ${view.balancer}:`];
  if (view.tracksAll) {
    lines.push(
      `  every flow of the service is tracked: new connections go ${view.newToBackend === null ? `as ${scheduler} decides when they come` : `to ${view.newToBackend}`}`,
      view.tracked === null
        ? `  this one is not, so it goes by its hash to ${view.toBackend ?? 'nobody'}`
        : `  this one is on ${view.tracked} (last seen about ${view.entryAgeSeconds} s ago)`,
    );
  } else if (view.settled) {
    lines.push(`  the slot is settled: every packet goes to ${view.toBackend ?? 'nobody'}, and nothing is tracked`);
  } else {
    lines.push(
      `  the slot is unsettled: new connections go to ${view.newToBackend ?? 'nobody'}, untracked ones to ${view.previous ?? 'nobody'}${view.third === null ? '' : `, ${view.third} may hold some`}`,
      view.tracked === null
        ? `  the flow is not tracked, so it is older than the change and goes to ${view.toBackend ?? 'nobody'}`
        : `  the flow is tracked on ${view.tracked} (last seen about ${view.entryAgeSeconds} s ago)`,
    );
  }
  const { encapsulation, nextHop } = view;
  if (encapsulation !== null) {
    const key =
      encapsulation.otherCandidates.length === 0
        ? ''
        : `, with ${encapsulation.otherCandidates.join(' and ')} in its key for a second chance`;
    lines.push(
      `  in ${MODE_NAME[encapsulation.mode]} from ${encapsulation.source} to ${encapsulation.destination}, ${encapsulation.bytes} bytes more${key}`,
    );
  }
  if (view.mtu !== null) lines.push(...pathMtuSentences(view.mtu, family));
  if (nextHop !== null) lines.push(`  by ${nextHop.interface} to ${nextHop.mac}, MTU ${nextHop.mtuBytes}`);
  return lines;
}
