/** For each service of a site, as it was looked at last: who gets new flows, who keeps those that it has, who is given up. */
import type { Config, Service } from '../config/model.ts';
import { MAX_BACKENDS } from '../serve/vip/layout.gen.ts';
import type { Allocation } from './allocation.ts';
import { type Choice, chooseMembers } from './choose-members.ts';
import type { HealthBook } from './health-book.ts';
import { canSettleByReports, tracksAll } from './scheduling.ts';
import type { SiteDrains } from './site-drains.ts';
import type { PlannedBackend } from './site-plan.ts';
import type { TableIndices } from './slot-counts.ts';

export interface ChoicesOptions {
  readonly site: string;
  readonly health: HealthBook;
  readonly indices: Allocation;
  readonly drains: SiteDrains;
}

export interface ServiceChoice extends Choice {
  /** Those that the service names. */
  readonly candidates: ReadonlySet<number>;
  /** As many live backends as the service needs, at least one. */
  readonly canServe: boolean;
}

interface NamedBackend {
  readonly name: string;
  readonly index: number;
  readonly weight: number;
}

interface NamedBackends {
  readonly backends: readonly NamedBackend[];
  readonly canSettleByReports: boolean;
}

export class ServiceChoices {
  readonly #options: ChoicesOptions;
  readonly #choices = new Map<string, ServiceChoice>();
  /** Whom each service names, as the configuration says; made when it is asked for. */
  readonly #named = new Map<string, NamedBackends>();
  /** By index: how many services count the backend as alive. */
  readonly #living = new Uint16Array(MAX_BACKENDS);
  /** Of services that track every flow: who is no candidate any more, and whom entries may name whatever the slots say. */
  readonly #followed = new Map<string, Set<number>>();
  #known: ReadonlyMap<number, PlannedBackend> = new Map();
  #config: Config | null = null;

  constructor(options: ChoicesOptions) {
    this.#options = options;
  }

  setConfig(config: Config, services: ReadonlySet<string>): void {
    this.#config = config;
    this.#named.clear();
    for (const name of [...this.#choices.keys(), ...this.#followed.keys()]) {
      if (services.has(name)) continue;
      this.#countLiving(this.#choices.get(name), -1);
      this.#choices.delete(name);
      this.#followed.delete(name);
    }
  }

  /** Backends of the configuration, and those that leave. */
  setKnown(known: readonly PlannedBackend[]): void {
    this.#known = new Map(known.map((planned) => [planned.index, planned]));
    for (const followed of this.#followed.values())
      for (const index of followed) if (!this.#known.has(index)) followed.delete(index);
  }

  get(service: string): ServiceChoice | undefined {
    return this.#choices.get(service);
  }

  /** Who serves a service now; `table`: whom its slots name. */
  choose(service: Service, table: TableIndices): ServiceChoice {
    const { health, drains } = this.#options;
    const candidates = this.#namedBy(service).backends.map(({ name, index, weight }) => ({
      name,
      index,
      weight,
      verdict: health.verdict(service.name, name),
      drained: drains.isDrained(name),
      givenUp: drains.isGivenUp(name),
      serving: table.serving.has(index),
    }));
    const own = new Set(candidates.map(({ index }) => index));
    this.#noteFollowed(service, own);
    const choice = chooseMembers(candidates, service.panicShare);
    const [gone, going]: [number[], number[]] = [[], []];
    // Who leaves takes no new flows, and is given up when probes say so.
    for (const { backend, index } of this.leaving(service, table, own)) {
      const isOver = health.verdict(service.name, backend.name) === 'unhealthy' || drains.isGivenUp(backend.name);
      (isOver ? gone : going).push(index);
    }
    const live = candidates.filter(({ verdict }) => verdict !== 'unhealthy').length;
    const done = {
      ...choice,
      alive: [...choice.alive, ...going],
      dead: new Set([...choice.dead, ...gone]),
      candidates: own,
      canServe: choice.panic || live >= Math.max(1, service.need),
    };
    this.#countLiving(this.#choices.get(service.name), -1);
    this.#countLiving(done, 1);
    this.#choices.set(service.name, done);
    return done;
  }

  #countLiving(choice: Choice | undefined, by: 1 | -1): void {
    for (const index of choice?.alive ?? []) this.#living[index] = (this.#living[index] as number) + by;
  }

  /** Entries outlive the place in the service. */
  #noteFollowed(service: Service, candidates: ReadonlySet<number>): void {
    if (!tracksAll(service)) {
      this.#followed.delete(service.name);
      return;
    }
    const followed = this.#followed.get(service.name) ?? new Set();
    for (const index of this.#choices.get(service.name)?.candidates ?? [])
      if (this.#known.has(index)) followed.add(index);
    for (const index of candidates) followed.delete(index);
    this.#followed.set(service.name, followed);
  }

  /** Backends that flows of the service may be on although it does not name them any more; `own`: those that it names. */
  leaving(service: Service, table: TableIndices, own = this.#candidatesOf(service)): PlannedBackend[] {
    const found = new Set<number>();
    for (const index of table.named) if (!own.has(index)) found.add(index);
    for (const index of this.#followed.get(service.name) ?? []) if (!own.has(index)) found.add(index);
    return [...found].flatMap((index) => this.#known.get(index) ?? []);
  }

  #candidatesOf(service: Service): Set<number> {
    return new Set(this.#namedBy(service).backends.map(({ index }) => index));
  }

  #namedBy(service: Service): NamedBackends {
    const known = this.#named.get(service.name);
    if (known !== undefined) return known;
    const { site, indices } = this.#options;
    const config = this.#config;
    const backends = (service.backends.get(site) ?? []).flatMap((name): NamedBackend[] => {
      const index = indices.numberOf(name);
      return index === undefined ? [] : [{ name, index, weight: config?.backends.get(name)?.weight ?? 1 }];
    });
    const named = { backends, canSettleByReports: config !== null && canSettleByReports(site, service, config) };
    this.#named.set(service.name, named);
    return named;
  }

  canSettleByReports(service: Service): boolean {
    return this.#namedBy(service).canSettleByReports;
  }

  /**
   * What an earlier process left: `followed` has a 1 for each backend that entries of followed flows name. Which of the services' they are
   * nobody knows, so whoever is in none of these counts for all.
   */
  adoptFollowed(followed: Uint8Array, services: readonly Service[]): void {
    const full = services.filter(tracksAll);
    const own = new Set(full.flatMap((service) => [...this.#candidatesOf(service)]));
    const left = [...this.#known.keys()].filter((index) => followed[index] === 1 && !own.has(index));
    for (const { name } of full) this.#followed.set(name, new Set([...(this.#followed.get(name) ?? []), ...left]));
  }

  get mayForget(): boolean {
    return [...this.#followed.values()].some(({ size }) => size > 0);
  }

  /** `followed`: as in `adoptFollowed`. */
  forgetEnded(followed: Uint8Array): void {
    for (const indices of this.#followed.values())
      for (const index of indices) if (followed[index] !== 1) indices.delete(index);
  }

  /** Whom no service counts as alive. */
  dead(): Set<number> {
    const dead = new Set<number>();
    for (const index of this.#known.keys()) if (this.#living[index] === 0) dead.add(index);
    return dead;
  }
}
