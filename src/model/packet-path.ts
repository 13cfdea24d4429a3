/**
 * The balancer's packet path in plain TypeScript, to the byte what bpf/balancer.bpf.c does: the oracle of its tests, the
 * engine of `replay` and `explain`. The state (engine.ts) and the clock come in as arguments.
 */
import { choose, chooseFor, type HashedFlow, hashesSource } from './choose.ts';
import { countersOf, type Engine, findVip } from './engine.ts';
import { flowLabelOf, hashAddresses, hashFlow, hashSource } from './flow-hash.ts';
import { processFragment, processRelayed } from './fragment-path.ts';
import { isExpired } from './hops.ts';
import { answerEcho, isIcmp } from './icmp.ts';
import { type Clock, EVENTS, VIP_ECHO } from './layout.ts';
import { readNatReply } from './nat.ts';
import { end, findService, kindOf, type Packet, type PacketResult } from './packet.ts';
import { type IpHeader, parseIp, parseTransport, type Transport } from './parse.ts';
import { readQuote } from './quote.ts';
import { forward, tellSender, withoutBackend } from './send.ts';

/**
 * Runs one Ethernet frame through the balancer. Never changes `frame`. About 1 us. The kernel's routes are not asked here (bpf/host.h,
 * bpf/egress.h): what is for no service passes, as on a host that has the VIP as an address.
 */
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

function processIp(engine: Engine, packet: Packet, ip: IpHeader, clock: Clock): PacketResult {
  const vip = findVip(engine, packet.frame, ip.destinationOffset, ip.addressBytes);
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

/** To no VIP: maybe from a backend behind nat. The kernel's tables, which know the way to clients, are not asked: it is the host's. */
function processReply(engine: Engine, packet: Packet, ip: IpHeader): PacketResult {
  const reply = readNatReply(engine, packet.frame, ip);
  if (reply === null) return end(packet, 'pass', 'not-vip');
  packet.subject = reply.subject;
  if (reply.frame === null) return end(packet, 'drop', 'failed');
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
  const flow: HashedFlow = { hash, slotHash, kind: 'tcp', named: 0, ends: 0 };
  const choice = choose(engine, packet, service, flow, clock);
  if (choice.backend === 0) return withoutBackend(engine, packet, ip, service, choice.outcome);
  return forward(engine, packet, ip, service, { ...choice, outcome: 'icmp-error' }, flowLabelOf(hash), clock);
}
