/** Choices of plans, kept until health or capacity change: evaluating a plan costs more than looking whether anything did. */
import { hashName } from '../name-hash.ts';
import type { SteeringView } from './nearest.ts';
import { type Choices, choices } from './plan.ts';
import type { ServiceSteering } from './policy.ts';

interface Kept {
  /** By site: bit 0 up, bit 1 full, bit 2 was up. */
  readonly states: Uint8Array;
  /** Of the view that was looked at; undefined: it has none, so every site is looked at each time. */
  version: number | undefined;
  readonly choices: (Choices | undefined)[];
  readonly number: number;
  /** Answers given, by plan. */
  readonly turns: Uint32Array;
}

export class CurrentChoices {
  readonly #kept = new Map<ServiceSteering, Kept>();

  /** When other plans come, so that those of before can go. */
  clear(): void {
    this.#kept.clear();
  }

  /** The same object as long as nothing changed. Cost: a look at each site of the service; allocates nothing then. */
  of(steering: ServiceSteering, plan: number, view: SteeringView): Choices {
    const kept = this.#keptOf(steering);
    const { version } = view;
    if (version === undefined || version !== kept.version) {
      if (updateStates(kept.states, steering, view)) kept.choices.length = 0;
      kept.version = version;
    }
    kept.choices[plan] ??= choices(steering, steering.plans[plan], view);
    return kept.choices[plan];
  }

  /** Number of the next answer by a plan: its place in the cycle, over and over. */
  nextTurn(steering: ServiceSteering, plan: number): number {
    // As a signed number: one above 2^31 would be an object of its own.
    return this.#keptOf(steering).turns[plan]++ & 0x3fff_ffff;
  }

  /** The same for a plan of a service in every thread. */
  numberOf(steering: ServiceSteering, plan: number): number {
    return (this.#keptOf(steering).number + plan) | 0;
  }

  #keptOf(steering: ServiceSteering): Kept {
    const found = this.#kept.get(steering);
    if (found !== undefined) return found;
    const { sites, plans } = steering;
    const states = new Uint8Array(sites.length).fill(0xff);
    const number = hashName(steering.service, 0) | 0;
    const kept: Kept = { states, version: undefined, number, choices: [], turns: new Uint32Array(plans.length) };
    this.#kept.set(steering, kept);
    return kept;
  }
}

function updateStates(states: Uint8Array, { service, sites }: ServiceSteering, view: SteeringView): boolean {
  let isChanged = false;
  for (let site = 0; site < sites.length; site++) {
    const name = sites[site];
    const isUp = view.siteUp(service, name);
    const isFull = view.siteFull(service, name);
    const wasUp = view.siteWasUp?.(service, name) ?? false;
    const state = (isUp ? 1 : 0) | (isFull ? 2 : 0) | (wasUp ? 4 : 0);
    if (states[site] === state) continue;
    states[site] = state;
    isChanged = true;
  }
  return isChanged;
}
