/** Which backend a packet goes to: the model of bpf/select.h, which asks the connection table where a slot is unsettled. */
import { slotFields, slotHigh, tickOf } from '../decide/slot-word.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, TCP_FIN, TCP_RST } from '../net/packet.ts';
import { forwardingOf } from './encapsulate.ts';
import { addressKey, type Engine, type EngineService, type EngineSlots, serverIdKey } from './engine.ts';
import { type FlowHash, hashSource, placesOf, secondSlotOf, slotOfHash } from './flow-hash.ts';
import type { PacketKind } from './insert.ts';
import {
  BACKEND_ALIVE,
  type Clock,
  canNameOthers,
  EVENT_KEYED,
  INDEX_MASK,
  type Outcome,
  SCHEDULER_LEAST_CONNECTIONS,
  SERVICE_HASH_SOURCE,
  SERVICE_QUIC,
  SERVICE_TRACK_ALL,
} from './layout.ts';
import { kindOf, type Packet } from './packet.ts';
import type { IpHeader, Transport } from './parse.ts';
import { isLimited } from './prefixes.ts';
import { isAdopting } from './pressure.ts';
import { readQuic } from './quic.ts';
import { createSelection, type Selection, selectBackend } from './select.ts';
import { selectTracked } from './tracked.ts';

/** What the choice of a backend depends on. */
export interface HashedFlow {
  readonly hash: FlowHash;
  /** 32 bits that name the slot. */
  readonly slotHash: number;
  readonly kind: PacketKind;
  /** QUIC: the live backend that an ID names which the client may have made up; 0: none. */
  readonly named: number;
  /** TCP_FIN, TCP_RST or both. */
  readonly ends: number;
}

export interface Choice {
  readonly outcome: Outcome;
  readonly backend: number;
  /** Other candidates; 0: none. */
  readonly key: number;
}

const selection: Selection = createSelection();

/** Our own prober's packets go to the backend that their source address stands for, dead or alive. */
export function probedBackend(engine: Engine, packet: Packet, ip: IpHeader): Choice | null {
  if (packet.ingressIfindex !== engine.probeIfindex) return null;
  const backend = engine.probeSources.get(addressKey(packet.frame, ip.sourceOffset, ip.addressBytes));
  return backend === undefined ? null : { outcome: 'probe', backend, key: 0 };
}

const NO_BACKEND: Choice = { outcome: 'no-backend', backend: 0, key: 0 };

const LIMITED: Choice = { outcome: 'limited', backend: 0, key: 0 };

export function hashed(
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
    ends: transport.protocol === PROTOCOL_TCP ? transport.tcpFlags & (TCP_FIN | TCP_RST) : 0,
  };
}

/** By the prober's address, by the connection ID where that says more than the flow, else by flow. */
export function chooseFor(
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
export function chooseUnlessLimited(
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

export function hashesSource(service: EngineService): boolean {
  return (service.flags & SERVICE_HASH_SOURCE) !== 0;
}

export function choose(engine: Engine, packet: Packet, service: EngineService, flow: HashedFlow, clock: Clock): Choice {
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
      ends: flow.ends,
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
      adopting: isAdopting(common.pressure, clock),
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
