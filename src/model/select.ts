/**
 * Which backend a packet of an unsettled slot goes to: the pure heart of bpf/select.h, shared by the model of the packet
 * path and the model of several balancers. Reads and writes the connection table and pressure windows given to it.
 */
import {
  type ConnectionTable,
  entryAge,
  entryBackend,
  type FlowPlaces,
  findEntry,
  touchEntry,
  touchEntryFully,
} from './connections.ts';
import { INSERTED_EVENTS, insertFlow, type PacketKind } from './insert.ts';
import { BACKEND_AGENT, BACKEND_ALIVE, type Clock, EVENT_KEYED, type Outcome, YOUNG_TICKS } from './layout.ts';
import type { PressureLimits, PressureWords } from './pressure.ts';

/** What the choice depends on. One object may be used again and again. */
export interface SelectRequest {
  current: number;
  previous: number;
  third: number;
  kind: PacketKind;
  flow: FlowPlaces;
  clock: Clock;
  /** UDP: the slot's adoption time has not passed. */
  adopting: boolean;
  limits: PressureLimits;
  /** The longest lifetime of any service. */
  reclaimTicks: number;
  connections: ConnectionTable;
  pressure: PressureWords;
  /** BACKEND_ALIVE and so on, by backend index. */
  backendFlags: ArrayLike<number>;
}

export interface Selection {
  /** 0: nobody; the outcome is `no-backend`. */
  backend: number;
  outcome: Outcome;
  /** Bits EVENT_*. */
  events: number;
  /** The slot's tick is to be written: the flow is, or may be, elsewhere than on `current`. */
  touchesSlot: boolean;
  /** Other candidates for the backend's second chance, 0: none. */
  firstOther: number;
  secondOther: number;
}

/** The rules that the model of several balancers takes out, to show that they are needed. */
export interface SelectRules {
  readonly untrackedGoesTo: 'previous' | 'current';
  readonly youngBy: 'syn' | 'any packet';
  readonly untrackedTouchesSlot: boolean;
}

export const SELECT_RULES: SelectRules = { untrackedGoesTo: 'previous', youngBy: 'syn', untrackedTouchesSlot: true };

export function createSelection(): Selection {
  return { backend: 0, outcome: 'no-backend', events: 0, touchesSlot: false, firstOther: 0, secondOther: 0 };
}

/** Fills `selection`. Cost: two buckets of the connection table. */
export function selectBackend(request: SelectRequest, selection: Selection, rules = SELECT_RULES): void {
  selection.events = 0;
  choose(request, selection, rules);
  if (selection.backend === 0) {
    selection.outcome = 'no-backend';
    selection.touchesSlot = false;
    selection.firstOther = 0;
    selection.secondOther = 0;
    return;
  }
  selection.touchesSlot =
    selection.backend !== request.current || (rules.untrackedTouchesSlot && selection.outcome === 'untracked');
  nameOthers(request, selection);
}

function isAlive(request: SelectRequest, index: number): boolean {
  return index !== 0 && (request.backendFlags[index] & BACKEND_ALIVE) !== 0;
}

function choose(request: SelectRequest, selection: Selection, rules: SelectRules): void {
  const { current, previous, kind, connections } = request;
  const ticks = request.clock.high;
  const isSyn = kind === 'syn';
  const place = findEntry(connections, request.flow);
  let isValid = false;
  if (place >= 0) {
    const owner = entryBackend(connections, place);
    const age = entryAge(connections, place, ticks);
    isValid = age <= request.limits.lifetimeTicks && isCandidate(request, owner) && isAlive(request, owner);
    if (isValid && (!isSyn || age <= YOUNG_TICKS || owner === current)) {
      if (rules.youngBy === 'syn') touchEntry(connections, place, ticks, isSyn);
      else touchEntryFully(connections, place, ticks);
      selection.backend = owner;
      selection.outcome = 'tracked';
      return;
    }
  }
  const isOldHome = rules.untrackedGoesTo === 'previous' && isAlive(request, previous);
  const fallback = isOldHome ? previous : current;
  selection.backend = fallback;
  selection.outcome = 'untracked';
  if (kind === 'tcp') return;
  const adopts = kind === 'udp' && request.adopting;
  const target = !adopts && isAlive(request, current) ? current : fallback;
  if (target === 0) return;
  selection.events |= insertFlow(request, place, isValid, target, 0);
  if ((selection.events & INSERTED_EVENTS) === 0) return;
  selection.backend = target;
  selection.outcome = adopts ? 'adopted' : 'new';
}

function isCandidate(request: SelectRequest, index: number): boolean {
  return index !== 0 && (index === request.current || index === request.previous || index === request.third);
}

/** The live candidates other than the chosen one, `previous` first: where a backend with the agent may hand the packet on to. */
function nameOthers(request: SelectRequest, selection: Selection): void {
  selection.firstOther = 0;
  selection.secondOther = 0;
  if ((request.backendFlags[selection.backend] & BACKEND_AGENT) === 0) return;
  nameOther(request, selection, request.previous);
  nameOther(request, selection, request.current);
  nameOther(request, selection, request.third);
  orderOthers(request.backendFlags, selection);
  if (selection.firstOther !== 0) selection.events |= EVENT_KEYED;
}

/** What comes to a backend without the agent goes no further: such a one is the last. */
export function orderOthers(backendFlags: ArrayLike<number>, selection: Selection): void {
  const { firstOther, secondOther } = selection;
  const hasAgent = (index: number): boolean => (backendFlags[index] & BACKEND_AGENT) !== 0;
  if (secondOther === 0 || hasAgent(firstOther)) return;
  selection.firstOther = hasAgent(secondOther) ? secondOther : firstOther;
  selection.secondOther = hasAgent(secondOther) ? firstOther : 0;
}

function nameOther(request: SelectRequest, selection: Selection, index: number): void {
  if (index === selection.backend || index === selection.firstOther || selection.secondOther !== 0) return;
  if (!isAlive(request, index)) return;
  if (selection.firstOther === 0) selection.firstOther = index;
  else selection.secondOther = index;
}
