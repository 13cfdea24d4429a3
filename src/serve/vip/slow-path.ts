/**
 * The slow path of a balancer: reads what the kernel program hands up, lets the model decide, and sends frames past the
 * kernel's routing. It may begin and end at any time: what the ring holds meanwhile is handled late, or is too much and counted.
 */
import { createEngine, type Engine, type EngineBackend, type EngineService, serviceKey } from '../../model/engine.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { type SlowPathCounters, SlowPathModel } from '../../model/slow-path.ts';
import type { Forwarder } from './forwarder.ts';
import { readHandedUp } from './hand-up.ts';
import { type BackendView, SCHEDULER_NAMES, SERVICE_QUIC } from './layout.gen.ts';
import { FORWARDING_VALUE } from './machine-entry.ts';
import { PacketSocket } from './packet-socket.ts';
import { type OpenRing, openRing, RingReader } from './ring-buffer.ts';
import type { ServiceFields } from './service-maps.ts';

export interface SlowPathOptions {
  readonly forwarder: Forwarder;
  /** Namespace of the forwarder's interfaces; null: this process's. */
  readonly netns: string | null;
  readonly onError: (error: Error) => void;
}

export interface SlowPathStatus extends SlowPathCounters {
  /** Fragments that are held now. */
  readonly held: number;
  readonly heldBytes: number;
  /** Frames that the kernel took, and did not take. */
  readonly sent: number;
  readonly unsent: number;
}

const PROTOCOLS = { tcp: 6, udp: 17 } as const;

/** Entries of a mapped array of backends, read when they are asked for; as the packet path wants them. */
function lookAt(view: BackendView): (EngineBackend | undefined)[] {
  const read = (index: number): EngineBackend | undefined => {
    if (index * view.strideBytes >= view.memory.length) return undefined;
    const entry = view.at(index);
    return {
      address: entry.copyAddress(new Uint8Array(16)),
      source: entry.copySource(new Uint8Array(16)),
      nextHopMac: entry.copyNextHopMac(new Uint8Array(6)),
      ownMac: entry.copyOwnMac(new Uint8Array(6)),
      ifindex: entry.ifindex,
      flags: entry.flags,
      forwarding: entry.forwarding,
      mtuBytes: entry.mtu,
      sourceBits: entry.sourceBits,
      egress: entry.egress,
    };
  };
  return new Proxy([] as (EngineBackend | undefined)[], {
    get: (target, name) =>
      typeof name === 'string' && /^\d+$/.test(name) ? read(Number(name)) : Reflect.get(target, name),
  });
}

function engineService(fields: Required<ServiceFields>): EngineService {
  const { forwarding, scheduler, quic, natPort, flags, prefixNewPerSecond, ...same } = fields;
  return {
    ...same,
    forwarding: FORWARDING_VALUE[forwarding],
    scheduler: SCHEDULER_NAMES.indexOf(scheduler),
    quicConfig: quic?.configId ?? 0,
    serverIdBytes: quic?.serverIdBytes ?? 0,
    natPort: natPort ?? 0,
    flags: flags | (quic === null ? 0 : SERVICE_QUIC),
    prefixNewPerSecond: Number.isFinite(prefixNewPerSecond) ? prefixNewPerSecond : 0,
  };
}

export class SlowPath {
  readonly #forwarder: Forwarder;
  readonly #ring: OpenRing;
  readonly #socket: PacketSocket;
  readonly #reader: RingReader;
  readonly #model: SlowPathModel;
  readonly #engine: Engine;
  readonly #services = new Map<number, EngineService>();
  /** Of the forwarder's maps when the services were read. */
  #generation = -1;
  #stopped = false;

  constructor({ forwarder, netns, onError }: SlowPathOptions) {
    this.#forwarder = forwarder;
    this.#engine = {
      ...createEngine(sipHashKey(forwarder.hashKey), 2),
      backends: lookAt(forwarder.backends.view),
      balancers: lookAt(forwarder.balancers.view),
      // Replies of oversized packets are told by their source alone: the kernel's tuples are its own.
      natTuples: new (class extends Map {
        override set(): this {
          return this;
        }
      })(),
      fragments: { get: (bucket: number) => forwarder.fragmentWords(bucket) } as Engine['fragments'],
    };
    this.#socket = new PacketSocket(netns);
    try {
      this.#ring = openRing(forwarder.maps.slow_path, 'the slow path');
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    const send = (ifindex: number, frame: Uint8Array) => void this.#socket.send(ifindex, frame);
    this.#model = new SlowPathModel(this.#engine, (subject) => this.#services.get(subject), send);
    this.#reader = new RingReader(this.#ring.ring, {
      onRecord: (bytes) => {
        this.#readServices();
        this.#model.handle(readHandedUp(bytes), performance.now());
      },
      onTurn: () => {
        if (this.#model.held === 0) return false;
        this.#readServices();
        const ns = forwarder.clockNs();
        const clock = { high: Number((ns >> 32n) & 0xffffffffn), low: Number(ns & 0xffffffffn) };
        this.#model.turn(performance.now(), clock);
        return this.#model.held > 0;
      },
      onError,
    });
  }

  /** Again only after one of them has changed: 2 us each. */
  #readServices(): void {
    const { generation } = this.#forwarder;
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#services.clear();
    this.#engine.services.clear();
    for (const { key, ...fields } of this.#forwarder.services.list()) {
      const service = engineService(fields);
      this.#services.set(service.subject, service);
      this.#engine.services.set(serviceKey(key.vip, key.port, PROTOCOLS[key.protocol]), service);
    }
  }

  status(): SlowPathStatus {
    const { counters, held, heldBytes } = this.#model;
    let unsent = 0;
    for (const count of this.#socket.refused.values()) unsent += count;
    return { ...counters, held, heldBytes, sent: this.#socket.sent, unsent };
  }

  /** Before the forwarder is closed. What is held is lost. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#reader.stop();
    this.#ring.unmap();
    this.#socket.close();
  }
}
