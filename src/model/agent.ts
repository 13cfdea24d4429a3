/**
 * What the backend's program does with a frame (bpf/backend.bpf.c): takes packets out of their encapsulation, and passes
 * those of flows that it does not know on to the next candidate. State and socket lookup come in as arguments.
 */
import { readUint16 } from '../net/ethernet.ts';
import {
  IPV4_HEADER_BYTES,
  PROTOCOL_GRE,
  PROTOCOL_IPV4,
  PROTOCOL_IPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_ACK,
  TCP_SYN,
} from '../net/packet.ts';
import { readInner, readShim, strip, type Wrapped } from './decapsulate.ts';
import { setTags } from './egress.ts';
import { encapsulate, GUE_PORT } from './encapsulate.ts';
import { addressKey, type EngineBackend } from './engine.ts';
import { isIcmp } from './icmp.ts';
import { AGENT_OUTCOMES, type AgentOutcome, BACKEND_IPV6, FORWARDING_UNSAID } from './layout.ts';
import { longestPrefix, type MappedPrefix } from './longest-prefix.ts';
import type { Verdict } from './packet.ts';
import { type IpHeader, parseIp, parseTransport, type Transport } from './parse.ts';
import { readQuic } from './quic.ts';
import { readQuote } from './quote.ts';

/** Another backend, to which second chances may go. */
export interface AgentCandidate {
  /** 16 bytes, IPv4-mapped. */
  readonly address: Uint8Array;
  readonly nextHopMac: Uint8Array;
  readonly ownMac: Uint8Array;
  /** 0: unknown. */
  readonly ifindex: number;
  /** BACKEND_IPV6. */
  readonly flags: number;
  /** EGRESS_TAG or EGRESS_STRIP; absent: tags stay as they came. */
  readonly egress?: number;
}

export interface AgentQuic {
  readonly configId: number;
  readonly serverIdBytes: number;
  /** As a big-endian number. */
  readonly serverId: bigint;
}

export interface AgentQuicPrefix extends MappedPrefix {
  /** 0: any. */
  readonly port: number;
  readonly own: AgentQuic;
}

/** `vip`: an `addressKey`. `port` 0: any. */
export function agentPortKey(vip: string, port: number): string {
  return `${vip}${port}`;
}

export interface AgentState {
  /** This machine's outer addresses, 16 bytes each; all zero: none. */
  readonly address4: Uint8Array;
  readonly address6: Uint8Array;
  /** Outer sources that are accepted beside `members`: of 16 bytes the first `bits` count. */
  readonly prefixes: readonly MappedPrefix[];
  /** Outer sources that are accepted, and VIPs served here: `addressKey`s. */
  readonly members: ReadonlySet<string>;
  readonly vips: ReadonlySet<string>;
  /** VIPs that are prefixes. */
  readonly vipPrefixes: readonly MappedPrefix[];
  /** By `agentPortKey`: how connection IDs of QUIC name this machine. */
  readonly quic: ReadonlyMap<string, AgentQuic>;
  /** The same of VIPs that are prefixes: the longest counts. */
  readonly quicPrefixes: readonly AgentQuicPrefix[];
  /** By backend index. */
  readonly candidates: readonly (AgentCandidate | undefined)[];
  readonly counters: Record<AgentOutcome, number>;
}

/** A flow as its sockets know it, as the client sends it. */
export interface SocketName {
  /** Of the client, then of the VIP, each of 4 or 16 bytes. */
  readonly addresses: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  /** TCP: a packet that may show by what it acknowledges that it belongs here; an ICMP error cannot. */
  readonly mayAcknowledge: boolean;
}

/**
 * Does the flow live here? TCP: a socket that is no listener; a listener and a valid SYN cookie; a handshake under way or a connection in
 * TIME_WAIT, where the packet acknowledges what this machine sent. UDP: any socket, as a server may have one for all its flows.
 */
export type HasSocket = (name: SocketName) => boolean;

export interface AgentResult {
  readonly verdict: Verdict;
  readonly outcome: AgentOutcome;
  readonly frame: Uint8Array;
}

export function createAgentCounters(): Record<AgentOutcome, number> {
  return Object.fromEntries(AGENT_OUTCOMES.map((name) => [name, 0])) as Record<AgentOutcome, number>;
}

/** Runs one Ethernet frame through the agent. Never changes `frame`. */
export function processEncapsulated(
  agent: AgentState,
  frame: Uint8Array,
  ingressIfindex: number,
  hasSocket: HasSocket,
): AgentResult {
  const result = judge(agent, frame, ingressIfindex, hasSocket);
  agent.counters[result.outcome]++;
  return result;
}

function judge(agent: AgentState, frame: Uint8Array, ingressIfindex: number, hasSocket: HasSocket): AgentResult {
  const drop = (outcome: AgentOutcome): AgentResult => ({ verdict: 'drop', outcome, frame });
  const outer = parseIp(frame);
  if (outer === null || !isForUs(agent, frame, outer)) return { verdict: 'pass', outcome: 'not-ours', frame };
  if (!isMember(agent, addressKey(frame, outer.sourceOffset, outer.addressBytes))) return drop('not-member');
  const tunnel = readShim(frame, outer);
  if (tunnel === null) return drop('malformed');
  const stripped = strip(frame, outer, tunnel);
  const inner = readInner(stripped, tunnel);
  if (inner === null) return drop('malformed');
  const vip = addressKey(stripped, inner.destinationOffset, inner.addressBytes);
  if (!agent.vips.has(vip) && longestPrefix(agent.vipPrefixes, vip) === undefined) return drop('not-our-vip');
  if (tunnel.key !== 0) {
    const transport = parseTransport(stripped, inner);
    if (transport === 'malformed') return drop('malformed');
    const first = tunnel.key >>> 16;
    if (transport !== 'fragment' && first !== 0 && !isKnownHere(agent, stripped, inner, transport, hasSocket))
      return passOn(agent, frame, ingressIfindex, stripped, inner, tunnel);
  }
  return { verdict: 'pass', outcome: 'delivered', frame: stripped };
}

/** Is the packet for this machine, as far as its sockets and server ID tell? */
function isKnownHere(
  agent: AgentState,
  frame: Uint8Array,
  ip: IpHeader,
  transport: Transport,
  hasSocket: HasSocket,
): boolean {
  if (isIcmp(ip, transport)) {
    const quote = readQuote(frame, ip, transport);
    const { protocol } = quote ?? transport;
    if (quote === null || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) return true;
    return hasSocket({ ...quote, mayAcknowledge: false });
  }
  const { protocol, sourcePort, destinationPort } = transport;
  // A new connection: the balancer meant us.
  if (protocol === PROTOCOL_TCP && (transport.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return true;
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return true;
  const whose = protocol === PROTOCOL_UDP ? whoseQuic(agent, frame, ip, transport) : 'unknown';
  if (whose !== 'unknown') return whose === 'ours';
  const addresses = frame.slice(ip.sourceOffset, ip.sourceOffset + 2 * ip.addressBytes);
  return hasSocket({ addresses, sourcePort, destinationPort, protocol, mayAcknowledge: true });
}

/** By the connection ID of QUIC. Initials and 0-RTT were meant for us. */
function whoseQuic(
  { quic, quicPrefixes }: AgentState,
  frame: Uint8Array,
  ip: IpHeader,
  transport: Transport,
): 'ours' | "another's" | 'unknown' {
  const vip = addressKey(frame, ip.destinationOffset, ip.addressBytes);
  const byPort = (port: number): AgentQuic | undefined => quic.get(agentPortKey(vip, port));
  const byPrefix = (wanted: number): AgentQuic | undefined =>
    longestPrefix(
      quicPrefixes.filter(({ port }) => port === wanted),
      vip,
    )?.own;
  const port = transport.destinationPort;
  const own = byPort(port) ?? byPort(0) ?? byPrefix(port) ?? byPrefix(0);
  if (own === undefined) return 'unknown';
  const { kind, serverId } = readQuic(frame, ip, transport, own.configId, own.serverIdBytes);
  if (kind !== 'later') return 'ours';
  if (serverId === null) return 'unknown';
  return serverId === own.serverId ? 'ours' : "another's";
}

/** Encapsulated to one of our addresses, without IPv4 options and IPv6 extension headers. */
function isForUs(agent: AgentState, frame: Uint8Array, ip: IpHeader): boolean {
  if (!isEncapsulated(frame, ip) || ip.isFragment) return false;
  if (ip.version === 4 && ip.headerBytes !== IPV4_HEADER_BYTES) return false;
  const destination = addressKey(frame, ip.destinationOffset, ip.addressBytes);
  return [agent.address4, agent.address6].some(
    (address) => address.subarray(8).some((byte) => byte !== 0) && addressKey(address, 0, 16) === destination,
  );
}

/** Of UDP, only what goes to the port of GUE. */
function isEncapsulated(frame: Uint8Array, ip: IpHeader): boolean {
  const at = ip.offset + ip.headerBytes;
  if (ip.protocol === PROTOCOL_UDP) return at + 8 <= frame.length && readUint16(frame, at + 2) === GUE_PORT;
  return ip.protocol === PROTOCOL_GRE || ip.protocol === PROTOCOL_IPV4 || ip.protocol === PROTOCOL_IPV6;
}

/** `source`: an `addressKey`. */
function isMember({ members, prefixes }: AgentState, source: string): boolean {
  return members.has(source) || longestPrefix(prefixes, source) !== undefined;
}

/** To the first candidate, with the second left in the key. */
function passOn(
  agent: AgentState,
  frame: Uint8Array,
  ingressIfindex: number,
  stripped: Uint8Array,
  inner: IpHeader,
  tunnel: Wrapped,
): AgentResult {
  const candidate = agent.candidates[tunnel.key >>> 16];
  if (candidate === undefined || candidate.ifindex === 0)
    return { verdict: 'drop', outcome: 'unknown-candidate', frame };
  const source = (candidate.flags & BACKEND_IPV6) !== 0 ? agent.address6 : agent.address4;
  const backend: EngineBackend = { ...candidate, source, mtuBytes: 0xffff, forwarding: FORWARDING_UNSAID };
  const hasSource = source.subarray(8).some((byte) => byte !== 0);
  const key = ((tunnel.key & 0xffff) << 16) >>> 0;
  const wrapped = hasSource ? encapsulate(stripped, inner, backend, { ...tunnel, key }) : null;
  if (wrapped === null) return { verdict: 'drop', outcome: 'failed', frame };
  const sent = setTags(wrapped, inner.offset, candidate.egress ?? 0);
  const verdict = candidate.ifindex === ingressIfindex ? 'tx' : 'redirect';
  return { verdict, outcome: 'forwarded', frame: sent };
}
