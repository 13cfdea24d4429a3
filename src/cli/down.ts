/** `portico down`: what `up` leaves behind on purpose, taken away. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stopBirdIn } from '../announce/bird-process.ts';
import type { Config } from '../config/model.ts';
import { stopGuardIn } from '../fleet/anycast-guard.ts';
import { loopbackNote } from '../fleet/anycast-role.ts';
import { handOverPath } from '../fleet/dns-sockets.ts';
import { findLocalMachines, localAddresses, pinsOf, probeNamespaceOf } from '../fleet/local-machines.ts';
import { removeLoopbackAddresses } from '../fleet/loopback-addresses.ts';
import { dismissCaretaker } from '../serve/dns/handover/hand-over.ts';
import { takeDownAgent } from '../serve/vip/agent.ts';
import { listInstances, pinFolder } from '../serve/vip/pins.ts';
import { removeProbeNamespace } from '../serve/vip/probe-namespace.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption } from './command.ts';
import { loadConfig } from './configuration.ts';
import { lockOwner, removeRunFolder } from './machine-lock.ts';
import { RUN_FOLDER } from './up.ts';

export const command: Command = {
  name: 'down',
  summary: 'take kernel programs, maps and addresses away',
  usage: 'FILE [--machine NAME] [--json]',
  example: './portico down portico.yaml',
  options: {
    machine: {
      type: 'string',
      placeholder: 'NAME',
      help: 'which machine of the file this is (default: by its addresses)',
    },
  },
  async run(args: CommandArguments): Promise<number> {
    const [file] = takePositionals(args, ['FILE']) as [string];
    if (process.getuid?.() !== 0) throw new CommandError('down needs root.');
    const config = loadConfig(file);
    const runFolder = join(RUN_FOLDER, config.name);
    const names = machineNames(config, stringOption(args, 'machine', ''));
    for (const name of names) {
      const owner = lockOwner(runFolder, name);
      if (owner !== null)
        throw new CommandError(
          `${name} is run by process ${owner}; end that first (kill ${owner}), it would be in its way.`,
        );
    }
    const removed: string[] = [];
    for (const name of names) removed.push(...(await takeDown(config, name, runFolder)));
    if (args.json) printJson({ removed });
    else process.stdout.write(removed.length === 0 ? 'Nothing was there.\n' : `Taken away: ${removed.join(', ')}.\n`);
    return 0;
  },
};

/** A machine that the file no longer names may have left something. */
function machineNames(config: Config, given: string): string[] {
  if (given === '') {
    const names = findLocalMachines(config, localAddresses());
    if (names.length > 0) return names;
    throw new CommandError(
      'None of the machines of the file has an address of this host; say which it is with --machine NAME.',
    );
  }
  const known = [...config.balancers.keys(), ...config.backends.keys(), ...config.nameServers.keys()];
  const hasLeft = listInstances().includes(pinsOf(config, given)) || existsSync(join(RUN_FOLDER, config.name, given));
  if (!known.includes(given) && !hasLeft)
    throw new CommandError(`There is no machine "${given}", nor anything of it here; there are: ${known.join(', ')}.`);
  return [given];
}

/** Packets first find another way, then programs and maps go. */
async function takeDown(config: Config, name: string, runFolder: string): Promise<string[]> {
  const removed: string[] = [];
  // First, or it would start BIRD again.
  if (await stopGuardIn(join(runFolder, name))) removed.push(`guard of the anycast addresses of ${name}`);
  if (await stopBirdIn(join(runFolder, name))) removed.push(`BIRD of ${name}`);
  if (dismissCaretaker(handOverPath(runFolder, name))) removed.push(`caretaker of the DNS sockets of ${name}`);
  const pins = pinsOf(config, name);
  const hadAgent = existsSync(join(pinFolder(pins), 'agent_vips'));
  // Also where there is no agent: it takes every pin of the machine.
  if (await takeDownAgent(pins, null)) removed.push(`programs and maps of ${name}`);
  if (hadAgent) removed.push(`VIPs on the loopback of ${name}`);
  if (await removeProbeNamespace(probeNamespaceOf(config, name))) removed.push(`prober of ${name}`);
  const addresses = await removeLoopbackAddresses(null, loopbackNote(runFolder, name));
  if (addresses.length > 0) removed.push(`${addresses.join(', ')} on the loopback`);
  removeRunFolder(runFolder, name);
  return removed;
}
