/** What happens to the breakage lab, row by row: each is one thing that operators and machines do to a site full of connections. */
import { shiftAges } from './age-shift.ts';
import {
  type Act,
  addSpare,
  drain,
  drainForGood,
  openAndMove,
  pause,
  type Row,
  restart,
  SPARE,
  turnInto,
  undrain,
  without,
} from './stage.ts';
import { withConnections, withSettleAfter, withWeights } from './world.ts';

const PLANNED: readonly Row[] = [
  { name: 'add', summary: `backend ${SPARE} is added`, acts: [addSpare, openAndMove, pause()] },
  { name: 'drain', summary: 'backend n1 is drained', acts: [drain('n1'), openAndMove, pause()] },
  {
    name: 'undrain',
    summary: 'backend n1 is drained, and given back while its slots are unsettled',
    acts: [drain('n1'), openAndMove, pause(), undrain('n1'), pause()],
  },
  {
    name: 'remove',
    summary: 'backend n2 is taken out of the configuration',
    acts: [turnInto((world) => without(world, 'n2')), openAndMove, pause()],
  },
  {
    name: 'add-remove',
    summary: `backend ${SPARE} is added, gets connections, and is taken out again`,
    // A pause until a probe has found it healthy.
    acts: [addSpare, pause(), openAndMove, turnInto((world) => without(world)), pause()],
  },
  {
    name: 'reweight',
    summary: 'weights of n1 and n3 become 3 and 0.3, and then 1 and 2',
    acts: [
      turnInto((world) => withWeights(without(world), { n1: 3, n3: 0.3 })),
      openAndMove,
      pause(),
      turnInto((world) => withWeights(without(world), { n1: 1, n3: 2 })),
      pause(),
    ],
  },
  {
    name: 'overlap',
    summary: `n1 drained, ${SPARE} added, n3 reweighted, n4 drained, n1 given back, n5 removed: each before the one before has settled`,
    acts: [
      drain('n1'),
      pause(0.5),
      addSpare,
      pause(0.5),
      openAndMove,
      turnInto((world) => withWeights(world.config([]), { n3: 2 })),
      drain('n4'),
      pause(0.5),
      undrain('n1'),
      turnInto((world) => withWeights(world.config(['n5']), { n3: 2 })),
      pause(),
    ],
  },
];

/** Balancer b1 dies between the two phases of the next change. */
const killInNextChange: Act = ({ world }) => {
  world.betweenPhases(async (turn) => {
    if (turn === 0) await world.killBalancer('b1');
  });
  world.silence('b1');
};

/** Balancer b3 joins for the next change of the first service, leaves for that of the second, and so on: flows of each move. */
const reshuffleInNextChange: Act = ({ world }) =>
  world.betweenPhases(async (turn) => {
    const leaves = turn % 2 === 1;
    await world.balancer('b3').setDrained(leaves);
    await world.untilRouted(leaves ? 2 : 3, 1_500);
  });

const DEATHS: readonly Row[] = [
  {
    name: 'kill-balancer',
    summary: 'balancer b1 dies while nothing changes',
    acts: [({ world }) => world.killBalancer('b1'), openAndMove, pause()],
  },
  {
    name: 'kill-balancer-in-change',
    summary: 'balancer b1 dies between the two phases of a drain of n1',
    reshufflesUnsettled: true,
    acts: [killInNextChange, drain('n1'), openAndMove, pause()],
  },
  {
    name: 'reshuffle',
    summary: 'balancer b3 joins between the two phases of a drain of n1',
    reshufflesUnsettled: true,
    async prepare(world) {
      await world.balancer('b3').setDrained(true);
      await world.untilRouted(2);
    },
    acts: [reshuffleInNextChange, drain('n1'), openAndMove, pause()],
  },
  {
    name: 'previous-dies',
    summary: 'backend n1 is drained, and dies while its slots are unsettled',
    acts: [
      drain('n1'),
      ({ openRest }) => openRest(),
      pause(),
      ({ world }) => world.killBackend('n1'),
      ({ migrate }) => migrate(),
      pause(),
    ],
  },
  {
    name: 'settle-on-one',
    summary: 'n1 is drained with a settling time of 10 s; only balancer b1 answers when settling is asked for',
    reshufflesUnsettled: true,
    begin: (world) => withSettleAfter(without(world), 10_000),
    acts: [
      drain('n1'),
      openAndMove,
      ({ world }) => {
        for (const name of ['b2', 'b3']) world.refuseSettling(name);
      },
      // 10 s, two ticks, and a round of maintenance: from then on settling is asked for.
      ({ wait }) => wait(26_000),
    ],
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

const letAgesPass: Act = async ({ world, wait, say }) => {
  const balancers = world.lab.machinesOf('balancer').map(({ netns }) => netns);
  for (let shift = 1; shift <= SHIFTS; shift++) {
    const entries = balancers.map((pins) => shiftAges(pins, SHIFT_TICKS));
    say(
      `  ${shift * SHIFT_TICKS} ticks (${((shift * SHIFT_TICKS * 4.295) / 3600).toFixed(1)} h) ago; entries: ${entries.join(', ')}`,
    );
    await wait(shift === SWEPT_AFTER ? SWEEP_MS : REFRESH_MS);
  }
};

const RESTARTS: readonly Row[] = [
  {
    name: 'restart',
    summary: 'n1 is drained, the process ends, and another one starts 5 s later',
    acts: [drainForGood('n1'), openAndMove, restart(({ wait }) => wait(5_000)), pause()],
  },
  {
    name: 'restart-after-ages',
    summary: 'n1 is drained, and the process is away for 6.7 h, more than the 4.9 h that ages can tell apart',
    // So small that the sweeper is round in 32 s.
    begin: (world) => withConnections(without(world), 4096),
    acts: [
      drainForGood('n1'),
      async ({ openRest, drop, migrate }) => {
        await openRest();
        drop(DROPPED); // entries without a connection: they must not come to life again
        migrate();
      },
      restart(letAgesPass),
      pause(),
    ],
  },
  {
    name: 'upgrade',
    summary: 'n1 is drained, a version with other structs takes over, and this one takes over from it',
    // The compiler is done before anything is held.
    prepare: (world) => world.makeVersion(),
    acts: [drainForGood('n1'), openAndMove, restart(({ world }) => world.takeOverByVersion()), pause()],
  },
];

/** Packets a second to all held services together. */
const ACK_FLOOD = 12_000;
const FLOOD_TIMES = 11;

const FLOODS: readonly Row[] = [
  {
    name: 'ack-flood',
    summary: `n1 is drained under ${ACK_FLOOD} ACKs a second that belong to no connection`,
    acts: [
      async (stage) => {
        const end = await stage.flood('ack', ACK_FLOOD);
        for (const act of [pause(), drain('n1'), openAndMove, pause(6)]) await act(stage);
        await end();
      },
    ],
  },
  {
    name: 'syn-flood-restart',
    summary: `n1 is drained and the process restarts under SYNs at ${FLOOD_TIMES} x the rate of all other packets`,
    apart: true,
    acts: [
      async (stage) => {
        const rate = Math.max(1_000, FLOOD_TIMES * (await stage.packetRate()));
        const end = await stage.flood('syn', rate);
        for (const act of [pause(), drainForGood('n1'), openAndMove, restart(pause()), pause(5)]) await act(stage);
        await end();
      },
    ],
  },
];

export const ROWS: readonly Row[] = [...PLANNED, ...DEATHS, ...RESTARTS, ...FLOODS];

/** What design promises for a row: no connection breaks but those of a dead machine. */
export function isPromised(variant: string, row: Row): boolean {
  if (['gre', 'gue', 'least-connections'].includes(variant)) return true;
  return variant === 'ipip' && row.reshufflesUnsettled !== true;
}
