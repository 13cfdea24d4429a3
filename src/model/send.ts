/** What becomes of a packet whose backend is chosen, or which has none: sent, answered or handed up. */
import { type AnsweredOutcome, answerBack } from './answer.ts';
import type { Choice } from './choose.ts';
import { forwardingOf } from './encapsulate.ts';
import type { Engine, EngineService, HandedUp } from './engine.ts';
import { mayHandUp, prefixRegion } from './fragments.ts';
import {
  type Clock,
  EVENT_ANSWERED,
  EVENT_HAND_UP_LIMITED,
  EVENT_HANDED_UP,
  EVENT_UNANSWERED,
  type Outcome,
  SERVICE_UNREACHABLE,
} from './layout.ts';
import { isSendersPart, limitOf, mostOuterBytes } from './mtu.ts';
import { end, type Packet, type PacketResult } from './packet.ts';
import type { IpHeader } from './parse.ts';
import { mayAnswer } from './prefixes.ts';
import { addedBytes, wrap } from './wrap.ts';

/** It may be fragmented, which the slow path does. */
export function leaveOversized(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  about: Pick<About, 'reason' | 'backend' | 'key' | 'flowLabel'>,
  clock: Clock,
): PacketResult {
  handUp(engine, packet, ip, { ...about, bucket: 0, datagramLow: 0, datagramHigh: 0, check: 0 }, clock);
  return end(packet, 'drop', 'oversized', about.backend);
}

export type About = Omit<HandedUp, 'subject' | 'ingressIfindex' | 'region' | 'frame'>;

export function handUp(engine: Engine, packet: Packet, ip: IpHeader, about: About, clock: Clock): boolean {
  const { subject, ingressIfindex } = packet;
  const frame = packet.frame.slice(0, ip.offset + ip.lengthBytes);
  const region = prefixRegion(engine.key, frame, ip);
  const may = mayHandUp(engine, region, frame.length, clock);
  packet.events |= may ? EVENT_HANDED_UP : EVENT_HAND_UP_LIMITED;
  if (may) engine.handedUp.push({ ...about, subject, ingressIfindex, region, frame });
  return may;
}

/** The packet goes no further, and its sender is told, but never of an error. */
export function tellSender(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  outcome: AnsweredOutcome,
  backend = 0,
  limit = 0,
): PacketResult {
  const answer = packet.quoted !== null ? null : answerBack(packet.frame, ip, outcome, limit);
  if (answer === null) return end(packet, 'drop', outcome, backend);
  if (!mayAnswer(engine, packet.frame, ip, outcome === 'too-big', packet.clock)) {
    packet.events |= EVENT_UNANSWERED;
    return end(packet, 'drop', outcome, backend);
  }
  packet.events |= EVENT_ANSWERED;
  return end(packet, 'tx', outcome, backend, answer);
}

export function withoutBackend(
  engine: Engine,
  packet: Packet,
  ip: IpHeader,
  service: EngineService,
  outcome: Outcome,
): PacketResult {
  if (outcome === 'limited' || (service.flags & SERVICE_UNREACHABLE) === 0) return end(packet, 'drop', outcome);
  return tellSender(engine, packet, ip, 'no-backend');
}

export function forward(
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
