/**
 * The slots of a lookup table as the control side sees them, and the only ways in which they change.
 *
 * A slot names up to three backends (12-bit indices, 0: none) and is settled or unsettled:
 * - settled: every packet goes to `current`; `previous` and `third` are 0;
 * - unsettled: tracked flows go where they are tracked, new ones to `current`, untracked ones to `previous`.
 *
 * What every transition keeps (design 2; src/model/cluster.ts tries to break it):
 * - Untracked means previous: `previous` changes only when it dies, or in the closing step of settling.
 * - Two phases: a backend that is no candidate of the slot yet becomes `current` only after every balancer has
 *   acknowledged the mark. A death alone does not wait: whoever has not heard of it sends to the dead.
 * - No live candidate is ever left out, except by `settleSlot`, which the caller may call only where it is known that
 *   nothing is left there.
 * - A slot becomes settled only by `settleSlot`, never because two fields are equal.
 * - `current` is 0 only where the slot names nobody at all.
 *
 * Everything here is plain data in, plain data out; no transition allocates.
 */

export interface SlotTable {
  readonly current: Uint16Array;
  readonly previous: Uint16Array;
  readonly third: Uint16Array;
  /** 1: unsettled. */
  readonly unsettled: Uint8Array;
}

/** `settled-same`: nothing to do. `ready`: a candidate already, may be switched to. `waits`: would need a fourth. */
export type MarkResult = 'settled-same' | 'marked' | 'ready' | 'waits';

/** `narrowed`: one step nearer; to be published and acknowledged before the next. */
export type SettleResult = 'settled' | 'narrowed';

export interface ChangePlan {
  /** Slots that get a new candidate: phase one. */
  readonly mark: readonly number[];
  /** Slots whose wanted backend is a candidate already. */
  readonly ready: readonly number[];
  /** Slots that must wait until they have room for another candidate. */
  readonly waiting: number;
  /** Slots that wait because only weights changed, and enough slots are unsettled for that. */
  readonly held: number;
}

/** What a change of weights alone may do: it moves settled slots, and not many at a time. */
export interface WeightLimit {
  /** Settled slots that may become unsettled. */
  readonly room: number;
  /** Whether the backend still serves: a slot of one that does not moves as in any other change. */
  readonly serves: (index: number) => boolean;
}

/** A table of `slots` settled slots that name nobody. */
export function createSlotTable(slots: number): SlotTable {
  return {
    current: new Uint16Array(slots),
    previous: new Uint16Array(slots),
    third: new Uint16Array(slots),
    unsettled: new Uint8Array(slots),
  };
}

/** The unsettled slots, ascending. */
export function unsettledSlots({ unsettled }: SlotTable): number[] {
  const slots: number[] = [];
  const first = unsettled.indexOf(1);
  if (first < 0) return slots;
  for (let slot = first; slot < unsettled.length; slot++) if (unsettled[slot] !== 0) slots.push(slot);
  return slots;
}

/** The distinct backends that flows of slot `i` may be on: `previous`, `current`, `third`, without 0. */
export function candidates(table: SlotTable, i: number): number[] {
  const current = table.current[i] as number;
  if (table.unsettled[i] === 0) return current === 0 ? [] : [current];
  const list: number[] = [];
  for (const index of [table.previous[i] as number, current, table.third[i] as number])
    if (index !== 0 && !list.includes(index)) list.push(index);
  return list;
}

/** What `markSlot` would return for `want` (1 .. 4095), without changing anything. */
export function markResult(table: SlotTable, i: number, want: number): MarkResult {
  const current = table.current[i] as number;
  if (current === want) return table.unsettled[i] === 0 ? 'settled-same' : 'ready';
  if (table.unsettled[i] === 0 || current === 0) return 'marked';
  const previous = table.previous[i] as number;
  const third = table.third[i] as number;
  if (third === want) return 'ready';
  const thirdIsFree = third === 0 || third === current || third === previous;
  // `current` moves to `third` when `previous` becomes `current` again: that place must be free.
  if (previous === want) return thirdIsFree ? 'ready' : 'waits';
  return thirdIsFree ? 'marked' : 'waits';
}

/**
 * Phase one: makes `want` (1 .. 4095) a candidate of slot `i`; `current` stays. A slot that names nobody has no
 * flows and takes `want` at once. `switchSlot` may follow when every balancer has acknowledged the slot as it is now.
 */
export function markSlot(table: SlotTable, i: number, want: number): MarkResult {
  if (!(want > 0)) throw new Error(`slot ${i}: no backend to change to`);
  const result = markResult(table, i, want);
  if (result !== 'marked') return result;
  const current = table.current[i] as number;
  if (current === 0) {
    table.current[i] = want;
    if (table.unsettled[i] !== 0) table.previous[i] = want;
    return result;
  }
  if (table.unsettled[i] === 0) {
    table.previous[i] = current;
    table.unsettled[i] = 1;
  }
  table.third[i] = want;
  return result;
}

/**
 * Phase two: new flows of slot `i` go to `want` from now on. `previous` stays, and the old `current` stays a candidate.
 * Only after a mark that returned `marked` or `ready` and that every balancer has acknowledged.
 */
export function switchSlot(table: SlotTable, i: number, want: number): void {
  const current = table.current[i] as number;
  if (current === want) return;
  const result = markResult(table, i, want);
  if (table.unsettled[i] === 0 || result !== 'ready')
    throw new Error(`slot ${i}: ${want} is not marked as the next current`);
  table.current[i] = want;
  table.third[i] = current === table.previous[i] ? 0 : current;
}

/**
 * Takes the dead backend out of every slot, at once and in one phase. `alive` says who may take over; `desired` is
 * the lookup table of those who live (0: nobody). Returns the slots that changed, ascending. Cost O(slots), or that of `among`:
 * slots, ascending, beside which none names it.
 * With several deaths at a time call it once for each; `alive` must be false for all of them from the first call on.
 */
export function killBackend(
  table: SlotTable,
  dead: number,
  alive: (index: number) => boolean,
  desired: Uint16Array,
  among: ArrayLike<number> | null = null,
): number[] {
  const changed: number[] = [];
  if (dead === 0) return changed;
  const count = among === null ? table.current.length : among.length;
  for (let n = 0; n < count; n++) {
    const i = among === null ? n : (among[n] as number);
    if (table.current[i] === dead) {
      if (table.unsettled[i] === 0) table.current[i] = desired[i] as number;
      else replaceDeadCurrent(table, i, dead, alive, desired[i] as number);
    } else if (table.previous[i] === dead) {
      table.previous[i] = table.current[i] as number;
      if (table.third[i] === dead) table.third[i] = 0;
    } else if (table.third[i] === dead) {
      table.third[i] = 0;
    } else continue;
    changed.push(i);
  }
  return changed;
}

function replaceDeadCurrent(
  table: SlotTable,
  i: number,
  dead: number,
  alive: (index: number) => boolean,
  choice: number,
): void {
  const previous = table.previous[i] as number;
  const third = table.third[i] as number;
  const may = (index: number): boolean => index !== 0 && index !== dead && alive(index);
  const next = may(previous) ? previous : may(third) ? third : choice;
  table.current[i] = next;
  // A dead `previous` has no flows: untracked ones went to whom it had as successor, which is `current`.
  if (!may(previous)) table.previous[i] = next;
  if (!may(third) || third === next) table.third[i] = 0;
}

/**
 * One step towards settled, for an unsettled slot whose backends other than `current` have no connection any more
 * (as far as is known: all balancers silent, or the agents' reports) and which every balancer has acknowledged as it
 * is now. A slot is not settled in one go, because until `previous` is `current` a new flow that cannot be inserted may
 * still land on `previous`, between the look and the deed. So: three different candidates lose `third`; then
 * `previous` becomes `current`, the old one staying as `third` (closed: no new flow goes elsewhere than to `current`);
 * then, looked at anew, the slot is settled. Each step is published, and acknowledged, before the next look.
 */
export function settleSlot(table: SlotTable, i: number): SettleResult {
  if (table.unsettled[i] === 0) return 'settled';
  const current = table.current[i] as number;
  const previous = table.previous[i] as number;
  const third = table.third[i] as number;
  if (previous !== current && previous !== 0) {
    if (third !== 0 && third !== current && third !== previous) {
      table.third[i] = 0;
    } else {
      table.third[i] = previous;
      table.previous[i] = current;
    }
    return 'narrowed';
  }
  table.previous[i] = 0;
  table.third[i] = 0;
  table.unsettled[i] = 0;
  return 'settled';
}

/**
 * Which slots of `table` can go towards `desired` now; changes nothing. Slots whose `desired` is 0 stay as they are.
 * At most `limit` slots are named in `mark` and `ready` together; those beyond it are in neither and not waiting.
 * `weights`: only weights have changed. `among`: slots, ascending, beside which all have what is desired.
 */
export function planChange(
  table: SlotTable,
  desired: Uint16Array,
  limit = Number.POSITIVE_INFINITY,
  weights: WeightLimit | null = null,
  among: ArrayLike<number> | null = null,
): ChangePlan {
  const mark: number[] = [];
  const ready: number[] = [];
  let waiting = 0;
  let held = 0;
  let room = weights?.room ?? 0;
  const count = among === null ? desired.length : among.length;
  for (let n = 0; n < count; n++) {
    const i = among === null ? n : (among[n] as number);
    const want = desired[i] as number;
    if (want === 0 || want === table.current[i]) continue;
    if (weights?.serves(table.current[i] as number) && (table.unsettled[i] !== 0 || --room < 0)) {
      held++;
      continue;
    }
    const result = markResult(table, i, want);
    if (result === 'waits') waiting++;
    else if (mark.length + ready.length >= limit) continue;
    else if (result === 'marked') mark.push(i);
    else ready.push(i);
  }
  return { mark, ready, waiting, held };
}
