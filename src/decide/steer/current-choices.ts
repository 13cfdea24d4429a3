/** Choices of plans, kept until health or capacity change: evaluating a plan costs more than looking whether anything did. */
import type { SteeringView } from './nearest.ts';
import { type Choices, choices } from './plan.ts';
import type { ServiceSteering } from './policy.ts';

interface Kept {
  /** By site: bit 0 up, bit 1 full, bit 2 was up. */
  readonly states: Uint8Array;
  readonly choices: (Choices | undefined)[];
}

export class CurrentChoices {
  readonly #kept = new Map<ServiceSteering, Kept>();

  /** When other plans come, so that those of before can go. */
  clear(): void {
    this.#kept.clear();
  }

  /** The same object as long as nothing changed. Cost: a look at each site of the service; allocates nothing then. */
  of(steering: ServiceSteering, plan: number, view: SteeringView): Choices {
    let kept = this.#kept.get(steering);
    if (kept === undefined) {
      kept = { states: new Uint8Array(steering.sites.length).fill(0xff), choices: [] };
      this.#kept.set(steering, kept);
    }
    if (updateStates(kept.states, steering, view)) kept.choices.length = 0;
    kept.choices[plan] ??= choices(steering, steering.plans[plan], view);
    return kept.choices[plan];
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
