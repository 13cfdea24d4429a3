/** The endpoint of beacons (`dns.beacons`) in a process with name servers: starts it, stops it, and hands on what it joined. */
import type { BeaconSettings, Config } from '../config/model.ts';
import { BeaconEndpoint, type JoinedBeacon } from '../serve/dns/beacon-endpoint.ts';
import type { DnsServer } from '../serve/dns/server.ts';
import type { Log } from './log.ts';

type NameServers = ReadonlyMap<string, { readonly server: Pick<DnsServer, 'beacons'> }>;

export class BeaconRole {
  readonly #log: Log;
  readonly #nameServers: () => NameServers;
  #settings: BeaconSettings | null = null;
  #endpoint: BeaconEndpoint | null = null;
  #changing: Promise<void> = Promise.resolve();

  constructor(log: Log, nameServers: () => NameServers) {
    this.#log = log;
    this.#nameServers = nameServers;
  }

  /** An address that cannot be listened on is told; DNS answers all the same. */
  setConfig({ beacons }: Config): void {
    if (JSON.stringify(beacons) === JSON.stringify(this.#settings)) return;
    this.#settings = beacons;
    this.#changing = this.#changing.then(() => this.#change(beacons));
  }

  async #change(settings: BeaconSettings | null): Promise<void> {
    await this.#endpoint?.close();
    this.#endpoint = null;
    if (settings === null) return;
    const notes = () => [...this.#nameServers().values()].map(({ server }) => server.beacons);
    const endpoint = new BeaconEndpoint({ settings, notes, nowMs: Date.now });
    try {
      await endpoint.start();
      this.#endpoint = endpoint;
    } catch (error) {
      this.#log.error({ reason: (error as Error).message }, 'there is no endpoint of beacons');
    }
  }

  /** What was joined since the last call. */
  take(): readonly JoinedBeacon[] {
    return this.#endpoint?.take() ?? [];
  }

  async close(): Promise<void> {
    this.#settings = null;
    this.#changing = this.#changing.then(() => this.#change(null));
    await this.#changing;
  }
}
