/** Classifiers on what leaves an interface (tc-bpf(8), clsact), by libbpf. For the namespace that the thread is in. */
import { execFileSync } from 'node:child_process';
import { callLibbpf } from './bpf.ts';
import { systemError } from './errno.ts';

const EEXIST = 17;
const ENOENT = 2;
const EINVAL = 22;
const BPF_TC_EGRESS = 2;
const BPF_TC_BOTH = 3;
const BPF_TC_F_REPLACE = 1;
/** By which ours is known, also to a later process. */
const HANDLE = 1;
const PRIORITY = 7070;

/** `struct bpf_tc_hook`: size, ifindex, attach point, parent. */
function hookOf(ifindex: number, point: number): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, 24n, true);
  view.setInt32(8, ifindex, true);
  view.setInt32(12, point, true);
  return bytes;
}

/** `struct bpf_tc_opts`: size, program, flags, program's number, handle, priority. */
function optionsOf(programFd: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, 32n, true);
  view.setInt32(8, programFd, true);
  view.setUint32(12, flags, true);
  view.setUint32(20, HANDLE, true);
  view.setUint32(24, PRIORITY, true);
  return bytes;
}

/** Puts the program on what leaves the interface, in place of an earlier version of ours; other classifiers stay. It stays without the process. */
export function attachEgress(ifindex: number, programFd: number): void {
  const hook = hookOf(ifindex, BPF_TC_EGRESS);
  const created = callLibbpf('int bpf_tc_hook_create(void *hook)', hook);
  if (created < 0 && created !== -EEXIST) throw systemError(`make clsact of interface ${ifindex}`, -created);
  const attached = callLibbpf(
    'int bpf_tc_attach(void *hook, void *options)',
    hook,
    optionsOf(programFd, BPF_TC_F_REPLACE),
  );
  if (attached < 0) throw systemError(`attach a classifier to interface ${ifindex}`, -attached);
}

/** Takes ours away, and clsact where nobody else uses it. */
export function detachEgress(ifindex: number, interfaceName: string): void {
  const detached = callLibbpf(
    'int bpf_tc_detach(void *hook, void *options)',
    hookOf(ifindex, BPF_TC_EGRESS),
    optionsOf(0, 0),
  );
  // No clsact, or none of ours.
  if (detached === -ENOENT || detached === -EINVAL) return;
  if (detached < 0) throw systemError(`detach the classifier of interface ${ifindex}`, -detached);
  const isFree = ['ingress', 'egress'].every(
    (side) => execFileSync('tc', ['filter', 'show', 'dev', interfaceName, side], { encoding: 'utf8' }).trim() === '',
  );
  if (isFree) callLibbpf('int bpf_tc_hook_destroy(void *hook)', hookOf(ifindex, BPF_TC_BOTH));
}
