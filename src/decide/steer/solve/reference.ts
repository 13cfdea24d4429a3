/**
 * Steering problems as linear programs in CPLEX's LP format, written from the definition alone, for an independent solver: the oracle of tests. Small
 * problems only: a variable for each item and site.
 */
import { PATH_LINKS, type SteeringProblem } from './problem.ts';
import { latencyCost, STAGES } from './program.ts';

interface Term {
  readonly name: string;
  readonly value: number;
}

/** What stages before were found to reach: [stage]; undefined: not run. */
export type Limits = readonly (number | undefined)[];

/** Minimises the objective of a stage (its place in STAGES), while others are within their limits. */
export function writeProgram(problem: SteeringProblem, stage: number, limits: Limits): string {
  const writer = new Writer(problem);
  const lines = [
    `Minimize\n obj: ${format(writer.objectives[stage]) || '0 nothing'}`,
    'Subject To',
    ...writer.constraints,
  ];
  for (const [index, limit] of limits.entries()) {
    const left = format(writer.objectives[index]);
    if (limit !== undefined && left !== '') lines.push(` limit${index}: ${left} <= ${limit.toPrecision(17)}`);
  }
  const { maxMoved } = problem.options;
  const moves = format(writer.objectives[STAGES.length - 1]);
  if (maxMoved < 1 && moves !== '') lines.push(` moves: ${moves} <= ${maxMoved.toPrecision(17)}`);
  return [...lines, 'Bounds', ' 0 <= nothing <= 0', ...writer.bounds, 'End'].join('\n');
}

class Writer {
  readonly objectives: Term[][] = STAGES.map(() => []);
  readonly constraints: string[] = [];
  readonly bounds: string[] = [];
  readonly #loads: Term[][];
  readonly #problem: SteeringProblem;
  /** All demand that some site serves is 1; links carry as much. */
  readonly #scale: number;
  readonly #linkScale: number;

  constructor(problem: SteeringProblem) {
    this.#problem = problem;
    const { classes, sites, linkCapacity } = problem;
    this.#loads = Array.from({ length: sites + linkCapacity.length }, () => []);
    let total = 0;
    for (let item = 0; item < problem.demand.length; item++)
      if (this.#sitesOf(item).length > 0) total += problem.demand[item];
    this.#scale = total > 0 ? 1 / total : 1;
    this.#linkScale = this.#scale / (classes.reduce((sum, { linkLoad }) => sum + linkLoad, 0) / classes.length || 1);
    for (let item = 0; item < problem.demand.length; item++) this.#addItem(item);
    for (let row = 0; row < this.#loads.length; row++) this.#addResource(row);
  }

  #sitesOf(item: number): number[] {
    const { classes, sites, rttMs, isDead } = this.#problem;
    const group = Math.floor(item / classes.length);
    const { allowed } = classes[item % classes.length];
    const all = Array.from({ length: sites }, (_, site) => site);
    return all.filter(
      (site) => rttMs[group * sites + site] < Infinity && isDead?.[site] !== 1 && allowed?.[site] !== 0,
    );
  }

  #addItem(item: number): void {
    const { classes, sites, rttMs, region, paths, batchCost, previous, demand, options } = this.#problem;
    const group = Math.floor(item / classes.length);
    const spec = classes[item % classes.length];
    const allowed = this.#sitesOf(item);
    if (allowed.length === 0) return;
    this.constraints.push(
      ` item${item}: ${allowed.map((site) => `+ y${item}_${site}`).join(' ')} = ${demand[item] * this.#scale}`,
    );
    for (const site of allowed) {
      const name = `y${item}_${site}`;
      this.#loads[site].push({ name, value: spec.siteLoad });
      for (let n = 0; n < PATH_LINKS; n++) {
        const link = paths[(region[group] * sites + site) * PATH_LINKS + n];
        if (link >= 0) this.#loads[sites + link].push({ name, value: (spec.linkLoad * this.#linkScale) / this.#scale });
      }
      const latency = latencyCost(rttMs[group * sites + site], options.thresholdMs, options.aboveThreshold);
      const isMove = allowed.includes(previous[item]) && previous[item] !== site;
      const cost = { latency, throughput: options.throughputRtt * latency, batch: batchCost[site] }[spec.kind];
      const value = cost + (isMove ? (spec.stickiness ?? 0) : 0);
      this.objectives[STAGES.indexOf(spec.kind)].push({ name, value });
      if (isMove) this.objectives[STAGES.indexOf('churn')].push({ name, value: 1 });
    }
  }

  #addResource(row: number): void {
    const { sites, siteCapacity, linkCapacity, linkBackground, options } = this.#problem;
    const isSite = row < sites;
    const capacity = isSite ? siteCapacity[row] * this.#scale : linkCapacity[row - sites] * this.#linkScale;
    const background = isSite ? 0 : (linkBackground?.[row - sites] ?? 0) * this.#linkScale;
    const most = 1 - options.reserve;
    const cuts = isSite ? [{ from: 0, slope: 0 }] : options.linkCost.filter(({ from }) => from < most);
    const terms = this.#loads[row];
    for (const [index, { from, slope }] of cuts.entries()) {
      const end = Math.min(most, cuts[index + 1]?.from ?? most) * capacity;
      const name = `piece${row}_${index}`;
      this.bounds.push(` 0 <= ${name} <= ${Math.max(0, end - Math.max(from * capacity, background)).toPrecision(17)}`);
      terms.push({ name, value: -1 });
      this.objectives[2].push({ name, value: slope });
    }
    const name = `over${row}`;
    terms.push({ name, value: -1 });
    this.objectives[0].push({ name, value: 1 });
    this.objectives[2].push({ name, value: cuts.at(-1)?.slope ?? 0 });
    this.constraints.push(` load${row}: ${format(terms)} = 0`);
  }
}

/** Terms of the same name added up. */
function format(terms: readonly Term[]): string {
  const sums = new Map<string, number>();
  for (const { name, value } of terms) sums.set(name, (sums.get(name) ?? 0) + value);
  const parts = [...sums].filter(([, value]) => value !== 0);
  return parts.map(([name, value]) => `${value < 0 ? '-' : '+'} ${Math.abs(value).toPrecision(17)} ${name}`).join(' ');
}
