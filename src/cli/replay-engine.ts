/** A balancer's state as its configuration alone says it: all backends healthy, every slot settled, no connections. */
import { type Balancer, type Config, type ForwardingMode, isHashScheduler, type Service } from '../config/model.ts';
import { type Reached, serviceKeys } from '../config/service-keys.ts';
import { populateTable } from '../decide/maglev.ts';
import { type NatReply, type NatService, natReplies } from '../decide/nat-replies.ts';
import { serverIdsOf } from '../decide/server-ids.ts';
import { serviceFlags } from '../fleet/scheduling.ts';
import {
  addressKey,
  addService,
  createEngine,
  type Engine,
  type EngineSlots,
  serverIdKey,
  serviceKey,
  setBackend,
} from '../model/engine.ts';
import {
  BACKEND_AGENT,
  BACKEND_ALIVE,
  BACKEND_IPV6,
  FORWARDING_UNSAID,
  FORWARDINGS,
  SERVICE_QUIC,
  VIP_ECHO,
} from '../model/layout.ts';
import { natSourceKey } from '../model/nat.ts';
import { sipHashKey } from '../model/siphash.ts';
import { formatPrefix, isHost, mappedBits, samePrefix, toMapped } from '../net/address.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/packet.ts';
import { CommandError } from './command.ts';

/** Frames are replayed as if they came in here, and leave here again: the loopback, which every machine has. */
export const REPLAY_IFINDEX = 1;
/** Of paths of which the configuration does not say it: only a machine's routes would. */
const REPLAY_MTU_BYTES = 1500;
/** Replayed slots are settled, so the connection table stays empty. */
export const REPLAY_BUCKETS = 512;
const NS_PER_TICK = 2 ** 32;

export interface ReplayEngine {
  readonly engine: Engine;
  /** By subject: the service's name. */
  readonly services: ReadonlyMap<number, string>;
  /** Services whose backend another replay, or the balancer, may have chosen otherwise. */
  readonly uncertain: ReadonlySet<string>;
  /** By backend index. */
  readonly backends: ReadonlyMap<number, string>;
  /** By `addressKey` of the outer destination: backend index. */
  readonly indices: ReadonlyMap<string, number>;
}

/** MAC addresses come from a running machine's neighbours; made-up ones tell backends apart that are reached by them alone. */
export function macOf(index: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, index >>> 8, index & 0xff);
}

/** `hashKey`: 16 bytes, that of the balancer's site. */
export function createReplayEngine(config: Config, balancer: Balancer, hashKey: Uint8Array): ReplayEngine {
  const engine = createEngine(sipHashKey(hashKey), REPLAY_BUCKETS);
  const backends = new Map<number, string>();
  const indices = new Map<string, number>();
  const byName = new Map<string, number>();
  for (const backend of config.backends.values()) {
    if (backend.site !== balancer.site) continue;
    const index = backends.size + 1;
    const source = balancer.addresses.find((address) => address.family === backend.address.family);
    const flags =
      BACKEND_ALIVE | (backend.agent ? BACKEND_AGENT : 0) | (backend.address.family === 6 ? BACKEND_IPV6 : 0);
    const address = toMapped(backend.address);
    setBackend(engine, index, {
      address,
      source: source === undefined ? new Uint8Array(16) : toMapped(source),
      nextHopMac: macOf(index),
      ownMac: new Uint8Array(6),
      mtuBytes: backend.mtuBytes ?? balancer.mtuBytes ?? REPLAY_MTU_BYTES,
      ifindex: source === undefined ? 0 : REPLAY_IFINDEX,
      flags,
      forwarding: backend.forwarding === null ? FORWARDING_UNSAID : forwardingIndex(backend.forwarding),
    });
    backends.set(index, backend.name);
    indices.set(addressKey(address, 0, 16), index);
    byName.set(backend.name, index);
  }
  const services = addServices(config, balancer, engine, byName);
  const uncertain = new Set(
    [...config.services.values()].flatMap((one) => (isHashScheduler(one.scheduler) ? [] : [one.name])),
  );
  return { engine, services, uncertain, backends, indices };
}

/** Subjects: the VIPs of the site first, then its services. */
function addServices(
  config: Config,
  balancer: Balancer,
  engine: Engine,
  indices: ReadonlyMap<string, number>,
): Map<number, string> {
  const vips = [...config.services.values()].flatMap((service) => service.vips.get(balancer.site) ?? []);
  const unique = vips.filter((vip, i) => vips.findIndex((other) => samePrefix(other, vip)) === i);
  const subjects = new Map(unique.map((vip, i) => [formatPrefix(vip), i + 1]));
  unique.forEach((prefix, i) => {
    const vip = { subject: i + 1, flags: VIP_ECHO };
    const address = toMapped(prefix.address);
    if (isHost(prefix)) engine.vips.set(addressKey(address, 0, 16), vip);
    else engine.vipPrefixes.push({ address, bits: mappedBits(prefix), vip });
  });
  const names = new Map<number, string>();
  const services: NatService[] = [];
  const reached: (Reached & { readonly subject: number })[] = [];
  let subject = unique.length;
  for (const service of config.services.values()) {
    const vips = service.vips.get(balancer.site);
    if (vips === undefined) continue;
    subject++;
    names.set(subject, service.name);
    services.push({ service, vips, subject });
    reached.push({ vips, ports: service.ports, subject });
  }
  const keys = serviceKeys(reached);
  const bySubject = Map.groupBy(keys, ({ service }) => service.subject);
  for (const { service, subject } of services) {
    const numbers = (bySubject.get(subject) ?? []).map(({ vip, port, protocol }) =>
      serviceKey(subjects.get(formatPrefix(vip))!, port, protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP),
    );
    addOneService(config, balancer, engine, indices, service, subject, numbers);
  }
  for (const reply of natReplies(balancer.site, services, config.backends).values()) addNatReply(engine, reply);
  return names;
}

function addNatReply(engine: Engine, { backend, port, protocol, vip, vipPort, subject, hasTuples }: NatReply): void {
  const number = protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
  engine.natReplies.set(natSourceKey(addressKey(toMapped(backend), 0, 16), port, number), {
    address: toMapped(vip),
    port: vipPort,
    hasTuples,
    subject,
  });
}

function addOneService(
  config: Config,
  balancer: Balancer,
  engine: Engine,
  indices: ReadonlyMap<string, number>,
  service: Service,
  subject: number,
  keys: readonly number[],
): void {
  const { slots, tracking } = service;
  const entry = {
    subject,
    slots,
    forwarding: forwardingIndex(service.forwarding),
    prefixNewPerSecond: Number.isFinite(tracking.prefixNewPerSecond) ? Math.max(1, tracking.prefixNewPerSecond) : 0,
    lifetimeTicks: Math.min(3000, Math.max(4, Math.ceil((tracking.settleAfterMs * 1e6) / NS_PER_TICK))),
    newPerSecond: tracking.newPerSecond,
    shareEntries: Math.floor(balancer.connections * tracking.tableShare),
    salt: 0,
    // Turns, chance and open connections are not known here: by hash, and not compared.
    scheduler: 0,
    flags: serviceFlags(service) | (service.quic === null ? 0 : SERVICE_QUIC),
    natPort: service.backendPort ?? 0,
    quicConfig: service.quic?.configId ?? 0,
    serverIdBytes: service.quic?.serverIdBytes ?? 0,
  };
  const members = (service.backends.get(balancer.site) ?? []).map((name) => ({
    backend: config.backends.get(name)!,
    index: indices.get(name)!,
  }));
  for (const [id, index] of serverIdsOf(service.quic, members)) engine.serverIds.set(serverIdKey(subject, id), index);
  const table = tableOf(config, balancer, indices, service);
  for (const key of keys) addService(engine, key, entry, table);
}

/** The lookup table over the site's backends that are not drained; all of them where every one is. */
function tableOf(
  config: Config,
  balancer: Balancer,
  indices: ReadonlyMap<string, number>,
  service: Service,
): EngineSlots {
  const all = (service.backends.get(balancer.site) ?? []).map((name) => config.backends.get(name)!);
  const open = all.filter((backend) => !backend.drain);
  const members = (open.length > 0 ? open : all).map(({ name, weight }) => ({
    name,
    weight,
    index: indices.get(name)!,
  }));
  const words = new Uint32Array(service.slots * 2);
  if (members.length > 0)
    populateTable(service.slots, members).forEach((index, slot) => {
      words[2 * slot] = index;
    });
  return { words };
}

/** Throws for a mode that the model does not have yet. */
function forwardingIndex(mode: ForwardingMode): number {
  const index = (FORWARDINGS as readonly string[]).indexOf(mode);
  if (index < 0) throw new CommandError(`The forwarding mode ${mode} is not built yet.`);
  return index;
}
