/** Who of a service's backends at a site gets new flows, who may keep those it has, and who is to leave at once. Pure. */
import { isPanic, type Verdict } from '../decide/health.ts';
import type { TableMember } from './table-target.ts';

export interface Candidate {
  readonly name: string;
  readonly index: number;
  /** As configured. */
  readonly weight: number;
  readonly verdict: Verdict;
  readonly drained: boolean;
  /** Its drain's time is over. */
  readonly givenUp: boolean;
  /** `current` of some slot. */
  readonly serving: boolean;
}

export interface Choice {
  /** They get new flows. */
  readonly members: readonly TableMember[];
  /** They keep what they have. */
  readonly alive: readonly number[];
  /** They leave all slots now. */
  readonly dead: ReadonlySet<number>;
  readonly panic: boolean;
}

export function chooseMembers(candidates: readonly Candidate[], panicShare: number): Choice {
  const living = candidates.filter(({ verdict }) => verdict !== 'unhealthy');
  const panic = isPanic(candidates.length - living.length, candidates.length, panicShare);
  const usable = panic ? candidates : living;
  // Somebody new gets flows only when a probe has found it healthy. Whoever has flows keeps them until probes say no: a process that has
  // just started knows of nobody yet, and must not move what an earlier one left.
  const proven = usable.filter(({ verdict, serving }) => panic || verdict === 'healthy' || serving);
  // A table of the unproven is better than none.
  const able = proven.length > 0 ? proven : usable;
  const wanted = able.filter(({ drained }) => !drained);
  // Where all are drained nobody is: a VIP that answers is better than one that does not.
  const members = wanted.length > 0 ? wanted : able;
  const alive = usable.filter((one) => !one.givenUp || members.includes(one)).map(({ index }) => index);
  const dead = new Set(candidates.map(({ index }) => index));
  for (const index of alive) dead.delete(index);
  return { members: members.map(({ name, index, weight }) => ({ name, index, weight })), alive, dead, panic };
}
