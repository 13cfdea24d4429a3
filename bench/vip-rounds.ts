/**
 * Samples by round. What a host does beside us changes a figure by half from one second to the next, but hardly within a
 * round, so lanes are compared round by round: a ratio is the median of the ratios of all rounds in which both were.
 */
import { type BenchCase, type BenchCheck, checkThat, spreadOf } from './report.ts';
import { type Lane, nameOf, paramsOf } from './vip-lanes.ts';

interface Times {
  /** Without the loop. */
  readonly net: number;
  readonly gross: number;
}

/** With so many rounds in which the machine did nothing else, the others do not count. */
const ENOUGH = 7;

export class Rounds {
  /** Lanes by name, in the order in which they came; times by round. */
  readonly #lanes = new Map<string, { readonly lane: Lane; readonly times: Map<number, Times> }>();
  readonly #quiet = new Set<number>();
  #round = 0;

  /** Samples of one round: gross times, and those of the loop. */
  add(
    samples: readonly { readonly lane: Lane; readonly grossNs: number; readonly baselineNs: number }[],
    isQuiet: boolean,
  ): void {
    this.#round++;
    if (isQuiet) this.#quiet.add(this.#round);
    for (const { lane, grossNs, baselineNs } of samples) {
      const name = nameOf(lane);
      const own = this.#lanes.get(name) ?? { lane, times: new Map() };
      this.#lanes.set(name, own);
      own.times.set(this.#round, { gross: grossNs, net: grossNs - baselineNs });
    }
  }

  /** For the report. */
  get load(): string {
    return `in ${this.#quiet.size} of ${this.#round} rounds the machine did nothing else; where a figure has ${ENOUGH} of those, it has no others`;
  }

  has(lane: Lane): boolean {
    return this.#lanes.has(nameOf(lane));
  }

  #timesOf(lane: Lane): Map<number, Times> {
    return this.#lanes.get(nameOf(lane))?.times ?? new Map();
  }

  /** Those of the given rounds that count. */
  #chosen(rounds: readonly number[]): number[] {
    const quiet = rounds.filter((round) => this.#quiet.has(round));
    return quiet.length >= ENOUGH ? quiet : [...rounds];
  }

  #valuesOf(lane: Lane, which: keyof Times): number[] {
    const times = this.#timesOf(lane);
    return this.#chosen([...times.keys()]).map((round) => times.get(round)?.[which] ?? Number.NaN);
  }

  cases(): BenchCase[] {
    return [...this.#lanes].map(([name, { lane }]) => {
      const net = this.#valuesOf(lane, 'net');
      return {
        case: name,
        params: paramsOf(lane),
        unit: 'ns',
        ...spreadOf(net),
        samples: net.length,
        gross: spreadOf(this.#valuesOf(lane, 'gross')),
      };
    });
  }

  #ratios(above: Lane, below: Lane, which: keyof Times): number[] {
    const [times, others] = [this.#timesOf(above), this.#timesOf(below)];
    const rounds = this.#chosen([...times.keys()].filter((round) => others.has(round)));
    return rounds.map(
      (round) => (times.get(round)?.[which] ?? Number.NaN) / (others.get(round)?.[which] ?? Number.NaN),
    );
  }

  /** No check where one of the lanes was not measured; `which`: of times without the loop, or with it. */
  checkRatio(
    text: string,
    [above, below]: readonly [Lane, Lane],
    must: 'at least' | 'at most',
    limit: number,
    which: keyof Times = 'net',
  ): BenchCheck[] {
    if (!this.has(above) || !this.has(below)) return [];
    const ratios = this.#ratios(above, below, which);
    if (ratios.length === 0) throw new Error(`${nameOf(above)} and ${nameOf(below)} never took turns`);
    const gross = spreadOf(this.#ratios(above, below, 'gross')).median;
    const { median, quartiles } = spreadOf(ratios);
    const words = which === 'gross' ? `${text}, gross` : `${text} (gross ${gross.toFixed(2)})`;
    return [{ ...checkThat(words, median, must, limit), quartiles, rounds: ratios.length }];
  }

  /** A time alone is one of this machine, and of what its host does: only where nothing is there to compare with. */
  checkTime(lane: Lane, limitNs: number): BenchCheck[] {
    if (!this.has(lane)) return [];
    const times = this.#valuesOf(lane, 'net');
    const { median, quartiles } = spreadOf(times);
    return [{ ...checkThat(`${nameOf(lane)}, ns`, median, 'at most', limitNs), quartiles, rounds: times.length }];
  }
}
