/** A balancer without interfaces, whose kernel program is run packet by packet; its clock stands still. */
import { runProgram, type XdpVerdict } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import {
  EVENT_NAMES,
  OUTCOME_NAMES,
  SERVICE_UNREACHABLE,
  TICK_SHIFT,
  VIP_ECHO,
} from '../../src/serve/vip/layout.gen.ts';
import { address, afterHop, ethernet, GRE, gre, type IpFields, ipv4, ipv6 } from './frames.ts';

export const VIP4 = '192.0.2.10';
export const VIP6 = '2001:db8::10';
export const CLIENT4 = '198.51.100.7';
export const CLIENT6 = '2001:db8:7::7';
export const SYN = 0x02;
export const RST = 0x04;
export const ACK = 0x10;
export const KEY = new Uint8Array(16).fill(7);
export const SLOTS = 7;
export const BUCKETS = 2;
export const LIFETIME_TICKS = 100;
export const NOW_TICKS = 5000;
/** Ports of the services: all slots settled to backend 1, to 2 (IPv6), to 3 (unreachable), to nobody, and unsettled. */
export const PORT = {
  toIpv4: 80,
  toIpv6: 81,
  unreachable: 82,
  nobody: 83,
  unsettled: 84,
  /** To nobody, and the sender is told. */
  told: 85,
  /** To backend 5, whose path cannot carry 1,280 bytes and the headers around them. */
  narrow: 86,
  /** To backend 6, the machine of backend 1 by a path of 9,000 bytes. */
  wide: 87,
} as const;
/** MAC addresses by their last byte. */
export const ROUTER = 9;
export const BALANCER = 1;
export const NEXT_HOP = 5;

export let forwarder: Forwarder;

function addBackend(index: number, to: string, ifindex: number, agent: boolean, mtuBytes = 1500): void {
  const nextHop = {
    mac: Uint8Array.of(2, 0, 0, 0, 0, NEXT_HOP),
    ownMac: Uint8Array.of(2, 0, 0, 0, 0, BALANCER),
    ifindex,
    interfaceName: 'lo',
    mtuBytes,
  };
  forwarder.setBackend(index, { address: address(to), nextHop, alive: true, agent, forwarding: null });
}

function addServices(): void {
  const slots: Record<number, number> = {
    [PORT.toIpv4]: 1,
    [PORT.toIpv6]: 2,
    [PORT.unreachable]: 3,
    [PORT.nobody]: 0,
    [PORT.unsettled]: 1,
    [PORT.told]: 0,
    [PORT.narrow]: 5,
    [PORT.wide]: 6,
  };
  for (const [vip, base] of [
    [1, 10],
    [2, 30],
  ]) {
    for (const [i, port] of Object.values(PORT).entries()) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const subject = base + 2 * i + (protocol === 'tcp' ? 0 : 1);
        const table = forwarder.createTable(subject, SLOTS);
        for (let slot = 0; slot < SLOTS; slot++) table.write(slot, slots[port], 0, 0, false);
        const limits = {
          forwarding: 'gre' as const,
          lifetimeTicks: LIFETIME_TICKS,
          newPerSecond: 1000,
          shareEntries: 1000,
          flags: port === PORT.told ? SERVICE_UNREACHABLE : 0,
        };
        forwarder.setService({ vip, port, protocol }, { subject, slots: SLOTS, ...limits });
      }
    }
  }
}

export function configure(): void {
  forwarder = openForwarder({
    name: null,
    netns: null,
    interfaces: [],
    probeInterface: null,
    addresses: [address('10.0.0.1'), address('fd00::1')],
    buckets: BUCKETS,
    hashKey: KEY,
    testClock: true,
  });
  forwarder.setTestClock(BigInt(NOW_TICKS) << BigInt(TICK_SHIFT));
  // Test-run's packets come in on the loopback, so backends behind it are sent to by XDP_TX.
  addBackend(1, '10.0.1.1', 1, true);
  addBackend(2, 'fd00::2', 1, true);
  addBackend(4, '10.0.1.4', 1, false);
  addBackend(5, '10.0.1.5', 1, true, 1290);
  addBackend(6, '10.0.1.1', 1, true, 9000);
  forwarder.setVip(address(VIP4), 1, VIP_ECHO);
  forwarder.setVip(address(VIP6), 2, VIP_ECHO);
  forwarder.setVip(address('192.0.2.11'), 3, 0);
  addServices();
}

/** All that was counted, by name; zeros left out. */
function readCounts(): Map<string, number> {
  const counts = new Map<string, number>();
  const add = (name: string, count: number) => {
    if (count > 0) counts.set(name, (counts.get(name) ?? 0) + count);
  };
  for (let subject = 0; subject < 50; subject++) {
    const totals = forwarder.counters.read(subject);
    OUTCOME_NAMES.forEach((name, i) => {
      add(name, totals.outcome[i]);
    });
    EVENT_NAMES.forEach((name, i) => {
      add(name, totals.event[i]);
    });
    add('bytes', totals.bytes);
  }
  return counts;
}

export interface Result {
  readonly verdict: XdpVerdict;
  readonly frame: Uint8Array;
  /** What was counted for this packet. */
  readonly counted: Record<string, number>;
}

export function run(frame: Uint8Array): Result {
  const before = readCounts();
  const { verdict, frame: result } = runProgram(forwarder.programFd, frame);
  const grown = [...readCounts()].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  return { verdict, frame: result, counted: Object.fromEntries(grown.filter(([, count]) => count > 0)) };
}

export const to4 = (protocol: number, more: Partial<IpFields> = {}): IpFields => ({
  from: CLIENT4,
  to: VIP4,
  protocol,
  ...more,
});
export const to6 = (protocol: number, more: Partial<IpFields> = {}): IpFields => ({
  from: CLIENT6,
  to: VIP6,
  protocol,
  ...more,
});
export const arrive = (packet: Uint8Array, tags: readonly number[] = []) => ethernet(BALANCER, ROUTER, packet, tags);
export const leave = (packet: Uint8Array, tags: readonly number[] = []) => ethernet(NEXT_HOP, BALANCER, packet, tags);
const OUTER4: IpFields = { from: '10.0.0.1', to: '10.0.1.1', protocol: GRE, timeToLive: 64, fragment: 0x4000 };
export const overIpv4 = (inner: Uint8Array, key?: readonly [number, number]) => ipv4(OUTER4, gre(afterHop(inner), key));
export const overIpv6 = (inner: Uint8Array, flowLabel: number) =>
  ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: GRE, timeToLive: 64, flowLabel }, gre(afterHop(inner)));
