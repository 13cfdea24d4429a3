/** The operator's drains, kept over restarts: an upgrade of the process must not send work to a machine that is being mended. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../config/model.ts';
import type { Log } from './log.ts';
import type { SiteDrains } from './site-drains.ts';

export const DRAIN_KINDS = ['backend', 'balancer', 'site', 'nameserver'] as const;
export type DrainKind = (typeof DRAIN_KINDS)[number];

/** Names that are drained, by kind. */
export interface Drains extends Readonly<Record<DrainKind, readonly string[]>> {
  /** Backends of which the last flows are given up, and when, in milliseconds since 1970. */
  readonly deadlines: Readonly<Record<string, number>>;
  /** Of deadlines that the file gave, the time that it said, in milliseconds. */
  readonly fromFile: Readonly<Record<string, number>>;
}

export const NO_DRAINS: Drains = { backend: [], balancer: [], site: [], nameserver: [], deadlines: {}, fromFile: {} };

/** What `writeDrains` wrote; `NO_DRAINS` where there is no file. Throws where it cannot be read or is something else. */
export function readDrains(file: string): Drains {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NO_DRAINS;
    throw error;
  }
  const listOf = (value: unknown): readonly string[] | null =>
    Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : null;
  try {
    const read = JSON.parse(text) as Record<string, unknown>;
    const [backend, balancer, site] = DRAIN_KINDS.map((kind) => listOf(read[kind]));
    // Earlier versions wrote none of these.
    const nameserver = listOf(read.nameserver ?? []);
    const numbers = (value: unknown): Record<string, number> =>
      Object.fromEntries(Object.entries(value ?? {}).filter(([, ms]) => typeof ms === 'number')) as Record<
        string,
        number
      >;
    const [deadlines, fromFile] = [numbers(read.deadlines), numbers(read.fromFile)];
    if (backend && balancer && site && nameserver) return { backend, balancer, site, nameserver, deadlines, fromFile };
  } catch {
    // told below
  }
  throw new Error(`${file} does not hold drains; remove it, then drain again what should be`);
}

/** A reader sees the old drains or the new ones, never half. */
export function writeDrains(file: string, drains: Drains): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, `${JSON.stringify(drains)}\n`);
  renameSync(`${file}.new`, file);
}

/** What of a running fleet is kept. */
export interface DrainedFleet {
  readonly config: Config;
  readonly sites: ReadonlyMap<
    string,
    { readonly drains: SiteDrains; readonly balancers: ReadonlyMap<string, DrainedRole> }
  >;
  readonly steering: { readonly drainedSites: Set<string> };
  readonly nameServers: ReadonlyMap<string, { readonly anycast: { readonly isDrained: boolean } | null }>;
}

interface DrainedRole {
  readonly name: string;
  readonly drained: boolean;
}

/** The file of one process. */
export class KeptDrains {
  readonly #file: string;
  readonly #log: Log;
  #kept: Drains = NO_DRAINS;

  constructor(file: string, log: Log) {
    this.#file = file;
    this.#log = log;
  }

  hasBalancer(name: string): boolean {
    return this.#kept.balancer.includes(name);
  }

  hasNameServer(name: string): boolean {
    return this.#kept.nameserver.includes(name);
  }

  /** A file that cannot be read is told and does not hold up the start. */
  load({ config, sites, steering }: DrainedFleet): void {
    try {
      this.#kept = readDrains(this.#file);
    } catch (error) {
      this.#log.error({ reason: (error as Error).message }, 'drains are lost');
    }
    const { backend, site, deadlines, fromFile } = this.#kept;
    const drainsOf = (name: string) => sites.get(config.backends.get(name)?.site ?? '')?.drains;
    for (const name of backend) drainsOf(name)?.byOperator.add(name);
    for (const [name, atMs] of Object.entries(deadlines))
      drainsOf(name)?.setDeadline(name, { atMs, fileMs: fromFile[name] ?? null });
    for (const name of site) if (config.sites.has(name)) steering.drainedSites.add(name);
  }

  /** Writes down what the operator has drained, so that it stays over a restart. Throws where that is not possible. */
  keep(fleet: DrainedFleet): void {
    this.#kept = drainsOf(fleet);
    writeDrains(this.#file, this.#kept);
  }

  /** The file's drains have begun, with their deadlines: those shall not begin anew with the next process. */
  keepDeadlines(fleet: DrainedFleet): void {
    const { deadlines, fromFile } = drainsOf(fleet);
    const { deadlines: before, fromFile: fromBefore } = this.#kept;
    if (JSON.stringify([deadlines, fromFile]) === JSON.stringify([before, fromBefore])) return;
    try {
      this.keep(fleet);
    } catch (error) {
      this.#log.error(
        { reason: (error as Error).message },
        'deadlines of drains will begin anew with the next process',
      );
    }
  }
}

function drainsOf({ sites, steering, nameServers }: DrainedFleet): Drains {
  const all = [...sites.values()];
  const deadlines = all.flatMap(({ drains }) => [...drains.deadlines]);
  return {
    backend: all.flatMap(({ drains }) => [...drains.byOperator]),
    balancer: all.flatMap(({ balancers }) =>
      [...balancers.values()].filter((role) => role.drained).map(({ name }) => name),
    ),
    site: [...steering.drainedSites],
    nameserver: [...nameServers].filter(([, { anycast }]) => anycast?.isDrained).map(([name]) => name),
    deadlines: Object.fromEntries(deadlines.map(([name, { atMs }]) => [name, atMs])),
    fromFile: Object.fromEntries(deadlines.flatMap(([name, { fileMs }]) => (fileMs === null ? [] : [[name, fileMs]]))),
  };
}
