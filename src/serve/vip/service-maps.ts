/**
 * The hash maps that a packet is looked up in: VIPs, services, sources of probes. Programs keep what they looked up lately;
 * `onChange`, called after each write, makes them ask again. So each write is seen by the next packet.
 */
import type { ForwardingMode, QuicIds } from '../../config/model.ts';
import {
  type Address,
  addressBits,
  formatPrefix,
  fromMapped,
  hostPrefix,
  isHost,
  mappedBits,
  type Prefix,
  toMapped,
} from '../../net/address.ts';
import { deleteElement, listKeys, lookupElement, updateElement } from './bpf.ts';
import {
  ADDRESS,
  ADDRESS_PREFIX,
  AddressPrefixView,
  SCHEDULER_NAMES,
  type SchedulerName,
  SERVICE_KEY,
  SERVICE_QUIC,
  ServiceKeyView,
  ServiceView,
  VipView,
} from './layout.gen.ts';
import { MAX_LIFETIME_TICKS } from './limits.ts';
import { FORWARDING_VALUE, modeOf } from './machine-entry.ts';

export interface VipFields {
  /** Index of the VIP's counters. */
  readonly subject: number;
  /** `VIP_ECHO` or 0. */
  readonly flags: number;
}

/** Addresses in a hash map, prefixes in a trie, which is asked where the former has nothing. */
export class VipMap {
  readonly #fd: number;
  readonly #prefixFd: number;
  readonly #onChange: (prefixes: number) => void;
  readonly #value = new VipView();
  readonly #prefixes = new Set<string>();

  /** `onChange` is given how many stand in the trie: while there are none, programs need not ask it. */
  constructor(fd: number, prefixFd: number, onChange: (prefixes: number) => void) {
    this.#fd = fd;
    this.#prefixFd = prefixFd;
    this.#onChange = onChange;
    for (const { prefix } of this.list()) if (!isHost(prefix)) this.#prefixes.add(formatPrefix(prefix));
    onChange(this.#prefixes.size);
  }

  #place(vip: Prefix): [fd: number, key: Uint8Array] {
    return isHost(vip) ? [this.#fd, toMapped(vip.address)] : [this.#prefixFd, prefixKey(vip)];
  }

  set(vip: Prefix, fields: VipFields): void {
    this.#value.subject = fields.subject;
    this.#value.flags = fields.flags;
    updateElement(...this.#place(vip), this.#value.memory);
    if (!isHost(vip)) this.#prefixes.add(formatPrefix(vip));
    this.#onChange(this.#prefixes.size);
  }

  remove(vip: Prefix): boolean {
    const had = deleteElement(...this.#place(vip));
    this.#prefixes.delete(formatPrefix(vip));
    this.#onChange(this.#prefixes.size);
    return had;
  }

  list(): (VipFields & { readonly prefix: Prefix })[] {
    const hosts = listKeys(this.#fd, ADDRESS.sizeBytes).map((key) => ({ key, prefix: hostPrefix(fromMapped(key)) }));
    const prefixes = listKeys(this.#prefixFd, ADDRESS_PREFIX.sizeBytes).map((key) => ({
      key,
      prefix: readPrefixKey(key),
    }));
    return [...hosts, ...prefixes].flatMap(({ key, prefix }) => {
      if (!lookupElement(isHost(prefix) ? this.#fd : this.#prefixFd, key, this.#value.memory)) return [];
      return [{ prefix, subject: this.#value.subject, flags: this.#value.flags }];
    });
  }
}

/** A key of a map by prefix. */
export function prefixKey(prefix: Prefix): Uint8Array {
  const key = new AddressPrefixView();
  key.bits = mappedBits(prefix);
  key.setAddress(toMapped(prefix.address));
  return key.memory;
}

/** What `prefixKey` made. */
export function readPrefixKey(bytes: Uint8Array): Prefix {
  const key = new AddressPrefixView(bytes.buffer as ArrayBuffer);
  const address = fromMapped(key.copyAddress(new Uint8Array(16)));
  return { address, length: key.bits + addressBits(address.family) - 128 };
}

export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17 } as const;

export interface ServiceKey {
  /** Subject of the VIP. */
  readonly vip: number;
  /** 1 to 65535; 0: any port. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface ServiceFields {
  /** Index of counters, lookup table and pressure. */
  readonly subject: number;
  /** Size of the lookup table; must be that of `createTable`. */
  readonly slots: number;
  /** To backends that have no mode of their own. */
  readonly forwarding: ForwardingMode;
  /** Entries not touched for longer are expired; 1 to 3000 ticks of 4.29 s. */
  readonly lifetimeTicks: number;
  /** Pressure: tracked flows a second (2^30 ns). */
  readonly newPerSecond: number;
  /** Pressure: tracked flows within a lifetime. */
  readonly shareEntries: number;
  /** New flows of a client prefix a second (2^30 ns), at least 1; Infinity or absent: no limit. */
  readonly prefixNewPerSecond?: number;
  /** SERVICE_*, but SERVICE_QUIC; absent: 0. */
  readonly flags?: number;
  /** Absent: by hash. */
  readonly scheduler?: SchedulerName;
  /** 32 bits of its own, so that entries of an earlier service of this subject never match; absent: 0. */
  readonly salt?: number;
  /** nat: port of the backends; null or absent: as it came. */
  readonly natPort?: number | null;
  /** What connection IDs that name a backend look like; null or absent: UDP is no QUIC. */
  readonly quic?: QuicIds | null;
}

/** Limits may be Infinity in the configuration; the field has 32 bits. */
function clamp(value: number): number {
  return Math.min(Math.max(0, Math.floor(value)), 0xffffffff);
}

/** As the kernel has it: 0 is no limit. */
function prefixLimit(perSecond = Number.POSITIVE_INFINITY): number {
  return perSecond === Number.POSITIVE_INFINITY ? 0 : Math.max(1, clamp(perSecond));
}

export class ServiceMap {
  readonly #fd: number;
  readonly #onChange: () => void;
  readonly #key = new ServiceKeyView();
  readonly #value = new ServiceView();

  constructor(fd: number, onChange: () => void) {
    this.#fd = fd;
    this.#onChange = onChange;
  }

  #writeKey(key: ServiceKey): Uint8Array {
    if (!Number.isInteger(key.port) || key.port < 0 || key.port > 65535) throw new RangeError(`port ${key.port}`);
    this.#key.vip = key.vip;
    this.#key.port = key.port;
    this.#key.protocol = PROTOCOL_NUMBERS[key.protocol];
    return this.#key.memory;
  }

  set(key: ServiceKey, fields: ServiceFields): void {
    if (!(fields.lifetimeTicks >= 1 && fields.lifetimeTicks <= MAX_LIFETIME_TICKS)) {
      throw new RangeError(`a lifetime of ${fields.lifetimeTicks} ticks is not in 1 .. ${MAX_LIFETIME_TICKS}`);
    }
    this.#value.subject = fields.subject;
    this.#value.slots = fields.slots;
    this.#value.forwarding = FORWARDING_VALUE[fields.forwarding];
    this.#value.lifetimeTicks = Math.round(fields.lifetimeTicks);
    this.#value.newPerSecond = clamp(fields.newPerSecond);
    this.#value.shareEntries = clamp(fields.shareEntries);
    this.#value.flags = (fields.flags ?? 0) | (fields.quic ? SERVICE_QUIC : 0);
    this.#value.quicConfig = fields.quic?.configId ?? 0;
    this.#value.serverIdBytes = fields.quic?.serverIdBytes ?? 0;
    this.#value.prefixNewPerSecond = prefixLimit(fields.prefixNewPerSecond);
    this.#value.scheduler = SCHEDULER_NAMES.indexOf(fields.scheduler ?? 'hash');
    this.#value.salt = fields.salt ?? 0;
    this.#value.natPort = fields.natPort ?? 0;
    updateElement(this.#fd, this.#writeKey(key), this.#value.memory);
    this.#onChange();
  }

  remove(key: ServiceKey): boolean {
    const had = deleteElement(this.#fd, this.#writeKey(key));
    this.#onChange();
    return had;
  }

  /** Every field is there. */
  list(): (Required<ServiceFields> & { readonly key: ServiceKey })[] {
    return listKeys(this.#fd, SERVICE_KEY.sizeBytes).flatMap((bytes) => {
      const value = this.#value;
      if (!lookupElement(this.#fd, bytes, value.memory)) return [];
      const key = new ServiceKeyView(bytes.buffer as ArrayBuffer);
      const protocol = key.protocol === PROTOCOL_NUMBERS.tcp ? 'tcp' : 'udp';
      return [
        {
          key: { vip: key.vip, port: key.port, protocol },
          subject: value.subject,
          slots: value.slots,
          forwarding: modeOf(value.forwarding) ?? 'gre',
          lifetimeTicks: value.lifetimeTicks,
          newPerSecond: value.newPerSecond,
          shareEntries: value.shareEntries,
          flags: value.flags & ~SERVICE_QUIC,
          prefixNewPerSecond: value.prefixNewPerSecond === 0 ? Number.POSITIVE_INFINITY : value.prefixNewPerSecond,
          scheduler: SCHEDULER_NAMES[value.scheduler],
          salt: value.salt,
          natPort: value.natPort === 0 ? null : value.natPort,
          quic:
            (value.flags & SERVICE_QUIC) === 0
              ? null
              : { configId: value.quicConfig, serverIdBytes: value.serverIdBytes },
        },
      ];
    });
  }
}

/** Source address of a probe -> index of the backend that it goes to. */
export class ProbeSourceMap {
  readonly #fd: number;
  readonly #value = new Uint32Array(1);
  readonly #bytes = new Uint8Array(this.#value.buffer);

  constructor(fd: number) {
    this.#fd = fd;
  }

  set(address: Address, backendIndex: number): void {
    this.#value[0] = backendIndex;
    updateElement(this.#fd, toMapped(address), this.#bytes);
  }

  remove(address: Address): boolean {
    return deleteElement(this.#fd, toMapped(address));
  }

  list(): { readonly address: Address; readonly backendIndex: number }[] {
    return listKeys(this.#fd, ADDRESS.sizeBytes).flatMap((key) =>
      lookupElement(this.#fd, key, this.#bytes) ? [{ address: fromMapped(key), backendIndex: this.#value[0] }] : [],
    );
  }
}
