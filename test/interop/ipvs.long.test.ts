/**
 * The kernel's own balancer, IPVS with its scheduler `mh` (Maglev hashing), as a peer: the same flows and the same changes
 * go to it, in a machine with a stock kernel, and to our program. Who moves which flows?
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { SiteTables } from '../../src/fleet/site-tables.ts';
import type { TableMember } from '../../src/fleet/table-target.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { interfaceIndexIn } from '../../src/serve/vip/netns.ts';
import { PacketSocket } from '../../src/serve/vip/packet-socket.ts';
import { address, until } from '../../src/serve/vip/test-network.ts';
import { createDice } from '../diff/dice.ts';
import { ACK, SYN } from '../vip/bed.ts';
import { ethernet, ipv4, TCP, tcp } from '../vip/frames.ts';
import { startSniffer } from '../vip/sniffer.ts';
import { GUEST_MAC, type Guest, startGuest } from './guest.ts';
import { cannotRunMachine } from './image.ts';

const NAMESPACE = `interop-ipvs-${process.pid}`;
const FLOWS = 2_000;
const SEED = 20261121;
/** Last bytes of the servers' addresses 10.81.0.x and MAC addresses. */
const SERVERS = [11, 12, 13, 14, 15] as const;
const ADDED = 16;
const REMOVED = 12;
const OWN_MAC = 1;
const SLOTS = 65_537;
const SUBJECT = 2;

/** How IPVS sends on, with the VIP of that mode: one director serves all of them. */
const MODES = [
  { name: 'direct routing', vip: '192.0.2.21', option: '-g' },
  { name: 'IP in IP', vip: '192.0.2.22', option: '-i --tun-type ipip' },
  { name: 'GRE', vip: '192.0.2.23', option: '-i --tun-type gre' },
  { name: 'NAT', vip: '192.0.2.24', option: '-m' },
] as const;
type Mode = (typeof MODES)[number];

interface Flow {
  readonly client: string;
  readonly port: number;
}

const dice = createDice(SEED);
const flows: readonly Flow[] = Array.from({ length: FLOWS }, (_, i) => ({
  client: `198.51.100.${1 + (i % 250)}`,
  port: 1024 + 8 * i + dice.below(8),
}));

function frameOf({ client, port }: Flow, vip: string, to: number, flags: number): Uint8Array {
  return ethernet(to, OWN_MAC, ipv4({ from: client, to: vip, protocol: TCP }, tcp({ from: port, to: 80, flags })));
}

const keyOf = (client: Uint8Array, port: number): string => `${client.join('.')}:${port}`;

/** Which flow a frame that left the director belongs to, and which server it goes to. */
function readDecision(mode: Mode, frame: Uint8Array): { flow: string; server: number } {
  const outer = frame.subarray(14);
  const innerAt = { 'direct routing': 0, NAT: 0, 'IP in IP': 20, GRE: 24 }[mode.name];
  const inner = outer.subarray(innerAt);
  const flow = keyOf(inner.subarray(12, 16), (inner[20] << 8) | inner[21]);
  return { flow, server: mode.name === 'direct routing' ? frame[5] : outer[19] };
}

const FILTERS: Readonly<Record<Mode['name'], (vip: string) => string>> = {
  'direct routing': (vip) => `ip and dst host ${vip} and ether src 02:00:00:00:00:40`,
  'IP in IP': () => 'ip proto 4',
  GRE: () => 'ip proto 47',
  NAT: () => 'tcp and dst net 10.81.0.0/24',
};

type Decisions = ReadonlyMap<string, number>;

class Director {
  readonly guest: Guest;
  readonly #socket = new PacketSocket(NAMESPACE);

  private constructor(guest: Guest) {
    this.guest = guest;
  }

  static async start(servers: readonly number[]): Promise<Director> {
    const director = new Director(await startGuest(NAMESPACE, ['tap0']));
    const settings = ['net/ipv4/ip_forward=1', 'net/ipv4/vs/sloppy_tcp=1', 'net/ipv4/conf/all/send_redirects=0'];
    const commands = [
      ...settings.map((text) => text.split('=')).map(([name, value]) => `echo ${value} > /proc/sys/${name}`),
      'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done',
      '/bin/ip addr add 10.81.0.2/24 dev eth0',
      '/bin/ip link set eth0 up',
      ...[1, ...SERVERS, ADDED].map(
        (last) =>
          `/bin/ip neigh add 10.81.0.${last} lladdr 02:00:00:00:00:${last.toString(16).padStart(2, '0')} dev eth0`,
      ),
      '/bin/ip route add default via 10.81.0.1',
      ...MODES.flatMap((mode) => [
        `/bin/ip addr add ${mode.vip}/32 dev lo`,
        `ipvsadm -A -t ${mode.vip}:80 -s mh -b mh-port`,
        ...servers.map((server) => director.#addCommand(mode, server)),
      ]),
    ];
    for (const command of commands) await director.guest.run(command);
    return director;
  }

  #addCommand({ vip, option }: Mode, server: number): string {
    return `ipvsadm -a -t ${vip}:80 -r 10.81.0.${server}:80 -w 1 ${option}`;
  }

  async add(server: number): Promise<void> {
    for (const mode of MODES) await this.guest.run(this.#addCommand(mode, server));
  }

  /** No new flows; what is there goes on. */
  async drain(server: number): Promise<void> {
    for (const { vip, option } of MODES)
      await this.guest.run(`ipvsadm -e -t ${vip}:80 -r 10.81.0.${server}:80 -w 0 ${option}`);
  }

  async decide(mode: Mode, flags: number): Promise<Decisions> {
    const sniffer = await startSniffer(NAMESPACE, 'tap0', FILTERS[mode.name](mode.vip));
    const ifindex = interfaceIndexIn(NAMESPACE, 'tap0');
    try {
      for (const [number, flow] of flows.entries()) {
        assert.ok(this.#socket.send(ifindex, frameOf(flow, mode.vip, GUEST_MAC, flags)));
        // The emulated interface has room for 256 frames.
        if (number % 100 === 99)
          await until(() => sniffer.frames().length > number - 50, 'the director forwards', 20_000);
      }
      await until(() => sniffer.frames().length >= FLOWS, 'all packets have come', 20_000);
      return new Map(
        sniffer.frames().map((frame) => {
          const { flow, server } = readDecision(mode, frame);
          return [flow, server];
        }),
      );
    } finally {
      await sniffer.stop();
    }
  }

  async stop(): Promise<void> {
    this.#socket.close();
    await this.guest.stop();
  }
}

const toMembers = (servers: readonly number[]): TableMember[] =>
  servers.map((server) => ({ name: `server-${server}`, index: server, weight: 1 }));

/** One of our balancers; several share the site's tables. */
class Balancer {
  readonly forwarder: Forwarder;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
    this.forwarder = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [address('10.81.0.1')],
      buckets: 2 ** 12,
      hashKey: new Uint8Array(16).fill(9),
    });
    const { forwarder } = this;
    for (const server of [...SERVERS, ADDED]) {
      const nextHop = {
        mac: Uint8Array.of(2, 0, 0, 0, 0, server),
        ownMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
        ifindex: 1,
        interfaceName: 'lo',
        mtuBytes: 1500,
      };
      const fields = { address: address(`10.81.0.${server}`), nextHop, alive: true, agent: true, forwarding: null };
      forwarder.setBackend(server, fields);
    }
    forwarder.setVip(address(MODES[0].vip), 1, 0);
    const limits = { lifetimeTicks: 900, newPerSecond: 1e6, shareEntries: 1e6 };
    const table = forwarder.createTable(SUBJECT, SLOTS);
    forwarder.setService(
      { vip: 1, port: 80, protocol: 'tcp' },
      { subject: SUBJECT, slots: SLOTS, forwarding: 'gre', ...limits },
    );
    this.table = table;
  }

  readonly table: ReturnType<Forwarder['createTable']>;

  async writeSlots(_subject: number, slots: Parameters<typeof this.table.writeFrom>[0], indices: ArrayLike<number>) {
    this.table.writeFrom(slots, indices);
  }

  async writePicks(): Promise<void> {}

  async closeSlots(): Promise<number[]> {
    return [];
  }

  async vetoSettling(): Promise<void> {}

  /** For each flow the server that the packet goes to, and those that its key names. */
  decide(flags: number): Map<string, readonly number[]> {
    return new Map(
      flows.map((flow) => {
        const { verdict, frame } = runProgram(this.forwarder.programFd, frameOf(flow, MODES[0].vip, OWN_MAC, flags));
        assert.equal(verdict, 'tx');
        const gre = frame.subarray(14 + 20);
        const key = (gre[0] & 0x20) === 0 ? [] : [(gre[4] << 8) | gre[5], (gre[6] << 8) | gre[7]];
        const first = frame[14 + 19];
        return [keyOf(address(flow.client).bytes, flow.port), [first, ...key.filter((index) => index !== 0)]] as const;
      }),
    );
  }

  close(): void {
    this.forwarder.close({ keep: false });
  }
}

const count = (decisions: Iterable<unknown>, holds: (one: never) => boolean): number =>
  [...decisions].filter(holds as (one: unknown) => boolean).length;

/** Flows that go elsewhere than before. */
function moved(before: Decisions, now: Decisions): number {
  return count(before, ([flow, server]: [string, number]) => now.get(flow) !== server);
}

/** Largest share of the flows that one server has, as a multiple of the fair one. */
function unevenness(decisions: Decisions, servers: number): number {
  const perServer = new Map<number, number>();
  for (const server of decisions.values()) perServer.set(server, (perServer.get(server) ?? 0) + 1);
  return (Math.max(...perServer.values()) * servers) / FLOWS;
}

const firsts = (decisions: ReadonlyMap<string, readonly number[]>): Decisions =>
  new Map([...decisions].map(([flow, [first]]) => [flow, first]));

describe('IPVS as a peer', { skip: cannotRunMachine(), timeout: 300_000 }, () => {
  const directors: Director[] = [];
  const balancers: Balancer[] = [];
  const changed = [...SERVERS.filter((server) => server !== REMOVED), ADDED];

  before(() => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    for (const command of ['tuntap add tap0 mode tap', 'link set tap0 address 02:00:00:00:00:01', 'link set tap0 up'])
      execFileSync('ip', ['-n', NAMESPACE, ...command.split(' ')]);
  });
  after(async () => {
    for (const director of directors) await director.stop();
    for (const balancer of balancers) balancer.close();
    if (existsSync(`/var/run/netns/${NAMESPACE}`)) execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('one server is added and one drained: who moves, before and after another machine takes over', async (context) => {
    const director = await Director.start(SERVERS);
    directors.push(director);
    const before = new Map<Mode, Decisions>();
    for (const mode of MODES) before.set(mode, await director.decide(mode, SYN));
    const [first] = MODES;
    // All modes hash alike: they differ in the VIP, which mh does not ask.
    for (const mode of MODES) assert.equal(moved(before.get(first) as Decisions, before.get(mode) as Decisions), 0);
    await director.add(ADDED);
    await director.drain(REMOVED);
    for (const mode of MODES)
      assert.equal(
        moved(before.get(mode) as Decisions, await director.decide(mode, ACK)),
        0,
        `${mode.name}: it tracks`,
      );
    await director.stop();
    directors.pop();
    // The machine that takes over has the new set and none of the connections.
    const successor = await Director.start(changed);
    directors.push(successor);
    const theirs = new Map<Mode, number>();
    for (const mode of MODES) theirs.set(mode, moved(before.get(mode) as Decisions, await successor.decide(mode, ACK)));

    const [own, other] = [new Balancer('own'), new Balancer('other')];
    balancers.push(own, other);
    const tables = new SiteTables(
      () => performance.now(),
      (_, error) => {
        throw error;
      },
    );
    await tables.addTarget(own);
    await tables.addTarget(other);
    const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: 3_600_000, adopted: null };
    await tables.setMembers('web', options, toMembers(SERVERS), new Set());
    const home = firsts(own.decide(SYN));
    await tables.setMembers('web', options, toMembers(changed), new Set());
    assert.equal(moved(home, firsts(own.decide(ACK))), 0, 'ours tracks what it must');
    const taken = other.decide(ACK);
    const lost = count(home, ([flow, server]: [string, number]) => !taken.get(flow)?.includes(server));
    assert.equal(lost, 0, 'and the balancer that takes over names the home of every flow');

    const fresh = new Map<string, number>();
    const newDirector = await successor.decide(first, SYN);
    fresh.set('IPVS', unevenness(newDirector, changed.length));
    const [afresh] = [new Balancer('afresh')];
    balancers.push(afresh);
    const settled = new SiteTables(
      () => 0,
      () => {},
    );
    await settled.addTarget(afresh);
    await settled.setMembers('web', options, toMembers(changed), new Set());
    const ours = firsts(afresh.decide(SYN));
    fresh.set('Portico', unevenness(ours, changed.length));
    const share = (flowCount: number): string => `${((100 * flowCount) / FLOWS).toFixed(1)} %`;
    context.diagnostic(
      `${FLOWS} flows, seed ${SEED}; a machine that takes over after the change sends elsewhere: IPVS ${MODES.map((mode) => `${mode.name} ${share(theirs.get(mode) as number)}`).join(', ')}; Portico ${share(lost)} (${share(moved(home, firsts(taken)))} by a second hop). ` +
        `Tables of the two sets differ for: IPVS ${share(theirs.get(first) as number)}, Portico ${share(moved(home, ours))}, at least ${share(FLOWS / 5)}. ` +
        `Fullest server: ${[...fresh].map(([name, times]) => `${name} ${times.toFixed(2)}`).join(', ')} of the mean.`,
    );
    // A fifth of the flows have to move, their server is gone; a consistent hash moves few others.
    for (const mode of MODES)
      assert.ok((theirs.get(mode) as number) >= FLOWS / 5 - 100, 'IPVS loses those that it tracked');
    assert.ok(moved(home, ours) <= (theirs.get(first) as number) * 1.25, 'our tables are as consistent as theirs');
  });
});
