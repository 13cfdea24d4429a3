/** Starts the attacker in the client's namespace and takes it away again. */
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { writePidFile } from '../../announce/pid-file.ts';
import type { Lab } from '../build.ts';
import { spawnIn } from '../program.ts';
import { ATTACK_PREFIXES } from './attack-frames.ts';
import type { AttackSent, AttackSourceOptions } from './attack-source.ts';

const SOURCE = fileURLToPath(new URL('./attack-source.ts', import.meta.url));

export interface Attack {
  /** Ends it; gives what was sent. */
  stop(): Promise<AttackSent>;
}

export type AttackOptions = Pick<AttackSourceOptions, 'targets' | 'perSecond' | 'seed'>;

/** Answers to the attacker end at the core: nobody has its addresses. */
async function swallowAnswers(lab: Lab, core: string): Promise<void> {
  for (const prefix of ATTACK_PREFIXES) {
    const family = prefix.includes(':') ? '-6' : '-4';
    await lab.run(core, ['ip', family, 'route', 'replace', 'blackhole', prefix]);
  }
}

export async function startAttack(lab: Lab, options: AttackOptions): Promise<Attack> {
  const client = lab.machinesOf('client')[0];
  const own = client?.interfaces[0];
  if (client === undefined || own === undefined) throw new Error('lab: there is no client to attack from');
  const core = own.peer.machine;
  await swallowAnswers(lab, core);
  const shown = await lab.run(core, ['cat', `/sys/class/net/${own.peer.interface}/address`]);
  const source: AttackSourceOptions = { ...options, netns: client.netns, interfaceName: own.name, mac: shown.trim() };
  const folder = lab.folderOf(client.name);
  const log = openSync(join(folder, 'attack.log'), 'a');
  const child = spawnIn(client.netns, [process.execPath, SOURCE, JSON.stringify(source)], ['pipe', 'pipe', log]);
  closeSync(log);
  if (child.pid !== undefined) writePidFile(join(folder, `attack-${child.pid}.pid`), child.pid);
  child.stdin?.on('error', () => {}); // it has ended: its report is missing
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const next = await lines.next();
    if (next.done) throw new Error(`lab: the attacker ended, see ${folder}/attack.log`);
    return next.value;
  };
  await line(); // ready
  return {
    async stop() {
      const ended = once(child, 'exit');
      child.stdin?.end();
      const report = JSON.parse(await line()) as AttackSent;
      await ended;
      return report;
    },
  };
}
