/** How many of many new flows find no place in the connection table: the kernel program itself, packet by packet. */
import { availableParallelism } from 'node:os';
import { runProgram, updateElement } from '../src/serve/vip/bpf.ts';
import { OUTCOME } from '../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../src/serve/vip/libc.ts';
import { portOf, VipBed } from './vip-bed.ts';
import { makeFrame } from './vip-frames.ts';

/** SYNs of so many flows to a service of which every slot is unsettled. About 300 ns each. */
export function refusedFlows(flows: number, buckets: number): { inserted: number; refused: number } {
  const cpu = availableParallelism() - 1;
  pinToCpu(cpu);
  const bed = new VipBed({ cpu, cpus: availableParallelism(), buckets, lruEntries: 1_000 });
  try {
    bed.writeSlots(false);
    const port = portOf('tcp', 'unsettled100', 'gre');
    const frame = makeFrame({ family: 4, protocol: 'tcp', isSyn: true, isStray: false, destinationPort: port });
    const state = bed.turnState;
    new Uint8Array(state.buffer).set(frame.subarray(0, 14));
    state.setUint16(14, 0, true);
    state.setUint32(16, frame.length, true);
    state.setUint32(20, 0, true);
    state.setUint32(24, 1, true);
    state.setUint32(28, 0, true);
    state.setUint16(32, port);
    new Uint8Array(state.buffer).set(frame.subarray(22, 26), 36);
    const program = new Uint8Array(new Uint32Array([bed.balancer.programFd('balancer')]).buffer);
    updateElement(bed.turn.mapFd('program_under_test'), new Uint8Array(4), program);
    runProgram(bed.turn.programFd('turn'), frame, { repeat: flows });
    const { outcome } = bed.readOutcomes(4, 'tcp', 'unsettled100', 'gre');
    return { inserted: outcome[OUTCOME.NEW] ?? 0, refused: outcome[OUTCOME.UNTRACKED] ?? 0 };
  } finally {
    bed.close();
  }
}
