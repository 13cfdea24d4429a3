/** Anycast addresses on the loopback interface: those that were not there are added, and noted, so that they are taken away again, by a later process too. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { askIp, runIp } from '../serve/vip/ip-command.ts';

/** What `addLoopbackAddresses` has noted in this file. */
export function notedAddresses(noteFile: string): string[] {
  try {
    return readFileSync(noteFile, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}

export async function addLoopbackAddresses(
  netns: string | null,
  addresses: readonly string[],
  noteFile: string,
): Promise<void> {
  const noted = new Set(notedAddresses(noteFile));
  for (const address of addresses) {
    const there = await askIp<{ addr_info?: readonly unknown[] }>(netns, ['addr', 'show', 'to', address]);
    if (there.some(({ addr_info: found = [] }) => found.length > 0)) continue;
    noted.add(address);
    mkdirSync(dirname(noteFile), { recursive: true });
    writeFileSync(noteFile, `${[...noted].join('\n')}\n`);
    const bits = address.includes(':') ? 128 : 32;
    // Of an address that others have too, nobody is to be asked whether it is free.
    const nodad = bits === 128 ? ['nodad'] : [];
    await runIp(netns, ['addr', 'add', `${address}/${bits}`, 'dev', 'lo', ...nodad]);
  }
}

/** Those that were noted; gives them. Who lacks one does not mind. */
export async function removeLoopbackAddresses(netns: string | null, noteFile: string): Promise<string[]> {
  const noted = notedAddresses(noteFile);
  for (const address of noted) {
    const bits = address.includes(':') ? 128 : 32;
    await runIp(netns, ['addr', 'del', `${address}/${bits}`, 'dev', 'lo']).catch(() => {});
  }
  rmSync(noteFile, { force: true });
  return noted;
}
