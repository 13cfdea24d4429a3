/**
 * Lowers the greatest segment that the VIPs of a backend machine announce, so that clients' packets fit after the balancer has
 * encapsulated them: a classifier on what leaves (bpf/clamp.bpf.c), whatever applications and routes say.
 */
import { join } from 'node:path';
import { countPossibleCpus } from './balancer-object.ts';
import { CLAMP_COUNTERS, CLAMP_SETTINGS, ClampSettingsView } from './layout.gen.ts';
import { interfaceIndex } from './libc.ts';
import { pinMaps, prepareMaps } from './maps.ts';
import { inNamespace } from './netns.ts';
import { BpfObject } from './object.ts';
import { removePin } from './pins.ts';
import { attachEgress, detachEgress } from './tc.ts';

const MAPS = ['clamp_settings', 'clamp_counters'];
const TCP_AND_IP_BYTES = { 4: 40, 6: 60 } as const;
/** Below, limits would help nobody (RFC 9293, 3.7.1; RFC 8200, 5). */
const LEAST_MSS = { 4: 536, 6: 1220 } as const;

/** Greatest segments for packets of at most `mtuBytes`, headers without options. */
export function mssFor(mtuBytes: number): { readonly ipv4: number; readonly ipv6: number } {
  return {
    ipv4: Math.max(LEAST_MSS[4], mtuBytes - TCP_AND_IP_BYTES[4]),
    ipv6: Math.max(LEAST_MSS[6], mtuBytes - TCP_AND_IP_BYTES[6]),
  };
}

export interface ClampOptions {
  /** Of the pins; null: nothing is pinned. */
  readonly folder: string | null;
  readonly netns: string | null;
  /** By which answers leave. */
  readonly interfaces: readonly string[];
  readonly objects: string;
  /** The maps of VIPs, of backend.bpf.o, by name. */
  readonly vipMaps: ReadonlyMap<string, number>;
}

export interface ClampCounters {
  readonly lowered: number;
  /** Announced no more than the limit. */
  readonly fit: number;
  readonly failed: number;
}

/** Interfaces that are gone took it along. */
export function detachClamp(netns: string | null, interfaces: readonly string[]): void {
  inNamespace(netns, () => {
    for (const name of interfaces) {
      const ifindex = interfaceIndex(name);
      if (ifindex !== 0) detachEgress(ifindex, name);
    }
  });
}

export class MssClamp {
  readonly #options: ClampOptions;
  readonly #object: BpfObject;
  readonly #settings: ClampSettingsView;
  readonly #counters: BigUint64Array;

  /** Attaches; limits are 0, which is none, or those of an earlier process. Throws where the kernel has no clsact. */
  constructor(options: ClampOptions) {
    this.#options = options;
    const { folder, netns, interfaces, objects, vipMaps } = options;
    this.#object = new BpfObject(join(objects, 'clamp.bpf.o'));
    const attached: string[] = [];
    try {
      const cpus = countPossibleCpus();
      const created = prepareMaps(this.#object, folder, { clamp_counters: cpus }, vipMaps);
      this.#object.load();
      if (folder !== null) pinMaps(this.#object, folder, created);
      this.#settings = new ClampSettingsView(this.#object.mappedMap('clamp_settings', CLAMP_SETTINGS.sizeBytes));
      this.#counters = new BigUint64Array(this.#object.mappedMap('clamp_counters', cpus * CLAMP_COUNTERS.sizeBytes));
      inNamespace(netns, () => {
        for (const name of interfaces) {
          attachEgress(interfaceIndex(name), this.#object.programFd('clamp'));
          attached.push(name);
        }
      });
    } catch (error) {
      detachClamp(netns, attached);
      this.#object.close();
      throw error;
    }
  }

  /** From now on; null: as sockets say. `mtuBytes`: of clients' packets that fit on every way to this machine. */
  setLimit(mtuBytes: number | null): void {
    const mss = mtuBytes === null ? { ipv4: 0, ipv6: 0 } : mssFor(mtuBytes);
    this.#settings.mssIpv4 = mss.ipv4;
    this.#settings.mssIpv6 = mss.ipv6;
  }

  /** Since the maps were made. */
  read(): ClampCounters {
    const sums = [0, 0, 0];
    const words = CLAMP_COUNTERS.sizeBytes / 8;
    for (let at = 0; at < this.#counters.length; at += words)
      for (let field = 0; field < sums.length; field++) sums[field] += Number(this.#counters[at + field]);
    const [lowered, fit, failed] = sums;
    return { lowered, fit, failed };
  }

  /** `keep`: it goes on without this process. Otherwise it is detached and its pins are removed; those of other objects stay. */
  close({ keep }: { readonly keep: boolean }): void {
    const { folder, netns, interfaces } = this.#options;
    if (!keep) {
      detachClamp(netns, interfaces);
      if (folder !== null) for (const name of MAPS) removePin(join(folder, name));
    }
    this.#object.close();
  }
}
