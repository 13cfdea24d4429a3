/**
 * The balancer's kernel program without any interface: loaded with the state of a model engine, run by test-run, its maps
 * open to be compared. Needs root. Used by `replay` and by the differential test.
 */
import type { Engine, EngineBackend, EngineNatReply, EngineVipPrefix, HandedUp } from '../model/engine.ts';
import { headerSum } from '../model/engine.ts';
import type { Clock } from '../model/layout.ts';
import { EVENTS, OUTCOMES } from '../model/layout.ts';
import { PREFIX_SET_WORDS, TALLY_WORDS } from '../model/prefixes.ts';
import { PRESSURE_WORDS } from '../model/pressure.ts';
import { openBalancer } from '../serve/vip/balancer-object.ts';
import {
  BPF_F_INNER_MAP,
  BPF_F_MMAPABLE,
  createMap,
  deleteElement,
  listKeys,
  MAP_TYPE_ARRAY,
  MAP_TYPE_PROG_ARRAY,
  type RunResult,
  runProgram,
  updateElement,
} from '../serve/vip/bpf.ts';
import { readHandedUp } from '../serve/vip/hand-up.ts';
import {
  ADDRESS_PREFIX,
  AddressPrefixView,
  BACKEND,
  BackendView,
  BUCKET,
  COUNTERS,
  FRAGMENT_BUCKET,
  FRAGMENT_BUCKETS,
  FRAGMENT_REGIONS,
  MAX_BACKENDS,
  MAX_BALANCERS,
  MAX_SUBJECTS,
  NAT_SOURCE,
  NAT_TUPLE,
  NatReplyView,
  NatSourceView,
  NatTupleView,
  OWNER_SLOTS,
  PREFIX_SET,
  PRESSURE,
  ROLE_COUNT,
  SERVER_ID_BUCKETS,
  SERVER_IDS,
  SERVICE_KEY,
  SETTINGS,
  ServiceView,
  SettingsView,
  TALLY,
  VIP,
} from '../serve/vip/layout.gen.ts';
import { closeFd, type MappedMemory, mapMemory } from '../serve/vip/libc.ts';
import { openPickTable, type PickTable } from '../serve/vip/pick-table.ts';
import { type OpenRing, openRing } from '../serve/vip/ring-buffer.ts';
import { ServerIdTable } from '../serve/vip/server-id-table.ts';

const MIN_FRAME_BYTES = 14;

/** A service's slots as they stand in the kernel. */
interface KernelSlots {
  readonly size: number;
  readonly memory: MappedMemory;
  readonly words: Uint32Array;
}

export interface KernelEngine {
  /** Two 32-bit words each, low first, as the model has them. */
  readonly connections: Uint32Array;
  /** Active connections by backend index. */
  readonly active: BigInt64Array;
  /** Sets of client prefixes, as the model has them. */
  readonly prefixes: Uint32Array;
  slotWords(subject: number): Uint32Array;
  tallyWords(cpu: number): Uint32Array;
  pressureWords(subject: number): Uint32Array;
  /** Outcomes, then events, bytes and new connections, summed over the CPUs into `sums`. */
  readCounters(subject: number, sums: Float64Array): void;
  /** Writes everything that the engine holds; counters start at 0. Slower where VIPs or services are new (some 10 ms). */
  load(engine: Engine): void;
  /** As `load`, when nothing but slots, connections, backends, pressures and settings changed; counters stay. */
  refresh(engine: Engine): void;
  setClock(clock: Clock): void;
  /** A bucket of `fragments`, and the window of a region: window and bytes. */
  fragmentWords(bucket: number): Uint32Array;
  handUpWindow(region: number): { window: number; bytes: number };
  /** What was handed up since the last call. */
  takeHandedUp(): HandedUp[];
  /** Frames of 14 bytes or more, as if they came in on the loopback. */
  run(frame: Uint8Array): RunResult;
  close(): void;
}

/** Length of `sums` of `readCounters`. */
export const COUNTER_FIELDS = OUTCOMES.length + EVENTS.length + 2;

/** Loads `balancer.bpf.o` from the folder `objects`; `buckets` and `prefixSets` are those of the engines to come. Throws where the kernel refuses. */
export function openKernelEngine(objects: string, buckets: number, prefixSets = 1): KernelEngine {
  const rolesFd = createMap({
    name: 'roles',
    type: MAP_TYPE_PROG_ARRAY,
    keySizeBytes: 4,
    valueSizeBytes: 4,
    maxEntries: ROLE_COUNT,
    flags: 0,
  });
  try {
    return new LoadedEngine(objects, buckets, prefixSets, rolesFd);
  } catch (error) {
    closeFd(rolesFd);
    throw error;
  }
}

class LoadedEngine implements KernelEngine {
  readonly #balancer;
  readonly #rolesFd: number;
  readonly #programFd: number;
  readonly #memory: MappedMemory[] = [];
  readonly #slots = new Map<number, KernelSlots>();
  readonly #picks = new Map<number, PickTable>();
  readonly connections: Uint32Array;
  readonly active: BigInt64Array;
  readonly prefixes: Uint32Array;
  readonly #tallies: Uint32Array;
  readonly #pressures: Uint32Array;
  readonly #counters: Uint32Array;
  readonly #backends: BackendView;
  readonly #settings: SettingsView;
  readonly #serverIds: ServerIdTable;
  readonly #clock: Uint32Array;
  readonly #owners: Uint32Array;
  readonly #balancers: BackendView;
  readonly #fragments: Uint32Array;
  readonly #windows: Uint32Array;
  readonly #slowPath: OpenRing;

  constructor(objects: string, buckets: number, prefixSets: number, rolesFd: number) {
    this.#rolesFd = rolesFd;
    this.#balancer = openBalancer({ objects, folder: null, rolesFd, buckets, prefixSets, testClock: true });
    const { maps, object, cpus, testClock } = this.#balancer;
    if (testClock === null) throw new Error('balancer.bpf.o was loaded without the test clock');
    this.#programFd = object.programFd('balancer');
    this.connections = new Uint32Array(this.#map(maps.connections, buckets * BUCKET.sizeBytes, 'connections'));
    this.active = new BigInt64Array(this.#map(maps.active_connections, MAX_BACKENDS * 8, 'active connections'));
    this.prefixes = new Uint32Array(this.#map(maps.prefixes, prefixSets * PREFIX_SET.sizeBytes, 'prefixes'));
    this.#tallies = new Uint32Array(this.#map(maps.tallies, cpus * TALLY.sizeBytes, 'tallies'));
    this.#pressures = new Uint32Array(this.#map(maps.pressures, MAX_SUBJECTS * PRESSURE.sizeBytes, 'pressures'));
    this.#counters = new Uint32Array(this.#map(maps.counters, MAX_SUBJECTS * cpus * COUNTERS.sizeBytes, 'counters'));
    this.#backends = new BackendView(this.#map(maps.backends, MAX_BACKENDS * BACKEND.sizeBytes, 'backends'));
    this.#settings = new SettingsView(this.#map(maps.settings, SETTINGS.sizeBytes, 'settings'));
    this.#owners = new Uint32Array(this.#map(maps.fragment_owners, OWNER_SLOTS * 8, 'fragment owners'));
    this.#balancers = new BackendView(this.#map(maps.balancers, MAX_BALANCERS * BACKEND.sizeBytes, 'balancers'));
    this.#fragments = new Uint32Array(
      this.#map(maps.fragments, FRAGMENT_BUCKETS * FRAGMENT_BUCKET.sizeBytes, 'fragments'),
    );
    this.#windows = new Uint32Array(this.#map(maps.hand_up_windows, FRAGMENT_REGIONS * 8, 'hand-up windows'));
    this.#slowPath = openRing(maps.slow_path, 'slow path');
    const ids = this.#map(maps.server_ids, SERVER_ID_BUCKETS * SERVER_IDS.sizeBytes, 'server_ids');
    this.#serverIds = new ServerIdTable(ids);
    this.#memory.push(testClock.memory);
    this.#clock = new Uint32Array(testClock.memory.buffer, testClock.offset, 2);
  }

  #map(fd: number, lengthBytes: number, what: string): ArrayBuffer {
    const memory = mapMemory(fd, lengthBytes, what);
    this.#memory.push(memory);
    return memory.buffer;
  }

  load(engine: Engine): void {
    const { maps } = this.#balancer;
    replaceElements(
      maps.vips,
      16,
      [...engine.vips].map(([key, vip]) => [addressBytes(key), words(vip.subject, vip.flags)]),
    );
    replaceElements(maps.vip_prefixes, ADDRESS_PREFIX.sizeBytes, engine.vipPrefixes.map(vipPrefixElement));
    this.#settings.vipPrefixes = engine.vipPrefixes.length;
    replaceElements(maps.services, SERVICE_KEY.sizeBytes, serviceElements(engine));
    replaceElements(
      maps.probe_sources,
      16,
      [...engine.probeSources].map(([key, index]) => [addressBytes(key), words(index)]),
    );
    replaceElements(
      maps.balancer_sources,
      16,
      [...engine.balancerSources].map((key) => [addressBytes(key), words(1)]),
    );
    this.#fragments.fill(0);
    this.#windows.fill(0);
    this.#balancers.memory.fill(0);
    this.takeHandedUp();
    replaceElements(maps.nat_replies, NAT_SOURCE.sizeBytes, [...engine.natReplies].map(natReplyElement));
    replaceElements(maps.nat_tuples, NAT_TUPLE.sizeBytes, [...engine.natTuples].map(natTupleElement));
    this.#serverIds.clear();
    for (const [key, index] of engine.serverIds) {
      const [subject, id] = key.split('/') as [string, string];
      this.#serverIds.add(Number(subject), BigInt(id), index);
    }
    for (const [subject, slots] of engine.slots) this.#makeSlots(subject, slots.words.length / 2);
    this.#settings.generation++;
    this.#counters.fill(0);
    this.#pressures.fill(0);
    this.#backends.memory.fill(0);
    this.refresh(engine);
  }

  #makeSlots(subject: number, size: number): void {
    const { maps } = this.#balancer;
    if (this.#slots.get(subject)?.size === size) return;
    const fd = createMap({
      name: `replay_${subject}`,
      type: MAP_TYPE_ARRAY,
      keySizeBytes: 4,
      valueSizeBytes: 8,
      maxEntries: size,
      flags: BPF_F_MMAPABLE | BPF_F_INNER_MAP,
    });
    try {
      updateElement(maps.slot_tables, words(subject), words(fd));
      const memory = mapMemory(fd, size * 8, `slots of subject ${subject}`);
      this.#slots.get(subject)?.memory.unmap();
      this.#slots.set(subject, { size, memory, words: new Uint32Array(memory.buffer) });
    } finally {
      closeFd(fd);
    }
  }

  refresh(engine: Engine): void {
    const key = new BigUint64Array(engine.key.slice().buffer);
    this.#settings.setKey(0, key[0]);
    this.#settings.setKey(1, key[1]);
    this.#settings.probeIfindex = engine.probeIfindex;
    this.#settings.bucketMask = engine.bucketMask;
    this.#settings.cpus = this.#balancer.cpus;
    this.#settings.reclaimTicks = engine.reclaimTicks;
    this.#settings.prefixMask = engine.prefixes.length / PREFIX_SET_WORDS - 1;
    this.#settings.icmpPerPrefix = engine.icmpPerPrefix;
    this.#settings.icmpPerSecond = engine.icmpPerSecond;
    this.prefixes.set(engine.prefixes);
    for (let cpu = 0; cpu < this.#balancer.cpus; cpu++) this.tallyWords(cpu).set(engine.tally);
    for (const [subject, slots] of engine.slots) this.slotWords(subject).set(slots.words);
    this.#settings.natReplies = engine.natReplies.size;
    for (const [subject, pressure] of engine.pressures) this.pressureWords(subject).set(pressure);
    this.connections.set(engine.connections.words);
    this.active.fill(0n);
    engine.connections.active.forEach((count, index) => {
      this.active[index] = BigInt(count);
    });
    for (const [subject, picks] of engine.picks) this.#writePicks(subject, picks);
    this.#settings.handUpBytes = engine.handUpBytes;
    engine.backends.forEach((backend, index) => {
      if (backend !== undefined) writeBackend(this.#backends.at(index), backend);
    });
    engine.balancers.forEach((balancer, index) => {
      if (balancer !== undefined) writeBackend(this.#balancers.at(index), balancer);
    });
    engine.fragmentOwners.forEach((owner, slot) => {
      this.#owners[2 * slot] = owner;
    });
    for (const [bucket, entries] of engine.fragments) this.fragmentWords(bucket).set(entries);
    for (const [region, { window, bytes }] of engine.handUpWindows) {
      this.#windows[2 * region] = bytes;
      this.#windows[2 * region + 1] = window;
    }
  }

  fragmentWords(bucket: number): Uint32Array {
    const words = FRAGMENT_BUCKET.sizeBytes / 4;
    return this.#fragments.subarray(bucket * words, (bucket + 1) * words);
  }

  handUpWindow(region: number): { window: number; bytes: number } {
    return { window: this.#windows[2 * region + 1], bytes: this.#windows[2 * region] };
  }

  takeHandedUp(): HandedUp[] {
    const taken: HandedUp[] = [];
    this.#slowPath.ring.read(Number.POSITIVE_INFINITY, (bytes) => taken.push(readHandedUp(bytes)));
    return taken;
  }

  /** A pick table of the subject, made at its first use. */
  #writePicks(subject: number, picks: Uint16Array): void {
    let table = this.#picks.get(subject);
    if (table === undefined) {
      table = openPickTable(this.#balancer.maps.pick_tables, subject);
      this.#picks.set(subject, table);
    }
    table.write(picks);
  }

  slotWords(subject: number): Uint32Array {
    const slots = this.#slots.get(subject);
    if (slots === undefined) throw new Error(`subject ${subject} has no slots`);
    return slots.words;
  }

  tallyWords(cpu: number): Uint32Array {
    return this.#tallies.subarray(cpu * TALLY_WORDS, (cpu + 1) * TALLY_WORDS);
  }

  pressureWords(subject: number): Uint32Array {
    return this.#pressures.subarray(subject * PRESSURE_WORDS, (subject + 1) * PRESSURE_WORDS);
  }

  readCounters(subject: number, sums: Float64Array): void {
    const strideWords = COUNTERS.sizeBytes / 4;
    sums.fill(0);
    for (let cpu = 0; cpu < this.#balancer.cpus; cpu++) {
      const at = (subject * this.#balancer.cpus + cpu) * strideWords;
      for (let i = 0; i < COUNTER_FIELDS; i++)
        sums[i] += this.#counters[at + 2 * i] + this.#counters[at + 2 * i + 1] * 0x100000000;
    }
  }

  setClock(clock: Clock): void {
    this.#clock[0] = clock.low;
    this.#clock[1] = clock.high;
  }

  run(frame: Uint8Array): RunResult {
    if (frame.length < MIN_FRAME_BYTES) throw new Error(`the kernel runs no frames under ${MIN_FRAME_BYTES} bytes`);
    return runProgram(this.#programFd, frame);
  }

  close(): void {
    for (const slots of this.#slots.values()) slots.memory.unmap();
    for (const picks of this.#picks.values()) picks.close();
    for (const memory of this.#memory) memory.unmap();
    this.#slowPath.unmap();
    this.#balancer.object.close();
    closeFd(this.#rolesFd);
  }
}

function writeBackend(view: BackendView, backend: EngineBackend): void {
  view.setAddress(backend.address);
  view.setSource(backend.source);
  view.setNextHopMac(backend.nextHopMac);
  view.setOwnMac(backend.ownMac);
  view.ifindex = backend.ifindex;
  view.flags = backend.flags;
  view.headerSum = headerSum(backend);
  view.mtu = backend.mtuBytes;
  view.weight = backend.weight ?? 0;
  view.forwarding = backend.forwarding;
  view.sourceBits = backend.sourceBits ?? 0;
  view.egress = backend.egress ?? 0;
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/** The bytes of a key of `addressKey`. */
function addressBytes(key: string): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    bytes[2 * i] = key.charCodeAt(i) >>> 8;
    bytes[2 * i + 1] = key.charCodeAt(i);
  }
  return bytes;
}

function vipPrefixElement({ address, bits, vip }: EngineVipPrefix): [Uint8Array, Uint8Array] {
  const key = new AddressPrefixView();
  key.bits = bits;
  key.setAddress(address);
  return [key.memory, words(vip.subject, vip.flags)];
}

function serviceElements(engine: Engine): [Uint8Array, Uint8Array][] {
  return [...engine.services].map(([key, service]) => {
    const bytes = new Uint8Array(SERVICE_KEY.sizeBytes);
    const view = new DataView(bytes.buffer);
    const { vip, port, protocol } = SERVICE_KEY.offsets;
    view.setUint32(vip, Math.floor(key / 0x1000000), true);
    view.setUint16(port, Math.floor(key / 0x100) & 0xffff, false);
    bytes[protocol] = key & 0xff;
    const value = new ServiceView();
    value.subject = service.subject;
    value.slots = service.slots;
    value.forwarding = service.forwarding;
    value.lifetimeTicks = service.lifetimeTicks;
    value.newPerSecond = service.newPerSecond;
    value.shareEntries = service.shareEntries;
    value.flags = service.flags;
    value.scheduler = service.scheduler;
    value.natPort = service.natPort;
    value.quicConfig = service.quicConfig;
    value.serverIdBytes = service.serverIdBytes;
    value.salt = service.salt;
    value.prefixNewPerSecond = service.prefixNewPerSecond;
    if (VIP.sizeBytes !== 8) throw new Error('struct vip has changed');
    return [bytes, value.memory];
  });
}

/** Address of 16 bytes, port and protocol of a key of `natSourceKey`. */
function writeNatSource(key: string, view: { memory: Uint8Array; port: number; protocol: number }): void {
  view.memory.set(addressBytes(key));
  view.port = key.charCodeAt(8);
  view.protocol = key.charCodeAt(9);
}

function natReplyValue({ address, port, hasTuples, subject }: EngineNatReply): Uint8Array {
  const value = new NatReplyView();
  value.setAddress(address);
  value.port = port;
  value.hasTuples = hasTuples ? 1 : 0;
  value.subject = subject;
  return value.memory;
}

function natReplyElement([key, reply]: readonly [string, EngineNatReply]): [Uint8Array, Uint8Array] {
  const source = new NatSourceView();
  writeNatSource(key, source);
  return [source.memory, natReplyValue(reply)];
}

function natTupleElement([key, reply]: readonly [string, EngineNatReply]): [Uint8Array, Uint8Array] {
  const tuple = new NatTupleView();
  writeNatSource(key, tuple);
  tuple.setClient(addressBytes(key.slice(10)));
  tuple.clientPort = key.charCodeAt(18);
  return [tuple.memory, natReplyValue(reply)];
}

function replaceElements(
  fd: number,
  keySizeBytes: number,
  elements: readonly (readonly [Uint8Array, Uint8Array])[],
): void {
  for (const key of listKeys(fd, keySizeBytes)) deleteElement(fd, key);
  for (const [key, value] of elements) updateElement(fd, key, value);
}
