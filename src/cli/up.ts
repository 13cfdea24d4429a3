/** `portico up`: runs the roles of this machine. Forwarding, decapsulation and announcements outlive the process. */
import { join } from 'node:path';
import { FleetSource } from '../api/fleet-source.ts';
import { Journal } from '../api/journal.ts';
import { startApi } from '../api/server.ts';
import type { Config } from '../config/model.ts';
import { NO_STEERING_STATE } from '../config/steering-model.ts';
import { readDuration } from '../config/units.ts';
import { findLocalMachines, localAddresses, pinsOf, probeNamespaceOf } from '../fleet/local-machines.ts';
import type { Machine } from '../fleet/machine.ts';
import { ROLES, type Role, Runtime } from '../fleet/runtime.ts';
import { createProbeNamespace, removeProbeNamespace } from '../serve/vip/probe-namespace.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, stringOption, UsageError } from './command.ts';
import { loadConfigAside } from './configuration-aside.ts';
import { openLog } from './log.ts';
import { lockMachines, removeRunFolder } from './machine-lock.ts';
import { Reloading } from './reloading.ts';

export const RUN_FOLDER = '/run/portico';
/** Timers take 31 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const command: Command = {
  name: 'up',
  summary: 'run the roles on this machine',
  usage: 'FILE [--only ROLE,...] [--machine NAME] [--for TIME] [--json]',
  example: './portico up portico.yaml --only balancer --for 10m',
  options: {
    only: { type: 'string', placeholder: 'ROLE,...', help: `of ${ROLES.join(', ')} (default all)` },
    machine: {
      type: 'string',
      placeholder: 'NAME',
      help: 'which machine of the file this is (default: by its addresses)',
    },
    for: { type: 'string', placeholder: 'TIME', help: 'take everything down again after so long: 10m' },
  },
  async run(args: CommandArguments): Promise<number> {
    const [file] = takePositionals(args, ['FILE']) as [string];
    const roles = readRoles(stringOption(args, 'only', ROLES.join(',')));
    const limitMs = readLimit(stringOption(args, 'for', ''));
    if (process.getuid?.() !== 0) throw new CommandError('up needs root: it loads kernel programs and opens port 53.');
    // Aside, so that what reading leaves behind goes with the thread.
    const loaded = await loadConfigAside(file, NO_STEERING_STATE);
    if (!loaded.ok) throw new CommandError(loaded.error);
    const config = loaded.value;
    const names = machineNames(config, stringOption(args, 'machine', ''));
    return stay(file, config, names, roles, limitMs);
  },
};

function readRoles(text: string): Set<Role> {
  const roles = new Set<Role>();
  for (const name of text.split(',')) {
    const role = ROLES.find((one) => one === name.trim());
    if (role === undefined) throw new UsageError(`There is no role "${name}"; there are: ${ROLES.join(', ')}.`);
    roles.add(role);
  }
  return roles;
}

function readLimit(text: string): number | null {
  if (text === '') return null;
  const read = readDuration(text, 1_000, MAX_TIMER_MS);
  if (!read.ok) throw new UsageError(`--for ${text}: ${read.message}; ${read.remedy}.`);
  return read.value;
}

function machineNames(config: Config, given: string): string[] {
  const known = [...config.balancers.keys(), ...config.backends.keys(), ...config.nameServers.keys()];
  if (given !== '') {
    if (!known.includes(given))
      throw new CommandError(`There is no machine "${given}"; there are: ${known.join(', ')}.`);
    return [given];
  }
  const names = findLocalMachines(config, localAddresses());
  if (names.length > 0) return names;
  throw new CommandError(
    `None of the machines of the file has an address of this host; say which it is with --machine NAME.`,
  );
}

async function stay(
  file: string,
  config: Config,
  names: readonly string[],
  roles: ReadonlySet<Role>,
  limitMs: number | null,
): Promise<number> {
  const log = openLog('info');
  const journal = new Journal(log);
  const folders = { state: config.stateFolder, run: join(RUN_FOLDER, config.name) };
  // A signal that comes during the start is obeyed when it is done: half of it must not stay.
  const signals = listenForSignals();
  const unlock = lockMachines(folders.run, withRoles(config, names, roles));
  const probers: string[] = [];
  let keep: boolean | 'adopted' = 'adopted';
  try {
    const machines = await prepareMachines(config, names, roles, probers);
    const runtime = new Runtime({ config, machines, roles, folders, log: journal });
    try {
      await runtime.start();
      const source = new FleetSource({ runtime, journal, load: (state) => loadConfigAside(file, state) });
      const api = await startApi({ ...config.api, source, log });
      log.info({ machines: names, roles: [...roles], api: api.url }, 'Portico is up');
      const reloading = new Reloading(source, runtime, journal, file);
      try {
        keep = (await signals.untilTold(limitMs, () => reloading.reload())) === 'stop';
      } finally {
        reloading.close();
        await api.close();
      }
    } finally {
      await runtime.stop(keep, keep === true);
    }
  } finally {
    signals.ignore();
    if (keep !== true) for (const netns of probers) await removeProbeNamespace(netns);
    unlock();
    if (keep === false) for (const name of names) removeRunFolder(folders.run, name);
  }
  log.info(
    { keep },
    keep ? 'ended; forwarding goes on (portico down takes it away)' : 'ended, and everything taken down',
  );
  return 0;
}

/** Machines of which this process runs a role. */
function withRoles(config: Config, names: readonly string[], roles: ReadonlySet<Role>): string[] {
  return names.filter(
    (name) =>
      (roles.has('balancer') && config.balancers.has(name)) ||
      (roles.has('backend') && config.backends.has(name)) ||
      (roles.has('dns') && config.nameServers.has(name)),
  );
}

/** `probers` gets the namespaces that were made, also when it rejects. */
async function prepareMachines(
  config: Config,
  names: readonly string[],
  roles: ReadonlySet<Role>,
  probers: string[],
): Promise<Map<string, Machine>> {
  const machines = new Map<string, Machine>();
  for (const name of names) {
    const prefix = config.balancers.get(name)?.probePrefix ?? null;
    const machine = { name, netns: null, pins: pinsOf(config, name), probeNetns: null, probeInterface: null };
    machines.set(name, machine);
    if (prefix === null || !roles.has('balancer')) continue;
    const { netns, interfaceName } = await createProbeNamespace(probeNamespaceOf(config, name), null, prefix);
    probers.push(netns);
    machines.set(name, { ...machine, probeNetns: netns, probeInterface: interfaceName });
  }
  return machines;
}

interface Signals {
  /** `stop`: a signal ended it, now or before, and what is in the kernel stays. `over`: its time is over. */
  untilTold(limitMs: number | null, onReload: () => void): Promise<'stop' | 'over'>;
  /** From now on signals do what they do by default. */
  ignore(): void;
}

function listenForSignals(): Signals {
  let reload: (() => void) | null = null;
  let wantsReload = false;
  const onHangUp = (): void => {
    if (reload === null) wantsReload = true;
    else reload();
  };
  process.on('SIGHUP', onHangUp);
  let stop = (): void => {};
  const stopped = new Promise<'stop'>((resolve) => {
    stop = () => resolve('stop');
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stop);
  return {
    async untilTold(limitMs, onReload) {
      reload = onReload;
      if (wantsReload) onReload();
      let timer: NodeJS.Timeout | undefined;
      const over = new Promise<'over'>((resolve) => {
        if (limitMs !== null) timer = setTimeout(() => resolve('over'), limitMs);
      });
      try {
        return await Promise.race([stopped, over]);
      } finally {
        clearTimeout(timer); // or the process would wait for it
        reload = () => {}; // a reload is no reason to die while it ends
      }
    },
    ignore() {
      process.off('SIGHUP', onHangUp);
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, stop);
    },
  };
}
