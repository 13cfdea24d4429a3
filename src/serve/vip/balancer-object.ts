/** `balancer.bpf.o`, loaded in the sizes of the site, with its maps taken over from the version before or made and pinned. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runSyscallProgram } from './bpf.ts';
import { readBtf } from './btf.ts';
import { MAX_SUBJECTS, ROLE } from './layout.gen.ts';
import { type MappedMemory, mapMemory } from './libc.ts';
import { PREFIX_SETS } from './limits.ts';
import { BpfObject } from './object.ts';
import { Takeover } from './takeover.ts';

const MAP_NAMES = [
  'vips',
  'vip_prefixes',
  'services',
  'slot_tables',
  'pick_tables',
  'active_connections',
  'connections',
  'backends',
  'counters',
  'pressures',
  'prefixes',
  'tallies',
  'handshake_rtts',
  'handshake_counters',
  'demand_sets',
  'demand_rests',
  'probe_sources',
  'nat_replies',
  'nat_tuples',
  'settings',
  'captures',
  'server_ids',
  'sweeper',
  'fragment_owners',
  'balancers',
  'balancer_sources',
  'fragments',
  'hand_up_windows',
  'slow_path',
] as const;

export type MapName = (typeof MAP_NAMES)[number];
export type MapFds = Readonly<Record<MapName, number>>;

export interface BalancerObjectOptions {
  readonly objects: string;
  readonly folder: string | null;
  readonly rolesFd: number;
  readonly buckets: number;
  /** Sets of client prefixes: a power of two. Default: PREFIX_SETS. */
  readonly prefixSets?: number;
  readonly cpus?: number;
  readonly testClock?: boolean;
}

export interface BalancerObject {
  readonly object: BpfObject;
  readonly maps: MapFds;
  /** Elements of a subject in the map of counters: one more than there may be CPUs. */
  readonly cpus: number;
  readonly takeover: Takeover;
  /** Where in the mapped memory the 64-bit word stands that the programs take for the time. */
  readonly testClock: { readonly memory: MappedMemory; readonly offset: number } | null;
  startSweeper(): void;
}

/** Highest number of CPUs that the kernel may ever bring on line: `0-7` in /sys gives 8. */
export function countPossibleCpus(): number {
  const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
  return Number(text.slice(Math.max(text.lastIndexOf('-'), text.lastIndexOf(',')) + 1)) + 1;
}

/** Before `load`: the 32-bit constant `use_test_clock` becomes 1. Returns where `test_clock_ns` lies in `.data`. */
export function chooseTestClock(object: BpfObject, path: string): number {
  const { sections } = readBtf(readFileSync(path));
  const find = (section: string, name: string): number => {
    // Only of the first one an object's BTF tells the offset, before libbpf has set the others.
    const [variable] = sections.get(section) ?? [];
    if (variable?.name !== name) throw new Error(`${path}: ${name} is not the first variable in ${section}`);
    return variable.offset;
  };
  object.initialValue('.rodata')[find('.rodata', 'use_test_clock')] = 1;
  return find('.data', 'test_clock_ns');
}

/** The new maps of a version that takes over are complete; `takeover.finish` or `takeover.abort` is the caller's. */
export function openBalancer(options: BalancerObjectOptions): BalancerObject {
  const path = join(options.objects, 'balancer.bpf.o');
  const processors = options.cpus ?? countPossibleCpus();
  const cpus = processors + 1;
  const object = new BpfObject(path);
  let takeover: Takeover | null = null;
  try {
    const sizes = {
      connections: options.buckets,
      counters: MAX_SUBJECTS * cpus,
      event_records: processors,
      tallies: cpus,
      prefixes: options.prefixSets ?? PREFIX_SETS,
    };
    const btf = readBtf(readFileSync(path));
    const { folder, rolesFd } = options;
    takeover = new Takeover({ object, btf, folder, role: ROLE.BALANCER, rolesFd, sizes, counterStride: cpus });
    takeover.prepare();
    const clockOffset = options.testClock ? chooseTestClock(object, path) : -1;
    object.load();
    takeover.fill();
    const maps = Object.fromEntries(MAP_NAMES.map((name) => [name, object.mapFd(name)])) as Record<MapName, number>;
    return {
      object,
      maps,
      cpus,
      takeover,
      testClock:
        clockOffset < 0
          ? null
          : { memory: mapMemory(object.mapFd('.data'), clockOffset + 8, 'map .data'), offset: clockOffset },
      startSweeper() {
        const result = runSyscallProgram(object.programFd('sweeper_start'));
        if (result !== 0) throw new Error(`the sweeper of the connection table does not start (step ${result})`);
      },
    };
  } catch (error) {
    takeover?.abort(error);
    object.close();
    throw error;
  }
}
