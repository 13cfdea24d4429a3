/** Looks at the delegation of every zone now and then, one zone after the other, and tells what differs when it begins to and when it ends. */
import type { Config } from '../config/model.ts';
import { parseName, ROOT_NAME } from '../serve/dns/wire/name.ts';
import { type DelegationFinding, lookAtDelegation } from './delegation-look.ts';
import type { Log } from './log.ts';

export interface DelegationState extends DelegationFinding {
  readonly zone: string;
  /** Milliseconds since 1970. */
  readonly lookedMs: number;
}

export interface ServerHere {
  readonly name: string;
  readonly machine: { readonly netns: string | null };
}

/** After a start or a change: for what was changed to be served. */
const FIRST_MS = 5_000;

export class DelegationWatch {
  readonly #log: Log;
  /** A name server that runs here; it is asked what is served. Null: there is none. */
  readonly #server: () => ServerHere | null;
  readonly #states = new Map<string, DelegationState>();
  #config: Config | null = null;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isClosed = false;

  constructor(log: Log, server: () => ServerHere | null) {
    this.#log = log;
    this.#server = server;
  }

  /** Zones of which nothing is known yet are not there. */
  get states(): readonly DelegationState[] {
    return [...this.#states.values()];
  }

  setConfig(config: Config): void {
    this.#config = config;
    const zones = new Set(zonesOf(config));
    for (const zone of this.#states.keys()) if (!zones.has(zone)) this.#states.delete(zone);
    this.#schedule(FIRST_MS);
  }

  #schedule(inMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#config?.delegation == null) return;
    this.#timer = setTimeout(() => void this.lookAtAll(), inMs);
    this.#timer.unref();
  }

  /** All zones once. */
  async lookAtAll(): Promise<void> {
    const config = this.#config;
    if (this.#isLooking || config === null) return;
    this.#isLooking = true;
    try {
      for (const zone of zonesOf(config)) {
        if (this.#isClosed || this.#config !== config) break;
        await this.#look(config, zone);
      }
    } catch (error) {
      this.#log.error({ reason: (error as Error).message }, 'delegations could not be looked at');
    } finally {
      this.#isLooking = false;
      this.#schedule(this.#config === config ? (config.delegation?.intervalMs ?? 0) : FIRST_MS);
    }
  }

  async #look(config: Config, zone: string): Promise<void> {
    const { delegation } = config;
    const role = this.#server();
    const [own] = role === null ? [] : (config.nameServers.get(role.name)?.listen ?? []);
    const parsed = parseName(zone, ROOT_NAME);
    if (delegation === null || role === null || own === undefined || !parsed.ok) return;
    const found = await lookAtDelegation(parsed.name, {
      netns: role.machine.netns,
      own,
      parents: delegation.parents.get(zone) ?? null,
      resolver: delegation.resolver,
    });
    if (this.#isClosed || this.#config !== config) return;
    const before = this.#states.get(zone);
    // Where nobody says anything, what was wrong is not right now.
    const isSilent = found.asked.length === 0 && found.differences.length === 0;
    const finding = isSilent && before !== undefined ? { ...found, differences: before.differences } : found;
    this.#tell(zone, before, finding);
    this.#states.set(zone, { zone, lookedMs: Date.now(), ...finding });
  }

  #tell(zone: string, before: DelegationFinding | undefined, { differences, unknown }: DelegationFinding): void {
    for (const difference of differences)
      if (!before?.differences.includes(difference))
        this.#log.warn({ zone, difference }, `delegation of ${zone}: ${difference}`);
    if (unknown.length > 0 && before?.unknown.join() !== unknown.join())
      this.#log.warn({ zone, reason: unknown.join('; ') }, `delegation of ${zone}: cannot be looked at whole`);
    const isOver = differences.length === 0 && unknown.length === 0;
    if (isOver && before !== undefined && before.differences.length + before.unknown.length > 0)
      this.#log.info({ zone }, `delegation of ${zone}: the parent says what is served`);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}

/** With a resolver all zones, else those with parents. */
function zonesOf({ zones, delegation }: Config): string[] {
  if (delegation === null) return [];
  const names = zones.map(({ name }) => name);
  return delegation.resolver === null ? names.filter((name) => delegation.parents.has(name)) : names;
}
