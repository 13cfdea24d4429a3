/** What else runs on this machine: figures from a time in which others had the CPUs and their caches say little. */
import { readFileSync } from 'node:fs';

/** Linux tells it in units of 10 ms. */
const UNIT_MS = 10;
/** Of one CPU's time; less is what keeping time and reading files takes, and the error of the units. */
const QUIET_SHARE = 0.25;

/** CPU time of everybody on all CPUs, in ms. */
function busyMs(): number {
  const [first] = readFileSync('/proc/stat', 'latin1').split('\n', 1);
  const [user, nice, system, , , irq, softirq, steal] = first.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) * UNIT_MS;
}

/** Watches from when it was made. */
export class OtherLoad {
  readonly #own = process.cpuUsage();
  readonly #busyMs = busyMs();
  readonly #beginMs = performance.now();

  /** Had this process the machine to itself, nearly? */
  wasQuiet(): boolean {
    const { user, system } = process.cpuUsage(this.#own);
    const others = busyMs() - this.#busyMs - (user + system) / 1000;
    return others <= QUIET_SHARE * (performance.now() - this.#beginMs);
  }
}
