/**
 * The primal simplex method for programs with one convexity row an item (Dantzig and Van Slyke, "Generalized upper bounding techniques", 1967):
 * each item has a key site, the basic variable that its own row is solved for, and only the coupling rows are kept in a matrix. Of a hundred
 * thousand items at most as many are split between sites as there are coupling rows.
 */
import { OptionSweep } from './option-sweep.ts';
import { Pricing } from './pricing.ts';
import { PATH_LINKS } from './problem.ts';
import { OVER, type Program, STAGE_COUNT } from './program.ts';
import { BASIC, LOWER, SingleStates, UPPER } from './single-states.ts';
import { WorkingBasis } from './working-basis.ts';

/** Entries of the inverse's products below this are noise. */
const PIVOT_TOLERANCE = 1e-9;
/** Pivots until the inverse is made anew. */
const REFACTOR_PIVOTS = 300;
const MAX_ENTRIES = 2 * (1 + PATH_LINKS + STAGE_COUNT);
/** Load that is lacking, as a share of all demand. */
const HELD_BACK = 1e-10;
const CHECK_STEPS = 64;

/** A part of an item that is not at its key. */
export interface Part {
  readonly site: number;
  readonly amount: number;
}

export class GroupSimplex {
  readonly program: Program;
  readonly pricing: Pricing;
  readonly singles: SingleStates;
  readonly sweep: OptionSweep;
  /** [item]: site of the key variable. */
  readonly key: Uint16Array;
  /** [row]. */
  readonly prices: Float64Array;
  pivots = 0;
  flips = 0;
  readonly #sites: number;
  readonly #classes: number;
  readonly #rows: number;
  readonly #basis = new WorkingBasis();
  /** By position in the working basis: item and site, or a single (item -1). */
  readonly #item: Int32Array;
  readonly #site: Int32Array;
  readonly #single: Int32Array;
  readonly #values: Float64Array;
  /** [item]: how many basic variables it has besides its key. */
  readonly #parts: Uint8Array;
  /** [row]: what the items put there if each is at its key alone. */
  readonly #keyLoad: Float64Array;
  readonly #entryRow = new Int32Array(MAX_ENTRIES);
  readonly #entryValue = new Float64Array(MAX_ENTRIES);
  #entries = 0;
  readonly #direction: Float64Array;
  #sinceFactored = 0;
  /** What enters: an option (single -1) or a single (item -1), which may come down from its upper bound (sign -1). */
  #inItem = -1;
  #inSite = 0;
  #inSingle = -1;
  #inSign = 1;
  /** What leaves: a position, or the key of an item; neither: what enters goes to its other bound. */
  #outLength = 0;
  #outPosition = -1;
  #outKey = -1;
  #outAtUpper = false;
  #outPivot = 0;

  constructor(program: Program) {
    const { problem, items, resources } = program;
    const rows = resources + STAGE_COUNT;
    this.program = program;
    this.key = new Uint16Array(items);
    this.pricing = new Pricing(program);
    this.prices = this.pricing.prices;
    this.singles = new SingleStates(program, this.pricing);
    this.sweep = new OptionSweep(this.pricing, this.key);
    this.#sites = problem.sites;
    this.#classes = problem.classes.length;
    this.#rows = rows;
    this.#item = new Int32Array(rows);
    this.#site = new Int32Array(rows);
    this.#single = new Int32Array(rows);
    this.#values = new Float64Array(rows);
    this.#parts = new Uint8Array(items);
    this.#keyLoad = new Float64Array(rows);
    this.#direction = new Float64Array(rows);
  }

  /** Each item to its best site by the prices of now; all loads are taken up by singles, so that this is a feasible start. */
  start(): void {
    const { items, demand } = this.program;
    this.pricing.tabulate();
    this.sweep.full(0, 'move');
    this.#parts.fill(0);
    this.#keyLoad.fill(0);
    for (let item = 0; item < items; item++) {
      if (demand[item] === 0) continue;
      this.#entries = 0;
      this.#addOption(item, this.key[item], demand[item]);
      for (let e = 0; e < this.#entries; e++) this.#keyLoad[this.#entryRow[e]] += this.#entryValue[e];
    }
    for (const [row, index] of this.singles.start(this.#keyLoad).entries()) this.#setBasic(row, -1, 0, index);
    this.#refactor();
  }

  #setBasic(position: number, item: number, site: number, single: number): void {
    this.#item[position] = item;
    this.#site[position] = site;
    this.#single[position] = single;
  }

  #addEntry(row: number, value: number): void {
    this.#entryRow[this.#entries] = row;
    this.#entryValue[this.#entries++] = value;
  }

  /** Adds the column of an option, times `factor`. */
  #addOption(item: number, site: number, factor: number): void {
    const { problem, siteLoad, linkLoad, resources } = this.program;
    const { isHeld, rowScale } = this.pricing;
    const group = Math.floor(item / this.#classes);
    const index = item - group * this.#classes;
    this.#addEntry(site, factor * siteLoad[index]);
    const path = (problem.region[group] * this.#sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) {
      const link = problem.paths[path + n];
      if (link >= 0 && linkLoad[index] !== 0) this.#addEntry(this.#sites + link, factor * linkLoad[index]);
    }
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (isHeld[stage] === 0) continue;
      const cost = this.pricing.costOf(stage, item, site);
      if (cost !== 0) this.#addEntry(resources + stage, factor * cost * rowScale[stage]);
    }
  }

  #addSingle(index: number, factor: number): void {
    const { singles } = this;
    this.#addEntry(singles.columns.row[index], singles.sign(index) * factor);
    for (let stage = 0; stage < STAGE_COUNT; stage++) {
      if (this.pricing.isHeld[stage] === 0) continue;
      const cost = singles.rowCost(index, stage);
      if (cost !== 0) this.#addEntry(this.program.resources + stage, factor * cost);
    }
  }

  /** Column of a step of an item from its key to a site. */
  #addStep(item: number, site: number): void {
    this.#addOption(item, site, 1);
    this.#addOption(item, this.key[item], -1);
  }

  /** The inverse, the values and the prices from the list of basic variables. */
  #refactor(): void {
    const rows = this.#rows;
    const columns = new Float64Array(rows * rows);
    for (let m = 0; m < rows; m++) {
      this.#entries = 0;
      if (this.#item[m] >= 0) this.#addStep(this.#item[m], this.#site[m]);
      else this.#addSingle(this.#single[m], 1);
      for (let e = 0; e < this.#entries; e++) columns[m * rows + this.#entryRow[e]] += this.#entryValue[e];
    }
    if (!this.#basis.invert(columns, rows)) throw new Error('the working basis is singular');
    this.#sinceFactored = 0;
    const right = new Float64Array(rows);
    for (let r = 0; r < rows; r++) right[r] = -this.#keyLoad[r];
    const { state, columns: singles } = this.singles;
    for (let index = 0; index < singles.count; index++) {
      if (state[index] !== UPPER) continue;
      this.#entries = 0;
      this.#addSingle(index, singles.width[index]);
      for (let e = 0; e < this.#entries; e++) right[this.#entryRow[e]] -= this.#entryValue[e];
    }
    this.#basis.solveDense(right, this.#values);
    for (let m = 0; m < rows; m++) if (this.#values[m] < 0 && this.#values[m] > -1e-12) this.#values[m] = 0;
    this.reprice();
  }

  /** Prices anew from the basis, as after a change of the box. */
  reprice(): void {
    const rows = this.#rows;
    const { stage } = this.pricing;
    const costs = new Float64Array(rows);
    for (let m = 0; m < rows; m++) {
      const item = this.#item[m];
      costs[m] =
        item < 0
          ? -this.singles.ownCost(this.#single[m])
          : this.pricing.costOf(stage, item, this.key[item]) - this.pricing.costOf(stage, item, this.#site[m]);
    }
    this.#basis.price(costs, this.prices);
    this.#update();
  }

  #update(): void {
    this.pricing.update();
    this.singles.price();
  }

  /** Looks at all options, and lists those that would improve the objective. Returns the least objective that is possible, by the prices of now. */
  lookAtAll(tolerance: number): number {
    this.pricing.tabulate();
    this.singles.price();
    this.sweep.full(tolerance, 'list');
    return this.sweep.least + this.singles.bound(tolerance);
  }

  /** Least objective that is possible, from the least cost of all items by the prices of now. */
  boundOf(least: number, tolerance: number): number {
    this.singles.activate();
    this.pricing.update();
    this.singles.price();
    return least + this.singles.bound(tolerance);
  }

  lookAtCandidates(tolerance: number): void {
    this.pricing.tabulate();
    this.singles.price();
    this.sweep.few(tolerance);
  }

  /** Brings in what was listed, the best first, each only if it is still worth it. Returns the number of steps. */
  improve(tolerance: number, isOver: () => boolean): number {
    const { sweep } = this;
    const order = sweep.order();
    let steps = this.#improveSingles(tolerance);
    for (let place = 0; place < order.length; place++) {
      const item = sweep.item[order[place]];
      const site = sweep.site[order[place]];
      if (site === this.key[item] || this.#isBasic(item, site)) continue;
      const reduced = this.pricing.effective(item, site) - this.pricing.effective(item, this.key[item]);
      if (reduced >= -tolerance) continue;
      this.#enterOption(item, site, reduced);
      steps += 1 + this.#improveSingles(tolerance);
      if (place % CHECK_STEPS === CHECK_STEPS - 1 && isOver()) break;
    }
    return steps;
  }

  #isBasic(item: number, site: number): boolean {
    if (this.#parts[item] === 0) return false;
    for (let m = 0; m < this.#rows; m++) if (this.#item[m] === item && this.#site[m] === site) return true;
    return false;
  }

  #improveSingles(tolerance: number): number {
    for (let steps = 0; ; steps++) {
      const entering = this.singles.findEntering(tolerance);
      if (entering < 0) return steps;
      this.#entries = 0;
      this.#addSingle(entering, 1);
      this.#enter(-1, 0, entering, this.singles.state[entering] === LOWER ? 1 : -1, this.singles.reduced(entering));
    }
  }

  #enterOption(item: number, site: number, reduced: number): void {
    this.#entries = 0;
    this.#addStep(item, site);
    this.#enter(item, site, -1, 1, reduced);
  }

  /** As far as the entering variable can go, and the change of basis that follows. Its column is in the entries. */
  #enter(item: number, site: number, single: number, sign: number, reduced: number): void {
    this.#basis.solve(this.#entryRow, this.#entryValue, this.#entries, this.#direction);
    this.#inItem = item;
    this.#inSite = site;
    this.#inSingle = single;
    this.#inSign = sign;
    this.#findLeaving();
    const length = this.#outLength;
    if (length === Infinity) throw new Error('the program has no end');
    this.singles.stalled = length * Math.abs(reduced) > 1e-16 ? 0 : this.singles.stalled + 1;
    const change = sign * length;
    for (let m = 0; m < this.#rows; m++) {
      const value = this.#values[m] - change * this.#direction[m];
      this.#values[m] = value < 0 && value > -1e-13 ? 0 : value;
    }
    if (this.#outPosition < 0 && this.#outKey < 0) {
      // From one bound to the other.
      this.singles.state[single] = sign > 0 ? UPPER : LOWER;
      this.flips++;
    } else if (this.#outKey >= 0 && this.#parts[this.#outKey] === 0) {
      this.#moveKey(this.#outKey, site);
      this.flips++;
    } else {
      this.#pivot(this.#outKey >= 0 ? this.#exchangeKey(this.#outKey) : this.#outPosition, length);
    }
  }

  #findLeaving(): void {
    const { width } = this.singles.columns;
    const sign = this.#inSign;
    this.#outLength = this.#inSingle >= 0 ? width[this.#inSingle] : Infinity;
    this.#outPosition = -1;
    this.#outKey = -1;
    this.#outPivot = this.#inSingle >= 0 ? 1 : 0;
    for (let m = 0; m < this.#rows; m++) {
      const rate = sign * this.#direction[m];
      if (rate > PIVOT_TOLERANCE) this.#offer(this.#values[m] / rate, rate, m, -1, false);
      else if (rate < -PIVOT_TOLERANCE && this.#item[m] < 0) {
        const most = width[this.#single[m]];
        if (most !== Infinity) this.#offer((most - this.#values[m]) / -rate, -rate, m, -1, true);
      }
      if (this.#item[m] >= 0) this.#offerKey(m);
    }
    const item = this.#inItem;
    if (item >= 0 && this.#parts[item] === 0) this.#offer(this.program.demand[item], 1, -1, item, false);
  }

  /** What is left at the key of the item that is basic at `first`, unless an earlier position was of the same item. */
  #offerKey(first: number): void {
    const item = this.#item[first];
    let rate = item === this.#inItem ? this.#inSign : 0;
    let key = this.program.demand[item];
    let left = this.#parts[item];
    if (left > 1) for (let m = 0; m < first; m++) if (this.#item[m] === item) return;
    for (let m = first; left > 0; m++) {
      if (this.#item[m] !== item) continue;
      rate -= this.#inSign * this.#direction[m];
      key -= this.#values[m];
      left--;
    }
    if (rate > PIVOT_TOLERANCE) this.#offer(key / rate, rate, -1, item, false);
  }

  /** Of the shortest ways the one with the largest pivot. */
  #offer(length: number, pivot: number, position: number, keyOf: number, isAtUpper: boolean): void {
    const bounded = Math.max(0, length);
    if (bounded > this.#outLength + 1e-15 || (bounded > this.#outLength - 1e-15 && pivot <= this.#outPivot)) return;
    this.#outLength = Math.min(bounded, this.#outLength);
    this.#outPosition = position;
    this.#outKey = keyOf;
    this.#outAtUpper = isAtUpper;
    this.#outPivot = pivot;
  }

  /** All of an item that stands at one site alone. */
  #moveKey(item: number, site: number): void {
    const demand = this.program.demand[item];
    this.#entries = 0;
    this.#addOption(item, site, demand);
    this.#addOption(item, this.key[item], -demand);
    for (let e = 0; e < this.#entries; e++) this.#keyLoad[this.#entryRow[e]] += this.#entryValue[e];
    this.key[item] = site;
  }

  /** The key of an item takes the place of one of its basic variables, which becomes the key. Returns the position. */
  #exchangeKey(item: number): number {
    const positions: number[] = [];
    let position = -1;
    let key = this.program.demand[item];
    let rate = this.#inItem === item ? 1 : 0;
    for (let m = 0; m < this.#rows; m++) {
      if (this.#item[m] !== item) continue;
      positions.push(m);
      key -= this.#values[m];
      rate -= this.#direction[m];
      if (position < 0 || this.#values[m] > this.#values[position]) position = m;
    }
    const site = this.#site[position];
    this.#site[position] = this.key[item];
    this.#moveKey(item, site);
    this.#values[position] = key;
    this.#basis.exchangeKey(position, positions);
    this.#direction[position] = rate;
    return position;
  }

  #pivot(position: number, length: number): void {
    const left = this.#item[position];
    const { state, columns } = this.singles;
    if (left < 0) state[this.#single[position]] = this.#outAtUpper && this.#outKey < 0 ? UPPER : LOWER;
    else this.#parts[left]--;
    const single = this.#inSingle;
    this.#setBasic(position, this.#inItem, this.#inSite, single);
    if (single >= 0) {
      state[single] = BASIC;
      this.#values[position] = this.#inSign > 0 ? length : columns.width[single] - length;
    } else {
      this.#values[position] = length;
      this.#parts[this.#inItem]++;
    }
    this.pivots++;
    if (++this.#sinceFactored >= REFACTOR_PIVOTS) {
      this.#refactor();
      return;
    }
    this.#basis.replace(position, this.#direction);
    // With the keys of now, which may have changed since it was chosen.
    const reduced =
      single >= 0
        ? this.singles.reduced(single)
        : this.pricing.effective(this.#inItem, this.#inSite) -
          this.pricing.effective(this.#inItem, this.key[this.#inItem]);
    this.#basis.addInverseRow(position, -reduced, this.prices);
    this.#update();
  }

  /** Value of a stage's objective, without penalties. Cost: one pass over the items. */
  objective(stage: number): number {
    const { items, demand } = this.program;
    const { columns } = this.singles;
    let sum = 0;
    for (let item = 0; item < items; item++) {
      if (demand[item] !== 0) sum += demand[item] * this.pricing.costOf(stage, item, this.key[item]);
    }
    for (let m = 0; m < this.#rows; m++) {
      const item = this.#item[m];
      if (item < 0) continue;
      sum +=
        this.#values[m] *
        (this.pricing.costOf(stage, item, this.#site[m]) - this.pricing.costOf(stage, item, this.key[item]));
    }
    for (let index = 0; index < columns.count; index++) {
      const cost = columns.objective[index * STAGE_COUNT + stage];
      if (cost !== 0) sum += this.valueOf(index) * cost;
    }
    return sum;
  }

  /** Of a single. */
  valueOf(index: number): number {
    const state = this.singles.state[index];
    if (state === LOWER) return 0;
    if (state === UPPER) return this.singles.columns.width[index];
    for (let m = 0; m < this.#rows; m++) if (this.#item[m] < 0 && this.#single[m] === index) return this.#values[m];
    return 0;
  }

  /** Whether load is lacking or too much anywhere, with a price at the border of the box. */
  isHeldBack(): boolean {
    const { kind } = this.singles.columns;
    for (let m = 0; m < this.#rows; m++) {
      if (this.#item[m] < 0 && this.#values[m] > HELD_BACK && kind[this.#single[m]] >= OVER) return true;
    }
    return false;
  }

  /** Items that stand at more sites than their key, scaled. */
  splits(): Map<number, Part[]> {
    const splits = new Map<number, Part[]>();
    for (let m = 0; m < this.#rows; m++) {
      const item = this.#item[m];
      if (item < 0) continue;
      const part = { site: this.#site[m], amount: this.#values[m] };
      const parts = splits.get(item);
      if (parts === undefined) splits.set(item, [part]);
      else parts.push(part);
    }
    return splits;
  }
}
