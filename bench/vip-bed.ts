/**
 * What `bench vip` runs on: the kernel programs with maps that are filled for it, without any interface. One VIP of each
 * family; behind each, for TCP and UDP, services by port: by GRE three, whose lookup tables are settled, to a tenth unsettled
 * and all unsettled; by the other modes one each, settled.
 */

import { fileURLToPath } from 'node:url';
import type { ForwardingMode } from '../src/config/model.ts';
import { populateTable } from '../src/decide/maglev.ts';
import { parseAddress, toMapped } from '../src/net/address.ts';
import { onesSum } from '../src/net/checksum.ts';
import { createMap, MAP_TYPE_ARRAY, updateElement } from '../src/serve/vip/bpf.ts';
import {
  BACKEND_AGENT,
  BACKEND_ALIVE,
  BackendView,
  BUCKET_ENTRIES,
  COUNTERS,
  MAX_SUBJECTS,
  OUTCOME_COUNT,
  SERVER_ID_BUCKETS,
  SERVER_IDS,
  SERVICE_QUIC,
  SETTINGS,
  ServiceKeyView,
  ServiceView,
  SettingsView,
  SLOT_PREVIOUS_SHIFT,
  SLOT_TICK_SHIFT,
  VipView,
} from '../src/serve/vip/layout.gen.ts';
import { closeFd, coarseClockNs, type MappedMemory, mapMemory } from '../src/serve/vip/libc.ts';
import { PREFIX_SETS } from '../src/serve/vip/limits.ts';
import { FORWARDING_VALUE } from '../src/serve/vip/machine-entry.ts';
import { BpfObject } from '../src/serve/vip/object.ts';
import { ServerIdTable } from '../src/serve/vip/server-id-table.ts';

export type TableKind = 'stable' | 'unsettled10' | 'unsettled100';
export type Protocol = 'tcp' | 'udp' | 'quic';
export type Family = 4 | 6;

/** By which a packet meets its lookup table and mode: each has a port. */
const WAYS: readonly { readonly table: TableKind; readonly mode: ForwardingMode }[] = [
  { table: 'stable', mode: 'gre' },
  { table: 'unsettled10', mode: 'gre' },
  { table: 'unsettled100', mode: 'gre' },
  { table: 'stable', mode: 'ipip' },
  { table: 'stable', mode: 'gue' },
  { table: 'stable', mode: 'l2' },
  { table: 'stable', mode: 'nat' },
];
export const TABLE_KINDS: readonly TableKind[] = ['stable', 'unsettled10', 'unsettled100'];
export const PROTOCOL_NUMBER = { tcp: 6, udp: 17, quic: 17 } as const;
export const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp', 'quic'];
/** Of the connection IDs of QUIC. */
export const QUIC = { configId: 1, serverIdBytes: 2 } as const;
export const VIP_ADDRESS = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
/** The interface that test-run says packets come in on: the loopback. Backends are behind it too, so packets are sent by XDP_TX. */
const IFINDEX = 1;
const SLOTS = 65_537;
export const BACKENDS = 100;
/** VIPs that are prefixes. */
const PREFIXES = 200;
const MAP_TYPE_LRU_HASH = 9;
const BPF_F_MMAPABLE = 1 << 10;
const BPF_F_INNER_MAP = 1 << 12;
const BUILD = fileURLToPath(new URL('../build/bpf/', import.meta.url));

export interface BedOptions {
  readonly cpu: number;
  readonly cpus: number;
  /** Of the connection table: a power of two. */
  readonly buckets: number;
  /** Of the classic program's table for one CPU. */
  readonly lruEntries: number;
  /** Another build of the balancer, to compare two; default: build/bpf/balancer.bpf.o. */
  readonly balancerObject?: string;
}

export interface Outcomes {
  readonly outcome: readonly number[];
  readonly bytes: number;
}

function wayOf(table: TableKind, mode: ForwardingMode): number {
  const way = WAYS.findIndex((one) => one.table === table && one.mode === mode);
  if (way < 0) throw new Error(`there is no ${table} table by ${mode}`);
  return way;
}

/** The port by which a packet meets a table of that kind, and leaves in that mode. */
export function portOf(protocol: Protocol, table: TableKind, mode: ForwardingMode): number {
  return (protocol === 'quic' ? 180 : 80) + wayOf(table, mode);
}

function subjectOf(family: Family, protocol: Protocol, table: TableKind, mode: ForwardingMode): number {
  const first = 10 + WAYS.length * ((family === 4 ? 0 : PROTOCOLS.length) + PROTOCOLS.indexOf(protocol));
  return first + wayOf(table, mode);
}

function key32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** Open until `close`. The calling thread must stay on `options.cpu`. */
export class VipBed {
  readonly options: BedOptions;
  readonly balancer: BpfObject;
  readonly classic: BpfObject;
  readonly turn: BpfObject;
  /** `struct turn` of bench/vip.bpf.c. */
  readonly turnState: DataView;
  #mapped: MappedMemory[] = [];
  #descriptors: number[] = [];
  #connections: BigUint64Array;
  #counters: BigUint64Array;
  #serverIds: ServerIdTable;
  #settings!: SettingsView;
  #slots = new Map<TableKind, BigUint64Array>();
  #table = populateTable(
    SLOTS,
    Array.from({ length: BACKENDS }, (_, i) => ({ name: `backend-${i + 1}`, index: i + 1, weight: 1 })),
  );

  constructor(options: BedOptions) {
    this.options = options;
    this.balancer = new BpfObject(options.balancerObject ?? `${BUILD}balancer.bpf.o`);
    this.classic = new BpfObject(`${BUILD}classic.bpf.o`);
    this.turn = new BpfObject(`${BUILD}vip.bpf.o`);
    this.balancer.setMaxEntries('connections', options.buckets);
    this.balancer.setMaxEntries('counters', MAX_SUBJECTS * options.cpus);
    this.balancer.setMaxEntries('tallies', options.cpus);
    this.balancer.load();
    const shared = this.balancer.mapNames();
    for (const name of this.classic.mapNames()) {
      if (shared.includes(name)) this.classic.reuseMap(name, this.balancer.mapFd(name));
    }
    this.classic.load();
    this.turn.load();
    const connectionBytes = options.buckets * BUCKET_ENTRIES * 8;
    this.#connections = new BigUint64Array(this.#map(this.balancer.mapFd('connections'), connectionBytes));
    const counterBytes = COUNTERS.sizeBytes * MAX_SUBJECTS * options.cpus;
    this.#counters = new BigUint64Array(this.#map(this.balancer.mapFd('counters'), counterBytes));
    const idBytes = SERVER_ID_BUCKETS * SERVER_IDS.sizeBytes;
    this.#serverIds = new ServerIdTable(this.#map(this.balancer.mapFd('server_ids'), idBytes));
    this.turnState = new DataView(this.#map(this.turn.mapFd('.data'), 48));
    this.#fillSettings();
    this.#fillBackends();
    this.#fillServices();
  }

  #map(fd: number, lengthBytes: number): ArrayBuffer {
    const memory = mapMemory(fd, lengthBytes, 'a map of the bench');
    this.#mapped.push(memory);
    return memory.buffer;
  }

  #fillSettings(): void {
    this.#settings = new SettingsView(this.#map(this.balancer.mapFd('settings'), SETTINGS.sizeBytes));
    const settings = this.#settings;
    settings.view.setBigUint64(SETTINGS.offsets.key, 0x0706050403020100n, true);
    settings.view.setBigUint64(SETTINGS.offsets.key + 8, 0x0f0e0d0c0b0a0908n, true);
    settings.bucketMask = this.options.buckets - 1;
    settings.cpus = this.options.cpus;
    settings.prefixMask = PREFIX_SETS - 1;
    settings.icmpPerSecond = 0xffffffff;
  }

  #fillBackends(): void {
    const fd = this.balancer.mapFd('backends');
    const source = toMapped(parseAddress('10.255.0.1')!);
    const backend = new BackendView();
    for (let index = 1; index <= BACKENDS; index++) {
      const address = toMapped(parseAddress(`10.255.1.${index}`)!);
      backend.setAddress(address);
      backend.setSource(source);
      backend.setNextHopMac(Uint8Array.of(2, 0, 0, 0, 1, index));
      backend.setOwnMac(Uint8Array.of(2, 0, 0, 0, 0, 1));
      backend.ifindex = IFINDEX;
      backend.flags = BACKEND_ALIVE | BACKEND_AGENT;
      backend.mtu = 1500;
      // Version and length, DF, TTL 64 and protocol 47, addresses.
      backend.headerSum = 0x4500 + 0x4000 + 0x402f + onesSum(source, 12, 16) + onesSum(address, 12, 16);
      updateElement(fd, key32(index), backend.memory);
    }
  }

  #fillServices(): void {
    for (const table of TABLE_KINDS) {
      const slots = this.#makeInner(`slots`, 8, SLOTS);
      this.#slots.set(table, new BigUint64Array(this.#map(slots, SLOTS * 8)));
      for (const family of [4, 6] as const) {
        for (const protocol of PROTOCOLS) {
          for (const { mode } of WAYS.filter((way) => way.table === table)) {
            const subject = subjectOf(family, protocol, table, mode);
            updateElement(this.balancer.mapFd('slot_tables'), key32(subject), key32(slots));
            this.#addService(family, protocol, table, mode);
          }
        }
      }
    }
    for (const family of [4, 6] as const) {
      const vip = new VipView();
      vip.subject = family;
      const address = toMapped(parseAddress(VIP_ADDRESS[family])!);
      updateElement(this.balancer.mapFd('vips'), address, vip.memory);
    }
    const vip = new VipView();
    vip.subject = 4;
    for (let i = 0; i < PREFIXES; i++) {
      // 100.64.0.0/24 and on: bits that count, then the address as IPv4-mapped.
      const address = toMapped(parseAddress(`100.64.${i}.0`)!);
      updateElement(this.balancer.mapFd('vip_prefixes'), Uint8Array.of(120, 0, 0, 0, ...address), vip.memory);
    }
  }

  /** Whether VIPs are prefixes too: those are there always, but not always asked for. */
  usePrefixes(isUsed: boolean): void {
    const prefixes = isUsed ? PREFIXES : 0;
    if (this.#settings.vipPrefixes === prefixes) return;
    this.#settings.vipPrefixes = prefixes;
    this.#settings.generation++;
  }

  #makeInner(name: string, valueSizeBytes: number, maxEntries: number): number {
    const flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
    const fd = createMap({ name, type: MAP_TYPE_ARRAY, keySizeBytes: 4, valueSizeBytes, maxEntries, flags });
    this.#descriptors.push(fd);
    return fd;
  }

  #addService(family: Family, protocol: Protocol, table: TableKind, mode: ForwardingMode): void {
    const key = new ServiceKeyView();
    key.vip = family;
    key.port = portOf(protocol, table, mode);
    key.protocol = PROTOCOL_NUMBER[protocol];
    const service = new ServiceView();
    service.subject = subjectOf(family, protocol, table, mode);
    service.forwarding = FORWARDING_VALUE[mode];
    service.slots = SLOTS;
    service.lifetimeTicks = 840; // an hour
    // The flood of the bench is what is measured, so nothing holds it back.
    service.newPerSecond = 0xffffffff;
    service.shareEntries = 0xffffffff;
    if (protocol === 'quic') {
      service.flags = SERVICE_QUIC;
      service.quicConfig = QUIC.configId;
      service.serverIdBytes = QUIC.serverIdBytes;
      for (let index = 1; index <= BACKENDS; index++) this.#serverIds.add(service.subject, BigInt(index), index);
    }
    updateElement(this.balancer.mapFd('services'), key.memory, service.memory);
  }

  /** Empties the connection table. */
  clearConnections(): void {
    this.#connections.fill(0n);
  }

  /** Gives the classic program a new table, as the kernel has no way to empty one: 0.5 s. */
  renewClassicTable(): void {
    const fd = createMap({
      name: 'flows',
      type: MAP_TYPE_LRU_HASH,
      keySizeBytes: 40,
      valueSizeBytes: 16,
      maxEntries: this.options.lruEntries,
      flags: 0,
    });
    updateElement(this.classic.mapFd('flow_tables'), key32(this.options.cpu), key32(fd));
    closeFd(fd);
  }

  /**
   * Writes the lookup tables. `isMoved` false: each slot's `current` is its backend by Maglev's method, and unsettled
   * ones have the same as `previous`. True: in unsettled slots the next backend is `current`, so that flows that came
   * before are all where only the connection table or `previous` says.
   */
  writeSlots(isMoved: boolean): void {
    const tick = BigInt.asUintN(12, coarseClockNs() >> 32n) | 1n;
    for (const [table, words] of this.#slots) {
      const every = { stable: 0, unsettled10: 10, unsettled100: 1 }[table];
      for (let slot = 0; slot < SLOTS; slot++) {
        const home = this.#table[slot];
        const isUnsettled = every !== 0 && slot % every === 0;
        const current = isMoved && isUnsettled ? (home % BACKENDS) + 1 : home;
        words[slot] = isUnsettled
          ? BigInt(current) | (BigInt(home) << BigInt(SLOT_PREVIOUS_SHIFT)) | (tick << BigInt(SLOT_TICK_SHIFT))
          : BigInt(current);
      }
    }
  }

  /** What this CPU has counted for one service. */
  readOutcomes(family: Family, protocol: Protocol, table: TableKind, mode: ForwardingMode): Outcomes {
    return this.#readSubject(subjectOf(family, protocol, table, mode));
  }

  /** What this CPU has counted for packets to no VIP. */
  readOthers(): Outcomes {
    return this.#readSubject(0);
  }

  #readSubject(subject: number): Outcomes {
    const words = COUNTERS.sizeBytes / 8;
    const start = (subject * this.options.cpus + this.options.cpu) * words;
    const outcome = Array.from(this.#counters.subarray(start, start + OUTCOME_COUNT), Number);
    return { outcome, bytes: Number(this.#counters[start + COUNTERS.offsets.bytes / 8]) };
  }

  close(): void {
    for (const memory of this.#mapped.splice(0)) memory.unmap();
    for (const fd of this.#descriptors.splice(0)) closeFd(fd);
    this.turn.close();
    this.classic.close();
    this.balancer.close();
  }
}
