/**
 * Pins: what stays in the kernel without any process. All of an instance lies in /sys/fs/bpf/portico/NAME/: programs and maps
 * by their names, links as `link-INTERFACE`.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { detachLink, openPinned, pinObject } from './bpf.ts';
import { isErrno } from './errno.ts';
import { closeFd } from './libc.ts';

const BPFFS = '/sys/fs/bpf';
const PORTICO = join(BPFFS, 'portico');
const BPFFS_MAGIC = 0xcafe4a11;

/** The link of the program that measures round trips, to a cgroup. */
export const SOCKOPS_PIN = 'rtt-link';

/** Folder of the pins of an instance. */
export function pinFolder(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(name)) {
    throw new Error(`"${name}" cannot name an instance: letters, digits, - and _ only, at most 64`);
  }
  return join(PORTICO, name);
}

/** Names of the instances that have pins. */
export function listInstances(): string[] {
  return existsSync(PORTICO) ? readdirSync(PORTICO).sort() : [];
}

/** Makes the folder; true: it was not there. */
export function makePinFolder(folder: string): boolean {
  if (existsSync(folder)) return false;
  if (statfsSync(BPFFS).type !== BPFFS_MAGIC) {
    throw new Error(`no BPF file system at ${BPFFS}: mount -t bpf bpf ${BPFFS}`);
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return true;
}

export function listPins(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Pins `fd` at `path` in place of what may be pinned there; at no time is nothing pinned. */
export function replacePin(fd: number, path: string): void {
  const next = `${path}-next`; // names with a dot are reserved in this file system
  removePin(next);
  pinObject(fd, next);
  renameSync(next, path);
}

/** False: nothing was pinned there. */
export function removePin(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Removes the folder when nothing is pinned in it any more, and the folder above with its last instance. */
export function removeEmptyFolders(folder: string): void {
  for (const path of [folder, PORTICO]) {
    try {
      rmdirSync(path);
    } catch (error) {
      if (isErrno(error, 'ENOTEMPTY') || isErrno(error, 'ENOENT')) return;
      throw error;
    }
  }
}

function detachPinned(path: string): void {
  const fd = openPinned(path);
  if (fd === null) return;
  try {
    detachLink(fd);
  } finally {
    closeFd(fd);
  }
}

/** Removes every pin of a folder: programs detach, and what nobody has open goes. */
export function removePins(folder: string): void {
  const pins = listPins(folder);
  // Links first: with the program detached nobody misses the maps.
  const isLink = (pin: string) => pin.startsWith('link-') || pin === SOCKOPS_PIN;
  pins.sort((a, b) => Number(isLink(b)) - Number(isLink(a)));
  for (const pin of pins) {
    // The kernel drops a link with its last pin some time later; detaching is done when it returns.
    if (isLink(pin)) detachPinned(join(folder, pin));
    removePin(join(folder, pin));
  }
}

/** Takes away everything that an instance has pinned, whoever made it. False: there was nothing. */
export function removeInstance(name: string): boolean {
  const folder = pinFolder(name);
  const had = existsSync(folder);
  removePins(folder);
  removeEmptyFolders(folder);
  return had;
}
