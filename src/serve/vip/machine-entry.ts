/**
 * Where packets are sent: entries of backends (on a balancer) and of second-chance candidates (on a backend), in mapped
 * arrays that packets read at any moment.
 */
import type { ForwardingMode } from '../../config/model.ts';
import { type Address, formatAddress, fromMapped, type Prefix, toMapped } from '../../net/address.ts';
import {
  BACKEND,
  BACKEND_AGENT,
  BACKEND_ALIVE,
  BACKEND_IPV6,
  BackendView,
  EGRESS_STALE,
  EGRESS_STRIP,
  EGRESS_TAG,
  FORWARDING,
  MEMBER,
  MemberView,
} from './layout.gen.ts';
import type { NextHop } from './next-hop.ts';

/**
 * Copies a struct into an array by 64-bit words, the word at `lastWord` last. That word holds `ifindex`: an entry that
 * names no interface is not used, so a new entry counts only when all of it is there. When an entry that is in use
 * changes, a packet may go out with half of the old addresses: one lost packet, which its sender repeats.
 */
function publish(target: BigUint64Array, start: number, source: BigUint64Array, lastWord: number): void {
  for (let i = 0; i < source.length; i++) {
    if (i !== lastWord) Atomics.store(target, start + i, source[i]);
  }
  Atomics.store(target, start + lastWord, source[lastWord]);
}

/** Not in use any more: the interface first. */
function withdraw(target: BigUint64Array, start: number, words: number, firstWord: number): void {
  Atomics.store(target, start + firstWord, 0n);
  for (let i = 0; i < words; i++) Atomics.store(target, start + i, 0n);
}

/**
 * Sum of the constant 16-bit words of an outer IPv4 header, not folded: version, header length and class; DF; TTL 64 and
 * protocol 47 (GRE; the program adds the difference of another); both addresses. Identification is 0 (RFC 6864 4.1 allows it with DF); length and checksum are the packet's.
 */
export function outerHeaderSum(source: Uint8Array, destination: Uint8Array): number {
  let sum = 0x4500 + 0x4000 + ((64 << 8) | 47);
  for (const bytes of [source, destination]) {
    for (let i = 0; i < 4; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  }
  return sum;
}

/** As the kernel has them. */
export const FORWARDING_VALUE: Readonly<Record<ForwardingMode, number>> = {
  gre: FORWARDING.GRE,
  ipip: FORWARDING.IPIP,
  gue: FORWARDING.GUE,
  l2: FORWARDING.L2,
  nat: FORWARDING.NAT,
};

/** Null: none is said. */
export function modeOf(value: number): ForwardingMode | null {
  const found = Object.entries(FORWARDING_VALUE).find(([, other]) => other === value);
  return found === undefined ? null : (found[0] as ForwardingMode);
}

export interface BackendFields {
  /** Outer destination. */
  readonly address: Address;
  readonly nextHop: NextHop;
  readonly alive: boolean;
  /** Runs the backend role: understands the keys of second chance. */
  readonly agent: boolean;
  /** Null: as each service says. */
  readonly forwarding: ForwardingMode | null;
  /** For least-connections, 1 to 65,535; absent: 1. */
  readonly weight?: number;
}

export interface BackendEntry {
  readonly index: number;
  readonly address: Address;
  readonly alive: boolean;
  readonly agent: boolean;
  readonly forwarding: ForwardingMode | null;
  readonly ifindex: number;
}

/** Outer source, whose lowest bits vary by flow if `bits` is not 0. */
export interface OuterSource {
  readonly address: Address;
  readonly bits: number;
}

/** Of the flow hash that is there to vary sources by. */
const MAX_SOURCE_BITS = 15;

/** The prefix that sources vary in, if it has the family of `destination`, else the address that has; throws when there is none. */
export function varyingSourceFor(
  addresses: readonly Address[],
  prefix: Prefix | null,
  destination: Address,
): OuterSource {
  if (prefix === null || prefix.address.family !== destination.family) {
    return { address: sourceFor(addresses, destination), bits: 0 };
  }
  const hostBits = prefix.address.bytes.length * 8 - prefix.length;
  return { address: prefix.address, bits: Math.min(MAX_SOURCE_BITS, hostBits) };
}

/** The source with the family of `destination`; throws when there is none. */
export function sourceFor(addresses: readonly Address[], destination: Address): Address {
  const source = addresses.find((address) => address.family === destination.family);
  if (source !== undefined) return source;
  throw new Error(`no IPv${destination.family} address to send to ${formatAddress(destination)} from`);
}

/** What happens to VLAN tags. */
export function egressValue({ vlan }: NextHop): number {
  if (vlan === undefined) return 0;
  return vlan === 'none' ? EGRESS_STRIP : EGRESS_TAG | vlan;
}

/** Fills a scratch entry. */
export function fillBackend(view: BackendView, source: OuterSource, fields: BackendFields): void {
  const { address, nextHop } = fields;
  view.memory.fill(0);
  view.setAddress(toMapped(address));
  view.setSource(toMapped(source.address));
  view.sourceBits = source.bits;
  view.setNextHopMac(nextHop.mac);
  view.setOwnMac(nextHop.ownMac);
  view.ifindex = nextHop.ifindex;
  view.weight = fields.weight ?? 1;
  view.flags =
    (fields.alive ? BACKEND_ALIVE : 0) | (fields.agent ? BACKEND_AGENT : 0) | (address.family === 6 ? BACKEND_IPV6 : 0);
  view.headerSum = address.family === 4 ? outerHeaderSum(source.address.bytes, address.bytes) : 0;
  view.egress = egressValue(nextHop);
  view.mtu = Math.min(nextHop.mtuBytes, 0xffff);
  view.forwarding = fields.forwarding === null ? FORWARDING.UNSAID : FORWARDING_VALUE[fields.forwarding];
}

const BACKEND_WORDS = BACKEND.sizeBytes / 8;
const BACKEND_IFINDEX_WORD = Math.floor(BACKEND.offsets.ifindex / 8);

/** Over the map `backends`. */
export class BackendTable {
  /** For reading. */
  readonly view: BackendView;
  readonly #words: BigUint64Array;
  readonly #halves: Uint32Array;
  readonly #quarters: Uint16Array;
  readonly #scratch = new BackendView();
  readonly #scratchWords = new BigUint64Array(this.#scratch.view.buffer as ArrayBuffer);

  constructor(buffer: ArrayBuffer) {
    this.view = new BackendView(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#halves = new Uint32Array(buffer);
    this.#quarters = new Uint16Array(buffer);
  }

  #check(index: number): void {
    if (!Number.isInteger(index) || index < 1 || index * BACKEND_WORDS >= this.#words.length) {
      throw new RangeError(`backend index ${index} is not in 1 .. ${this.#words.length / BACKEND_WORDS - 1}`);
    }
  }

  set(index: number, source: OuterSource, fields: BackendFields): void {
    this.#check(index);
    fillBackend(this.#scratch, source, fields);
    publish(this.#words, index * BACKEND_WORDS, this.#scratchWords, BACKEND_IFINDEX_WORD);
  }

  /** Changes nothing but the flag. */
  setAlive(index: number, alive: boolean): void {
    this.#check(index);
    const at = (index * BACKEND.sizeBytes + BACKEND.offsets.flags) / 4;
    if (alive) Atomics.or(this.#halves, at, BACKEND_ALIVE);
    else Atomics.and(this.#halves, at, ~BACKEND_ALIVE);
  }

  /** The way is in doubt: for each packet the kernel's tables are asked first. `set` ends that. */
  setStale(index: number): void {
    this.#check(index);
    Atomics.or(this.#quarters, (index * BACKEND.sizeBytes + BACKEND.offsets.egress) / 2, EGRESS_STALE);
  }

  /** Entries that can be sent to, by index. */
  list(): BackendEntry[] {
    const entries: BackendEntry[] = [];
    const count = this.#words.length / BACKEND_WORDS;
    for (let index = 1; index < count; index++) {
      const { ifindex, flags, forwarding } = this.view.at(index);
      if (ifindex === 0) continue;
      const address = fromMapped(this.view.copyAddress(new Uint8Array(16)));
      const has = (flag: number) => (flags & flag) !== 0;
      entries.push({
        index,
        address,
        alive: has(BACKEND_ALIVE),
        agent: has(BACKEND_AGENT),
        forwarding: modeOf(forwarding),
        ifindex,
      });
    }
    return entries;
  }

  clear(index: number): void {
    this.#check(index);
    withdraw(this.#words, index * BACKEND_WORDS, BACKEND_WORDS, BACKEND_IFINDEX_WORD);
  }
}

export interface MemberFields {
  readonly address: Address;
  readonly nextHop: NextHop;
}

const MEMBER_WORDS = MEMBER.sizeBytes / 8;
const MEMBER_IFINDEX_WORD = Math.floor(MEMBER.offsets.ifindex / 8);

/** Over the map `agent_candidates`. */
export class CandidateTable {
  readonly #words: BigUint64Array;
  readonly #scratch = new MemberView();
  readonly #scratchWords = new BigUint64Array(this.#scratch.view.buffer as ArrayBuffer);

  constructor(buffer: ArrayBuffer) {
    this.#words = new BigUint64Array(buffer);
  }

  /** `fields` null: no candidate (any more). */
  set(index: number, fields: MemberFields | null): void {
    const start = index * MEMBER_WORDS;
    if (!Number.isInteger(index) || index < 1 || start >= this.#words.length) {
      throw new RangeError(`candidate index ${index} is not in 1 .. ${this.#words.length / MEMBER_WORDS - 1}`);
    }
    if (fields === null) {
      withdraw(this.#words, start, MEMBER_WORDS, MEMBER_IFINDEX_WORD);
      return;
    }
    this.#scratch.memory.fill(0);
    this.#scratch.setAddress(toMapped(fields.address));
    this.#scratch.setNextHopMac(fields.nextHop.mac);
    this.#scratch.setOwnMac(fields.nextHop.ownMac);
    this.#scratch.ifindex = fields.nextHop.ifindex;
    this.#scratch.flags = fields.address.family === 6 ? BACKEND_IPV6 : 0;
    this.#scratch.egress = egressValue(fields.nextHop);
    publish(this.#words, start, this.#scratchWords, MEMBER_IFINDEX_WORD);
  }
}
