/** The way of fragments: to the balancer that owns their datagram, and there to the backend of the first one (bpf/fragments.h). */
import { IPV4_HEADER_BYTES, PROTOCOL_GRE, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../net/packet.ts';
import { type Choice, chooseUnlessLimited, hashed, probedBackend } from './choose.ts';
import { readInner, readShim, strip } from './decapsulate.ts';
import { setTags } from './egress.ts';
import { encapsulate, outerBytes } from './encapsulate.ts';
import { addressKey, type Engine, type EngineBackend, findVip } from './engine.ts';
import { hashFlow } from './flow-hash.ts';
import {
  type DatagramPlace,
  type Fragment,
  findHome,
  firstTransport,
  ownerOf,
  parseFragment,
  placeOf,
  rememberHome,
} from './fragments.ts';
import { isExpired, takeHop } from './hops.ts';
import { isIcmp } from './icmp.ts';
import { BACKEND_IPV6, type Clock, EVENT_KEYED, FORWARDING_GRE } from './layout.ts';
import { isSendersPart, limitOf, mostOuterBytes } from './mtu.ts';
import { end, findService, kindOf, type Packet, type PacketResult } from './packet.ts';
import { type IpHeader, parseTransport } from './parse.ts';
import { forward, handUp, leaveOversized, tellSender, withoutBackend } from './send.ts';

/** GRE to this balancer, from another of the site: a fragment for a VIP should be in it. */
export function processRelayed(engine: Engine, packet: Packet, ip: IpHeader, clock: Clock): PacketResult {
  const { frame } = packet;
  const isPlain = ip.version === 6 || (ip.headerBytes === IPV4_HEADER_BYTES && !ip.isFragment);
  if (ip.protocol !== PROTOCOL_GRE || !isPlain) return end(packet, 'pass', 'not-vip');
  if (!engine.balancerSources.has(addressKey(frame, ip.sourceOffset, ip.addressBytes)))
    return end(packet, 'pass', 'not-vip');
  const tunnel = readShim(frame, ip);
  const stripped = tunnel === null ? null : strip(frame, ip, tunnel);
  const inner = tunnel === null || stripped === null ? null : readInner(stripped, tunnel);
  if (stripped === null || inner === null) return end(packet, 'drop', 'fragment-refused');
  const vip = findVip(engine, stripped, inner.destinationOffset, inner.addressBytes);
  if (vip === undefined || vip.subject === 0 || parseTransport(stripped, inner) !== 'fragment')
    return end(packet, 'drop', 'fragment-refused');
  packet.frame = stripped;
  packet.lengthBytes = inner.lengthBytes;
  packet.subject = vip.subject;
  return processFragment(engine, packet, inner, true, clock);
}

/** To the balancer that owns its datagram; there to the backend of the first fragment, or held until that has come. */
export function processFragment(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  isRelayed: boolean,
  clock: Clock,
): PacketResult {
  const fragment = parseFragment(packet.frame, ip);
  if (fragment === 'malformed') return end(packet, 'drop', 'malformed');
  const { protocol, isFirst } = fragment;
  if (ip.version === 4 && protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)
    return end(packet, 'pass', protocol === PROTOCOL_ICMP ? 'icmp-other' : 'no-service');
  if (isExpired(packet.frame, ip)) return tellSender(engine, packet, ip, 'ttl-expired');
  const { owner, flowLabel } = ownerOf(engine, packet.frame, ip, fragment);
  const peer = engine.balancers[owner];
  if (owner !== 0 && peer !== undefined && peer.ifindex !== 0 && !isRelayed)
    return relay(engine, packet, ip, owner, peer, flowLabel, clock);
  const place = placeOf(engine.key, packet.frame, ip, fragment);
  if (isFirst) return processFirst(engine, packet, ip, fragment, place, flowLabel, clock);
  const home = findHome(engine.fragments.get(place.bucket), place, clock);
  if (home === null) return hold(engine, packet, ip, place, clock);
  const wanted = { protocol: home.isTcp ? PROTOCOL_TCP : PROTOCOL_UDP, destinationPort: home.port };
  const service = home.backend === 0 ? undefined : findService(engine, packet.subject, wanted);
  if (service === undefined) return end(packet, 'pass', 'no-service');
  packet.subject = service.subject;
  const choice: Choice = { outcome: 'fragment-later', backend: home.backend, key: 0 };
  return forward(engine, packet, ip, service, choice, flowLabel, clock);
}

/** Its ports select the backend; the others of the datagram can be told by no ports, so it goes without keys like them. */
function processFirst(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  fragment: Fragment,
  place: DatagramPlace,
  flowLabel: number,
  clock: Clock,
): PacketResult {
  const transport = firstTransport(packet.frame, ip, fragment);
  if (transport === 'malformed') return end(packet, 'drop', 'malformed');
  packet.opensConnection = kindOf(transport) === 'syn';
  packet.transport = transport;
  const service = findService(engine, packet.subject, transport);
  if (service === undefined) {
    rememberHome(engine, place, { backend: 0, port: 0, isTcp: false }, clock);
    return end(packet, 'pass', isIcmp(ip, transport) ? 'icmp-other' : 'no-service');
  }
  packet.subject = service.subject;
  const hash = hashFlow(engine.key, packet.frame, ip, transport);
  const chosen =
    probedBackend(engine, packet, ip) ??
    chooseUnlessLimited(engine, packet, ip, service, hashed(engine, packet, ip, service, transport, hash), clock);
  packet.events &= ~EVENT_KEYED;
  if (chosen.backend === 0) return withoutBackend(engine, packet, ip, service, chosen.outcome);
  const { protocol, destinationPort: port } = transport;
  rememberHome(engine, place, { backend: chosen.backend, port, isTcp: protocol === PROTOCOL_TCP }, clock);
  const choice: Choice = { outcome: 'fragment-first', backend: chosen.backend, key: 0 };
  return forward(engine, packet, ip, service, choice, flowLabel, clock);
}

function relay(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  owner: number,
  peer: EngineBackend,
  flowLabel: number,
  clock: Clock,
): PacketResult {
  const added = outerBytes(PROTOCOL_GRE, (peer.flags & BACKEND_IPV6) !== 0);
  if (ip.lengthBytes + added > peer.mtuBytes) {
    const limit = limitOf(peer.mtuBytes, mostOuterBytes(FORWARDING_GRE, ip.version, peer.flags), ip.version);
    if (isSendersPart(packet.frame, ip, limit)) return tellSender(engine, packet, ip, 'too-big', owner, limit);
    return leaveOversized(engine, packet, ip, { reason: 'relay', backend: owner, key: 0, flowLabel }, clock);
  }
  const tunnel = { protocol: PROTOCOL_GRE, sourcePort: 0, flowLabel, key: 0 };
  const sent = encapsulate(takeHop(packet.frame, ip), ip, { ...peer, sourceBits: 0 }, tunnel);
  if (sent === null) return end(packet, 'drop', 'failed', owner);
  const frame = setTags(sent, ip.offset, peer.egress ?? 0);
  return end(packet, peer.ifindex === packet.ingressIfindex ? 'tx' : 'redirect', 'fragment-relayed', owner, frame);
}

/** Handed up, unless its client's prefix has handed up enough for now. */
function hold(engine: Engine, packet: Packet, ip: IpHeader, place: DatagramPlace, clock: Clock): PacketResult {
  const about = { ...place, reason: 'early', backend: 0, key: 0, flowLabel: 0 } as const;
  return end(packet, 'drop', handUp(engine, packet, ip, about, clock) ? 'fragment-held' : 'fragment');
}
