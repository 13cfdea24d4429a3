/**
 * The way to a machine as the kernel's routing and neighbour tables know it: which interface, which MAC addresses. Asked
 * through `ip -j` (iproute2) inside the namespace. The kernel programs use the answer as it is; whoever put it into a map
 * asks again now and then, since neighbours change.
 */
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, formatAddress } from '../../net/address.ts';
import { askIp } from './ip-command.ts';
import { openUdpSocket } from './netns.ts';

export interface NextHop {
  /** 6 bytes: destination of the frames. */
  readonly mac: Uint8Array;
  /** 6 bytes: of the interface. */
  readonly ownMac: Uint8Array;
  /** Of the interface that frames leave by: below a VLAN's, the one that it stands on. */
  readonly ifindex: number;
  /** Of the route. */
  readonly interfaceName: string;
  /** Of the route, else of the interface: largest IP packet in bytes. */
  readonly mtuBytes: number;
  /** VLAN that frames leave with; `none`: without a tag, as VLANs stand on the interface; absent: with those that they came with. */
  readonly vlan?: number | 'none';
}

/** Waits between asking for a neighbour's MAC address: 1.5 s in all. */
const RETRY_MS = [10, 20, 50, 100, 300, 1000];
/** RFC 863: whoever listens there throws the datagram away. */
const DISCARD_PORT = 9;

interface RouteJson {
  readonly type?: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly dev?: string;
  readonly metrics?: readonly { readonly mtu?: number }[];
}

/** As `ip -d -j link show` has it. */
export interface LinkJson {
  readonly ifname: string;
  readonly ifindex: number;
  readonly mtu: number;
  readonly link_type: string;
  readonly address?: string;
  /** The interface that a VLAN stands on. */
  readonly link?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly protocol?: string; readonly id?: number };
  };
}

interface NeighbourJson {
  readonly lladdr?: string;
  readonly state?: readonly string[];
}

function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

/** Makes the kernel look for the neighbour: a datagram to the destination, which goes the same way. */
async function provoke(netns: string | null, address: Address): Promise<void> {
  const unspecified: Address = { family: address.family, bytes: new Uint8Array(address.bytes.length) };
  const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6');
  try {
    socket.bind({ fd: openUdpSocket(netns, unspecified, 0) });
    await new Promise<void>((resolve) => {
      // An unreachable network is told by the route; any other error by the missing neighbour.
      socket.on('error', () => resolve());
      socket.send(new Uint8Array(1), DISCARD_PORT, formatAddress(address), () => resolve());
    });
  } finally {
    socket.close();
  }
}

async function findNeighbour(
  netns: string | null,
  hop: string,
  dev: string,
  destination: Address,
): Promise<Uint8Array> {
  let state = 'no entry';
  for (let attempt = 0; attempt <= RETRY_MS.length; attempt++) {
    const [neighbour] = await askIp<NeighbourJson>(netns, ['neigh', 'show', 'to', hop, 'dev', dev]);
    const isFailed = neighbour?.state?.includes('FAILED') ?? false;
    if (neighbour?.lladdr !== undefined && !isFailed) return parseMac(neighbour.lladdr);
    state = neighbour?.state?.join(', ') ?? 'no entry';
    if (attempt === RETRY_MS.length) break;
    if (attempt === 0 || isFailed) await provoke(netns, destination);
    await sleep(RETRY_MS[attempt]);
  }
  throw new Error(`neighbour ${hop} on ${dev} does not answer (${state})`);
}

/** Longest IP packets of an interface; Infinity: there is none of that name. */
export async function linkMtu(netns: string | null, name: string): Promise<number> {
  const links = await askIp<LinkJson>(netns, ['link', 'show']);
  return links.find(({ ifname }) => ifname === name)?.mtu ?? Number.POSITIVE_INFINITY;
}

export type Egress = Pick<NextHop, 'ifindex' | 'vlan' | 'ownMac'> & { readonly mtuBytes: number };

/**
 * By which interface and with which tag frames leave for a route over `dev`. An XDP program cannot send to a VLAN's
 * interface: it sends to the one below, with the tag. Throws: no such interface, no MAC addresses, a tag inside of a tag.
 */
export function egressOf(links: readonly LinkJson[], dev: string, text: string): Egress {
  const link = links.find(({ ifname }) => ifname === dev);
  if (link?.link_type !== 'ether' || link.address === undefined) {
    throw new Error(`the way to ${text} is ${dev}, which has no MAC addresses (${link?.link_type ?? 'gone'})`);
  }
  const own = { ownMac: parseMac(link.address), mtuBytes: link.mtu };
  if (!isVlan(link)) {
    const carriesVlans = links.some((other) => isVlan(other) && other.link === dev);
    return carriesVlans ? { ...own, ifindex: link.ifindex, vlan: 'none' } : { ...own, ifindex: link.ifindex };
  }
  const below = links.find(({ ifname }) => ifname === link.link);
  const { protocol, id } = link.linkinfo?.info_data ?? {};
  if (below === undefined || isVlan(below) || protocol !== '802.1Q' || id === undefined) {
    throw new Error(
      `the way to ${text} is the VLAN ${dev}, which is not one of 802.1Q on an interface of this namespace; use one that is`,
    );
  }
  return { ...own, ifindex: below.ifindex, vlan: id };
}

function isVlan(link: LinkJson): boolean {
  return link.linkinfo?.info_kind === 'vlan';
}

export interface HopOptions {
  /** Packets with this source, an address of this machine; null: any. */
  readonly source?: Address | null;
  /** The next hop must be `address` itself, as `l2` needs it: a gateway is refused. */
  readonly direct?: boolean;
}

/**
 * Resolves the next hop to `address`, seen from `netns` (null: here). Errors: no route, a local or unreachable
 * destination, an interface without MAC addresses, a gateway where there must be none, a silent neighbour (after
 * 1.5 s). Costs three processes, about 10 ms.
 */
export async function resolveNextHop(
  netns: string | null,
  address: Address,
  { source = null, direct = false }: HopOptions = {},
): Promise<NextHop> {
  const text = formatAddress(address);
  const from = source === null ? [] : ['from', formatAddress(source)];
  const [route] = await askIp<RouteJson>(netns, ['route', 'get', text, ...from]);
  if (route?.dev === undefined) throw new Error(`no route to ${text}`);
  if (route.type !== undefined && route.type !== 'unicast') throw new Error(`the route to ${text} is ${route.type}`);
  if (route.dev === 'lo') throw new Error(`${text} is an address of this machine`);
  const egress = egressOf(await askIp<LinkJson>(netns, ['-d', 'link', 'show']), route.dev, text);
  const gateway = route.via?.host ?? route.gateway;
  if (direct && gateway !== undefined) {
    throw new Error(
      `the way to ${text} leads over the gateway ${gateway} on ${route.dev}; l2 needs a backend in a subnet of this machine, other modes do not`,
    );
  }
  const mac = await findNeighbour(netns, gateway ?? text, route.dev, address);
  const mtuBytes = route.metrics?.find((metric) => metric.mtu !== undefined)?.mtu ?? egress.mtuBytes;
  return { ...egress, mac, interfaceName: route.dev, mtuBytes };
}

/** Whether two answers are the same way. */
export function sameNextHop(a: NextHop, b: NextHop): boolean {
  return (
    a.ifindex === b.ifindex &&
    a.mtuBytes === b.mtuBytes &&
    a.vlan === b.vlan &&
    Buffer.compare(a.mac, b.mac) === 0 &&
    Buffer.compare(a.ownMac, b.ownMac) === 0
  );
}
