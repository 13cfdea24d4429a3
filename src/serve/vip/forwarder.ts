/**
 * The balancer's kernel side: loads the programs, owns the maps, attaches, and takes over what an earlier process left.
 * What should stand in the maps is decided elsewhere; here is how it gets there.
 */
import { join } from 'node:path';
import { type Address, hostPrefix, type Prefix, samePrefix, toMapped } from '../../net/address.ts';
import { type Attachment, Root } from './attach.ts';
import { type MapFds, openBalancer } from './balancer-object.ts';
import {
  BPF_F_INNER_MAP,
  BPF_F_MMAPABLE,
  createMap,
  deleteElement,
  listKeys,
  MAP_TYPE_ARRAY,
  updateElement,
} from './bpf.ts';
import { Capture, type CaptureOptions } from './capture.ts';
import { ConnectionView } from './connections.ts';
import { CounterView } from './counters.ts';
import { HandshakeRtts } from './handshake-rtts.ts';
import {
  ADDRESS,
  BACKEND,
  BUCKET_ENTRIES,
  COUNTERS,
  DEMAND_REST,
  DEMAND_SET,
  DEMAND_SETS,
  FINE_SHIFT,
  FRAGMENT_BUCKET,
  FRAGMENT_BUCKETS,
  MAX_BACKENDS,
  MAX_BALANCERS,
  MAX_SUBJECTS,
  OWNER_SLOTS,
  PREFIX_SET,
  PRESSURE,
  ROLE,
  RTT_COUNTERS,
  RTT_SET,
  RTT_SETS,
  SERVER_ID_BUCKETS,
  SERVER_IDS,
  SETTINGS,
  SettingsView,
  VIP_OWN,
} from './layout.gen.ts';
import { closeFd, coarseClockNs, type MappedMemory, mapMemory } from './libc.ts';
import { ICMP_PER_PREFIX, ICMP_PER_SECOND, PREFIX_SETS } from './limits.ts';
import { type BackendEntry, type BackendFields, BackendTable, sourceFor, varyingSourceFor } from './machine-entry.ts';
import { LayoutMismatch, removeMapPins } from './maps.ts';
import { NatReplyMap } from './nat-map.ts';
import { interfaceIndexIn } from './netns.ts';
import type { NextHop } from './next-hop.ts';
import type { BpfObject } from './object.ts';
import { openPickTable, type PickTable, removePickTable } from './pick-table.ts';
import { makePinFolder, pinFolder, removeEmptyFolders, removeInstance } from './pins.ts';
import { PrefixReader } from './prefixes.ts';
import { type Pressure, PressureReader } from './pressure.ts';
import { ServerIdTable } from './server-id-table.ts';
import { ProbeSourceMap, type ServiceFields, type ServiceKey, ServiceMap, VipMap } from './service-maps.ts';
import { openSlotTable, removeSlotTable, type SlotTable, tableSize } from './slot-table.ts';
import type { Inheritance } from './takeover.ts';
import { type OnTraffic, TrafficSets } from './traffic-sets.ts';

export interface ForwarderOptions {
  /** Names the pins, /sys/fs/bpf/portico/NAME/. Null: nothing is pinned and all goes with the process (tests, bench, replay). */
  readonly name: string | null;
  /** Namespace of the interfaces; null: this process's. */
  readonly netns: string | null;
  /** Interfaces that carry users' packets; may be empty. */
  readonly interfaces: readonly string[];
  /** The prober's veth: packets that come in on it may choose their backend by source address. Null: none. */
  readonly probeInterface: string | null;
  /** Outer sources of encapsulated packets, one a family. */
  readonly addresses: readonly Address[];
  /** In which outer sources of its family vary by flow; absent or null: they do not. */
  readonly sourcePrefix?: Prefix | null;
  /** Of the connection table: a power of two, 8 entries of 8 bytes each. */
  readonly buckets: number;
  /** Stride of the counters; at least every CPU that may ever be on line. Default: what the kernel calls possible. */
  readonly cpus?: number;
  /** 16 bytes: the site's SipHash key. */
  readonly hashKey: Uint8Array;
  /** Folder of the compiled objects; default build/bpf of this tree. */
  readonly objects?: string;
  /** The programs' clock stands still and is set by `setTestClock`. */
  readonly testClock?: boolean;
}

/** That the clients of one prefix may hand up to the slow path in 67 ms: an eighth of its ring, 15.6 MB/s. */
const HAND_UP_BYTES = 1024 * 1024;

const DEFAULT_OBJECTS = join(import.meta.dirname, '../../../build/bpf');

/**
 * Opens the forwarder of a balancer. When pins of that name exist they are adopted: VIPs, services, tables, connections
 * and counters stay, and the programs are exchanged between two packets. Throws `LayoutMismatch` when what is pinned has another
 * layout, size or hash key; then nothing was changed. Some 200 ms, most of it the verifier; synchronous.
 */
export function openForwarder(options: ForwarderOptions): Forwarder {
  checkOptions(options);
  const folder = options.name === null ? null : pinFolder(options.name);
  const isNew = folder !== null && makePinFolder(folder);
  try {
    return new Forwarder(options, folder);
  } catch (error) {
    if (isNew && options.name !== null) removeInstance(options.name);
    throw error;
  }
}

function checkOptions({ buckets, hashKey, name, testClock }: ForwarderOptions): void {
  if (!Number.isInteger(Math.log2(buckets)) || buckets < 2 || buckets > 2 ** 26) {
    throw new RangeError(`${buckets} buckets: not a power of two from 2 to 2^26`);
  }
  if (hashKey.length !== 16) throw new RangeError(`the hash key has ${hashKey.length} bytes, not 16`);
  if (testClock && name !== null) throw new Error('a pinned forwarder cannot have the test clock');
}

function asPrefix(vip: Address | Prefix): Prefix {
  return 'bytes' in vip ? hostPrefix(vip) : vip;
}

export class Forwarder {
  /** How each interface is attached, and what the operator should know about it. */
  readonly attachments: readonly Attachment[];
  /** What was taken over from an earlier process, perhaps of another version; null: nothing was there. */
  readonly inheritance: Inheritance | null;
  readonly vips: VipMap;
  readonly services: ServiceMap;
  readonly probeSources: ProbeSourceMap;
  readonly natReplies: NatReplyMap;
  readonly backends: BackendTable;
  /** The site's other balancers, to which fragments are relayed. */
  readonly balancers: BackendTable;
  /** Which backends the connection IDs of QUIC services name. */
  readonly serverIds: ServerIdTable;
  readonly counters: CounterView;
  readonly connections: ConnectionView;
  readonly prefixes: PrefixReader;
  #handshakes: HandshakeRtts | null = null;
  /** Null until the first `takeTraffic`. */
  #traffic: TrafficSets | null = null;
  /** Descriptors of the maps by name: for tests and tools. They close with the forwarder. */
  readonly maps: MapFds;
  readonly cpus: number;
  readonly #options: ForwarderOptions;
  readonly #folder: string | null;
  readonly #root: Root;
  readonly #object: BpfObject;
  readonly #memories: MappedMemory[] = [];
  readonly #tables = new Map<number, SlotTable>();
  readonly #picks = new Map<number, PickTable>();
  readonly #pressure: PressureReader;
  readonly #owners: Uint32Array;
  readonly #fragments: Uint32Array;
  readonly #generation: Uint32Array;
  readonly #testClock: BigUint64Array | null;
  readonly #settings: SettingsView;
  #capture: Capture | null = null;
  #graceMapFd: number | null = null;
  #closed = false;

  /** Use `openForwarder`. */
  constructor(options: ForwarderOptions, folder: string | null) {
    this.#options = options;
    this.#folder = folder;
    const interfaces = [...options.interfaces];
    if (options.probeInterface !== null) interfaces.push(options.probeInterface);
    const objects = options.objects ?? DEFAULT_OBJECTS;
    this.#root = new Root({ netns: options.netns, interfaces, folder, objects });
    let opened: ReturnType<typeof openBalancer> | null = null;
    try {
      opened = openBalancer({ ...options, objects, folder, rolesFd: this.#root.rolesFd });
      this.#object = opened.object;
      this.maps = opened.maps;
      this.cpus = opened.cpus;
      this.inheritance = opened.takeover.inheritance;
      const clock = opened.testClock;
      this.#testClock = clock === null ? null : new BigUint64Array(this.#keep(clock.memory), clock.offset, 1);
      this.backends = new BackendTable(this.#map('backends', MAX_BACKENDS * BACKEND.sizeBytes));
      this.serverIds = new ServerIdTable(this.#map('server_ids', SERVER_ID_BUCKETS * SERVER_IDS.sizeBytes));
      this.counters = new CounterView(this.#map('counters', MAX_SUBJECTS * this.cpus * COUNTERS.sizeBytes), this.cpus);
      this.connections = new ConnectionView(
        this.#map('connections', options.buckets * BUCKET_ENTRIES * 8),
        this.#map('active_connections', MAX_BACKENDS * 8),
      );
      this.prefixes = new PrefixReader(this.#map('prefixes', PREFIX_SETS * PREFIX_SET.sizeBytes));
      this.#pressure = new PressureReader(this.#map('pressures', MAX_SUBJECTS * PRESSURE.sizeBytes));
      this.balancers = new BackendTable(this.#map('balancers', MAX_BALANCERS * BACKEND.sizeBytes));
      this.#owners = new Uint32Array(this.#map('fragment_owners', OWNER_SLOTS * 8));
      this.#fragments = new Uint32Array(this.#map('fragments', FRAGMENT_BUCKETS * FRAGMENT_BUCKET.sizeBytes));
      const settings = this.#map('settings', SETTINGS.sizeBytes);
      const halves = new Uint32Array(settings);
      const forgetRecent = () => void Atomics.add(halves, SETTINGS.offsets.generation / 4, 1);
      this.#generation = halves.subarray(SETTINGS.offsets.generation / 4, SETTINGS.offsets.generation / 4 + 1);
      this.#settings = new SettingsView(settings);
      this.vips = new VipMap(this.maps.vips, this.maps.vip_prefixes, (prefixes) => {
        this.#settings.vipPrefixes = prefixes;
        forgetRecent();
      });
      this.services = new ServiceMap(this.maps.services, forgetRecent);
      this.probeSources = new ProbeSourceMap(this.maps.probe_sources);
      this.natReplies = new NatReplyMap(this.maps.nat_replies, (count) => {
        this.#settings.natReplies = count;
      });
      this.#writeSettings(this.#settings);
      for (const { lifetimeTicks } of this.services.list())
        this.#settings.reclaimTicks = Math.max(this.#settings.reclaimTicks, lifetimeTicks);
      forgetRecent(); // an earlier version may have remembered otherwise
      const { takeover, startSweeper } = opened;
      let attachments: Attachment[] = [];
      takeover.finish(() => {
        if (takeover.hasPrevious) attachments = this.#root.attach();
        this.#root.join(ROLE.BALANCER, this.programFd, startSweeper);
        if (!takeover.hasPrevious) attachments = this.#root.attach();
      });
      this.attachments = attachments;
    } catch (error) {
      for (const memory of this.#memories) memory.unmap();
      opened?.takeover.abort(error);
      opened?.object.close();
      this.#root.close();
      throw error;
    }
  }

  /** Maps of an earlier process were taken over. */
  get adopted(): boolean {
    return this.inheritance !== null;
  }

  #keep(memory: MappedMemory): ArrayBuffer {
    this.#memories.push(memory);
    return memory.buffer;
  }

  #map(name: keyof MapFds, lengthBytes: number): ArrayBuffer {
    return this.#keep(mapMemory(this.maps[name], lengthBytes, `map ${name}`));
  }

  #writeSettings(settings: SettingsView): void {
    const { hashKey, netns, probeInterface, buckets } = this.#options;
    const key = new DataView(hashKey.buffer, hashKey.byteOffset, 16);
    const words = [key.getBigUint64(0, true), key.getBigUint64(8, true)];
    const isSet = settings.cpus !== 0;
    if (isSet && (settings.key(0) !== words[0] || settings.key(1) !== words[1])) {
      throw new LayoutMismatch(
        `the pinned forwarder ${this.#options.name} hashes with another key; a new key would break connections. Take it down first.`,
      );
    }
    settings.setKey(0, words[0]);
    settings.setKey(1, words[1]);
    settings.measures = 0; // until somebody takes what is measured
    settings.captureEvery = 0; // of a process that ended while it looked
    settings.bucketMask = buckets - 1;
    settings.cpus = this.cpus;
    settings.handUpBytes = HAND_UP_BYTES;
    settings.prefixMask = PREFIX_SETS - 1;
    settings.icmpPerPrefix = ICMP_PER_PREFIX;
    settings.icmpPerSecond = ICMP_PER_SECOND;
    settings.probeIfindex = probeInterface === null ? 0 : interfaceIndexIn(netns, probeInterface);
  }

  /** The program `balancer`, for `runProgram`. */
  get programFd(): number {
    return this.#object.programFd('balancer');
  }

  /** The program `root`, which hands on to `balancer`, for `runProgram`. */
  get rootProgramFd(): number {
    return this.#root.programFd;
  }

  /** The clock of the kernel programs: CLOCK_MONOTONIC_COARSE, or the test clock. */
  clockNs(): bigint {
    return this.#testClock === null ? coarseClockNs() : this.#testClock[0];
  }

  /** Only with the option `testClock`. */
  setTestClock(ns: bigint): void {
    if (this.#testClock === null) throw new Error('this forwarder runs by the real clock');
    this.#testClock[0] = ns;
  }

  /** Raised by every change of VIPs and services. */
  get generation(): number {
    return Atomics.load(this.#generation, 0);
  }

  /** 16 bytes. */
  get hashKey(): Uint8Array {
    return this.#options.hashKey;
  }

  /** A bucket of the table of first fragments, as the model has it (model/fragments.ts). */
  fragmentWords(bucket: number): Uint32Array {
    const words = FRAGMENT_BUCKET.sizeBytes / 4;
    return this.#fragments.subarray(bucket * words, (bucket + 1) * words);
  }

  /**
   * By which balancer fragments are owned: OWNER_SLOTS indices as `setBalancer` knows them; 0: this one. The same table, in
   * other numbers, must stand on all balancers of the site; while they differ, a datagram's fragments may be lost.
   */
  setFragmentOwners(owners: ArrayLike<number>): void {
    if (owners.length !== OWNER_SLOTS) throw new RangeError(`${owners.length} owners, not ${OWNER_SLOTS}`);
    for (let slot = 0; slot < OWNER_SLOTS; slot++) Atomics.store(this.#owners, 2 * slot, owners[slot]);
  }

  /** The way to another balancer; `index` from 1 to MAX_BALANCERS - 1. Throws without an outer source of its family. */
  setBalancer(index: number, address: Address, nextHop: NextHop): void {
    const source = sourceFor(this.#options.addresses, address);
    this.balancers.set(
      index,
      { address: source, bits: 0 },
      { address, nextHop, alive: true, agent: false, forwarding: null },
    );
  }

  /** Fragments that it owns stay here. */
  clearBalancer(index: number): void {
    this.balancers.clear(index);
  }

  /**
   * Outer addresses that fragments are taken from, and own ones that they come to. Whatever was set before goes. An own address must
   * be no VIP.
   */
  acceptFragments(own: readonly Address[], sources: readonly Address[]): void {
    replaceKeys(this.maps.balancer_sources, sources.map(toMapped));
    const wanted = own.map(hostPrefix);
    for (const { prefix, flags } of this.vips.list())
      if ((flags & VIP_OWN) !== 0 && !wanted.some((one) => samePrefix(one, prefix))) this.vips.remove(prefix);
    for (const prefix of wanted) this.vips.set(prefix, { subject: 0, flags: VIP_OWN });
  }

  /**
   * Packets to that address, or to each of that prefix, are for a VIP from now on; those in several VIPs are for the longest.
   * `flags`: `VIP_ECHO` or 0.
   */
  setVip(vip: Address | Prefix, subject: number, flags: number): void {
    checkSubject(subject);
    this.vips.set(asPrefix(vip), { subject, flags });
  }

  /** False: there was none. */
  removeVip(vip: Address | Prefix): boolean {
    return this.vips.remove(asPrefix(vip));
  }

  /** The service's table must be there (`createTable`), or its packets are dropped as `no-backend`. */
  setService(key: ServiceKey, fields: ServiceFields): void {
    checkSubject(fields.subject);
    this.#settings.reclaimTicks = Math.max(this.#settings.reclaimTicks, fields.lifetimeTicks);
    this.services.set(key, fields);
  }

  removeService(key: ServiceKey): boolean {
    return this.services.remove(key);
  }

  /**
   * Opens a service's lookup table: an existing one as it is (`adopted`), else a new one of settled slots that name nobody,
   * for which the kernel waits 9 ms. Throws when there is one of another size.
   */
  createTable(subject: number, slots: number, adoptionMs = 30_000): SlotTable {
    checkSubject(subject);
    this.#pressure.setAdoptFor(subject, Math.round((adoptionMs * 1e6) / 2 ** FINE_SHIFT));
    const open = this.#tables.get(subject);
    if (open !== undefined && open.slots === slots && !open.isClosed) {
      open.adoptionMs = adoptionMs;
      return open;
    }
    const clockNs = () => this.clockNs();
    const setAdoptUntil = (deadline: number) => this.#pressure.setAdoptUntil(subject, deadline);
    const slotTables = this.maps.slot_tables;
    const table = openSlotTable({ subject, slots, slotTables, adoptionMs, clockNs, setAdoptUntil });
    this.#tables.set(subject, table);
    return table;
  }

  /** Remove the service first. False: there was none. */
  removeTable(subject: number): boolean {
    this.#tables.get(subject)?.close();
    this.#tables.delete(subject);
    this.#picks.get(subject)?.close();
    this.#picks.delete(subject);
    removePickTable(this.maps.pick_tables, subject);
    return removeSlotTable(this.maps.slot_tables, subject);
  }

  /** Round robin: who gets the next new flows, at most `MAX_PICKS`. The first time the kernel waits 9 ms. */
  setPicks(subject: number, picks: Uint16Array): void {
    checkSubject(subject);
    let table = this.#picks.get(subject);
    if (table === undefined) {
      table = openPickTable(this.maps.pick_tables, subject);
      this.#picks.set(subject, table);
    }
    // A turn never meets a place that is not written.
    if (picks.length < this.#pressure.picks(subject)) this.#pressure.setPicks(subject, picks.length);
    table.write(picks);
    this.#pressure.setPicks(subject, picks.length);
  }

  /** Subjects that have a lookup table in the kernel, with its size: what a restart recovers its allocation from. */
  listTables(): { readonly subject: number; readonly slots: number }[] {
    const tables = [];
    for (let subject = 1; subject < MAX_SUBJECTS; subject++) {
      const slots = tableSize(this.maps.slot_tables, subject);
      if (slots > 0) tables.push({ subject, slots });
    }
    return tables;
  }

  /** Entry of a backend machine; `index` from 1 to MAX_BACKENDS - 1. Throws without an outer source of its family. */
  setBackend(index: number, fields: BackendFields): void {
    const { addresses, sourcePrefix = null } = this.#options;
    this.backends.set(index, varyingSourceFor(addresses, sourcePrefix, fields.address), fields);
  }

  /** The way to it is in doubt: the kernel's tables are asked for each packet, until `setBackend`. */
  setBackendStale(index: number): void {
    this.backends.setStale(index);
  }

  setBackendAlive(index: number, alive: boolean): void {
    this.backends.setAlive(index, alive);
  }

  /** No slot may name the index any more. Before it is given to another machine: `waitForPackets`, then `connections.purgeBackend`. */
  clearBackend(index: number): void {
    this.backends.clear(index);
  }

  listBackends(): BackendEntry[] {
    return this.backends.list();
  }

  /** Packets from `address` that come in on the probe interface go to that backend, alive or not. */
  setProbeSource(address: Address, backendIndex: number): void {
    this.probeSources.set(address, backendIndex);
  }

  removeProbeSource(address: Address): boolean {
    return this.probeSources.remove(address);
  }

  /** How much of its limits a service is using. `lifetimeTicks` as in its fields. */
  readPressure(subject: number, lifetimeTicks: number): Pressure {
    return this.#pressure.read(subject, lifetimeTicks, this.clockNs());
  }

  /** The end of a service's adoption time, the low 32 bits of `clock >> FINE_SHIFT`. */
  adoptUntil(subject: number): number {
    return this.#pressure.adoptUntil(subject);
  }

  /** Round trips of flows of services with `SERVICE_HANDSHAKES`. */
  get handshakes(): HandshakeRtts {
    this.#handshakes ??= new HandshakeRtts(
      this.#map('handshake_rtts', RTT_SETS * RTT_SET.sizeBytes),
      this.#map('handshake_counters', RTT_COUNTERS.sizeBytes),
    );
    return this.#handshakes;
  }

  /** From the first call on traffic is counted by client prefix; gives what came since the last to services of these subjects. */
  takeTraffic(subjects: Iterable<number>, each: OnTraffic): void {
    if (this.#traffic === null) {
      const sets = this.#map('demand_sets', DEMAND_SETS * DEMAND_SET.sizeBytes);
      const rests = this.#map('demand_rests', MAX_SUBJECTS * DEMAND_REST.sizeBytes);
      this.#traffic = new TrafficSets({ sets, rests, counters: this.counters });
      this.#settings.measures = 1;
    }
    this.#traffic.take(subjects, each);
  }

  /** Counters and pressure of a subject to zero, before it gets another meaning; no packet may meet it meanwhile. */
  clearSubject(subject: number): void {
    checkSubject(subject);
    this.counters.clear(subject);
    this.#pressure.clear(subject);
    this.prefixes.clear(subject);
  }

  /** Shows packets until the capture is stopped. Null: somebody else looks already. */
  startCapture(options: CaptureOptions): Capture | null {
    if (this.#capture !== null) return null;
    const capture = new Capture(this.maps.captures, this.#settings, options);
    this.#capture = capture;
    return capture;
  }

  stopCapture(): void {
    this.#capture?.stop();
    this.#capture = null;
  }

  /**
   * Returns when every packet that was under way has left the programs: none still acts on what stood in the maps before.
   * About 10 ms: the kernel's grace period, which an exchange of an inner map waits for. (Subject 0 has no table.)
   */
  waitForPackets(): void {
    this.#graceMapFd ??= createMap({
      name: 'grace',
      type: MAP_TYPE_ARRAY,
      keySizeBytes: 4,
      valueSizeBytes: 8,
      maxEntries: 1,
      flags: BPF_F_MMAPABLE | BPF_F_INNER_MAP,
    });
    updateElement(this.maps.slot_tables, new Uint8Array(4), bytesOf(this.#graceMapFd));
  }

  /**
   * `keep` true: forwarding goes on without the process. False: detaches, removes pins, maps and the folder, except
   * what other roles of the instance use. Without a name there are no pins and everything goes. Views read undefined afterwards.
   */
  close({ keep }: { readonly keep: boolean }): void {
    if (this.#closed) return;
    this.#closed = true;
    this.stopCapture();
    for (const table of this.#tables.values()) table.close();
    for (const picks of this.#picks.values()) picks.close();
    for (const memory of this.#memories) memory.unmap();
    if (this.#graceMapFd !== null) closeFd(this.#graceMapFd);
    if (!keep) {
      this.#root.leave(ROLE.BALANCER);
      if (this.#folder !== null) {
        removeMapPins(this.#object, this.#folder);
        removeEmptyFolders(this.#folder);
      }
    }
    this.#object.close();
    this.#root.close();
  }
}

/** Keys of a set in the kernel: first those that are new, then without those that have gone. */
function replaceKeys(fd: number, keys: readonly Uint8Array[]): void {
  for (const key of keys) updateElement(fd, key, bytesOf(1));
  const wanted = new Set(keys.map((key) => Buffer.from(key).toString('hex')));
  for (const key of listKeys(fd, ADDRESS.sizeBytes))
    if (!wanted.has(Buffer.from(key).toString('hex'))) deleteElement(fd, key);
}

function bytesOf(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function checkSubject(subject: number): void {
  if (!Number.isInteger(subject) || subject < 1 || subject >= MAX_SUBJECTS) {
    throw new RangeError(`subject ${subject} is not in 1 .. ${MAX_SUBJECTS - 1}`);
  }
}
