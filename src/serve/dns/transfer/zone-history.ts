/** What zones were, and which serials they have: for IXFR, for secondaries that are told of changes, and for serials that Portico counts. */
import type { Config } from '../../../config/model.ts';
import { compileZones } from '../zone-compile.ts';
import { isTransferred } from './access.ts';
import { imageZones } from './zone-image.ts';
import { readKept, writeKept } from './zone-store.ts';
import { followZone, type KeptZone } from './zone-versions.ts';

export interface HistoryLog {
  warn(fields: object, message: string): void;
}

export class ZoneHistory {
  readonly #folder: string | null;
  readonly #log: HistoryLog | undefined;
  readonly #zones = new Map<string, KeptZone>();
  #transferred: ReadonlySet<string> = new Set();
  readonly #settled = new WeakSet<Config>();

  /** `folder`: where what is kept outlives the process; null: nowhere. */
  constructor(folder: string | null, log?: HistoryLog) {
    this.#folder = folder;
    this.#log = log;
  }

  /** By the zone's text; undefined: it has no secondary and says its serial itself, or was never settled. */
  zone(text: string): KeptZone | undefined {
    return this.#zones.get(text);
  }

  /** Zones that somebody may have. */
  transferred(): ReadonlySet<string> {
    return this.#transferred;
  }

  /** What is wrong with serials, a sentence each. */
  get problems(): string[] {
    return [...this.#zones.values()].map(({ problem }) => problem).filter((problem) => problem !== null);
  }

  /**
   * Follows the zones to a configuration that is about to be served, and gives the same with the serials that Portico counts. Of a
   * configuration whose zones have problems nothing is kept.
   */
  settle(config: Config, nowMs = Date.now()): Config {
    if (this.#settled.has(config)) return config;
    const { transfers } = config;
    const counted = new Set(config.zones.filter(({ isSerialCounted }) => isSerialCounted).map(({ name }) => name));
    // Signed zones are not transferred.
    const plain = config.zones.filter(({ isSigned }) => !isSigned).map(({ name }) => name);
    const wanted = new Set(plain.filter((zone) => isTransferred(transfers, zone)));
    this.#transferred = wanted;
    for (const text of this.#zones.keys()) if (!counted.has(text) && !wanted.has(text)) this.#zones.delete(text);
    if (counted.size + wanted.size === 0) return config;
    const compiled = compileZones(config);
    if (!compiled.ok) return config;
    const isWanted = ({ text }: { readonly text: string }) => counted.has(text) || wanted.has(text);
    const { journalBytes } = transfers.limits;
    for (const image of imageZones(config, compiled.zones, isWanted).values()) {
      const before = this.#zones.get(image.text) ?? this.#read(image.text, image.name);
      const kept = followZone(before, image, { isCounted: counted.has(image.text), nowMs, journalBytes });
      if (kept.problem !== null && kept.problem !== before?.problem)
        this.#log?.warn({ zone: image.text }, kept.problem);
      this.#zones.set(image.text, kept);
      if (kept.versions !== before?.versions) this.#write(kept);
    }
    const zones = config.zones.map((zone) => {
      return zone.isSerialCounted ? { ...zone, serial: this.#zones.get(zone.name)?.image.serial ?? zone.serial } : zone;
    });
    const settled = { ...config, zones };
    this.#settled.add(settled);
    return settled;
  }

  #read(zone: string, name: Uint8Array): KeptZone | null {
    if (this.#folder === null) return null;
    try {
      return readKept(this.#folder, zone, name);
    } catch (error) {
      const message =
        'what was kept of a zone is lost: secondaries get it as a whole once, and a counted serial begins anew';
      this.#log?.warn({ zone, reason: (error as Error).message }, message);
      return null;
    }
  }

  #write(kept: KeptZone): void {
    if (this.#folder === null) return;
    try {
      writeKept(this.#folder, kept);
    } catch (error) {
      const fields = { zone: kept.image.text, reason: (error as Error).message };
      this.#log?.warn(fields, 'a zone cannot be kept: after a restart secondaries get it as a whole');
    }
  }
}
