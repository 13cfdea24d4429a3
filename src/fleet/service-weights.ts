/**
 * What the weights of a site's backends count for now: the configured ones, times slow start, times what the controller of the
 * service's scheduler says (decide/weights). Keeps what was reported; decides nothing by itself.
 */
import type { Service } from '../config/model.ts';
import { balanceLoad, effectiveWeight } from '../decide/weights/least-load.ts';
import { createPrediction, expectedUtilisation, observeLoad, type Prediction } from '../decide/weights/predictive.ts';
import { slowStartShare } from '../decide/weights/slow-start.ts';
import {
  type KeptService,
  type KeptWeights,
  keepPrediction,
  restorePrediction,
  type WeightStore,
} from './kept-weights.ts';
import type { Log } from './log.ts';
import type { TableMember } from './table-target.ts';

/**
 * Rounds of a controller are so far apart, and so many polls: connections take a while to come and go, and a controller that is quicker
 * than they are swings. Simulated days (decide/weights) have connections of ten rounds.
 */
const ROUND_MS = 120_000;
const POLLS_A_ROUND = 10;

export function roundMs(pollMs: number): number {
  return Math.max(ROUND_MS, POLLS_A_ROUND * pollMs);
}

/** What is known of a backend that is no member for a while, drained or down, is kept for so long, and of so many for each service. */
const ABSENT_MS = 3_600_000;
const ABSENT_MOST = 256;

/** A backend that has not reported for so many polls is silent. */
const SILENT_POLLS = 3;

export interface WeightStatus {
  /** What the lookup table is asked for. */
  readonly effective: number;
  /** Why that is not the configured weight, or that it is. */
  readonly reason: string;
  /** Last reported, 1 is full; null: no controller, or no report. */
  readonly utilisation: number | null;
}

interface MemberState {
  /** When it began to get new flows, for slow start; -Infinity: long ago. */
  beganMs: number;
  index: number;
  weight: number;
  /** Slow start is over. */
  hasStarted: boolean;
  factor: number;
  effective: number;
  /** Since the last round. */
  sum: number;
  reports: number;
  /** When it last reported, or appeared. */
  reportedMs: number;
  utilisation: number | null;
  failure: string | null;
  saysAlarm: boolean;
}

interface ServiceState {
  service: Service;
  readonly members: Map<string, MemberState>;
  /** Factors of those that were members, and since when they are not; the oldest first. */
  readonly absent: Map<string, { readonly factor: number; readonly sinceMs: number }>;
  prediction: Prediction | null;
  /** Where weights follow load: members, weights and who has started. While it is the same, only factors change. */
  key: string;
  roundMs: number;
}

export interface ServiceWeightsOptions {
  readonly site: string;
  /** A steady clock. */
  readonly nowMs: () => number;
  /** Milliseconds since 1970: the time of day counts. */
  readonly wallMs: () => number;
  readonly log: Log;
  /** Absent: nothing is kept over a restart. */
  readonly store?: WeightStore;
}

export class ServiceWeights {
  readonly #options: ServiceWeightsOptions;
  readonly #services = new Map<string, ServiceState>();
  /** What an earlier process left; null: not read yet. */
  #kept: KeptWeights | null = null;
  #rounds = 0;
  /** False: other processes run balancers of the site, and nobody could agree with them on weights that follow load. */
  mayFollowLoad = true;

  constructor(options: ServiceWeightsOptions) {
    this.#options = options;
  }

  /** Forgets all services but these. */
  keep(services: ReadonlySet<string>): void {
    for (const name of this.#services.keys()) if (!services.has(name)) this.#services.delete(name);
  }

  /**
   * The members with the weights that count now; `members` come with the configured ones. `isServing`: has slots already, so it is no
   * newcomer. `weightsOnly`: they differ from the last by what follows load and time alone; so does, as far as anybody knows, what
   * follows load from a table that is `adopted`.
   */
  weigh(
    service: Service,
    members: readonly TableMember[],
    isServing: (index: number) => boolean,
    adopted = false,
  ): { members: TableMember[]; weightsOnly: boolean } {
    const now = this.#options.nowMs();
    const state = this.#stateOf(service);
    const isNew = state.members.size === 0;
    let isSame = state.members.size === members.length;
    const names = new Set(members.map(({ name }) => name));
    for (const [name, { factor }] of state.members) {
      if (names.has(name)) continue;
      state.members.delete(name);
      state.absent.set(name, { factor, sinceMs: now });
    }
    forgetAbsent(state.absent, now);
    const weighted = members.map((member): TableMember => {
      let its = state.members.get(member.name);
      if (its === undefined) {
        // Where everybody is new nobody can carry the others' share.
        its = newMember(now, isNew || isServing(member.index));
        if (service.load !== null) its.factor = state.absent.get(member.name)?.factor ?? 1;
        state.absent.delete(member.name);
        state.members.set(member.name, its);
        isSame = false;
      }
      const { index, weight, hasStarted } = its;
      const started = slowStartShare(now - its.beganMs, service.slowStartMs);
      its.index = member.index;
      its.weight = member.weight;
      its.hasStarted = started === 1;
      isSame &&= its.index === index && its.weight === weight && its.hasStarted === hasStarted;
      its.effective = effectiveWeight(member.weight, started * its.factor);
      return { name: member.name, index: member.index, weight: its.effective };
    });
    const { key } = state;
    state.key = service.load === null ? '' : keyOf(state.members);
    const weightsOnly = service.load === null ? isSame : key === state.key || (adopted && key === '');
    return { members: weighted, weightsOnly };
  }

  #stateOf(service: Service): ServiceState {
    let state = this.#services.get(service.name);
    if (state === undefined) {
      state = this.#begin(service);
      this.#services.set(service.name, state);
    }
    state.service = service;
    if (service.scheduler !== 'predictive') state.prediction = null;
    else state.prediction ??= createPrediction();
    if (service.load === null) for (const member of state.members.values()) member.factor = 1;
    return state;
  }

  /** Goes on where an earlier process ended. */
  #begin(service: Service): ServiceState {
    const now = this.#options.nowMs();
    const state: ServiceState = {
      service,
      members: new Map(),
      absent: new Map(),
      prediction: null,
      key: '',
      roundMs: now,
    };
    if (service.load === null) return state;
    this.#kept ??= this.#options.store?.load() ?? {};
    const kept = this.#kept[service.name];
    if (kept === undefined) return state;
    for (const [name, factor] of Object.entries(kept.factors)) state.absent.set(name, { factor, sinceMs: now });
    state.key = kept.key;
    if (kept.prediction !== null) state.prediction = restorePrediction(kept.prediction);
    return state;
  }

  /** Writes down what the next process goes on with. */
  save(): void {
    const { store } = this.#options;
    const learning = [...this.#services.values()].filter(({ service }) => service.load !== null);
    if (store === undefined || learning.length === 0) return;
    store.save(Object.fromEntries(learning.map((state) => [state.service.name, keptOf(state)])));
  }

  /** A poll of a backend's load has ended: with `utilisation`, or with the reason why there is none. */
  takeReport(service: string, backend: string, utilisation: number | null, reason: string | null): void {
    const state = this.#services.get(service);
    const member = state?.members.get(backend);
    if (state === undefined || member === undefined) return;
    member.failure = reason;
    if (utilisation === null) return;
    member.sum += utilisation;
    member.reports++;
    member.reportedMs = this.#options.nowMs();
    member.utilisation = utilisation;
    if (state.prediction === null) return;
    const share = shareOf(state, member);
    const sample = { name: backend, utilisation, share };
    observeLoad(state.prediction, this.#options.wallMs(), new Set([...state.members.keys(), ...state.absent.keys()]), [
      sample,
    ]);
  }

  /**
   * Called about once a second. Gives the services of which some weight has changed, so that their tables should be looked at. `isHeld`: slots of the service still wait
   * for the last change of weights; then the controller waits too.
   */
  look(isHeld: (service: string) => boolean): string[] {
    const now = this.#options.nowMs();
    const rounds = this.#rounds;
    const changed = [...this.#services.values()].filter((state) => this.#lookAt(state, now, isHeld));
    if (this.#rounds !== rounds) this.save();
    return changed.map(({ service }) => service.name);
  }

  #lookAt(state: ServiceState, now: number, isHeld: (service: string) => boolean): boolean {
    const { service, members } = state;
    let hasChanged = false;
    for (const member of members.values()) {
      const share = slowStartShare(now - member.beganMs, service.slowStartMs);
      if (effectiveWeight(member.weight, share * member.factor) !== member.effective) hasChanged = true;
    }
    if (service.load === null) return hasChanged;
    this.#watchSilence(state, now);
    if (now - state.roundMs < roundMs(service.load.intervalMs)) return hasChanged;
    state.roundMs = now;
    this.#rounds++;
    if (this.mayFollowLoad && !isHeld(service.name) && this.#round(state)) hasChanged = true;
    for (const member of members.values()) {
      member.sum = 0;
      member.reports = 0;
    }
    return hasChanged;
  }

  /** Who is silent keeps its weight; that is worth an alarm, once. */
  #watchSilence({ service, members }: ServiceState, now: number): void {
    const limitMs = SILENT_POLLS * (service.load?.intervalMs ?? 0);
    for (const [backend, member] of members) {
      const isSilent = now - member.reportedMs > limitMs;
      if (isSilent === member.saysAlarm) continue;
      member.saysAlarm = isSilent;
      const fields = { site: this.#options.site, service: service.name, backend, reason: member.failure };
      if (isSilent) this.#options.log.warn(fields, `backend ${backend} reports no load: its weight stays`);
      else this.#options.log.info(fields, `backend ${backend} reports its load again`);
    }
  }

  /** One round of the controller. True: a factor has changed. */
  #round(state: ServiceState): boolean {
    const list = [...state.members];
    const backends = list.map(([name, member]) => ({
      weight: member.weight,
      factor: member.factor,
      utilisation: this.#utilisationOf(state, name, member),
    }));
    let hasChanged = false;
    for (const [i, factor] of balanceLoad(backends).entries()) {
      const member = (list[i] as [string, MemberState])[1];
      if (factor !== member.factor) hasChanged = true;
      member.factor = factor;
    }
    return hasChanged;
  }

  #utilisationOf(state: ServiceState, name: string, member: MemberState): number | null {
    if (member.reports === 0) return null;
    const reported = member.sum / member.reports;
    if (state.prediction === null) return reported;
    return expectedUtilisation(state.prediction, name, shareOf(state, member)) ?? reported;
  }

  status(service: string, backend: string): WeightStatus | null {
    const state = this.#services.get(service);
    const member = state?.members.get(backend);
    if (state === undefined || member === undefined) return null;
    return { effective: member.effective, reason: this.#why(state, member), utilisation: member.utilisation };
  }

  #why({ service, prediction }: ServiceState, member: MemberState): string {
    const reasons: string[] = [];
    const started = slowStartShare(this.#options.nowMs() - member.beganMs, service.slowStartMs);
    if (started < 1) reasons.push(`slow start, ${Math.round(100 * started)} %`);
    if (service.load !== null) {
      const times = `x ${member.factor.toFixed(2)}`;
      if (!this.mayFollowLoad) reasons.push('configured: other processes run balancers of the site');
      else if (member.saysAlarm) reasons.push(`stays at ${times}: ${member.failure ?? 'no load report'}`);
      else if (prediction?.isTrusted) reasons.push(`forecast load, ${times}`);
      else reasons.push(`reported load${prediction === null ? '' : ' (no forecast to trust)'}, ${times}`);
    }
    return reasons.length === 0 ? 'configured' : reasons.join('; ');
  }

  /** What is wrong, a sentence each. */
  problems(): string[] {
    const list: string[] = [];
    for (const { service, members } of this.#services.values())
      for (const [backend, { saysAlarm, failure }] of members)
        if (saysAlarm)
          list.push(
            `backend ${backend} reports no load for ${service.name}, so its weight stays: ${failure ?? 'not polled'}`,
          );
    return list;
  }
}

/** Of members, and of those who may be again. */
function keptOf({ key, members, absent, prediction }: ServiceState): KeptService {
  const factors = [...absent, ...members].map(([name, { factor }]) => [name, factor] as const);
  return {
    key,
    factors: Object.fromEntries(factors),
    prediction: prediction === null ? null : keepPrediction(prediction),
  };
}

function keyOf(members: ServiceState['members']): string {
  const parts = Array.from(
    members,
    ([name, { index, weight, hasStarted }]) => `${name} ${index} ${weight} ${hasStarted}`,
  );
  return parts.sort().join('\n');
}

function forgetAbsent(absent: ServiceState['absent'], now: number): void {
  for (const [name, { sinceMs }] of absent)
    if (now - sinceMs > ABSENT_MS || absent.size > ABSENT_MOST) absent.delete(name);
}

function newMember(now: number, isOld: boolean): MemberState {
  return {
    beganMs: isOld ? Number.NEGATIVE_INFINITY : now,
    index: 0,
    weight: 1,
    hasStarted: false,
    factor: 1,
    effective: 1,
    sum: 0,
    reports: 0,
    reportedMs: now,
    utilisation: null,
    failure: null,
    saysAlarm: false,
  };
}

function shareOf({ members }: ServiceState, { effective }: MemberState): number {
  let sum = 0;
  for (const one of members.values()) sum += one.effective;
  return sum === 0 ? 0 : effective / sum;
}
