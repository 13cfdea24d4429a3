/** Waiting until no program is under way that began before: the kernel's grace period (RCU). */
import { BPF_F_INNER_MAP, createMap, MAP_TYPE_ARRAY, MAP_TYPE_ARRAY_OF_MAPS, updateElement } from './bpf.ts';
import { closeFd } from './libc.ts';

/** About 10 ms: a write to a map of maps returns only after one (maybe_wait_bpf_programs in kernel/bpf/syscall.c). */
export function waitForGracePeriod(): void {
  const inner = createMap({
    name: 'grace',
    type: MAP_TYPE_ARRAY,
    keySizeBytes: 4,
    valueSizeBytes: 8,
    maxEntries: 1,
    flags: BPF_F_INNER_MAP,
  });
  try {
    const definition = { keySizeBytes: 4, valueSizeBytes: 4, maxEntries: 1, flags: 0 };
    const outer = createMap({ name: 'grace_outer', type: MAP_TYPE_ARRAY_OF_MAPS, ...definition }, inner);
    try {
      updateElement(outer, new Uint8Array(4), new Uint8Array(new Uint32Array([inner]).buffer));
    } finally {
      closeFd(outer);
    }
  } finally {
    closeFd(inner);
  }
}
