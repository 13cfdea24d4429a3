/**
 * Weights are kept in predicted demand, not in queries: one answer to a large resolver moves all its users for a TTL. So whole units (a
 * resolver, a prefix) are assigned to the parts of a weighted policy, and stay there as long as the weights are met nearly enough.
 */
import { hashName } from '../name-hash.ts';

export interface Unit {
  /** The prefix in text. */
  readonly key: string;
  /** Predicted, above 0. */
  readonly demand: number;
}

export interface WeightedPart {
  /** Names parts over time: a unit is found again in the part of the same name. */
  readonly name: string;
  /** 0: nobody is assigned to it. */
  readonly weight: number;
}

export interface AssignOptions {
  /** Units of two services are spread in different ways. */
  readonly seed: string;
  /** A unit with a larger share of the demand is split over several parts. */
  readonly splitShare: number;
  /** Names of the parts that units had. */
  readonly previous: ReadonlyMap<string, readonly string[]>;
}

/** Indexes of parts; several: the unit is split evenly over them. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

/** Nothing moves as long as every part is so near to its weight, as a share of all demand. */
const STAY_SHARE = 0.005;
/** What is moved is moved until every part is so near, where the sizes of units allow it. */
const REACHED_SHARE = 0.0025;
/** Each moves a unit or swaps two, and brings two parts nearer to their weights. */
const MAX_MOVES = 100_000;
const ROUNDING = 1e-9;
/** A swap that brings so much of what could be brought is good enough. */
const ENOUGH = 0.9;

/**
 * Units that had a part keep it, new ones go where a hash of unit and part says; then as few units as possible move, the largest that fit
 * first. What was the outcome once stays the outcome when it is given as `previous`. Cost: for each move a few binary searches.
 */
export function assignUnits(
  units: readonly Unit[],
  parts: readonly WeightedPart[],
  options: AssignOptions,
): Assignment {
  let { previous } = options;
  for (let round = 1; ; round++) {
    const assignment = assignOnce(units, parts, { ...options, previous });
    // Given where everybody is now, split units may find a better place. Each round comes nearer to the weights.
    const isSettled = units.every(({ key }) => isAt(parts, assignment.get(key) ?? [], previous.get(key) ?? []));
    if (isSettled || round === MAX_ROUNDS) return assignment;
    previous = new Map([...assignment].map(([key, at]) => [key, at.map((part) => parts[part].name)]));
  }
}

const MAX_ROUNDS = 32;

function isAt(parts: readonly WeightedPart[], at: readonly number[], names: readonly string[]): boolean {
  return at.length === names.length && at.every((part, index) => parts[part].name === names[index]);
}

function assignOnce(units: readonly Unit[], parts: readonly WeightedPart[], options: AssignOptions): Assignment {
  const kept = new Balance(units, parts, options);
  kept.placeAll(false);
  kept.balance();
  if (kept.error() <= 2 * STAY_SHARE || !kept.hasSplit) return kept.assignment();
  // Split units stood in the way.
  const anew = new Balance(units, parts, options);
  anew.placeAll(true);
  anew.balance();
  return (anew.error() < kept.error() - ROUNDING ? anew : kept).assignment();
}

interface Placed {
  readonly unit: Unit;
  /** Had no part before, so that moving it moves nobody. */
  readonly isNew: boolean;
}

class Balance {
  hasSplit = false;
  readonly #units: readonly Unit[];
  readonly #parts: readonly WeightedPart[];
  readonly #options: AssignOptions;
  readonly #total: number;
  readonly #targets: readonly number[];
  readonly #loads: number[];
  /** Whole units by part, the largest first. */
  readonly #whole: Placed[][];
  readonly #split = new Map<string, readonly number[]>();

  constructor(units: readonly Unit[], parts: readonly WeightedPart[], options: AssignOptions) {
    this.#units = units.toSorted(largestFirst);
    this.#parts = parts;
    this.#options = options;
    this.#total = units.reduce((sum, { demand }) => sum + demand, 0);
    const sum = parts.reduce((all, { weight }) => all + weight, 0);
    this.#targets = parts.map(({ weight }) => (weight / sum) * this.#total);
    this.#loads = parts.map(() => 0);
    this.#whole = parts.map(() => []);
  }

  /** `splitAnew`: units that are split forget what they had. */
  placeAll(splitAnew: boolean): void {
    const indexes = new Map(this.#parts.map(({ name }, index) => [name, index]));
    const large: Unit[] = [];
    const fresh: Unit[] = [];
    for (const unit of this.#units) {
      const isLarge = unit.demand > this.#options.splitShare * this.#total * (1 + ROUNDING);
      const had = this.#options.previous.get(unit.key)?.map((name) => indexes.get(name) ?? -1) ?? [];
      const isKnown = had.length > 0 && had.every((part) => part >= 0 && this.#parts[part].weight > 0);
      if (isLarge && (splitAnew || !isKnown)) large.push(unit);
      else if (isLarge) this.#addSplit(unit, had);
      else if (isKnown && had.length === 1) this.#add({ unit, isNew: false }, had[0]);
      else fresh.push(unit);
    }
    for (const unit of large) this.#addSplit(unit, this.#bestSplit(unit));
    for (const unit of fresh) this.#add({ unit, isNew: true }, this.#drawnPart(unit));
  }

  #add(placed: Placed, part: number): void {
    const list = this.#whole[part];
    list.splice(firstNotLarger(list, placed.unit), 0, placed);
    this.#loads[part] += placed.unit.demand;
  }

  #addSplit(unit: Unit, parts: readonly number[]): void {
    this.hasSplit = true;
    this.#split.set(unit.key, parts);
    for (const part of parts) this.#loads[part] += unit.demand / parts.length;
  }

  /** Weighted rendezvous hashing: when weights change, few units draw another part. */
  #drawnPart({ key }: Unit): number {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const [index, { name, weight }] of this.#parts.entries()) {
      if (weight <= 0) continue;
      const draw = (hashName(`${this.#options.seed}\n${key}\n${name}`, 0x5eed) + 0.5) / 2 ** 32;
      const score = weight / -Math.log(draw);
      if (score > bestScore) [best, bestScore] = [index, score];
    }
    return best;
  }

  /** As many parts as the unit may burden without going far above their weights; the fewest of equal ones. */
  #bestSplit(unit: Unit): number[] {
    const room = (part: number) => this.#targets[part] - this.#loads[part];
    const byRoom = this.#parts.map((_, index) => index).filter((index) => this.#parts[index].weight > 0);
    byRoom.sort((a, b) => room(b) - room(a) || a - b);
    let best = 1;
    let leastExcess = Number.POSITIVE_INFINITY;
    for (let count = 1; count <= byRoom.length; count++) {
      const excess = Math.max(0, unit.demand / count - room(byRoom[count - 1]));
      if (excess < leastExcess - ROUNDING * this.#total) [best, leastExcess] = [count, excess];
    }
    return byRoom.slice(0, best);
  }

  /** The largest distance of a part from its weight, as a share of all demand. */
  error(): number {
    const distances = this.#loads.map((load, part) => Math.abs(load - this.#targets[part]));
    return this.#total === 0 ? 0 : Math.max(...distances) / this.#total;
  }

  balance(): void {
    // Who had no part before can go anywhere.
    this.#move(({ isNew }) => isNew);
    if (this.error() > STAY_SHARE) this.#move(() => true);
  }

  #move(mayMove: (placed: Placed) => boolean): void {
    for (let moves = 0; moves < MAX_MOVES && this.error() > REACHED_SHARE; moves++) if (!this.#moveOne(mayMove)) return;
  }

  /** From a part with too much to one with too little, the farthest first. */
  #moveOne(mayMove: (placed: Placed) => boolean): boolean {
    const excess = (part: number) => this.#loads[part] - this.#targets[part];
    const byExcess = this.#parts.map((_, index) => index).sort((a, b) => excess(b) - excess(a) || a - b);
    for (const from of byExcess) {
      for (const to of byExcess.toReversed()) {
        const room = Math.min(excess(from), -excess(to));
        if (room <= ROUNDING * this.#total) break;
        if (
          this.#parts[to].weight > 0 &&
          (this.#moveUnit(from, to, room, mayMove) || this.#swapUnits(from, to, room, mayMove))
        )
          return true;
      }
    }
    return false;
  }

  #moveUnit(from: number, to: number, room: number, mayMove: (placed: Placed) => boolean): boolean {
    const list = this.#whole[from];
    const first = list.findIndex((placed) => placed.unit.demand <= room && mayMove(placed));
    if (first < 0) return false;
    this.#shift(from, to, first);
    return true;
  }

  #shift(from: number, to: number, index: number): void {
    const [placed] = this.#whole[from].splice(index, 1);
    this.#loads[from] -= placed.unit.demand;
    this.#add(placed, to);
  }

  /** Where every unit is too large: two whose difference fits best. */
  #swapUnits(from: number, to: number, room: number, mayMove: (placed: Placed) => boolean): boolean {
    const [ours, theirs] = [this.#whole[from], this.#whole[to]];
    let best = { gain: ROUNDING * this.#total, our: -1, their: -1 };
    for (let our = 0; our < ours.length && best.gain < room * ENOUGH; our++) {
      if (!mayMove(ours[our])) continue;
      const { demand } = ours[our].unit;
      for (let their = firstBelow(theirs, demand); their < theirs.length; their++) {
        const gain = demand - theirs[their].unit.demand;
        if (gain > room) break;
        if (gain > best.gain && mayMove(theirs[their])) best = { gain, our, their };
      }
    }
    if (best.our < 0) return false;
    const [placed] = ours.splice(best.our, 1);
    this.#loads[from] -= placed.unit.demand;
    this.#shift(to, from, best.their);
    this.#add(placed, to);
    return true;
  }

  assignment(): Assignment {
    const assigned = new Map<string, readonly number[]>(this.#split);
    for (const [part, list] of this.#whole.entries()) for (const { unit } of list) assigned.set(unit.key, [part]);
    return assigned;
  }
}

function largestFirst(a: Unit, b: Unit): number {
  return b.demand - a.demand || (a.key < b.key ? -1 : 1);
}

/** Index of the first with less demand. */
function firstBelow(list: readonly Placed[], demand: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].unit.demand >= demand) low = middle + 1;
    else high = middle;
  }
  return low;
}

function firstNotLarger(list: readonly Placed[], unit: Unit): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (largestFirst(list[middle].unit, unit) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Share of the demand that each part gets. */
export function predictShares(units: readonly Unit[], parts: number, assignment: Assignment): number[] {
  const loads = Array.from({ length: parts }, () => 0);
  let total = 0;
  for (const { key, demand } of units) {
    const assigned = assignment.get(key) ?? [];
    if (assigned.length > 0) total += demand;
    for (const part of assigned) loads[part] += demand / assigned.length;
  }
  return loads.map((load) => (total === 0 ? 0 : load / total));
}
