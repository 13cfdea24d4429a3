/**
 * Portico's balancer on a stock kernel with devices that many networks have: a bond of two interfaces with VLANs on it, and the
 * program on a VLAN device itself.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { interfaceIndexIn } from '../../src/serve/vip/netns.ts';
import { PacketSocket } from '../../src/serve/vip/packet-socket.ts';
import { until } from '../../src/serve/vip/test-network.ts';
import { SYN } from '../vip/bed.ts';
import { afterHop, ethernet, GRE, gre, ipv4, TCP, tcp, toHex } from '../vip/frames.ts';
import { startSniffer } from '../vip/sniffer.ts';
import { MOUNTED, makeDisk } from './disk.ts';
import { GUEST_MAC, type Guest, startGuest } from './guest.ts';
import { cannotRunMachine } from './image.ts';

const NAMESPACE = `interop-devices-${process.pid}`;
const TAPS = ['tap0', 'tap1', 'tap2'] as const;
const [BOND_VIP, VLAN_VIP] = ['192.0.2.10', '192.0.2.11'];
const CLIENT = '198.51.100.7';
const CLIENTS_VLAN = 10;
const SERVERS_VLAN = 20;
const [BOND_BACKEND, BOND_SOURCE] = ['10.20.0.2', '10.20.0.1'];
const [VLAN_BACKEND, VLAN_SOURCE] = ['10.30.0.2', '10.30.0.1'];
const BACKEND_MAC = 5;
const ROUTER_MAC = 9;

/** Static neighbours: nobody answers ARP on this side, which has no VLAN devices. */
const SET_UP = [
  'for link in eth0 eth1; do /bin/ip link set $link down; done',
  '/bin/ip link add bond1 address 02:00:00:00:00:40 type bond mode active-backup miimon 100',
  '/bin/ip link set eth0 master bond1',
  '/bin/ip link set eth1 master bond1',
  '/bin/ip link set bond1 up',
  `/bin/ip link add link bond1 name bond1.${CLIENTS_VLAN} type vlan id ${CLIENTS_VLAN}`,
  `/bin/ip link add link bond1 name bond1.${SERVERS_VLAN} type vlan id ${SERVERS_VLAN}`,
  `/bin/ip link set bond1.${CLIENTS_VLAN} up`,
  `/bin/ip addr add ${BOND_SOURCE}/24 dev bond1.${SERVERS_VLAN}`,
  `/bin/ip link set bond1.${SERVERS_VLAN} up`,
  `/bin/ip neigh add ${BOND_BACKEND} lladdr 02:00:00:00:00:05 dev bond1.${SERVERS_VLAN}`,
  '/bin/ip link set eth2 up',
  '/bin/ip link add link eth2 name eth2.30 type vlan id 30',
  `/bin/ip addr add ${VLAN_SOURCE}/24 dev eth2.30`,
  '/bin/ip link set eth2.30 up',
  `/bin/ip neigh add ${VLAN_BACKEND} lladdr 02:00:00:00:00:05 dev eth2.30`,
];

const packetTo = (vip: string) =>
  ipv4({ from: CLIENT, to: vip, protocol: TCP }, tcp({ from: 4000, to: 80, flags: SYN }));
const fromClient = (vip: string, vlan: number, to: number) => ethernet(to, ROUTER_MAC, packetTo(vip), [0x8100, vlan]);

function toBackend(vip: string, to: string, source: number, vlan: number): Uint8Array {
  const inner = gre(afterHop(packetTo(vip)));
  const outer = ipv4({ from: BOND_SOURCE, to, protocol: GRE, timeToLive: 64, fragment: 0x4000 }, inner);
  return ethernet(BACKEND_MAC, source, outer, [0x8100, vlan]);
}

describe('a balancer on devices of a stock kernel', { skip: cannotRunMachine(), timeout: 900_000 }, () => {
  let guest: Guest;
  let socket: PacketSocket;
  let disk: string | null = null;

  before(async () => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    for (const tap of TAPS)
      for (const command of [`tuntap add ${tap} mode tap`, `link set ${tap} up`])
        execFileSync('ip', ['-n', NAMESPACE, ...command.split(' ')]);
    socket = new PacketSocket(NAMESPACE);
    disk = makeDisk();
    guest = await startGuest(NAMESPACE, TAPS, disk);
    for (const command of SET_UP) await guest.run(command);
  });
  after(async () => {
    await guest?.stop();
    socket?.close();
    if (disk !== null) rmSync(disk, { force: true });
    if (existsSync(`/var/run/netns/${NAMESPACE}`)) execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  /** Runs a script of this folder in the machine until it has printed a line of JSON, and afterwards for as long as `use` takes. */
  async function withScript(
    name: string,
    args: readonly string[],
    use: (said: Record<string, unknown>) => Promise<void>,
  ): Promise<void> {
    const [log, pid] = ['/tmp/said', '/tmp/pid'];
    const command = `LD_LIBRARY_PATH=${MOUNTED}/lib ${MOUNTED}/bin/node ${MOUNTED}/app/test/interop/${name}`;
    await guest.run(`${command} ${args.join(' ')} > ${log} 2>&1 & echo $! > ${pid}`);
    try {
      // The kernel's verifier takes its time under emulation.
      await guest.run(
        `for i in $(seq 1 6000); do grep -q '^{"' ${log} && exit 0; kill -0 $(cat ${pid}) || break; usleep 100000; done; cat ${log}; false`,
      );
      await use(JSON.parse(await guest.run(`cat ${log}`)));
    } finally {
      await guest.run(`kill $(cat ${pid}) 2> /dev/null; while [ -d /proc/$(cat ${pid}) ]; do usleep 10000; done`);
    }
  }

  /** What leaves the machine for the backend, for one packet in. */
  async function forwarded(tap: string, frame: Uint8Array): Promise<string> {
    const sniffer = await startSniffer(NAMESPACE, tap, 'ether dst 02:00:00:00:00:05');
    try {
      assert.ok(socket.send(interfaceIndexIn(NAMESPACE, tap), frame));
      await until(() => sniffer.frames().length > 0, `the packet leaves by ${tap}`, 10_000);
      return toHex(sniffer.frames()[0]);
    } finally {
      await sniffer.stop();
    }
  }

  test('tagged packets cross a bond, also after a link of it has failed, and a VLAN device, by the way that the kernel knows', async (context) => {
    const pairs = [BOND_VIP, BOND_BACKEND, VLAN_VIP, VLAN_BACKEND];
    await withScript('guest-balancer.ts', ['bond1,eth2.30', BOND_SOURCE, ...pairs], async (said) => {
      context.diagnostic(JSON.stringify(said));
      assert.deepEqual(said.ways, [
        { by: `bond1.${SERVERS_VLAN}`, vlan: SERVERS_VLAN },
        { by: 'eth2.30', vlan: 30 },
      ]);
      const overBond = toHex(toBackend(BOND_VIP, BOND_BACKEND, GUEST_MAC, SERVERS_VLAN));
      assert.equal(await forwarded('tap0', fromClient(BOND_VIP, CLIENTS_VLAN, GUEST_MAC)), overBond);
      await guest.run('/bin/ip link set eth0 down');
      await guest.run(
        'for i in $(seq 1 100); do grep -q eth1 /sys/class/net/bond1/bonding/active_slave && exit 0; usleep 100000; done; false',
      );
      assert.equal(await forwarded('tap1', fromClient(BOND_VIP, CLIENTS_VLAN, GUEST_MAC)), overBond);
      const overVlan = toHex(toBackend(VLAN_VIP, VLAN_BACKEND, GUEST_MAC + 2, 30));
      assert.equal(await forwarded('tap2', fromClient(VLAN_VIP, 30, GUEST_MAC + 2)), overVlan);
    });
  });

  // The balancer's programs have been taken above.
  test("the stock kernel's verifier takes the other programs", async (context) => {
    await withScript('guest-load.ts', [], async (said) => {
      context.diagnostic(JSON.stringify(said));
      for (const [object, error] of Object.entries(said)) assert.equal(error, 'loaded', object);
    });
  });
});
