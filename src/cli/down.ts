/** `portico down`: what `up` leaves behind on purpose, taken away. */
import { join } from 'node:path';
import { stopBirdIn } from '../announce/bird-process.ts';
import { findLocalMachines, localAddresses, pinsOf, probeNamespaceOf } from '../fleet/local-machines.ts';
import { openAgent } from '../serve/vip/agent.ts';
import { listInstances, removeInstance } from '../serve/vip/pins.ts';
import { removeProbeNamespace } from '../serve/vip/probe-namespace.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption } from './command.ts';
import { loadConfig } from './configuration.ts';
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
    const given = stringOption(args, 'machine', '');
    const names = given === '' ? findLocalMachines(config, localAddresses()) : [given];
    const removed: string[] = [];
    for (const name of names) {
      const pins = pinsOf(config, name);
      const backend = config.backends.get(name);
      if (backend !== undefined && listInstances().includes(pins)) {
        // Adopting and closing the agent takes the VIPs off the loopback, which only it knows to be its own.
        const { interfaces, address } = backend;
        await openAgent({ name: pins, netns: null, interfaces, addresses: [address] }).close({ keep: false });
        removed.push(`agent of ${name}`);
      }
      if (await stopBirdIn(join(RUN_FOLDER, config.name, name))) removed.push(`BIRD of ${name}`);
      if (removeInstance(pins)) removed.push(`programs and maps of ${name}`);
      if (await removeProbeNamespace(probeNamespaceOf(config, name))) removed.push(`prober of ${name}`);
    }
    if (args.json) printJson({ removed });
    else process.stdout.write(removed.length === 0 ? 'Nothing was there.\n' : `Taken away: ${removed.join(', ')}.\n`);
    return 0;
  },
};
