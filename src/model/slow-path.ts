/**
 * What the kernel program hands up: fragments before their first, and packets that must be fragmented. Pure: gives the frames
 * that are to be sent, and counts. How packets are wrapped is the packet path's.
 */

import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/packet.ts';
import { type Engine, type EngineBackend, type EngineService, type HandedUp, serviceKey } from './engine.ts';
import { findHome, firstTransport, type Home, ownerOf, parseFragment } from './fragments.ts';
import { HeldFragments, type HoldLimits } from './held-fragments.ts';
import { type Clock, FORWARDING_GRE } from './layout.ts';
import { type IpHeader, parseIp, parseTransport, type Transport } from './parse.ts';
import { splitIpv4 } from './split.ts';
import { addedBytes, wrap } from './wrap.ts';

export interface SlowPathCounters {
  /** Early fragments: sent on after their first; whose first did not come in time. */
  released: number;
  expired: number;
  /** Not held: over the bounds of the client's prefix; over those for all. */
  refusedPrefix: number;
  refusedAll: number;
  /** Packets that were fragmented, and what became of them. */
  split: number;
  pieces: number;
  /** No way, no backend any more, or not to be fragmented. */
  dropped: number;
}

export type Send = (ifindex: number, frame: Uint8Array) => void;

/** What a relay to another balancer goes by: GRE, and nothing else of a service. */
const RELAY = { forwarding: FORWARDING_GRE } as EngineService;

/** Null: it has none, or none that is sound. */
function transportOf(frame: Uint8Array, ip: IpHeader): Transport | null {
  const transport = parseTransport(frame, ip);
  if (typeof transport !== 'string') return transport;
  const fragment = transport === 'fragment' ? parseFragment(frame, ip) : 'malformed';
  if (fragment === 'malformed' || !fragment.isFirst) return null;
  const first = firstTransport(frame, ip, fragment);
  return first === 'malformed' ? null : first;
}

/** Everything that is sent to a relay's owner or a backend goes without a key, as fragments do (packet-path.ts). */
export class SlowPathModel {
  readonly counters: SlowPathCounters = {
    released: 0,
    expired: 0,
    refusedPrefix: 0,
    refusedAll: 0,
    split: 0,
    pieces: 0,
    dropped: 0,
  };
  readonly #engine: Engine;
  readonly #serviceOf: (subject: number) => EngineService | undefined;
  readonly #held: HeldFragments;
  readonly #send: Send;

  /** `serviceOf`: by its subject. The engine's backends, balancers, services and fragments must be those of the kernel. */
  constructor(
    engine: Engine,
    serviceOf: (subject: number) => EngineService | undefined,
    send: Send,
    limits?: HoldLimits,
  ) {
    this.#engine = engine;
    this.#serviceOf = serviceOf;
    this.#send = send;
    this.#held = new HeldFragments(limits);
  }

  /** Fragments that are held. */
  get held(): number {
    return this.#held.size;
  }

  get heldBytes(): number {
    return this.#held.bytes;
  }

  handle(packet: HandedUp, nowMs: number): void {
    if (packet.reason === 'early') {
      const held = this.#held.hold(packet, nowMs);
      if (held === 'prefix-full') this.counters.refusedPrefix++;
      else if (held === 'full') this.counters.refusedAll++;
      return;
    }
    const ip = parseIp(packet.frame);
    if (ip === null) this.counters.dropped++;
    else if (packet.reason === 'relay') this.#toOwner(packet, ip);
    else this.#toBackend(packet, ip, this.#serviceOf(packet.subject), packet.backend, packet.flowLabel);
  }

  /** Sends what has waited for its first fragment, and drops what has waited for too long. `clock`: the kernel's. */
  turn(nowMs: number, clock: Clock): void {
    if (this.#held.size === 0) return;
    const { fragments } = this.#engine;
    const { released, expired } = this.#held.release(
      (fragment) => findHome(fragments.get(fragment.bucket), fragment, clock),
      nowMs,
    );
    this.counters.expired += expired;
    for (const { fragment, home } of released) this.#release(fragment, home);
  }

  #release(packet: HandedUp, home: Home): void {
    const ip = parseIp(packet.frame);
    const fragment = ip === null ? 'malformed' : parseFragment(packet.frame, ip);
    if (ip === null || fragment === 'malformed') {
      this.counters.dropped++;
      return;
    }
    this.counters.released++;
    // Without a backend the first went to this machine's own stack, which this one cannot reach any more.
    const service = home.backend === 0 ? undefined : this.#serviceAt(packet.subject, home);
    const { flowLabel } = ownerOf(this.#engine, packet.frame, ip, fragment);
    this.#toBackend(packet, ip, service, home.backend, flowLabel);
  }

  #serviceAt(vip: number, { port, isTcp }: Home): EngineService | undefined {
    const { services } = this.#engine;
    const protocol = isTcp ? PROTOCOL_TCP : PROTOCOL_UDP;
    return services.get(serviceKey(vip, port, protocol)) ?? services.get(serviceKey(vip, 0, protocol));
  }

  #toBackend(
    { frame }: HandedUp,
    ip: IpHeader,
    service: EngineService | undefined,
    index: number,
    flowLabel: number,
  ): void {
    const backend = this.#engine.backends[index];
    if (service === undefined || backend === undefined) this.counters.dropped++;
    else this.#sendTo(frame, ip, service, backend, flowLabel);
  }

  #toOwner({ frame, backend: index, flowLabel }: HandedUp, ip: IpHeader): void {
    const owner = this.#engine.balancers[index];
    if (owner === undefined) this.counters.dropped++;
    else this.#sendTo(frame, ip, RELAY, owner, flowLabel);
  }

  #sendTo(frame: Uint8Array, ip: IpHeader, service: EngineService, to: EngineBackend, flowLabel: number): void {
    const room = to.mtuBytes - addedBytes(service, ip, to, 0);
    const pieces = to.ifindex === 0 ? null : ip.lengthBytes <= room ? [frame] : splitIpv4(frame, ip, room);
    const wrapped = (pieces ?? []).map((piece) => {
      const inner = parseIp(piece);
      if (inner === null) return null;
      const packet = { frame: piece, transport: transportOf(piece, inner), quoted: null };
      return wrap(this.#engine, packet, inner, service, to, { key: 0, flowLabel });
    });
    if (wrapped.length === 0 || wrapped.includes(null)) {
      this.counters.dropped++;
      return;
    }
    if (wrapped.length > 1) {
      this.counters.split++;
      this.counters.pieces += wrapped.length;
    }
    for (const each of wrapped) this.#send(to.ifindex, each as Uint8Array);
  }
}
