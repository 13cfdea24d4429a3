/** A packet as it leaves for the backend that was chosen, in whatever mode (bpf/forward.h). */
import { setTags } from './egress.ts';
import { encapsulate, forwardingOf, gueSourcePort, KEY_BYTES, outerBytes, outerProtocol } from './encapsulate.ts';
import type { Engine, EngineBackend, EngineService } from './engine.ts';
import { takeHop } from './hops.ts';
import { BACKEND_IPV6, FORWARDING_L2, FORWARDING_NAT } from './layout.ts';
import { rewriteToBackend } from './nat.ts';
import type { IpHeader, Transport } from './parse.ts';
import type { QuotedFlow } from './quote.ts';

/** What grows around the packet. */
export function addedBytes(
  service: Pick<EngineService, 'forwarding'>,
  { version }: IpHeader,
  backend: EngineBackend,
  key: number,
): number {
  const forwarding = forwardingOf(backend, service);
  if (forwarding === FORWARDING_L2 || forwarding === FORWARDING_NAT) return 0;
  return (
    outerBytes(outerProtocol(forwarding, version), (backend.flags & BACKEND_IPV6) !== 0) + (key === 0 ? 0 : KEY_BYTES)
  );
}

export interface Unwrapped {
  readonly frame: Uint8Array;
  /** Null: a later fragment. */
  readonly transport: Transport | null;
  /** Of an ICMP error. */
  readonly quoted: QuotedFlow | null;
}

/** Null: not possible. Never changes `frame`. `key`: other candidates; 0: none. */
export function wrap(
  engine: Engine,
  { frame, transport, quoted }: Unwrapped,
  ip: IpHeader,
  service: EngineService,
  backend: EngineBackend,
  { key, flowLabel }: { readonly key: number; readonly flowLabel: number },
): Uint8Array | null {
  const forwarding = forwardingOf(backend, service);
  let sent = frame;
  if (forwarding === FORWARDING_NAT) {
    sent = frame.slice();
    if (!rewriteToBackend(engine, sent, ip, transport, quoted, service, backend)) return null;
  }
  sent = takeHop(sent, ip);
  if (forwarding === FORWARDING_L2 || forwarding === FORWARDING_NAT) {
    sent.set(backend.nextHopMac, 0);
    sent.set(backend.ownMac, 6);
    return setTags(sent, ip.offset, backend.egress ?? 0);
  }
  const protocol = outerProtocol(forwarding, ip.version);
  const outer = encapsulate(sent, ip, backend, { protocol, sourcePort: gueSourcePort(flowLabel), flowLabel, key });
  return outer === null ? null : setTags(outer, ip.offset, backend.egress ?? 0);
}
