/** Services that track every flow: bpf/tracked.h. */

import { slotFields, slotHigh, tickOf } from '../decide/slot-word.ts';
import { TCP_RST } from '../net/packet.ts';
import { entryAge, entryBackend, entryLimit, entryState, findEntry, setState } from './connections.ts';
import { INSERTED_EVENTS, insertFlow, type Newcomer, type PacketKind } from './insert.ts';
import {
  BACKEND_AGENT,
  BACKEND_ALIVE,
  EVENT_KEYED,
  REOPEN_TICKS,
  SCHEDULER_LEAST_CONNECTIONS,
  STATE_CLOSING,
  STATE_COUNTED,
  STATE_ENDED,
  STATE_OPEN,
  STATE_OPENING,
  STATE_PHASE,
} from './layout.ts';
import { isAdopting } from './pressure.ts';
import { type ScheduleRequest, schedule } from './schedule.ts';
import { orderOthers, type Selection } from './select.ts';

export interface TrackedRequest extends Newcomer, ScheduleRequest {
  readonly kind: PacketKind;
  /** TCP_FIN, TCP_RST or both. */
  readonly ends: number;
  /** An ICMP error about the flow. */
  readonly isError: boolean;
  /** Least-connections: both slots of the flow; otherwise the first, and -1. */
  readonly firstSlot: number;
  readonly secondSlot: number;
}

/** What a slot names; a settled one has neither previous nor third. */
interface Candidates {
  readonly current: number;
  readonly previous: number;
  readonly third: number;
  readonly isUnsettled: boolean;
}

const NOBODY: Candidates = { current: 0, previous: 0, third: 0, isUnsettled: false };

function candidatesOf(words: Uint32Array, slot: number): Candidates {
  if (slot < 0 || 2 * slot >= words.length) return NOBODY;
  const { current, previous, third, tick } = slotFields(words[2 * slot], words[2 * slot + 1]);
  return tick === 0
    ? { current, previous: 0, third: 0, isUnsettled: false }
    : { current, previous, third, isUnsettled: true };
}

/** Fills `selection`; writes ticks itself, so `touchesSlot` stays false. */
export function selectTracked(request: TrackedRequest, selection: Selection): void {
  const { words, firstSlot, secondSlot, clock } = request;
  const first = candidatesOf(words, firstSlot);
  const second = candidatesOf(words, secondSlot);
  selection.events = 0;
  selection.touchesSlot = false;
  selection.firstOther = 0;
  selection.secondOther = 0;
  choose(request, selection, first, second);
  if (selection.backend === 0) {
    selection.outcome = 'no-backend';
    return;
  }
  if (request.scheduler !== SCHEDULER_LEAST_CONNECTIONS) return;
  nameOthers(request, selection, first, second);
  const isElsewhere = selection.backend !== first.current && selection.backend !== second.current;
  if (selection.outcome !== 'untracked' && !isElsewhere) return;
  touchSlot(words, firstSlot, clock.high);
  touchSlot(words, secondSlot, clock.high);
}

function isAlive({ backendFlags }: TrackedRequest, index: number): boolean {
  return index !== 0 && (backendFlags[index] & BACKEND_ALIVE) !== 0;
}

function choose(request: TrackedRequest, selection: Selection, first: Candidates, second: Candidates): void {
  const { connections, flow, clock, kind } = request;
  const place = findEntry(connections, flow);
  let isValid = false;
  if (place >= 0) {
    const owner = entryBackend(connections, place);
    const limit = entryLimit(connections, place, request.limits.lifetimeTicks);
    isValid = entryAge(connections, place, clock.high) <= limit && isAlive(request, owner);
    const isOver =
      kind === 'syn' &&
      isEnding(entryState(connections, place)) &&
      entryAge(connections, place, clock.high) > REOPEN_TICKS;
    // A SYN that meets an open connection may be anybody's, as may FIN and RST: it does not move it.
    if (isValid && !isOver) {
      follow(request, place);
      selection.backend = owner;
      selection.outcome = 'tracked';
      return;
    }
  }
  if (!request.isError && kind !== 'tcp') {
    const adopts = kind === 'udp' && isAdopting(request.pressure, clock);
    const picked = adopts ? homeOf(request, first, second) : schedule(request, first.current, second.current);
    if (picked !== 0) {
      selection.events = insertFlow(request, place, isValid, picked, STATE_OPENING | countedFlag(request));
      selection.backend = picked;
      selection.outcome = adopts ? 'adopted' : 'new';
      if ((selection.events & INSERTED_EVENTS) !== 0) return;
    }
  }
  selection.backend = homeOf(request, first, second);
  selection.outcome = 'untracked';
}

/** Of entries that are counted; 0 for services that need no counts. */
function countedFlag({ scheduler }: TrackedRequest): number {
  return scheduler === SCHEDULER_LEAST_CONNECTIONS ? STATE_COUNTED : 0;
}

function isEnding(state: number): boolean {
  return (state & STATE_PHASE) === STATE_CLOSING || (state & STATE_ENDED) !== 0;
}

/** What a packet of the flow does to its entry. */
function follow(request: TrackedRequest, place: number): void {
  const { connections, kind, clock } = request;
  if (request.isError) return;
  const before = entryState(connections, place);
  const state = nextState(request, before);
  setState(connections, place, state, clock.high, kind === 'syn', request.ends !== 0 && state !== before);
}

/** A FIN ends what the client says, not what it may wait for. An RST may be forged: whatever comes behind it shows that the connection lives. */
function nextState(request: TrackedRequest, state: number): number {
  const { ends, kind } = request;
  const phase = state & STATE_PHASE;
  const ended = state & STATE_ENDED;
  if ((ends & TCP_RST) !== 0) return STATE_CLOSING | ended;
  if (ends !== 0) return (phase === STATE_CLOSING ? STATE_CLOSING : STATE_OPEN) | STATE_ENDED;
  if (kind === 'syn') return isEnding(state) ? STATE_OPENING | countedFlag(request) : state;
  if (phase === STATE_CLOSING) return STATE_OPEN | (ended !== 0 ? ended : countedFlag(request));
  return phase === STATE_OPENING ? STATE_OPEN | (state & ~STATE_PHASE) : state;
}

function homeOf(request: TrackedRequest, first: Candidates, second: Candidates): number {
  if (isAlive(request, first.previous)) return first.previous;
  return isAlive(request, first.current) || !isAlive(request, second.current) ? first.current : second.current;
}

/** The live candidates of both slots other than the chosen: two at most. */
function nameOthers(request: TrackedRequest, selection: Selection, first: Candidates, second: Candidates): void {
  if ((request.backendFlags[selection.backend] & BACKEND_AGENT) === 0) return;
  const list = [first.previous, first.current, second.current, second.previous, first.third, second.third];
  for (const index of list) {
    if (index === selection.backend || index === selection.firstOther || selection.secondOther !== 0) continue;
    if (!isAlive(request, index)) continue;
    if (selection.firstOther === 0) selection.firstOther = index;
    else selection.secondOther = index;
  }
  orderOthers(request.backendFlags, selection);
  if (selection.firstOther !== 0) selection.events |= EVENT_KEYED;
}

function touchSlot(words: Uint32Array, slot: number, ticks: number): void {
  if (!candidatesOf(words, slot).isUnsettled) return;
  const { third, generation } = slotFields(words[2 * slot], words[2 * slot + 1]);
  words[2 * slot + 1] = slotHigh(third, generation, tickOf(ticks));
}
