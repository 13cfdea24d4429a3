/**
 * Which VIP the packets of backends behind nat must seem to come from: by backend, port and protocol alone, so that any
 * balancer of the site can rewrite them. Where two VIPs reach the same, only the whole flow tells; then balancers
 * keep tuples, if a service asks for that.
 */
import type { Backend, Service, TransportProtocol } from '../config/model.ts';
import { type Address, firstHost, formatAddress, type Prefix } from '../net/address.ts';

/** A service of the site, with its VIPs there. */
export interface NatService {
  readonly service: Service;
  readonly vips: readonly Prefix[];
  /** Of its counters. */
  readonly subject: number;
}

export interface NatReply {
  readonly backend: Address;
  readonly protocol: TransportProtocol;
  /** Of the backend; 0: any. */
  readonly port: number;
  /** Of a prefix its first address: which one it was, tuples tell. */
  readonly vip: Address;
  /** 0: as it came. */
  readonly vipPort: number;
  readonly subject: number;
  readonly hasTuples: boolean;
  /** The other VIPs and ports that reach the same source, as text. */
  readonly rivals: readonly string[];
}

/** Names the source of a reply: two with the same are rivals. */
export function natSourceName(reply: Pick<NatReply, 'backend' | 'protocol' | 'port'>): string {
  return `${formatAddress(reply.backend)} ${reply.port}/${reply.protocol}`;
}

/** One entry a source, the first that names it. `backends`: those of the site by name. VIPs of another family than a backend do not reach it. */
export function natReplies(
  site: string,
  services: readonly NatService[],
  backends: ReadonlyMap<string, Backend>,
): Map<string, NatReply> {
  const replies = new Map<string, NatReply>();
  for (const one of services) {
    for (const name of one.service.backends.get(site) ?? []) {
      const backend = backends.get(name);
      if (backend === undefined || (backend.forwarding ?? one.service.forwarding) !== 'nat') continue;
      for (const reply of repliesOf(one, backend)) addReply(replies, reply);
    }
  }
  return replies;
}

function* repliesOf({ service, vips, subject }: NatService, backend: Backend): Generator<NatReply> {
  for (const prefix of vips) {
    const vip = firstHost(prefix);
    if (vip.family !== backend.address.family) continue;
    for (const { port: vipPort, protocol } of service.ports) {
      const port = service.backendPort ?? vipPort;
      const { natTuples: hasTuples } = service;
      yield { backend: backend.address, protocol, port, vip, vipPort, subject, hasTuples, rivals: [] };
    }
  }
}

function addReply(replies: Map<string, NatReply>, reply: NatReply): void {
  const name = natSourceName(reply);
  const first = replies.get(name);
  if (first === undefined) {
    replies.set(name, reply);
    return;
  }
  const rivals = [...first.rivals, `${formatAddress(reply.vip)} ${reply.vipPort}/${reply.protocol}`];
  replies.set(name, { ...first, hasTuples: first.hasTuples || reply.hasTuples, rivals });
}
