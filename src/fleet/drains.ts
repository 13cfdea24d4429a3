/** The operator's drains, kept over restarts: an upgrade of the process must not send work to a machine that is being mended. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export const DRAIN_KINDS = ['backend', 'balancer', 'site'] as const;
export type DrainKind = (typeof DRAIN_KINDS)[number];

/** Names that are drained, by kind. */
export interface Drains extends Readonly<Record<DrainKind, readonly string[]>> {
  /** Backends of which the last flows are given up, and when, in milliseconds since 1970. */
  readonly deadlines: Readonly<Record<string, number>>;
}

export const NO_DRAINS: Drains = { backend: [], balancer: [], site: [], deadlines: {} };

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
    // An earlier version wrote none.
    const deadlines = Object.entries(read.deadlines ?? {}).filter(([, at]) => typeof at === 'number');
    if (backend && balancer && site)
      return { backend, balancer, site, deadlines: Object.fromEntries(deadlines) as Record<string, number> };
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
