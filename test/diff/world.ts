/** Random states of a balancer: VIPs, services, slots in every state, a small connection table, backends dead and alive. */

import { slotFields, slotHigh, slotLow, tickOf } from '../../src/decide/slot-word.ts';
import {
  addressKey,
  addService,
  createEngine,
  type Engine,
  type EngineBackend,
  serverIdKey,
  serviceKey,
  setBackend,
} from '../../src/model/engine.ts';
import {
  BACKEND_AGENT,
  BACKEND_ALIVE,
  BACKEND_IPV6,
  type Clock,
  clockFine,
  EGRESS_STALE,
  EGRESS_STRIP,
  EGRESS_TAG,
  SCHEDULER_ROUND_ROBIN,
  SERVICE_NAT_TUPLES,
  SERVICE_QUIC,
  SERVICE_UNREACHABLE,
  VIP_ECHO,
  VIP_OWN,
} from '../../src/model/layout.ts';
import type { MappedPrefix } from '../../src/model/longest-prefix.ts';
import { natSourceKey } from '../../src/model/nat.ts';
import { ADOPT_FOR_WORD, ADOPT_UNTIL_WORD, PICKS_WORD, TURN_WORD } from '../../src/model/pressure.ts';
import { toMapped } from '../../src/net/address.ts';
import { readUint16, writeUint16 } from '../../src/net/ethernet.ts';
import type { Dice } from './dice.ts';

export const BUCKETS = 8;
/** So few that prefixes take each other's cells. */
export const PREFIX_SETS = 2;
const LOOPBACK = 1;
/** By service; fixed, so that the kernel's inner maps are made once. */
const TABLE_SIZES = [1, 2, 3, 5, 7, 13, 31, 64, 1, 2, 3, 5, 7, 13, 1, 2, 3, 5, 7, 13];
/** Before it VIPs: five addresses, then prefixes. */
const FIRST_SERVICE = 9;
const PICKS = 5;

export interface World {
  readonly engine: Engine;
  clock: Clock;
  /** Addresses that frames come from and go to; 4 or 16 bytes. */
  readonly clients4: readonly Uint8Array[];
  readonly clients6: readonly Uint8Array[];
  readonly vips4: Uint8Array[];
  readonly vips6: Uint8Array[];
  /** Around some VIPs, or just beside them; with addresses of their own among `vips4` and `vips6`. */
  readonly prefixes: MappedPrefix[];
  /** This balancer's outer address, and those of others of the site, 4 bytes each. */
  readonly own: Uint8Array;
  readonly peers: readonly Uint8Array[];
  /** Backends that answer through us. */
  readonly natted4: readonly Uint8Array[];
  readonly natted6: readonly Uint8Array[];
}

export const PORTS = [80, 443];
const NAT_PORTS = [0, 0, ...PORTS, 8080];
/** Of most services and most connection IDs. */
export const QUIC_CONFIG = 3;
export const BACKEND_INDICES = [1, 2, 3, 4, 5, 6, 4095];

export function createWorld(dice: Dice): World {
  const engine = createEngine(
    Uint32Array.from([dice.bits(), dice.bits(), dice.bits(), dice.bits()]),
    BUCKETS,
    PREFIX_SETS,
  );
  engine.icmpPerPrefix = dice.pick([0, 1, 2, 100]);
  engine.icmpPerSecond = dice.pick([0, 3, 100, 100, 100]);
  engine.probeIfindex = dice.pick([0, 0, 77, LOOPBACK]);
  const addresses = (count: number, size: number) => Array.from({ length: count }, () => dice.bytes(size));
  const world: World = {
    engine,
    clock: { high: dice.pick([0, 5, 0xffff, 0x10000, dice.below(1 << 24), 0xfffffff0]), low: dice.bits() },
    clients4: addresses(2, 4),
    clients6: addresses(2, 16),
    vips4: addresses(3, 4),
    vips6: addresses(2, 16),
    prefixes: [],
    own: dice.bytes(4),
    peers: addresses(2, 4),
    natted4: addresses(2, 4),
    natted6: addresses(2, 16),
  };
  addVips(dice, world);
  addBalancers(dice, world);
  addServices(dice, engine);
  for (const [list, size] of [
    [world.clients4, 4],
    [world.clients6, 16],
  ] as const)
    for (const client of list)
      if (dice.chance(50)) engine.probeSources.set(addressKey(client, 0, size), dice.pick([...BACKEND_INDICES, 9]));
  if (dice.chance(80)) addNatReplies(dice, world);
  perturb(dice, world, true);
  return world;
}

function addNatReplies(dice: Dice, { engine, natted4, natted6, vips4, vips6 }: World): void {
  for (const backend of [...natted4, ...natted6])
    for (const port of [...PORTS, 8080, 0])
      for (const protocol of [6, 17]) {
        if (dice.chance(20)) continue;
        const vip = dice.pick(backend.length === 4 ? vips4 : vips6);
        engine.natReplies.set(natSourceKey(addressKey(backend, 0, backend.length as 4 | 16), port, protocol), {
          address: vip.length === 16 ? vip : toMapped({ family: 4, bytes: vip }),
          port: port === 0 ? 0 : dice.pick(PORTS),
          hasTuples: dice.chance(40),
          subject: FIRST_SERVICE + dice.below(TABLE_SIZES.length),
        });
      }
}

function addVips(dice: Dice, world: World): void {
  const { engine, vips4, vips6 } = world;
  const flags = () => (dice.chance(70) ? VIP_ECHO : 0);
  const exact = [...vips4, ...vips6];
  exact.forEach((vip, i) => {
    engine.vips.set(addressKey(vip, 0, vip.length as 4 | 16), { subject: 1 + i, flags: flags() });
  });
  if (dice.chance(30)) return;
  for (let subject = 1 + exact.length; subject < FIRST_SERVICE; subject++) {
    const vip = dice.pick(exact);
    const prefix = randomPrefix(dice, vip.length === 16 ? vip : toMapped({ family: 4, bytes: vip }));
    const isKnown = ({ address, bits }: MappedPrefix) =>
      bits === prefix.bits && Buffer.compare(address, prefix.address) === 0;
    if (world.prefixes.some(isKnown)) continue;
    world.prefixes.push(prefix);
    engine.vipPrefixes.push({ ...prefix, vip: { subject, flags: flags() } });
    const inside = addressIn(dice, prefix);
    if (vip.length === 4 && prefix.bits >= 96) vips4.push(inside.subarray(12));
    else vips6.push(inside);
  }
}

/** Which the address (16 bytes) is in, or just not. */
export function randomPrefix(dice: Dice, address: Uint8Array): MappedPrefix {
  const bits = dice.pick([96, 104, 112, 120, 127, 128, 1 + dice.below(128)]);
  const prefix = address.slice();
  if (dice.chance(30)) prefix[(bits - 1) >> 3] ^= 0x80 >>> ((bits - 1) & 7);
  for (let bit = bits; bit < 128; bit++) prefix[bit >> 3] &= ~(0x80 >>> (bit & 7));
  return { address: prefix, bits };
}

function addressIn(dice: Dice, { address, bits }: MappedPrefix): Uint8Array {
  const inside = dice.bytes(16);
  for (let bit = 0; bit < bits; bit++) {
    const mask = 0x80 >>> (bit & 7);
    inside[bit >> 3] = (inside[bit >> 3] & ~mask) | (address[bit >> 3] & mask);
  }
  return inside;
}

/** Balancers 1 and 2 own some fragments, and 3, to which there is no way. */
function addBalancers(dice: Dice, world: World): void {
  const { engine, own, peers } = world;
  engine.vips.set(addressKey(own, 0, 4), { subject: 0, flags: VIP_OWN });
  for (const peer of peers) engine.balancerSources.add(addressKey(peer, 0, 4));
  for (const index of [1, 2])
    engine.balancers[index] = { ...randomBackend(dice, world), ifindex: dice.pick([LOOPBACK, 9]) };
  engine.balancers[3] = { ...randomBackend(dice, world), ifindex: 0 };
  for (let slot = 0; slot < engine.fragmentOwners.length; slot++)
    engine.fragmentOwners[slot] = dice.pick([0, 0, 0, 0, 1, 2, 3]);
  engine.handUpBytes = dice.pick([100, 2_000, 2_000, 1 << 20]);
}

function addServices(dice: Dice, engine: Engine): void {
  const taken = new Set<number>();
  TABLE_SIZES.forEach((slots, number) => {
    let key: number;
    do key = serviceKey(1 + dice.below(FIRST_SERVICE - 1), dice.pick([0, 0, ...PORTS]), dice.pick([6, 6, 17]));
    while (taken.has(key));
    taken.add(key);
    const service = {
      subject: FIRST_SERVICE + number,
      slots,
      forwarding: dice.pick([0, 1, 2, 3, 4, 5, 5]),
      prefixNewPerSecond: dice.pick([0, 1, 1, 1, 2, 20]),
      lifetimeTicks: dice.pick([0, 1, 3, 4, 7, 100, 840, 3000, 3000]),
      newPerSecond: dice.pick([0, 1, 5, 100_000, 100_000, 100_000]),
      shareEntries: dice.pick([0, 3, 20, 100_000, 100_000, 100_000]),
      quicConfig: dice.chance(70) ? QUIC_CONFIG : dice.below(8),
      serverIdBytes: dice.pick([1, 2, 2, 2, 3, 8]),
      salt: dice.pick([0, dice.bits()]),
      flags:
        dice.pick([0, 0, 0, 1, 1, 2, 3]) |
        (dice.chance(50) ? SERVICE_NAT_TUPLES : 0) |
        (dice.chance(50) ? SERVICE_UNREACHABLE : 0) |
        (dice.chance(60) ? SERVICE_QUIC : 0),
      scheduler: number % 4,
      natPort: dice.pick(NAT_PORTS),
    };
    addServerIds(dice, engine, service.subject, service.serverIdBytes);
    if (service.scheduler === SCHEDULER_ROUND_ROBIN) engine.picks.set(service.subject, new Uint16Array(PICKS));
    addService(engine, key, service, { words: new Uint32Array(slots * 2) });
  });
}

/** Also one for no service's backend, which the kernel must not take for another's. */
function addServerIds(dice: Dice, engine: Engine, subject: number, bytes: number): void {
  for (const index of BACKEND_INDICES)
    if (dice.chance(80))
      engine.serverIds.set(serverIdKey(subject, serverId(index, bytes)), dice.pick([index, index, 9]));
}

/** The ID that frames and services of these worlds have for an index: as long as the bytes say, the same for all services. */
export function serverId(index: number, bytes: number): bigint {
  return BigInt.asUintN(8 * bytes, BigInt(index) * 0x0101010101010101n);
}

/** Changes what the control side, other packets and time may change. The VIPs and services stay. */
export function perturb(dice: Dice, world: World, isFirst = false): void {
  const { engine, clock } = world;
  for (const index of BACKEND_INDICES)
    if (isFirst || dice.chance(30)) setBackend(engine, index, randomBackend(dice, world));
  for (const [, slots] of engine.slots) {
    for (let slot = 0; slot * 2 < slots.words.length; slot++)
      if (dice.chance(isFirst ? 100 : 25)) writeRandomSlot(dice, slots, slot, clock);
  }
  for (const pressure of engine.pressures.values()) {
    if (dice.chance(10)) pressure.fill(0);
    if (dice.chance(20)) pressure[PICKS_WORD] = dice.pick([0, 1, 3, PICKS, PICKS + 1, 5000]);
    if (dice.chance(5)) pressure[TURN_WORD] = dice.pick([0, 0xffffffff]);
    if (dice.chance(50)) pressure[ADOPT_FOR_WORD] = dice.pick([0, 1, 100, 448]);
    pressure[ADOPT_UNTIL_WORD] = clockFine(clock) + dice.pick([-100, -1, 0, 1, 2, 100, 0x7fffffff]);
  }
  engine.reclaimTicks = dice.pick([0, 840, 3000]);
  for (const index of BACKEND_INDICES) if (dice.chance(30)) engine.connections.active[index] = dice.below(5);
  for (const picks of engine.picks.values())
    for (let i = 0; i < picks.length; i++)
      if (isFirst || dice.chance(10)) picks[i] = dice.pick([0, ...BACKEND_INDICES]);
  changeEntries(dice, world);
  if (dice.chance(20)) engine.tally[4] = 1 + dice.below(3);
  if (dice.chance(20)) engine.tally[6] = dice.below(20);
}

function withoutLowBits(address: Uint8Array, bits: number): Uint8Array {
  const result = address.slice();
  writeUint16(result, 14, readUint16(result, 14) & ~((1 << bits) - 1));
  return result;
}

function randomBackend(dice: Dice, { natted4, natted6 }: World): EngineBackend {
  const isIpv6 = dice.chance(40);
  const address = (): Uint8Array =>
    isIpv6
      ? dice.pick([dice.bytes(16), ...natted6])
      : toMapped({ family: 4, bytes: dice.pick([dice.bytes(4), Uint8Array.of(255, 255, 255, 255), ...natted4]) });
  const flags =
    (dice.chance(75) ? BACKEND_ALIVE : 0) | (dice.chance(65) ? BACKEND_AGENT : 0) | (isIpv6 ? BACKEND_IPV6 : 0);
  const ifindex = dice.pick([LOOPBACK, LOOPBACK, LOOPBACK, LOOPBACK, 9, 9, 9, 9, 0]);
  const forwarding = dice.pick([0, 0, 0, 0, 1, 2, 3, 4, 5]);
  const sourceBits = dice.chance(80) ? 0 : dice.pick([1, 4, 8, 15]);
  return {
    address: address(),
    source: withoutLowBits(address(), sourceBits),
    sourceBits,
    egress: dice.chance(75)
      ? 0
      : dice.pick([EGRESS_TAG | dice.below(4096), EGRESS_STRIP, 0]) | dice.pick([0, EGRESS_STALE]),
    nextHopMac: dice.bytes(6),
    ownMac: dice.bytes(6),
    mtuBytes: randomMtu(dice),
    ifindex,
    flags,
    forwarding,
    weight: dice.pick([0, 1, 1, 2, 5, 0xffff]),
  };
}

/** Some so small that short packets do not fit, or none; the others around what packets have. */
function randomMtu(dice: Dice): number {
  const sizes = [65535, 65535, 9000, 1500, 1500, 1280 + dice.below(221), 70 + dice.below(60), dice.below(90)];
  return dice.pick(sizes);
}

function writeRandomSlot(dice: Dice, { words }: { words: Uint32Array }, slot: number, clock: Clock): void {
  const indices = [0, 0, 4000, ...BACKEND_INDICES, ...BACKEND_INDICES, ...BACKEND_INDICES];
  const tick = dice.chance(25) ? 0 : dice.pick([1, tickOf(clock.high), dice.below(0x1000)]);
  const current = dice.pick(indices);
  const previous = dice.pick([current, ...indices]);
  const third = dice.pick([0, ...indices]);
  const before = slotFields(words[2 * slot], words[2 * slot + 1]).generation;
  const generation = dice.chance(30) ? dice.pick([0, 0, 1, dice.below(0x10000)]) : before;
  words[2 * slot] = slotLow(current, previous, third);
  words[2 * slot + 1] = slotHigh(third, generation, tick);
}

/** Entries of known flows become older, younger, of other backends; the table becomes fuller or emptier. */
function changeEntries(dice: Dice, world: World): void {
  const { words } = world.engine.connections;
  const density = dice.pick([0, 0, 0, 0, 30, 100]);
  for (let at = 0; at < words.length; at += 2) {
    if ((words[at] | words[at + 1]) === 0) {
      if (!dice.chance(density)) continue;
      const state = dice.pick([0, 0, 1, 2, 3, 6, 7, 9, 10, 11]) << 12;
      words[at] = (dice.bits() & 0xf0000fff) | state | (((world.clock.high - dice.below(3)) & 0xfff) << 16);
      words[at + 1] = dice.bits();
      continue;
    }
    if (dice.chance(density === 0 ? 20 : 3)) words[at] = words[at + 1] = 0;
    else if (dice.chance(40)) {
      const age = dice.pick([0, 1, 2, 3, 4, 5, 8, 14, 15, 70, 71, 101, 841, 3001, 4094, 4095]);
      const state = (dice.chance(80) ? words[at] >>> 12 : dice.pick([0, 1, 2, 3, 6, 7, 9, 10])) & 0xf;
      const backend = dice.chance(70) ? words[at] & 0xfff : dice.pick(BACKEND_INDICES);
      words[at] = (words[at] & 0xf0000000) | (((world.clock.high - age) & 0xfff) << 16) | (state << 12) | backend;
    }
  }
}

/** Time goes on: mostly a little, sometimes over the edges of windows, periods, ticks. */
export function passTime(dice: Dice, world: World): void {
  if (!dice.chance(20)) return;
  const { high, low } = world.clock;
  const next = dice.pick([low + 1000, low + 0x4000000, low + 0x40000000, low + 0x100000000, low + 0x300000000]);
  world.clock = { high: (high + Math.floor(next / 0x100000000)) >>> 0, low: next >>> 0 };
}
