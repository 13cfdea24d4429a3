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

/** `isOwn` says by its name what is looked at: other tests may run at the same time. */
export function machineState(isOwn: (name: string) => boolean): MachineState {
  const links = JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' })) as { ifname: string }[];
  return {
    namespaces: list('/run/netns').filter(isOwn),
    links: links
      .map((link) => link.ifname)
      .filter(isOwn)
      .sort(),
    pins: [...list('/sys/fs/bpf'), ...list('/sys/fs/bpf/portico')].filter(isOwn),
  };
}
