/** Programs for the sockets of all processes: attached to the root of the cgroups that is mounted here. */
import { readFileSync } from 'node:fs';
import { createCgroupLink, openPinned, pinObject, updateLink } from './bpf.ts';
import { isErrno } from './errno.ts';
import { closeFd, openPath } from './libc.ts';
import { removePin } from './pins.ts';

/**
 * Where cgroup v2 is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside version 1. In a container that has its own view of
 * cgroups it is the container's. Throws when there is none.
 */
export function cgroupRoot(mounts = readFileSync('/proc/self/mounts', 'utf8')): string {
  const line = /^\S+ (\S+) cgroup2 /m.exec(mounts);
  if (line === null) throw new Error('no cgroup v2 file system is mounted (mount -t cgroup2 cgroup2 /sys/fs/cgroup)');
  return line[1].replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/**
 * Attaches a program of type sock_ops beside those of others; with `pin`, in place of an earlier version of ours that is pinned there,
 * without a gap. Gives the link's descriptor, the caller's: without a pin the program goes with it.
 */
export function attachSockops(programFd: number, pin: string | null): number {
  const pinned = pin === null ? null : openPinned(pin);
  if (pinned !== null) {
    try {
      updateLink(pinned, programFd);
      return pinned;
    } catch (error) {
      closeFd(pinned);
      // The cgroup is gone, and the link holds on to nothing.
      if (!isErrno(error, 'ENOLINK')) throw error;
      removePin(pin!);
    }
  }
  const cgroup = openPath(cgroupRoot());
  try {
    const fd = createCgroupLink(programFd, cgroup);
    if (pin !== null) pinObject(fd, pin);
    return fd;
  } finally {
    closeFd(cgroup);
  }
}
