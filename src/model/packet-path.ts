/**
 * The balancer's packet path in plain TypeScript, to the byte what bpf/balancer.bpf.c does: the oracle of its tests, the
 * engine of `replay` and `explain`. The state (engine.ts) and the clock come in as arguments.
 */
import { slotFields, slotHigh, tickOf } from '../decide/slot-word.ts';
import {
  IPV4_HEADER_BYTES,
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../net/packet.ts';
import { type AnsweredOutcome, answerBack } from './answer.ts';
import { readInner, readShim, strip } from './decapsulate.ts';
import { setTags } from './egress.ts';
import { encapsulate, forwardingOf, outerBytes } from './encapsulate.ts';
import {
  addressKey,
  countersOf,
  type Engine,
  type EngineBackend,
  type EngineService,
  type EngineSlots,
  type HandedUp,
  serverIdKey,
  serviceKey,
} from './engine.ts';
import {
  type FlowHash,
  flowLabelOf,
  hashAddresses,
  hashFlow,
  hashSource,
  placesOf,
  secondSlotOf,
  slotOfHash,
} from './flow-hash.ts';
import {
  type DatagramPlace,
  type Fragment,
  findHome,
  firstTransport,
  mayHandUp,
  ownerOf,
  parseFragment,
  placeOf,
  prefixRegion,
  rememberHome,
} from './fragments.ts';
import { isExpired, takeHop } from './hops.ts';
import { answerEcho, isIcmp } from './icmp.ts';
import {
  BACKEND_ALIVE,
  BACKEND_IPV6,
  type Clock,
  canNameOthers,
  clockFine,
  EVENT_ANSWERED,
  EVENT_HAND_UP_LIMITED,
  EVENT_HANDED_UP,
  EVENT_KEYED,
  EVENT_UNANSWERED,
  EVENTS,
  FORWARDING_GRE,
  INDEX_MASK,
  type Outcome,
  SCHEDULER_LEAST_CONNECTIONS,
  SERVICE_HASH_SOURCE,
  SERVICE_QUIC,
  SERVICE_TRACK_ALL,
  SERVICE_UNREACHABLE,
  VIP_ECHO,
} from './layout.ts';
import { isSendersPart, limitOf, mostOuterBytes } from './mtu.ts';
import { readNatReply } from './nat.ts';
import { type IpHeader, parseIp, parseTransport, type Transport } from './parse.ts';
import { isLimited, mayAnswer } from './prefixes.ts';
import { ADOPT_UNTIL_WORD } from './pressure.ts';
import { readQuic } from './quic.ts';
import { type QuotedFlow, readQuote } from './quote.ts';
import { createSelection, type PacketKind, type Selection, selectBackend } from './select.ts';
import { selectTracked } from './tracked.ts';
import { addedBytes, wrap } from './wrap.ts';

export type Verdict = 'pass' | 'drop' | 'tx' | 'redirect';

export interface PacketResult {
  readonly verdict: Verdict;
  readonly outcome: Outcome;
  /** Bits EVENT_*. */
  readonly events: number;
  /** Whose counters it went to. */
  readonly subject: number;
  /** Index of the backend that was chosen; 0: none. */
  readonly backend: number;
  /** As it leaves, or as it came. */
  readonly frame: Uint8Array;
}

/** What was found out on the way, while it is not over. */
interface Packet {
  /** What another balancer relayed is taken out of its encapsulation. */
  frame: Uint8Array;
  lengthBytes: number;
  readonly ingressIfindex: number;
  readonly clock: Clock;
  subject: number;
  events: number;
  opensConnection: boolean;
  transport: Transport | null;
  /** Of an ICMP error about a flow. */
  quoted: QuotedFlow | null;
}

/** What the choice of a backend depends on. */
interface HashedFlow {
  readonly hash: FlowHash;
  /** 32 bits that name the slot. */
  readonly slotHash: number;
  readonly kind: PacketKind;
  /** QUIC: the live backend that an ID names which the client may have made up; 0: none. */
  readonly named: number;
  /** FIN or RST. */
  readonly isLast: boolean;
}

interface Choice {
  readonly outcome: Outcome;
  readonly backend: number;
  /** Other candidates; 0: none. */
  readonly key: number;
}

const selection: Selection = createSelection();

/** Runs one Ethernet frame through the balancer. Never changes `frame`. About 1 us. */
export function processFrame(engine: Engine, frame: Uint8Array, ingressIfindex: number, clock: Clock): PacketResult {
  const ip = parseIp(frame);
  const lengthBytes = ip?.lengthBytes ?? 0;
  const packet: Packet = {
    frame,
    lengthBytes,
    ingressIfindex,
    clock,
    subject: 0,
    events: 0,
    opensConnection: false,
    transport: null,
    quoted: null,
  };
  const result = ip === null ? end(packet, 'pass', 'not-ip') : processIp(engine, packet, ip, clock);
  const counters = countersOf(engine, result.subject);
  counters.outcome[result.outcome]++;
  counters.bytes += packet.lengthBytes;
  if (packet.opensConnection) counters.newConnections++;
  for (let event = 0; result.events >>> event !== 0; event++)
    if (((result.events >>> event) & 1) !== 0) counters.event[EVENTS[event]]++;
  return result;
}

function end(packet: Packet, verdict: Verdict, outcome: Outcome, backend = 0, frame = packet.frame): PacketResult {
  return { verdict, outcome, events: packet.events, subject: packet.subject, backend, frame };
}

function processIp(engine: Engine, packet: Packet, ip: IpHeader, clock: Clock): PacketResult {
  const vip = engine.vips.get(addressKey(packet.frame, ip.destinationOffset, ip.addressBytes));
  if (vip === undefined) return processReply(engine, packet, ip);
  if (vip.subject === 0) return processRelayed(engine, packet, ip, clock);
  packet.subject = vip.subject;
  const transport = parseTransport(packet.frame, ip);
  if (transport === 'malformed') return end(packet, 'drop', 'malformed');
  if (transport === 'fragment') return processFragment(engine, packet, ip, false, clock);
  packet.transport = transport;
  packet.opensConnection = kindOf(transport) === 'syn';
  if (isIcmp(ip, transport)) {
    const answer = (vip.flags & VIP_ECHO) === 0 ? null : answerEcho(packet.frame, ip, transport);
    if (answer !== null) return end(packet, 'tx', 'icmp-echo', 0, answer);
    return processIcmpError(engine, packet, ip, transport, clock);
  }
  const service = findService(engine, vip.subject, transport);
  if (service === undefined) return end(packet, 'pass', 'no-service');
  packet.subject = service.subject;
  if (isExpired(packet.frame, ip)) return tellSender(engine, packet, ip, 'ttl-expired');
  const hash = hashFlow(engine.key, packet.frame, ip, transport);
  const choice = chooseFor(engine, packet, ip, transport, service, hash, clock);
  if (choice.backend === 0) return withoutBackend(engine, packet, ip, service, choice.outcome);
  return forward(engine, packet, ip, service, choice, flowLabelOf(hash), clock);
}

/** GRE to this balancer, from another of the site: a fragment for a VIP should be in it. */
function processRelayed(engine: Engine, packet: Packet, ip: IpHeader, clock: Clock): PacketResult {
  const { frame } = packet;
  const isPlain = ip.version === 6 || (ip.headerBytes === IPV4_HEADER_BYTES && !ip.isFragment);
  if (ip.protocol !== PROTOCOL_GRE || !isPlain) return end(packet, 'pass', 'not-vip');
  if (!engine.balancerSources.has(addressKey(frame, ip.sourceOffset, ip.addressBytes)))
    return end(packet, 'pass', 'not-vip');
  const tunnel = readShim(frame, ip);
  const stripped = tunnel === null ? null : strip(frame, ip, tunnel);
  const inner = tunnel === null || stripped === null ? null : readInner(stripped, tunnel);
  if (stripped === null || inner === null) return end(packet, 'drop', 'fragment-refused');
  const vip = engine.vips.get(addressKey(stripped, inner.destinationOffset, inner.addressBytes));
  if (vip === undefined || vip.subject === 0 || parseTransport(stripped, inner) !== 'fragment')
    return end(packet, 'drop', 'fragment-refused');
  packet.frame = stripped;
  packet.lengthBytes = inner.lengthBytes;
  packet.subject = vip.subject;
  return processFragment(engine, packet, inner, true, clock);
}

/** To the balancer that owns its datagram; there to the backend of the first fragment, or held until that has come. */
function processFragment(engine: Engine, packet: Packet, ip: IpHeader, isRelayed: boolean, clock: Clock): PacketResult {
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

/** It may be fragmented, which the slow path does. */
function leaveOversized(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  about: Pick<About, 'reason' | 'backend' | 'key' | 'flowLabel'>,
  clock: Clock,
): PacketResult {
  handUp(engine, packet, ip, { ...about, bucket: 0, datagramLow: 0, datagramHigh: 0, check: 0 }, clock);
  return end(packet, 'drop', 'oversized', about.backend);
}

/** Handed up, unless its client's prefix has handed up enough for now. */
function hold(engine: Engine, packet: Packet, ip: IpHeader, place: DatagramPlace, clock: Clock): PacketResult {
  const about = { ...place, reason: 'early', backend: 0, key: 0, flowLabel: 0 } as const;
  return end(packet, 'drop', handUp(engine, packet, ip, about, clock) ? 'fragment-held' : 'fragment');
}

type About = Omit<HandedUp, 'subject' | 'ingressIfindex' | 'region' | 'frame'>;

function handUp(engine: Engine, packet: Packet, ip: IpHeader, about: About, clock: Clock): boolean {
  const { subject, ingressIfindex } = packet;
  const frame = packet.frame.slice(0, ip.offset + ip.lengthBytes);
  const region = prefixRegion(engine.key, frame, ip);
  const may = mayHandUp(engine, region, frame.length, clock);
  packet.events |= may ? EVENT_HANDED_UP : EVENT_HAND_UP_LIMITED;
  if (may) engine.handedUp.push({ ...about, subject, ingressIfindex, region, frame });
  return may;
}

/** To no VIP: maybe from a backend behind nat. The kernel's tables, which know the way to clients, are not asked: it is the host's. */
function processReply(engine: Engine, packet: Packet, ip: IpHeader): PacketResult {
  const reply = readNatReply(engine, packet.frame, ip);
  if (reply === null) return end(packet, 'pass', 'not-vip');
  packet.subject = reply.subject;
  return end(packet, 'pass', 'nat-reply', 0, reply.frame);
}

/** An error about a packet that the VIP sent goes where a packet of that flow would; any other is the host's. */
function processIcmpError(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  transport: Transport,
  clock: Clock,
): PacketResult {
  const quoted = readQuote(packet.frame, ip, transport);
  const service = quoted === null ? undefined : findService(engine, packet.subject, quoted);
  if (quoted === null || service === undefined) return end(packet, 'pass', 'icmp-other');
  packet.subject = service.subject;
  packet.quoted = quoted;
  if (isExpired(packet.frame, ip)) return tellSender(engine, packet, ip, 'ttl-expired');
  const hash = hashAddresses(engine.key, quoted.addresses, 0, ip.addressBytes, quoted);
  // Like any packet of TCP but a SYN: never a new flow, whatever the protocol.
  const slotHash = hashesSource(service)
    ? hashSource(engine.key, quoted.addresses, 0, ip.addressBytes)
    : hash.firstHigh;
  const flow: HashedFlow = { hash, slotHash, kind: 'tcp', named: 0, isLast: false };
  const choice = choose(engine, packet, service, flow, clock);
  if (choice.backend === 0) return withoutBackend(engine, packet, ip, service, choice.outcome);
  return forward(engine, packet, ip, service, { ...choice, outcome: 'icmp-error' }, flowLabelOf(hash), clock);
}

/** The packet goes no further, and its sender is told, but never of an error. */
function tellSender(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  outcome: AnsweredOutcome,
  backend = 0,
  limit = 0,
): PacketResult {
  const answer = packet.quoted !== null ? null : answerBack(packet.frame, ip, outcome, limit);
  if (answer === null) return end(packet, 'drop', outcome, backend);
  if (!mayAnswer(engine, packet.frame, ip, packet.clock)) {
    packet.events |= EVENT_UNANSWERED;
    return end(packet, 'drop', outcome, backend);
  }
  packet.events |= EVENT_ANSWERED;
  return end(packet, 'tx', outcome, backend, answer);
}

function withoutBackend(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  service: EngineService,
  outcome: Outcome,
): PacketResult {
  if (outcome === 'limited' || (service.flags & SERVICE_UNREACHABLE) === 0) return end(packet, 'drop', outcome);
  return tellSender(engine, packet, ip, 'no-backend');
}

function findService(
  engine: Engine,
  vip: number,
  { protocol, destinationPort }: { readonly protocol: number; readonly destinationPort: number },
): EngineService | undefined {
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return undefined;
  return (
    engine.services.get(serviceKey(vip, destinationPort, protocol)) ?? engine.services.get(serviceKey(vip, 0, protocol))
  );
}

/** Our own prober's packets go to the backend that their source address stands for, dead or alive. */
function probedBackend(engine: Engine, packet: Packet, ip: IpHeader): Choice | null {
  if (packet.ingressIfindex !== engine.probeIfindex) return null;
  const backend = engine.probeSources.get(addressKey(packet.frame, ip.sourceOffset, ip.addressBytes));
  return backend === undefined ? null : { outcome: 'probe', backend, key: 0 };
}

const NO_BACKEND: Choice = { outcome: 'no-backend', backend: 0, key: 0 };
const LIMITED: Choice = { outcome: 'limited', backend: 0, key: 0 };

function hashed(
  engine: Engine,
  { frame }: Packet,
  ip: IpHeader,
  service: EngineService,
  transport: Transport,
  hash: FlowHash,
): HashedFlow {
  return {
    hash,
    slotHash: hashesSource(service) ? hashSource(engine.key, frame, ip.sourceOffset, ip.addressBytes) : hash.firstHigh,
    kind: kindOf(transport),
    named: 0,
    isLast: transport.protocol === PROTOCOL_TCP && (transport.tcpFlags & (TCP_FIN | TCP_RST)) !== 0,
  };
}

/** By the prober's address, by the connection ID where that says more than the flow, else by flow. */
function chooseFor(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  transport: Transport,
  service: EngineService,
  hash: FlowHash,
  clock: Clock,
): Choice {
  const flow = hashed(engine, packet, ip, service, transport, hash);
  const probed = probedBackend(engine, packet, ip);
  if ((service.flags & SERVICE_QUIC) === 0 || transport.protocol !== PROTOCOL_UDP)
    return probed ?? chooseUnlessLimited(engine, packet, ip, service, flow, clock);
  const { kind, serverId } = readQuic(packet.frame, ip, transport, service.quicConfig, service.serverIdBytes);
  packet.opensConnection = kind === 'initial';
  if (probed !== null) return probed;
  const backend = serverId === null ? 0 : (engine.serverIds.get(serverIdKey(service.subject, serverId)) ?? 0);
  const named = (engine.backendFlags[backend] & BACKEND_ALIVE) !== 0 ? backend : 0;
  if (named !== 0 && kind === 'later') return { outcome: 'by-id', backend: named, key: 0 };
  const quicFlow: HashedFlow = { ...flow, named, kind: kind === 'initial' ? 'syn' : 'tcp' };
  return chooseUnlessLimited(engine, packet, ip, service, quicFlow, clock);
}

/** A new flow may be one more than its service takes from the client prefix. */
function chooseUnlessLimited(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  service: EngineService,
  flow: HashedFlow,
  clock: Clock,
): Choice {
  if (packet.opensConnection && isLimited(engine, packet.frame, ip, service, clock)) return LIMITED;
  return choose(engine, packet, service, flow, clock);
}

function hashesSource(service: EngineService): boolean {
  return (service.flags & SERVICE_HASH_SOURCE) !== 0;
}

function choose(engine: Engine, packet: Packet, service: EngineService, flow: HashedFlow, clock: Clock): Choice {
  const slots = engine.slots.get(service.subject);
  const slot = slotOfHash(flow.slotHash, service.slots);
  if (slots === undefined || slot * 2 >= slots.words.length) return NO_BACKEND;
  if ((service.flags & SERVICE_TRACK_ALL) !== 0)
    return chooseTracked(engine, packet, service, flow, clock, slots, slot);
  if (slots.words[2 * slot + 1] >>> 20 !== 0) return chooseUnsettled(engine, packet, service, flow, clock, slots, slot);
  const backend = slots.words[2 * slot] & INDEX_MASK;
  return backend === 0 ? NO_BACKEND : { outcome: 'settled', backend, key: 0 };
}

function chooseTracked(
  engine: Engine,
  packet: Packet,
  service: EngineService,
  flow: HashedFlow,
  clock: Clock,
  { words }: EngineSlots,
  firstSlot: number,
): Choice {
  const isPair = service.scheduler === SCHEDULER_LEAST_CONNECTIONS;
  selectTracked(
    {
      ...commonRequest(engine, service, clock),
      scheduler: service.scheduler,
      subject: service.subject,
      key: engine.key,
      slots: service.slots,
      words,
      picks: engine.picks.get(service.subject) ?? [],
      active: engine.connections.active,
      weightOf: (index) => engine.backends[index]?.weight || 1,
      kind: flow.kind,
      isLast: flow.isLast,
      isError: packet.quoted !== null,
      // Entries outlive changes of their slots, so no generation is in their fingerprints.
      flow: placesOf(flow.hash, service.salt, 0, engine.bucketMask),
      firstSlot,
      secondSlot: isPair ? secondSlotOf(flow.hash, service.slots) : -1,
    },
    selection,
  );
  return selected(engine, packet, service);
}

function commonRequest(engine: Engine, service: EngineService, clock: Clock) {
  const pressure = engine.pressures.get(service.subject);
  if (pressure === undefined) throw new Error(`service ${service.subject} has no pressure windows`);
  return {
    clock,
    limits: service,
    reclaimTicks: Math.max(engine.reclaimTicks, service.lifetimeTicks),
    connections: engine.connections,
    pressure,
    backendFlags: engine.backendFlags,
  };
}

function chooseUnsettled(
  engine: Engine,
  packet: Packet,
  service: EngineService,
  flow: HashedFlow,
  clock: Clock,
  { words }: EngineSlots,
  slot: number,
): Choice {
  const { current, previous, third, generation } = slotFields(words[2 * slot], words[2 * slot + 1]);
  // Nobody made up an ID that names one of two or three: a handshake is under way there.
  if (flow.named !== 0 && [current, previous, third].includes(flow.named))
    return { outcome: 'by-id', backend: flow.named, key: 0 };
  const common = commonRequest(engine, service, clock);
  selectBackend(
    {
      ...common,
      current,
      previous,
      third,
      kind: flow.kind,
      flow: placesOf(flow.hash, service.salt, generation, engine.bucketMask),
      adopting: ((clockFine(clock) - common.pressure[ADOPT_UNTIL_WORD]) | 0) < 0,
    },
    selection,
  );
  if (selection.touchesSlot) words[2 * slot + 1] = slotHigh(third, generation, tickOf(clock.high));
  return selected(engine, packet, service);
}

/** What stands in `selection`. */
function selected(engine: Engine, packet: Packet, service: EngineService): Choice {
  const isSilent = !canNameOthers(forwardingOf(engine.backends[selection.backend], service));
  packet.events |= isSilent ? selection.events & ~EVENT_KEYED : selection.events;
  const key = isSilent ? 0 : selection.firstOther * 0x10000 + selection.secondOther;
  return { outcome: selection.outcome, backend: selection.backend, key };
}

function kindOf(transport: Transport): PacketKind {
  if (transport.protocol !== PROTOCOL_TCP) return 'udp';
  return (transport.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) === TCP_SYN ? 'syn' : 'tcp';
}

function forward(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  service: EngineService,
  choice: Choice,
  flowLabel: number,
  clock: Clock,
): PacketResult {
  const backend = engine.backends[choice.backend];
  if (backend === undefined || backend.ifindex === 0) return end(packet, 'drop', 'failed', choice.backend);
  const forwarding = forwardingOf(backend, service);
  if (ip.lengthBytes + addedBytes(service, ip, backend, choice.key) > backend.mtuBytes) {
    const limit = limitOf(backend.mtuBytes, mostOuterBytes(forwarding, ip.version, backend.flags), ip.version);
    if (isSendersPart(packet.frame, ip, limit)) return tellSender(engine, packet, ip, 'too-big', choice.backend, limit);
    const about = { reason: 'oversized', backend: choice.backend, key: choice.key, flowLabel } as const;
    return leaveOversized(engine, packet, ip, about, clock);
  }
  const frame = wrap(engine, packet, ip, service, backend, { key: choice.key, flowLabel });
  if (frame === null) return end(packet, 'drop', 'failed', choice.backend);
  const verdict = backend.ifindex === packet.ingressIfindex ? 'tx' : 'redirect';
  return end(packet, verdict, choice.outcome, choice.backend, frame);
}
