/** What must be on the machine after a test as it was before: namespaces, links, pins. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

export interface MachineState {
  readonly namespaces: readonly string[];
  readonly links: readonly string[];
  readonly pins: readonly string[];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

export function machineState(): MachineState {
  const links = JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' })) as { ifname: string }[];
  return {
    namespaces: list('/run/netns'),
    links: links.map((link) => link.ifname).sort(),
    // The folder itself comes and goes with the first and last instance, whosever it is.
    pins: [...list('/sys/fs/bpf').filter((pin) => pin !== 'portico'), ...list('/sys/fs/bpf/portico')],
  };
}
