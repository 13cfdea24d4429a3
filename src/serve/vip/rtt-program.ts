/** Round trips of the connections of a backend machine's VIPs, as its kernel measures them (bpf/rtt.bpf.c). */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { detachLink } from './bpf.ts';
import { attachSockops } from './cgroup.ts';
import { RTT_COUNTERS, RTT_SET, RTT_SETS, RTT_SETTINGS, RttSettingsView } from './layout.gen.ts';
import { closeFd } from './libc.ts';
import { pinMaps, prepareMaps } from './maps.ts';
import { namespaceCookie } from './netns.ts';
import { BpfObject } from './object.ts';
import { removePin, SOCKOPS_PIN } from './pins.ts';
import { type OnRtt, RttSets } from './rtt-sets.ts';

const MAPS = ['rtt_settings', 'rtt_counters', 'rtt_sets'];

export interface RttProgramOptions {
  /** Of the pins; null: nothing is pinned. */
  readonly folder: string | null;
  /** Whose connections count. */
  readonly netns: string | null;
  readonly objects: string;
  /** The maps of VIPs, of backend.bpf.o, by name. */
  readonly vipMaps: ReadonlyMap<string, number>;
}

/** Since the maps were made. */
export interface RttCounters {
  readonly taken: number;
  /** Lost: more prefixes than places since the last `take`. */
  readonly full: number;
  /** Connections of which nothing was known when they opened. */
  readonly unknown: number;
}

export class RttProgram {
  readonly #options: RttProgramOptions;
  readonly #object: BpfObject;
  readonly #counters: BigUint64Array;
  readonly #sets: RttSets;
  #linkFd: number | null = null;

  /** Attaches. What was gathered while nobody took it is dropped. Throws without cgroup v2, and before Linux 5.15. */
  constructor(options: RttProgramOptions) {
    this.#options = options;
    const { folder, netns, objects, vipMaps } = options;
    this.#object = new BpfObject(join(objects, 'rtt.bpf.o'));
    let created: string[] = [];
    try {
      const wanted = prepareMaps(this.#object, folder, {}, vipMaps);
      this.#object.load();
      if (folder !== null) {
        pinMaps(this.#object, folder, wanted);
        created = wanted;
      }
      const settings = new RttSettingsView(this.#object.mappedMap('rtt_settings', RTT_SETTINGS.sizeBytes));
      if (settings.seed === 0n) settings.seed = randomBytes(8).readBigUInt64LE();
      settings.netnsCookie = namespaceCookie(netns);
      this.#counters = new BigUint64Array(this.#object.mappedMap('rtt_counters', RTT_COUNTERS.sizeBytes));
      this.#sets = new RttSets(this.#object.mappedMap('rtt_sets', RTT_SETS * RTT_SET.sizeBytes));
      this.#sets.take(() => {});
      const pin = folder === null ? null : join(folder, SOCKOPS_PIN);
      this.#linkFd = attachSockops(this.#object.programFd('rtt'), pin);
    } catch (error) {
      for (const name of created) removePin(join(folder!, name));
      this.#release();
      throw error;
    }
  }

  /** Round trips since the last call, of a prefix the last 16 at most. */
  take(each: OnRtt): void {
    this.#sets.take(each);
  }

  read(): RttCounters {
    const at = (field: keyof typeof RTT_COUNTERS.offsets) => Number(this.#counters[RTT_COUNTERS.offsets[field] / 8]);
    return { taken: at('taken'), full: at('full'), unknown: at('unknown') };
  }

  #release(): void {
    if (this.#linkFd !== null) closeFd(this.#linkFd);
    this.#linkFd = null;
    this.#object.close();
  }

  /** `keep`: it goes on without this process. Otherwise it is detached and its pins are removed; those of other objects stay. */
  close({ keep }: { readonly keep: boolean }): void {
    const { folder } = this.#options;
    if (!keep && this.#linkFd !== null) {
      detachLink(this.#linkFd);
      if (folder !== null) for (const name of [SOCKOPS_PIN, ...MAPS]) removePin(join(folder, name));
    }
    this.#release();
  }
}
