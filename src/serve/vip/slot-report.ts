/**
 * What a backend's agent knows of the lookup tables: which slots of a service have a connection that lives here. By that, slots
 * settle as soon as their old flows have ended, instead of after the longest silence; and it says who holds a drain open.
 *
 * A slot is reported by the hash of the flow as the client sends it, with the site's key. Connections in TIME_WAIT do not count:
 * both ends have closed, and who gets a stray packet of one answers it with a reset. Nor does a handshake that a SYN cookie stands
 * for: it has no socket until it ends, so a slot may settle only after the silence of one handshake.
 */
import type { ServicePort } from '../../config/model.ts';
import { hashAddresses, hashSource, slotOf, slotOfHash } from '../../model/flow-hash.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { type Address, isHost, type Prefix, prefixContains, samePrefix } from '../../net/address.ts';
import { dumpSockets, SOCKET } from './socket-dump.ts';

/** More sockets than this are not looked at; then no report is complete. */
export const MAX_REPORTED_SOCKETS = 1_000_000;
const TOP_CLIENTS = 10;
/** Clients that are counted one by one. With more, those that come later are not. */
const MAX_CLIENTS = 65_536;
const PROTOCOL = { tcp: 6, udp: 17 } as const;

export interface ReportedService {
  readonly service: string;
  /** Of its lookup table. */
  readonly slots: number;
  readonly vips: readonly Prefix[];
  readonly ports: readonly ServicePort[];
  /** The slot is by the client's address alone. */
  readonly hashesSource: boolean;
}

export interface ReportedClient {
  readonly address: Address;
  readonly connections: number;
}

export interface SlotReport {
  readonly service: string;
  /** One bit a slot, from the lowest of the first byte on: a connection of it lives on this backend. */
  readonly slots: Uint8Array;
  /** Connections. */
  readonly count: number;
  /** Since the reader first saw its longest one; null: there is none. A connection may be older than the reader. */
  readonly oldestMs: number | null;
  /** At most ten, the one with the most connections first. */
  readonly topClients: readonly ReportedClient[];
  /**
   * Every flow that may live here is in `slots`. False where flows have no sockets of their own: with UDP ports (QUIC too, unless every
   * server names itself in its connection IDs), and where the bound was met.
   */
  readonly isComplete: boolean;
}

export interface SlotReports {
  /** By the clock given to the reader, when the list of sockets was begun: connections that came later may be missing. */
  readonly takenAtMs: number;
  readonly reports: readonly SlotReport[];
}

/** A connection as it stands in a list of sockets; addresses and ports in wire order. */
export interface SocketEnds {
  readonly bytes: DataView;
  readonly localAt: number;
  readonly remoteAt: number;
  readonly addressBytes: 4 | 16;
  readonly localPort: number;
  readonly remotePort: number;
}

/** What is counted for a service while sockets are read. */
class Count {
  readonly service: ReportedService;
  readonly slots: Uint8Array;
  /** IPv4 by number, IPv6 by eight characters: a string for each connection would take most of the time. */
  readonly clients = new Map<number | string, number>();
  count = 0;
  oldestMs: number | null = null;

  constructor(service: ReportedService) {
    this.service = service;
    this.slots = new Uint8Array(Math.ceil(service.slots / 8));
  }

  add(slot: number, client: number | string, ageMs: number): void {
    this.slots[slot >> 3] |= 1 << (slot & 7);
    this.count++;
    if (this.oldestMs === null || ageMs > this.oldestMs) this.oldestMs = ageMs;
    const known = this.clients.get(client);
    if (known !== undefined || this.clients.size < MAX_CLIENTS) this.clients.set(client, (known ?? 0) + 1);
  }

  report(isComplete: boolean): SlotReport {
    const { service, slots, count, oldestMs } = this;
    const top = [...this.clients].sort(([, a], [, b]) => b - a).slice(0, TOP_CLIENTS);
    const topClients = top.map(([key, connections]) => ({ address: addressOf(key), connections }));
    const hasSockets = service.ports.every(({ protocol }) => protocol === 'tcp');
    return { service: service.service, slots, count, oldestMs, topClients, isComplete: isComplete && hasSockets };
  }
}

function addressOf(key: number | string): Address {
  const bytes = new Uint8Array(typeof key === 'number' ? 4 : 16);
  if (typeof key === 'number') new DataView(bytes.buffer).setUint32(0, key);
  else for (let i = 0; i < 16; i++) bytes[i] = key.charCodeAt(i >> 1) >>> (i % 2 === 0 ? 8 : 0);
  return { family: typeof key === 'number' ? 4 : 6, bytes };
}

function keyAt(bytes: DataView, at: number, addressBytes: 4 | 16): number | string {
  if (addressBytes === 4) return bytes.getUint32(at);
  let key = '';
  for (let i = 0; i < 16; i += 2) key += String.fromCharCode(bytes.getUint16(at + i));
  return key;
}

function isMapped(bytes: DataView, at: number): boolean {
  return bytes.getUint32(at) === 0 && bytes.getUint32(at + 4) === 0 && bytes.getUint32(at + 8) === 0xffff;
}

/** By protocol and port (0: any). */
type CountsByPort = Map<number, Count>;

/** Sorts connections into services and slots. Pure. */
export class SlotCounter {
  readonly #key: Uint32Array;
  readonly #counts: readonly Count[];
  readonly #byVip = new Map<number | string, CountsByPort>();
  /** VIPs that are prefixes, the longest first. */
  readonly #byPrefix: { readonly prefix: Prefix; readonly ports: CountsByPort }[] = [];
  readonly #addresses = new Uint8Array(32);

  /** `hashKey`: 16 bytes, the site's. */
  constructor(services: readonly ReportedService[], hashKey: Uint8Array) {
    this.#key = sipHashKey(hashKey);
    this.#counts = services.map((service) => new Count(service));
    for (const count of this.#counts) {
      for (const vip of count.service.vips) {
        const ports = this.#portsOf(vip);
        for (const { port, protocol } of count.service.ports) ports.set((PROTOCOL[protocol] << 16) | port, count);
      }
    }
    this.#byPrefix.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  #portsOf(vip: Prefix): CountsByPort {
    const { family, bytes } = vip.address;
    const key = keyAt(new DataView(bytes.slice().buffer), 0, family === 4 ? 4 : 16);
    const known = isHost(vip)
      ? this.#byVip.get(key)
      : this.#byPrefix.find(({ prefix }) => samePrefix(prefix, vip))?.ports;
    if (known !== undefined) return known;
    const ports: CountsByPort = new Map();
    if (isHost(vip)) this.#byVip.set(key, ports);
    else this.#byPrefix.push({ prefix: vip, ports });
    return ports;
  }

  /** As packets find their service (config/service-keys.ts). */
  #find(bytes: DataView, at: number, addressBytes: 4 | 16, protocol: number, port: number): Count | undefined {
    const byPort = (ports: CountsByPort | undefined): Count | undefined =>
      ports?.get((protocol << 16) | port) ?? ports?.get(protocol << 16);
    const exact = byPort(this.#byVip.get(keyAt(bytes, at, addressBytes)));
    if (exact !== undefined || this.#byPrefix.length === 0) return exact;
    const local = new Uint8Array(bytes.buffer, bytes.byteOffset + at, addressBytes);
    const address: Address = { family: addressBytes === 4 ? 4 : 6, bytes: local };
    for (const { prefix, ports } of this.#byPrefix) {
      const found = prefixContains(prefix, address) ? byPort(ports) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A connection to none of the VIPs is left out. IPv4 connections of IPv6 sockets count as IPv4. */
  add(ends: SocketEnds, protocol: number, ageMs: number): void {
    const { bytes, localPort, remotePort } = ends;
    let { localAt, remoteAt, addressBytes } = ends;
    if (addressBytes === 16 && isMapped(bytes, localAt)) {
      localAt += 12;
      remoteAt += 12;
      addressBytes = 4;
    }
    const count = this.#find(bytes, localAt, addressBytes, protocol, localPort);
    if (count === undefined) return;
    for (let i = 0; i < addressBytes; i++) {
      this.#addresses[i] = bytes.getUint8(remoteAt + i);
      this.#addresses[addressBytes + i] = bytes.getUint8(localAt + i);
    }
    const { slots, hashesSource } = count.service;
    const numbers = { sourcePort: remotePort, destinationPort: localPort, protocol };
    const slot = hashesSource
      ? slotOfHash(hashSource(this.#key, this.#addresses, 0, addressBytes), slots)
      : slotOf(hashAddresses(this.#key, this.#addresses, 0, addressBytes, numbers), slots);
    count.add(slot, keyAt(bytes, remoteAt, addressBytes), ageMs);
  }

  reports(isComplete: boolean): SlotReport[] {
    return this.#counts.map((count) => count.report(isComplete));
  }
}

/** Remembers, by the kernel's cookie, since when it has seen each connection of the services: how old they are at least. */
export class SlotReader {
  readonly #netns: string | null;
  readonly #nowMs: () => number;
  #seen = new Map<number, number>();

  /** `netns`: of the backend; null: this process's. `nowMs`: any steady clock. */
  constructor(netns: string | null, nowMs: () => number) {
    this.#netns = netns;
    this.#nowMs = nowMs;
  }

  /** 100,000 connections: some 0.2 s, with other work let in between. */
  async read(services: readonly ReportedService[], hashKey: Uint8Array): Promise<SlotReports> {
    const takenAtMs = this.#nowMs();
    const counter = new SlotCounter(services, hashKey);
    const seen = new Map<number, number>();
    let isComplete = true;
    const protocols = new Set(services.flatMap(({ ports }) => ports.map(({ protocol }) => PROTOCOL[protocol])));
    for (const protocol of protocols) {
      const most = MAX_REPORTED_SOCKETS - seen.size;
      const isWhole = await dumpSockets(this.#netns, protocol, most, (bytes, at, addressBytes) => {
        // Cookies count up: they stay below 2^53.
        const cookie =
          bytes.getUint32(at + SOCKET.cookie, true) + bytes.getUint32(at + SOCKET.cookie + 4, true) * 2 ** 32;
        const sinceMs = this.#seen.get(cookie) ?? takenAtMs;
        seen.set(cookie, sinceMs);
        const ends = {
          bytes,
          localAt: at + SOCKET.localAddress,
          remoteAt: at + SOCKET.remoteAddress,
          addressBytes,
          localPort: bytes.getUint16(at + SOCKET.localPort),
          remotePort: bytes.getUint16(at + SOCKET.remotePort),
        };
        counter.add(ends, protocol, takenAtMs - sinceMs);
      });
      isComplete &&= isWhole;
    }
    this.#seen = seen;
    return { takenAtMs, reports: counter.reports(isComplete) };
  }
}
