/**
 * The lookup tables of one site, and how they change on all its balancers: two phases, deaths at once, settling only
 * where every balancer says so (docs/vip.md). What the tables should be comes from outside; this is who gets there.
 */
import { pickOrder } from '../decide/pick-order.ts';
import {
  candidates,
  createSlotTable,
  killBackend,
  markSlot,
  planChange,
  type SlotTable,
  settleSlot,
  switchSlot,
} from '../decide/slots.ts';
import { MAX_PICKS } from '../serve/vip/layout.gen.ts';
import { Breath } from './breath.ts';
import {
  allSlots,
  mayHaveKeyed,
  noteMarked,
  type ServiceTable,
  slotsToBury,
  waitingSlots,
  weightLimit,
} from './service-table.ts';
import { SharedTables, sameMembers } from './shared-tables.ts';
import { indicesIn, type TableIndices } from './slot-counts.ts';
import { LISTING_WAIT_MS } from './slot-listings.ts';
import type {
  IsReportedEmpty,
  SettleAnswer,
  SlotChange,
  TableMember,
  TableOptions,
  TableSummary,
  TableTarget,
} from './table-target.ts';

/** So many steps bring any slot to rest. */
const MAX_SETTLE_STEPS = 4;

/** A balancer that takes longer than this to acknowledge is given up for this change and reported. */
const ACKNOWLEDGE_MS = 2_000;

/** Two ticks of the kernel's clock: what looks at several balancers, each a tick coarse, can be apart. */
const SILENCE_MARGIN_MS = 9_000;

export class SiteTables {
  readonly #services = new Map<string, ServiceTable>();
  readonly #targets = new Map<string, TableTarget>();
  readonly #shared = new SharedTables();
  readonly #onUnresponsive: (target: string, error: Error) => void;
  readonly #nowMs: () => number;
  /** Ticks do not tell of what happened before: a balancer that left took its own along. */
  #silentSinceMs: number;
  /** When a balancer last left; what it had sent is on its way for a while. */
  #departedMs: number;
  #queue: Promise<void> = Promise.resolve();
  /** The number of changes published so far. */
  epoch = 0;

  /** `nowMs` may be any steady clock. Departures before this object was made are unknown, so it counts as one. */
  constructor(nowMs: () => number, onUnresponsive: (target: string, error: Error) => void) {
    this.#nowMs = nowMs;
    this.#onUnresponsive = onUnresponsive;
    this.#silentSinceMs = nowMs();
    this.#departedMs = nowMs();
  }

  /**
   * A balancer joins, or one that was given up comes back: it gets every table as it is now (or those of `subjects`), unsettled slots with
   * all their candidates. `hasTarget` tells afterwards whether it took them.
   */
  addTarget(target: TableTarget, subjects: ReadonlySet<number> | null = null): Promise<void> {
    return this.#serially(async () => {
      this.#targets.set(target.name, target);
      for (const { subject, table, picks } of this.#services.values()) {
        if (subjects !== null && !subjects.has(subject)) continue;
        await this.#publishTo([target], subject, table, allSlots(table.current.length), 'load');
        if (picks !== null) await this.#ask(target, () => target.writePicks(subject, picks));
      }
    });
  }

  /** False: it has not joined, has left, or was given up because it did not acknowledge. */
  hasTarget(name: string): boolean {
    return this.#targets.has(name);
  }

  removeTarget(name: string): Promise<void> {
    return this.#serially(async () => {
      this.#drop(name);
    });
  }

  /**
   * The members of a service from now on. New tables are loaded settled; otherwise slots change in two phases.
   * Backends in `dead` leave at once. Resolves when all balancers have acknowledged.
   */
  setMembers(
    service: string,
    options: TableOptions,
    members: readonly TableMember[],
    dead: ReadonlySet<number>,
  ): Promise<void> {
    return this.#serially(async () => {
      let entry = this.#services.get(service);
      if (entry === undefined) {
        entry = this.#create(service, options, members);
        this.#services.set(service, entry);
        await this.#load(entry);
        await this.#setPicks(entry, options, members);
        if (options.adopted === null) return;
      }
      entry.immediate = options.immediate === true;
      entry.settleAfterMs = options.settleAfterMs;
      entry.weightsOnly = options.weightsOnly === true;
      entry.settlesByReports = options.settlesByReports === true;
      entry.othersUnheard = options.othersUnheard === true;
      if (!sameMembers(entry.members, members)) {
        const before = entry.desired;
        entry.desired = this.#shared.of(entry.table.current.length, members);
        entry.differing = entry.isDone ? this.#shared.difference(before, entry.desired) : null;
        entry.isDone = false;
      }
      entry.members = members;
      // Where nobody serves no old table does: whoever the slots name leaves, be it alive.
      await this.#bury(entry, members.length > 0 ? dead : new Set(this.#indicesOf(entry).named));
      if (members.length > 0 && !entry.isDone) await this.#change(entry);
      await this.#setPicks(entry, options, members);
    });
  }

  /** After the slots: a turn that meets the dead goes on to the next, and then to the slot. */
  async #setPicks(entry: ServiceTable, options: TableOptions, members: readonly TableMember[]): Promise<void> {
    const { turns = null } = options;
    if (turns === null) {
      entry.picks = null;
      return;
    }
    const weightOf = ({ weight }: TableMember): number => (turns === 'equal' ? 1 : weight);
    const picks = pickOrder(
      members.map((member) => ({ ...member, weight: weightOf(member) })),
      MAX_PICKS,
    );
    if (entry.picks?.length === picks.length && entry.picks.every((pick, i) => pick === picks[i])) return;
    entry.picks = picks;
    const { subject } = entry;
    await Promise.all(
      [...this.#targets.values()].map((target) => this.#ask(target, () => target.writePicks(subject, picks))),
    );
  }

  removeService(service: string): Promise<void> {
    return this.#serially(async () => {
      this.#services.delete(service);
    });
  }

  /** One settling step for every table, then the changes that waited for it. Returns the slots settled. `isEmpty`: what agents report. */
  async settle(isEmpty: IsReportedEmpty = () => false): Promise<number> {
    let settled = 0;
    await this.#serially(async () => {
      const breath = new Breath();
      for (const entry of this.#services.values()) {
        await breath.take();
        settled += (await this.#settleReported(entry, isEmpty)) + (await this.#settleSilent(entry));
        if (entry.waiting + entry.held > 0) await this.#change(entry);
      }
    });
    return settled;
  }

  /**
   * Settles what may be settled now. `only`: one balancer is asked alone; then nothing settles unless it is the site's only one, and the
   * answer says what it has seen. Null: there is no such service.
   */
  async settleNow(service: string, only: string | null): Promise<SettleAnswer | null> {
    let answer: SettleAnswer | null = null;
    await this.#serially(async () => {
      const entry = this.#services.get(service);
      if (entry === undefined) return;
      const count = (flags: Uint8Array): number => flags.reduce((sum, one) => sum + one, 0);
      const unsettled = count(entry.table.unsettled);
      const notAsked = only === null ? [] : [...this.#targets.keys()].filter((name) => name !== only);
      const silent = count(await this.#silentSlots(entry, only));
      let settled = 0;
      for (let step = 0; step < MAX_SETTLE_STEPS && notAsked.length === 0; step++)
        settled += await this.#settleSilent(entry);
      if (entry.waiting + entry.held > 0) await this.#change(entry);
      answer = { unsettled, silent, settled, notAsked };
    });
    return answer;
  }

  /** True while any slot names the backend, or shall. */
  refersTo(index: number): boolean {
    for (const entry of this.#services.values())
      if (this.#indicesOf(entry).named.has(index) || entry.members.some((member) => member.index === index))
        return true;
    return false;
  }

  /** Names of the services that have a table. */
  services(): string[] {
    return [...this.#services.keys()];
  }

  table(service: string): SlotTable | undefined {
    return this.#services.get(service)?.table;
  }

  /** Whom its slots name; undefined: it has no table. */
  indices(service: string): TableIndices | undefined {
    const entry = this.#services.get(service);
    return entry === undefined ? undefined : this.#indicesOf(entry);
  }

  #indicesOf(entry: ServiceTable): TableIndices {
    entry.indices ??= indicesIn(entry.table, entry.isDone ? this.#shared.serving(entry.desired) : undefined);
    return entry.indices;
  }

  /** Slots that a change of weights alone waits for. */
  held(service: string): number {
    return this.#services.get(service)?.held ?? 0;
  }

  /** Cost O(slots). */
  summary(service: string): TableSummary | undefined {
    const entry = this.#services.get(service);
    if (entry === undefined) return undefined;
    const slotsByIndex = new Map<number, number>();
    let unsettled = 0;
    const { current, unsettled: flags } = entry.table;
    for (let slot = 0; slot < current.length; slot++) {
      const index = current[slot] as number;
      slotsByIndex.set(index, (slotsByIndex.get(index) ?? 0) + 1);
      if (flags[slot] !== 0) unsettled++;
    }
    const { subject, waiting, held } = entry;
    return { subject, slots: current.length, unsettled, waiting, held, slotsByIndex };
  }

  /** Resolves when everything asked for so far is done. */
  idle(): Promise<void> {
    return this.#queue;
  }

  #create(name: string, options: TableOptions, members: readonly TableMember[]): ServiceTable {
    const table = options.adopted ?? createSlotTable(options.slots);
    const desired = this.#shared.of(options.slots, members);
    if (options.adopted === null) table.current.set(desired);
    return {
      name,
      subject: options.subject,
      table,
      desired,
      members,
      isDone: options.adopted === null,
      differing: options.adopted === null ? [] : null,
      indices: null,
      settleAfterMs: options.settleAfterMs,
      settlesByReports: options.settlesByReports === true,
      othersUnheard: options.othersUnheard === true,
      doubtedMs: Number.NEGATIVE_INFINITY,
      publishedMs: this.#nowMs(),
      waiting: 0,
      weightsOnly: false,
      immediate: options.immediate === true,
      picks: null,
      held: 0,
      // Nobody knows why an earlier process's slots are unsettled.
      movedByWeight: options.adopted === null ? null : table.unsettled.slice(),
      closing: new Map(),
    };
  }

  async #bury(entry: ServiceTable, dead: ReadonlySet<number>): Promise<void> {
    const { table, desired } = entry;
    const alive = (index: number): boolean => index !== 0 && !dead.has(index);
    const { named } = this.#indicesOf(entry);
    const leaving = [...dead].filter((index) => named.has(index));
    if (leaving.length === 0) return;
    // `current` of a slot falls to what is desired, or to another candidate, so no slot but these differs from then on.
    entry.differing = slotsToBury(entry);
    const changes = leaving.map((index) => killBackend(table, index, alive, desired, entry.differing));
    const changed = changes.length === 1 ? (changes[0] as number[]) : [...new Set(changes.flat())];
    if (changed.length === 0) return;
    if (entry.closing.size > 0) for (const slot of changed) entry.closing.delete(slot);
    entry.isDone = false;
    await this.#publish(entry, changed, 'death');
  }

  async #change(entry: ServiceTable): Promise<void> {
    if (entry.immediate) await this.#replace(entry);
    const { table, desired } = entry;
    const limit = entry.weightsOnly ? weightLimit(entry) : null;
    const plan = planChange(table, desired, undefined, limit, entry.differing);
    const free = (slots: readonly number[]): readonly number[] =>
      entry.closing.size === 0 ? slots : slots.filter((slot) => !entry.closing.has(slot));
    const mark = free(plan.mark);
    const ready = free(plan.ready);
    entry.held = plan.held;
    entry.waiting = plan.waiting + plan.mark.length + plan.ready.length - mark.length - ready.length;
    for (const slot of mark) {
      if (table.unsettled[slot] === 0) noteMarked(entry, slot, limit);
      markSlot(table, slot, desired[slot] as number);
    }
    if (mark.length > 0) await this.#publish(entry, mark, 'mark');
    const slots = [...mark, ...ready];
    for (const slot of slots) switchSlot(table, slot, desired[slot] as number);
    if (slots.length > 0) await this.#publish(entry, slots, 'switch');
    entry.isDone = entry.waiting + entry.held === 0;
    if (entry.isDone) entry.differing = [];
  }

  /** Settled slots go over at once. One that is unsettled, from a time when flows were tracked otherwise, keeps its phases. */
  async #replace(entry: ServiceTable): Promise<void> {
    const { table, desired, subject } = entry;
    const slots: number[] = [];
    const among = entry.differing ?? allSlots(desired.length);
    for (let n = 0; n < among.length; n++) {
      const slot = among[n] as number;
      const want = desired[slot] as number;
      if (want === table.current[slot] || want === 0 || table.unsettled[slot] !== 0) continue;
      table.current[slot] = want;
      slots.push(slot);
    }
    if (slots.length === 0) return;
    this.epoch++;
    entry.indices = null;
    await this.#publishTo([...this.#targets.values()], subject, table, slots, 'switch');
  }

  /** 1 for each unsettled slot that was silent for long enough on the targets, or on `only` one of them. */
  async #silentSlots(entry: ServiceTable, only: string | null): Promise<Uint8Array> {
    const { subject, table, settleAfterMs } = entry;
    const silenceMs = settleAfterMs + SILENCE_MARGIN_MS;
    const none = new Uint8Array(table.unsettled.length);
    const may = entry.othersUnheard ? waitingSlots(entry) : table.unsettled.slice();
    const isTooEarly = () => this.#nowMs() - Math.max(this.#silentSinceMs, entry.doubtedMs) < silenceMs;
    if (isTooEarly() || !may.includes(1)) return none;
    for (const target of [...this.#targets.values()])
      if (only === null || only === target.name)
        await this.#ask(target, () => target.vetoSettling(subject, silenceMs, may));
    // Whoever was given up just now took its ticks along.
    return isTooEarly() ? none : may;
  }

  /** One step for each slot that every balancer has seen silent; a slot needs up to three rounds (decide/slots.ts). */
  async #settleSilent(entry: ServiceTable): Promise<number> {
    const { table } = entry;
    const may = await this.#silentSlots(entry, null);
    const written: number[] = [];
    let settled = 0;
    for (let slot = 0; slot < may.length; slot++) {
      if (may[slot] === 0 || entry.closing.has(slot)) continue;
      const wasClosed = table.previous[slot] === table.current[slot];
      if (settleSlot(table, slot) === 'settled') settled++;
      const isClosed = table.previous[slot] === table.current[slot];
      if (table.unsettled[slot] !== 0 && isClosed && !wasClosed) entry.closing.set(slot, new Set(this.#targets.keys()));
      else written.push(slot);
    }
    if (written.length > 0) await this.#publish(entry, written, 'settle');
    await this.#close(entry, entry.settleAfterMs + SILENCE_MARGIN_MS);
    return settled;
  }

  /**
   * One step for each slot of whose other candidates every agent has listed its connections, and none was of the slot. Each step is a
   * change like any other, so the next one waits for listings of after it (src/model/cluster-controller.ts).
   */
  async #settleReported(entry: ServiceTable, isEmpty: IsReportedEmpty): Promise<number> {
    const { table, name } = entry;
    const sinceMs = Math.max(entry.publishedMs, this.#departedMs) + LISTING_WAIT_MS;
    if (!entry.settlesByReports || this.#nowMs() < sinceMs || !table.unsettled.includes(1)) return 0;
    const written: number[] = [];
    let settled = 0;
    for (let slot = 0; slot < table.current.length; slot++) {
      if (table.unsettled[slot] === 0 || entry.closing.has(slot)) continue;
      const isOver = candidates(table, slot).every(
        (index) => index === table.current[slot] || isEmpty(name, index, slot, sinceMs),
      );
      if (!isOver) continue;
      if (settleSlot(table, slot) === 'settled') settled++;
      written.push(slot);
    }
    if (written.length > 0) await this.#publish(entry, written, 'settle');
    return settled;
  }

  /** Gives every balancer the closing step of the slots that it has not taken it for. */
  async #close(entry: ServiceTable, silenceMs: number): Promise<void> {
    for (const target of [...this.#targets.values()]) {
      const slots = [...entry.closing].filter(([, missing]) => missing.has(target.name)).map(([slot]) => slot);
      if (slots.length === 0) continue;
      const answer = await this.#ask(target, () => target.closeSlots(entry.subject, entry.table, slots, silenceMs));
      if (answer === null) continue;
      const declined = new Set(answer);
      for (const slot of slots) if (!declined.has(slot)) entry.closing.get(slot)?.delete(target.name);
    }
    for (const [slot, missing] of [...entry.closing]) {
      for (const name of missing) if (!this.#targets.has(name)) missing.delete(name);
      if (missing.size === 0) entry.closing.delete(slot);
    }
  }

  #load(entry: ServiceTable): Promise<void> {
    return this.#publish(entry, allSlots(entry.desired.length), 'load');
  }

  async #publish(entry: ServiceTable, slots: ArrayLike<number>, change: SlotChange): Promise<void> {
    this.epoch++;
    entry.indices = null;
    await this.#publishTo([...this.#targets.values()], entry.subject, entry.table, slots, change);
    entry.publishedMs = this.#nowMs();
  }

  async #publishTo(
    targets: readonly TableTarget[],
    subject: number,
    table: SlotTable,
    slots: ArrayLike<number>,
    change: SlotChange,
  ): Promise<void> {
    await Promise.all(
      targets.map((target) => this.#ask(target, () => target.writeSlots(subject, table, slots, change))),
    );
  }

  /** What a balancer answers; null: it did not, and is given up. */
  async #ask<T>(target: TableTarget, question: () => Promise<T>): Promise<T | null> {
    try {
      return await within(ACKNOWLEDGE_MS, question());
    } catch (error) {
      this.#drop(target.name);
      this.#onUnresponsive(target.name, error as Error);
      return null;
    }
  }

  /**
   * These backends have passed packets on, which the slots' balancers took for ones to `current`: no slot of services that may have sent
   * them such packets, by unsettled slots that name them, settles before its silence has passed from now on.
   */
  doubtSilence(passedOn: ReadonlySet<number>): void {
    for (const entry of this.#services.values()) {
      const { named } = this.#indicesOf(entry);
      if ([...passedOn].some((index) => named.has(index) && mayHaveKeyed(entry, index)))
        entry.doubtedMs = this.#nowMs();
    }
  }

  #drop(name: string): void {
    if (!this.#targets.delete(name)) return;
    this.#silentSinceMs = this.#nowMs();
    this.#departedMs = this.#nowMs();
  }

  #serially(step: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(step);
    this.#queue = done.catch(() => {});
    return done;
  }
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no acknowledgement within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
