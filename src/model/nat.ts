/** The mode nat (bpf/nat.h, bpf/nat-reply.h): what goes to a backend, and what comes back from it. */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/packet.ts';
import { addressKey, type Engine, type EngineBackend, type EngineNatReply, type EngineService } from './engine.ts';
import { isExpired } from './hops.ts';
import { isIcmp } from './icmp.ts';
import { BACKEND_IPV6, SERVICE_NAT_TUPLES } from './layout.ts';
import { type IpHeader, parseTransport, type Transport } from './parse.ts';
import { type QuotedFlow, readQuote } from './quote.ts';
import { rewriteAddress, rewriteEnd, rewriteError } from './rewrite.ts';

/** `port` 0: any. `address`: an `addressKey`. */
export function natSourceKey(address: string, port: number, protocol: number): string {
  return `${address}${String.fromCharCode(port, protocol)}`;
}

/** A flow as its replies show it. Addresses: `addressKey`s. */
export function natTupleKey(source: string, client: string, clientPort: number): string {
  return `${source}${client}${String.fromCharCode(clientPort)}`;
}

/** Changes `frame`, a copy, to a packet for the backend. False: not possible. `transport` null: a later fragment, which has no ports. `quoted`: of an ICMP error, which the backend's packet caused. */
export function rewriteToBackend(
  engine: Engine,
  frame: Uint8Array,
  ip: IpHeader,
  transport: Transport | null,
  quoted: QuotedFlow | null,
  service: EngineService,
  backend: EngineBackend,
): boolean {
  if ((ip.version === 6) !== ((backend.flags & BACKEND_IPV6) !== 0)) return false;
  if (transport === null) {
    rewriteAddress(frame, ip, { address: backend.address, isSource: false });
    return true;
  }
  const { destinationPort, sourcePort, protocol } = quoted ?? transport;
  const port = service.natPort === 0 ? destinationPort : service.natPort;
  if (quoted !== null) {
    rewriteError(frame, ip, transport, quoted, { address: backend.address, port, isSource: true });
    return true;
  }
  if ((service.flags & SERVICE_NAT_TUPLES) !== 0) {
    const source = natSourceKey(addressKey(backend.address, 0, 16), port, protocol);
    const client = addressKey(frame, ip.sourceOffset, ip.addressBytes);
    const address = mappedAt(frame, ip.destinationOffset, ip.addressBytes);
    const reply = { address, port: destinationPort, hasTuples: false, subject: service.subject };
    engine.natTuples.set(natTupleKey(source, client, sourcePort), reply);
  }
  rewriteEnd(frame, ip, transport, { address: backend.address, port, isSource: false });
  return true;
}

function mappedAt(frame: Uint8Array, offset: number, size: 4 | 16): Uint8Array {
  const address = new Uint8Array(16);
  if (size === 4) address.fill(0xff, 10, 12);
  address.set(frame.subarray(offset, offset + size), 16 - size);
  return address;
}

export interface NatReply {
  /** The service's. */
  readonly subject: number;
  /** With the VIP as its source; null: which one, nobody knows any more. */
  readonly frame: Uint8Array | null;
}

/** A packet to no VIP: null where it is no reply of a backend behind nat, nor an error about what was sent to one. */
export function readNatReply(engine: Engine, frame: Uint8Array, ip: IpHeader): NatReply | null {
  if (engine.natReplies.size === 0) return null;
  const transport = parseTransport(frame, ip);
  if (typeof transport === 'string' || isExpired(frame, ip)) return null;
  const quoted = isIcmp(ip, transport) ? readQuote(frame, ip, transport) : null;
  const { protocol } = transport;
  if (quoted === null && protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return null;
  const reply =
    quoted === null
      ? findReply(
          engine,
          addressKey(frame, ip.sourceOffset, ip.addressBytes),
          addressKey(frame, ip.destinationOffset, ip.addressBytes),
          { protocol, port: transport.sourcePort, clientPort: transport.destinationPort },
        )
      : findReply(
          engine,
          addressKey(quoted.addresses, 0, ip.addressBytes),
          addressKey(quoted.addresses, ip.addressBytes, ip.addressBytes),
          { protocol: quoted.protocol, port: quoted.sourcePort, clientPort: quoted.destinationPort },
        );
  if (reply === null) return null;
  if (reply.hasTuples) return { subject: reply.subject, frame: null };
  const result = frame.slice();
  const port = reply.port === 0 ? (quoted ?? transport).sourcePort : reply.port;
  const end = { address: reply.address, port, isSource: quoted === null };
  if (quoted === null) rewriteEnd(result, ip, transport, end);
  else rewriteError(result, ip, transport, quoted, end);
  return { subject: reply.subject, frame: result };
}

function findReply(
  engine: Engine,
  address: string,
  client: string,
  { protocol, port, clientPort }: { readonly protocol: number; readonly port: number; readonly clientPort: number },
): EngineNatReply | null {
  const source = natSourceKey(address, port, protocol);
  const reply = engine.natReplies.get(source) ?? engine.natReplies.get(natSourceKey(address, 0, protocol));
  if (reply === undefined) return null;
  if (!reply.hasTuples) return reply;
  return engine.natTuples.get(natTupleKey(source, client, clientPort)) ?? reply;
}
