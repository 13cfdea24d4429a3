/** Portico on the machines of the lab: one process that runs the roles of all of them, each in its namespace. */
import { dirname, join } from 'node:path';
import type { Config } from '../config/model.ts';
import type { Log } from '../fleet/log.ts';
import type { Machine } from '../fleet/machine.ts';
import { ROLES, Runtime } from '../fleet/runtime.ts';
import type { Lab } from './build.ts';

/** Interface of a balancer towards its prober, as the lab builds it. */
export const PROBE_INTERFACE = 'probe0';

function machinesOf(lab: Lab): ReadonlyMap<string, Machine> {
  const machines = new Map<string, Machine>();
  for (const { name, netns } of lab.machines.values()) {
    const prober = lab.machines.get(`probe-${name}`);
    machines.set(name, {
      name,
      netns,
      pins: netns, // so that they are taken away with the lab
      probeNetns: prober?.netns ?? null,
      probeInterface: prober === undefined ? null : PROBE_INTERFACE,
    });
  }
  return machines;
}

function runFolderOf(lab: Lab): string {
  return dirname(lab.folderOf(lab.machinesOf('balancer')[0]!.name));
}

/** Where Portico keeps what it must know after a restart. */
export function stateFolderIn(lab: Lab): string {
  return join(runFolderOf(lab), 'portico');
}

/**
 * Starts every role of the configuration in the lab. State and run files lie in the lab's run folder and go with it. `objects`: folder of
 * other kernel programs than this tree's.
 */
export async function startPorticoInLab(lab: Lab, config: Config, log: Log, objects?: string): Promise<Runtime> {
  const runtime = new Runtime({
    config,
    machines: machinesOf(lab),
    roles: new Set(ROLES),
    // What a balancer's BIRD leaves in its machine's folder dies with the machine.
    folders: { state: stateFolderIn(lab), run: runFolderOf(lab) },
    log,
    ...(objects === undefined ? {} : { objects }),
  });
  try {
    await runtime.start();
    return runtime;
  } catch (error) {
    await runtime.stop(false);
    throw error;
  }
}
