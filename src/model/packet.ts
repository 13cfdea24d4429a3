/** A packet on its way through the balancer's model, and how the way ends. */
import { PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../net/packet.ts';
import { type Engine, type EngineService, serviceKey } from './engine.ts';
import type { PacketKind } from './insert.ts';
import type { Clock, Outcome } from './layout.ts';
import type { Transport } from './parse.ts';
import type { QuotedFlow } from './quote.ts';

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
export interface Packet {
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

export function end(
  packet: Packet,
  verdict: Verdict,
  outcome: Outcome,
  backend = 0,
  frame = packet.frame,
): PacketResult {
  return { verdict, outcome, events: packet.events, subject: packet.subject, backend, frame };
}

export function kindOf(transport: Transport): PacketKind {
  if (transport.protocol !== PROTOCOL_TCP) return 'udp';
  return (transport.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) === TCP_SYN ? 'syn' : 'tcp';
}

export function findService(
  engine: Engine,
  vip: number,
  { protocol, destinationPort }: { readonly protocol: number; readonly destinationPort: number },
): EngineService | undefined {
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return undefined;
  return (
    engine.services.get(serviceKey(vip, destinationPort, protocol)) ?? engine.services.get(serviceKey(vip, 0, protocol))
  );
}
