/**
 * What the operator orders of DNS steering beside the configuration - pins, freeze - and where units of demand are; all of it kept over
 * restarts.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../config/model.ts';
import type { KeptAssignments, MeasuredAnswers, SteeringPin } from '../config/steering-model.ts';
import { clientsOf } from '../decide/steer/clients.ts';
import { diffMaps, type ServiceDiff } from '../decide/steer/map-diff.ts';
import { assignmentsOf, compileSteering } from '../decide/steer/policy.ts';
import { formatPrefix, parsePrefix, samePrefix } from '../net/address.ts';
import type { Log } from './log.ts';

export const MAX_PINS = 1000;

/** As written to the file. */
interface Kept {
  readonly pins: readonly { prefix: string | null; service: string | null; site: string; untilMs: number | null }[];
  readonly frozenSinceMs: number | null;
  /** Service, place in its policy, unit, parts. */
  readonly assignments: Readonly<Record<string, Record<string, Record<string, readonly string[]>>>>;
}

export interface SteeredFleet {
  readonly config: Config;
  readonly nameServers: ReadonlyMap<string, { apply(config: Config): Promise<void> }>;
  setConfig(config: Config): void;
}

export class SteeringOrders {
  pins: readonly SteeringPin[] = [];
  /** Milliseconds since 1970; null: the map is not frozen. */
  frozenSinceMs: number | null = null;
  /** What DNS answers by, of what was measured; null: nothing. */
  measured: MeasuredAnswers | null = null;
  readonly #file: string;
  readonly #log: Log;
  readonly #apply: () => Promise<void>;
  #assignments: KeptAssignments = new Map();
  #written = '';

  /** `apply` goes over to what is ordered now. */
  constructor(file: string, log: Log, apply: () => Promise<void>) {
    this.#file = file;
    this.#log = log;
    this.#apply = apply;
  }

  /** A file that cannot be read is told and does not hold up the start. */
  load(nowMs: number): void {
    try {
      const text = readFileSync(this.#file, 'utf8');
      const { pins, frozenSinceMs, assignments } = readKept(JSON.parse(text));
      this.frozenSinceMs = frozenSinceMs;
      this.pins = pins;
      this.#assignments = assignments;
      this.#written = text;
      this.expire(nowMs);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      const reason = (error as Error).message;
      this.#log.error({ file: this.#file, reason }, 'pins, freeze and places of units are lost');
    }
  }

  /** With pins, and with units where they are; new ones have got their places. */
  complete(config: Config): Config {
    const { pins } = this;
    const measured = config.steering.measured.mode === 'on' ? this.measured : null;
    // Threads that get the clients with the maps that were made of them need not make them again.
    const clients = measured === null ? config.clients : clientsOf(config);
    const known = { ...config, clients, steeringState: { pins, assignments: this.#assignments, measured } };
    const assignments = assignmentsOf(compileSteering(known));
    return { ...known, steeringState: { pins, assignments, measured } };
  }

  /** Why a configuration may not take the place of another; null: it may. `anyway`: the operator wants it. */
  refusal(before: Config, after: Config, anyway: boolean): string | null {
    const { maxMovedShare } = after.steering;
    // Comparing maps of a million prefixes takes seconds.
    if (this.frozenSinceMs === null && (anyway || maxMovedShare >= 1)) return null;
    const diffs = diffMaps(compileSteering(before), compileSteering(after), after);
    if (diffs.length === 0) return null;
    if (this.frozenSinceMs !== null) {
      const names = diffs.map(({ service }) => service).join(', ');
      return `the map is frozen, and clients of ${names} would move: see "portico steer diff", then "portico steer unfreeze"`;
    }
    const large = anyway ? [] : diffs.filter(({ movedDemand }) => (movedDemand ?? 0) > maxMovedShare + 1e-9);
    if (large.length === 0) return null;
    const shares = large.map(({ service, movedDemand }) => `${percent(movedDemand ?? 0)} of the demand of ${service}`);
    return `${shares.join(' and ')} would move at once, and dns.steering.maxMoved is ${percent(maxMovedShare)}: see "portico steer diff"; "portico steer reload --anyway" does it nevertheless`;
  }

  diff(before: Config, after: Config): ServiceDiff[] {
    return diffMaps(compileSteering(before), compileSteering(after), after);
  }

  /** In the place of the one for the same clients. */
  pin(pin: SteeringPin): void {
    this.pins = [...this.pins.filter((other) => !isSamePin(other, pin)), pin];
  }

  /** Whether there was one. */
  unpin(pin: Pick<SteeringPin, 'prefix' | 'service'>): boolean {
    const { length } = this.pins;
    this.pins = this.pins.filter((other) => !isSamePin(other, pin));
    return this.pins.length < length;
  }

  /** Takes away the pins whose time is over, and returns them. As long as the map is frozen none is. */
  expire(nowMs: number): readonly SteeringPin[] {
    if (this.frozenSinceMs !== null) return [];
    const over = this.pins.filter(({ untilMs }) => untilMs !== null && untilMs <= nowMs);
    if (over.length > 0) this.pins = this.pins.filter((pin) => !over.includes(pin));
    return over;
  }

  /** Makes a running fleet answer by what is ordered now. */
  async applyTo(fleet: SteeredFleet): Promise<void> {
    const config = this.complete(fleet.config);
    await Promise.all([...fleet.nameServers.values()].map((role) => role.apply(config)));
    fleet.setConfig(config);
  }

  /** Every second: ends pins. */
  tick(nowMs: number): void {
    const over = this.expire(nowMs);
    if (over.length === 0) return;
    for (const { site, service } of over) this.#log.info({ site, service }, 'the time of a pin is over');
    this.#apply().catch((error) => {
      this.#log.error({ reason: (error as Error).message }, 'pins whose time is over still hold');
    });
  }

  /** Writes down what holds with this configuration. */
  keep({ steeringState }: Config): void {
    this.#assignments = steeringState.assignments;
    const plain: Kept = {
      pins: this.pins.map((pin) => ({ ...pin, prefix: pin.prefix === null ? null : formatPrefix(pin.prefix) })),
      frozenSinceMs: this.frozenSinceMs,
      assignments: plainAssignments(this.#assignments),
    };
    const text = `${JSON.stringify(plain)}\n`;
    const isNothing = this.pins.length === 0 && this.frozenSinceMs === null && this.#assignments.size === 0;
    if (text === this.#written || (isNothing && this.#written === '')) return;
    try {
      mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
      writeFileSync(`${this.#file}.new`, text);
      renameSync(`${this.#file}.new`, this.#file);
      this.#written = text;
    } catch (error) {
      const reason = (error as Error).message;
      this.#log.error({ file: this.#file, reason }, 'pins, freeze and places of units will not outlive this process');
    }
  }
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

function isSamePin(a: Pick<SteeringPin, 'prefix' | 'service'>, b: Pick<SteeringPin, 'prefix' | 'service'>): boolean {
  if (a.service !== b.service) return false;
  return a.prefix === null || b.prefix === null ? a.prefix === b.prefix : samePrefix(a.prefix, b.prefix);
}

function plainAssignments(assignments: KeptAssignments): Kept['assignments'] {
  const places = [...assignments].map(([service, byPlace]) => {
    return [service, Object.fromEntries([...byPlace].map(([place, units]) => [place, Object.fromEntries(units)]))];
  });
  return Object.fromEntries(places);
}

/** Throws where it is something else than `keep` writes. */
function readKept(raw: unknown) {
  const { pins, frozenSinceMs, assignments } = raw as Kept;
  if (frozenSinceMs !== null && typeof frozenSinceMs !== 'number') throw new Error('no time of the freeze');
  const read = pins.map(({ prefix, service, site, untilMs }): SteeringPin => {
    const parsed = prefix === null ? null : parsePrefix(prefix);
    if (prefix !== null && parsed === null) throw new Error(`"${prefix}" is no prefix`);
    if (typeof site !== 'string' || (service !== null && typeof service !== 'string'))
      throw new Error('a pin has no site');
    return { prefix: parsed, service, site, untilMs: typeof untilMs === 'number' ? untilMs : null };
  });
  const byService = Object.entries(assignments).map(([service, places]) => {
    const byPlace = Object.entries(places).map(([place, units]) => [place, new Map(Object.entries(units))] as const);
    return [service, new Map(byPlace)] as const;
  });
  return { pins: read, frozenSinceMs, assignments: new Map(byService) };
}
