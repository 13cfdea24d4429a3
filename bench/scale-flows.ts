/** How many of many new flows find no place in the connection table: the kernel program itself, packet by packet. */
import { availableParallelism } from 'node:os';
import { runProgram, updateElement } from '../src/serve/vip/bpf.ts';
import { OUTCOME } from '../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../src/serve/vip/libc.ts';
import { VipBed } from './vip-bed.ts';
import { lane } from './vip-lanes.ts';
import { makeLaneFrame, setTurn } from './vip-turn.ts';

/** SYNs of so many flows to a service of which every slot is unsettled. About 300 ns each. */
export function refusedFlows(flows: number, buckets: number): { inserted: number; refused: number } {
  const cpu = availableParallelism() - 1;
  pinToCpu(cpu);
  const bed = new VipBed({ cpu, cpus: availableParallelism(), buckets, lruEntries: 1_000 });
  try {
    bed.writeSlots(false);
    const flood = lane({ kind: 'new', table: 'unsettled100' });
    const frame = makeLaneFrame(flood, true);
    setTurn(bed.turnState, flood, frame, { flow: 0, stride: 1, flows: 0 });
    const program = new Uint8Array(new Uint32Array([bed.balancer.programFd('balancer')]).buffer);
    updateElement(bed.turn.mapFd('program_under_test'), new Uint8Array(4), program);
    runProgram(bed.turn.programFd('turn'), frame, { repeat: flows });
    const { outcome } = bed.readOutcomes(4, 'tcp', 'unsettled100', 'gre');
    return { inserted: outcome[OUTCOME.NEW] ?? 0, refused: outcome[OUTCOME.UNTRACKED] ?? 0 };
  } finally {
    bed.close();
  }
}
