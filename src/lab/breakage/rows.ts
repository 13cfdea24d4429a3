/** What happens to the breakage lab, row by row: each is one thing that operators and machines do to a site full of connections. */
import type { Config } from '../../config/model.ts';
import type { AttackKind } from '../attack/attack-frames.ts';
import { shiftAges } from './age-shift.ts';
import { type World, withConnections, withSettleAfter, withWeights } from './world.ts';

/** What a row's acts may use. */
export interface Stage {
  readonly world: World;
  /** Opens the rest of the connections; those that are begun between two acts are the ones that a change may catch. */
  openRest(): Promise<void>;
  /** Every third flow goes on from another address. */
  migrate(): void;
  /** The last of them end, in order. */
  drop(connections: number): void;
  /** So much of the row's time passes: 0.1 is 6 s of 60. */
  pass(share: number): Promise<void>;
  wait(ms: number): Promise<void>;
  /** Packets a second to the VIPs of the held services, over some seconds. */
  packetRate(): Promise<number>;
  /** Packets of a kind to the held services' VIPs until the function that it gives is called. */
  flood(kind: AttackKind, perSecond: number): Promise<() => Promise<void>>;
  say(text: string): void;
}

export interface Row {
  readonly name: string;
  readonly summary: string;
  /** Packets change balancers while slots are unsettled: `ipip` has no second chance, so nothing is promised for it. */
  readonly reshufflesUnsettled: boolean;
  /** Variants are held one after the other: what the row does would be too much for this machine otherwise. */
  readonly apart?: boolean;
  /** How the row begins; by default without the spare backend n7. */
  begin?(world: World): Config;
  /** With Portico running, before connections are opened. */
  prepare?(world: World): Promise<void>;
  act(stage: Stage): Promise<void>;
}

const SPARE = 'n7';
const PAUSE = 0.1;

function without(world: World, ...names: string[]): Config {
  return world.config([SPARE, ...names]);
}

const PLANNED: readonly Row[] = [
  {
    name: 'add',
    summary: 'backend n7 is added',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.apply(world.config([]));
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'drain',
    summary: 'backend n1 is drained',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.drain('n1');
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'undrain',
    summary: 'backend n1 is drained, and given back while its slots are unsettled',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.drain('n1');
      await openRest();
      migrate();
      await pass(PAUSE);
      await world.undrain('n1');
      await pass(PAUSE);
    },
  },
  {
    name: 'remove',
    summary: 'backend n2 is taken out of the configuration',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.apply(without(world, 'n2'));
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'add-remove',
    summary: 'backend n7 is added, gets connections, and is taken out again',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.apply(world.config([]));
      await pass(PAUSE); // until a probe has found it healthy
      await openRest();
      migrate();
      await world.apply(without(world));
      await pass(PAUSE);
    },
  },
  {
    name: 'reweight',
    summary: 'weights of n1 and n3 become 3 and 0.3, and then 1 and 2',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.apply(withWeights(without(world), { n1: 3, n3: 0.3 }));
      await openRest();
      migrate();
      await pass(PAUSE);
      await world.apply(withWeights(without(world), { n1: 1, n3: 2 }));
      await pass(PAUSE);
    },
  },
  {
    name: 'overlap',
    summary:
      'n1 drained, n7 added, n3 reweighted, n4 drained, n1 given back, n5 removed: each before the one before has settled',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.drain('n1');
      await pass(PAUSE / 2);
      await world.apply(world.config([]));
      await pass(PAUSE / 2);
      await openRest();
      migrate();
      await world.apply(withWeights(world.config([]), { n3: 2 }));
      await world.drain('n4');
      await pass(PAUSE / 2);
      await world.undrain('n1');
      await world.apply(withWeights(world.config(['n5']), { n3: 2 }));
      await pass(PAUSE);
    },
  },
];

const DEATHS: readonly Row[] = [
  {
    name: 'kill-balancer',
    summary: 'balancer b1 dies while nothing changes',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.killBalancer('b1');
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'kill-balancer-in-change',
    summary: 'balancer b1 dies between the two phases of a drain of n1',
    reshufflesUnsettled: true,
    async act({ world, openRest, migrate, pass }) {
      world.betweenPhases(async (turn) => {
        if (turn === 0) await world.killBalancer('b1');
      });
      world.silence('b1');
      await world.drain('n1');
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'reshuffle',
    summary: 'balancer b3 joins between the two phases of a drain of n1',
    reshufflesUnsettled: true,
    async prepare(world) {
      await world.balancer('b3').setDrained(true);
      await world.untilRouted(2);
    },
    async act({ world, openRest, migrate, pass }) {
      // It joins for the first service, leaves for the second, and so on: flows of each move.
      world.betweenPhases(async (turn) => {
        const leaves = turn % 2 === 1;
        await world.balancer('b3').setDrained(leaves);
        await world.untilRouted(leaves ? 2 : 3, 1_500);
      });
      await world.drain('n1');
      await openRest();
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'previous-dies',
    summary: 'backend n1 is drained, and dies while its slots are unsettled',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.drain('n1');
      await openRest();
      await pass(PAUSE);
      await world.killBackend('n1');
      migrate();
      await pass(PAUSE);
    },
  },
  {
    name: 'settle-on-one',
    summary: 'n1 is drained with a settling time of 10 s; only balancer b1 answers when settling is asked for',
    reshufflesUnsettled: true,
    begin: (world) => withSettleAfter(without(world), 10_000),
    async act({ world, openRest, migrate, wait }) {
      await world.drain('n1');
      await openRest();
      migrate();
      for (const name of ['b2', 'b3']) world.refuseSettling(name);
      // 10 s, two ticks, and a round of maintenance: from then on settling is asked for.
      await wait(26_000);
    },
  },
];

const RESTARTS: readonly Row[] = [
  {
    name: 'restart',
    summary: 'n1 is drained, the process ends, and another one starts 5 s later',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      await world.drain('n1');
      world.runtime.keepDrains();
      await openRest();
      migrate();
      await world.restart(() => pass(PAUSE));
      await pass(PAUSE);
    },
  },
  {
    name: 'restart-after-ages',
    summary: 'n1 is drained, and the process is away for 6.7 h, more than the 4.9 h that ages can tell apart',
    reshufflesUnsettled: false,
    // So small that the sweeper is round in 32 s.
    begin: (world) => withConnections(without(world), 4096),
    async act(stage) {
      const { world, openRest, migrate, drop } = stage;
      await world.drain('n1');
      world.runtime.keepDrains();
      await openRest();
      drop(DROPPED); // entries without a connection: they must not come to life again
      migrate();
      await world.restart(() => letAgesPass(stage));
      await stage.pass(PAUSE);
    },
  },
  {
    name: 'upgrade',
    summary: 'n1 is drained, a version with other structs takes over, and this one takes over from it',
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass }) {
      const version = await world.makeVersion();
      await world.drain('n1');
      world.runtime.keepDrains();
      await openRest();
      migrate();
      await world.restart(() => world.upgradeTo(version));
      await pass(PAUSE);
    },
  },
];

/** Entries live for 843 ticks after their last packet (settleAfter and a margin), and connections speak every 2 s. */
const SHIFT_TICKS = 800;
const SHIFTS = 7;
/** After so many shifts dead entries are older than the sweeper lets them be, and not yet as old as ages can be. */
const SWEPT_AFTER = 4;
const SWEEP_MS = 34_000;
const REFRESH_MS = 3_500;
const DROPPED = 20;

async function letAgesPass({ world, wait, say }: Stage): Promise<void> {
  const balancers = world.lab.machinesOf('balancer').map(({ netns }) => netns);
  for (let shift = 1; shift <= SHIFTS; shift++) {
    const entries = balancers.map((pins) => shiftAges(pins, SHIFT_TICKS));
    say(
      `  ${shift * SHIFT_TICKS} ticks (${((shift * SHIFT_TICKS * 4.295) / 3600).toFixed(1)} h) ago; entries: ${entries.join(', ')}`,
    );
    await wait(shift === SWEPT_AFTER ? SWEEP_MS : REFRESH_MS);
  }
}

/** Packets a second to all held services together. */
const ACK_FLOOD = 12_000;
const FLOOD_TIMES = 11;

const FLOODS: readonly Row[] = [
  {
    name: 'ack-flood',
    summary: `n1 is drained under ${ACK_FLOOD} ACKs a second that belong to no connection`,
    reshufflesUnsettled: false,
    async act({ world, openRest, migrate, pass, flood }) {
      const end = await flood('ack', ACK_FLOOD);
      await pass(PAUSE);
      await world.drain('n1');
      await openRest();
      migrate();
      await pass(0.6);
      await end();
    },
  },
  {
    name: 'syn-flood-restart',
    summary: `n1 is drained and the process restarts under SYNs at ${FLOOD_TIMES} x the rate of all other packets`,
    reshufflesUnsettled: false,
    apart: true,
    async act({ world, openRest, migrate, pass, packetRate, flood }) {
      const end = await flood('syn', Math.max(1_000, FLOOD_TIMES * (await packetRate())));
      await pass(PAUSE);
      await world.drain('n1');
      world.runtime.keepDrains();
      await openRest();
      migrate();
      await world.restart(() => pass(PAUSE));
      await pass(0.5);
      await end();
    },
  },
];

export const ROWS: readonly Row[] = [...PLANNED, ...DEATHS, ...RESTARTS, ...FLOODS];

/** What design promises for a row: no connection breaks but those of a dead machine. */
export function isPromised(variant: string, row: Row): boolean {
  if (['gre', 'gue', 'least-connections'].includes(variant)) return true;
  return variant === 'ipip' && !row.reshufflesUnsettled;
}
