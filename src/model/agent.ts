/**
 * What the backend's program does with a frame (bpf/backend.bpf.c): takes packets out of their encapsulation, and passes
 * those of TCP connections that it does not know on to the next candidate. State and socket lookup come in as arguments.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, readUint16, readUint32, writeUint16 } from '../net/ethernet.ts';
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
import { encapsulate, GRE_BYTES, GRE_KEY_PRESENT, GUE_BYTES, GUE_PORT, KEY_BYTES, type Tunnel } from './encapsulate.ts';
import { addressKey, type EngineBackend } from './engine.ts';
import { AGENT_OUTCOMES, type AgentOutcome, BACKEND_IPV6, FORWARDING_UNSAID } from './layout.ts';
import type { Verdict } from './packet-path.ts';
import { type IpHeader, parseIp, parseTransport, type Transport } from './parse.ts';

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
}

export interface AgentState {
  /** This machine's outer addresses, 16 bytes each; all zero: none. */
  readonly address4: Uint8Array;
  readonly address6: Uint8Array;
  /** Outer sources that are accepted, and VIPs served here: `addressKey`s. */
  readonly members: ReadonlySet<string>;
  readonly vips: ReadonlySet<string>;
  /** By backend index. */
  readonly candidates: readonly (AgentCandidate | undefined)[];
  readonly counters: Record<AgentOutcome, number>;
}

/** Does the connection of this packet live here: a socket that is no listener, or a listener and a valid SYN cookie? */
export type IsKnownHere = (inner: Uint8Array, ip: IpHeader, transport: Transport) => boolean;

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
  isKnownHere: IsKnownHere,
): AgentResult {
  const result = judge(agent, frame, ingressIfindex, isKnownHere);
  agent.counters[result.outcome]++;
  return result;
}

function judge(agent: AgentState, frame: Uint8Array, ingressIfindex: number, isKnownHere: IsKnownHere): AgentResult {
  const drop = (outcome: AgentOutcome): AgentResult => ({ verdict: 'drop', outcome, frame });
  const outer = parseIp(frame);
  if (outer === null || !isForUs(agent, frame, outer)) return { verdict: 'pass', outcome: 'not-ours', frame };
  if (!agent.members.has(addressKey(frame, outer.sourceOffset, outer.addressBytes))) return drop('not-member');
  const tunnel = readShim(frame, outer);
  if (tunnel === null) return drop('malformed');
  const stripped = strip(frame, outer, tunnel);
  const inner = readInner(stripped, tunnel);
  if (inner === null) return drop('malformed');
  if (!agent.vips.has(addressKey(stripped, inner.destinationOffset, inner.addressBytes))) return drop('not-our-vip');
  if (tunnel.key !== 0) {
    const transport = parseTransport(stripped, inner);
    if (transport === 'malformed') return drop('malformed');
    const first = tunnel.key >>> 16;
    if (transport !== 'fragment' && first !== 0 && goesOn(transport) && !isKnownHere(stripped, inner, transport))
      return passOn(agent, frame, ingressIfindex, stripped, inner, tunnel);
  }
  return { verdict: 'pass', outcome: 'delivered', frame: stripped };
}

/** Only packets of old TCP connections can belong to another backend: a SYN was meant for us. */
function goesOn(transport: Transport): boolean {
  return transport.protocol === PROTOCOL_TCP && (transport.tcpFlags & (TCP_SYN | TCP_ACK)) !== TCP_SYN;
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

/** A packet in its encapsulation. */
interface Wrapped extends Tunnel {
  readonly version: 4 | 6;
  /** Of all headers before the inner packet. */
  readonly headerBytes: number;
  /** Bytes of the outer packet behind those headers. */
  readonly payloadBytes: number;
}

/** What stands between outer and inner IP header. Null: not whole, not as we write it, or neither IPv4 nor IPv6 inside. */
function readShim(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  if (ip.protocol === PROTOCOL_GRE) return readGre(frame, ip);
  if (ip.protocol === PROTOCOL_UDP) return readGue(frame, ip);
  return wrapped(frame, ip, ip.protocol === PROTOCOL_IPV6, 0, 0);
}

function wrapped(
  frame: Uint8Array,
  ip: IpHeader,
  isIpv6: boolean,
  shimBytes: number,
  key: number,
  sourcePort = 0,
): Wrapped | null {
  const headerBytes = ip.headerBytes + shimBytes;
  if (ip.lengthBytes < headerBytes) return null;
  return {
    protocol: ip.protocol,
    version: isIpv6 ? 6 : 4,
    headerBytes,
    key,
    payloadBytes: ip.lengthBytes - headerBytes,
    sourcePort,
    flowLabel: ip.version === 6 ? readUint32(frame, ip.offset) & 0xfffff : 0,
  };
}

/** Flags other than a key are not understood. */
function readGre(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  const at = ip.offset + ip.headerBytes;
  if (ip.lengthBytes < ip.headerBytes + GRE_BYTES) return null;
  const type = readUint16(frame, at + 2);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return null;
  const isIpv6 = type === ETHERTYPE_IPV6;
  const flags = readUint16(frame, at);
  if (flags === 0) return wrapped(frame, ip, isIpv6, GRE_BYTES, 0);
  if (flags !== GRE_KEY_PRESENT || ip.lengthBytes < ip.headerBytes + GRE_BYTES + KEY_BYTES) return null;
  return wrapped(frame, ip, isIpv6, GRE_BYTES + KEY_BYTES, readUint32(frame, at + 4));
}

/** Version 0, no flags, at most a key. UDP checksums are not looked at. */
function readGue(frame: Uint8Array, ip: IpHeader): Wrapped | null {
  const at = ip.offset + ip.headerBytes;
  if (ip.lengthBytes < ip.headerBytes + GUE_BYTES) return null;
  const protocol = frame[at + 9];
  if ((protocol !== PROTOCOL_IPV4 && protocol !== PROTOCOL_IPV6) || readUint16(frame, at + 10) !== 0) return null;
  if (readUint16(frame, at + 4) !== ip.lengthBytes - ip.headerBytes) return null;
  const isIpv6 = protocol === PROTOCOL_IPV6;
  const sourcePort = readUint16(frame, at);
  if (frame[at + 8] === 0) return wrapped(frame, ip, isIpv6, GUE_BYTES, 0, sourcePort);
  if (frame[at + 8] !== KEY_BYTES / 4 || ip.lengthBytes < ip.headerBytes + GUE_BYTES + KEY_BYTES) return null;
  return wrapped(frame, ip, isIpv6, GUE_BYTES + KEY_BYTES, readUint32(frame, at + 12), sourcePort);
}

/** The Ethernet header with its tags, and the inner packet. */
function strip(frame: Uint8Array, ip: IpHeader, tunnel: Wrapped): Uint8Array {
  const stripped = new Uint8Array(frame.length - tunnel.headerBytes);
  stripped.set(frame.subarray(0, ip.offset));
  writeUint16(stripped, ip.offset - 2, tunnel.version === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  stripped.set(frame.subarray(ip.offset + tunnel.headerBytes), ip.offset);
  return stripped;
}

/** The inner IP header, if the outer packet holds all of it. */
function readInner(stripped: Uint8Array, tunnel: Wrapped): IpHeader | null {
  const ip = parseIp(stripped);
  if (ip === null || ip.lengthBytes < ip.headerBytes || ip.lengthBytes > tunnel.payloadBytes) return null;
  return ip;
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
  const sent = hasSource ? encapsulate(stripped, inner, backend, { ...tunnel, key }) : null;
  if (sent === null) return { verdict: 'drop', outcome: 'failed', frame };
  const verdict = candidate.ifindex === ingressIfindex ? 'tx' : 'redirect';
  return { verdict, outcome: 'forwarded', frame: sent };
}
