/** What the kernel has counted, in the words of the process's counters. */
import { readWide } from '../../vip/counters.ts';
import { DNS_COUNTERS, DNS_OUTCOME, DNS_OUTCOME_NAMES } from '../../vip/layout.gen.ts';
import { addCounters, countSite, createDnsCounters, type DnsCounters } from '../counters.ts';
import type { DnsProgram } from './program.ts';

const { offsets } = DNS_COUNTERS;

/** Sums over programs that have left and those that run. */
export class KernelTotals {
  readonly #past = createDnsCounters();
  readonly #pastOutcomes: Record<string, number> = {};

  /** The program counts no more. */
  keep(program: DnsProgram): void {
    addProgram(this.#past, program);
    addOutcomes(this.#pastOutcomes, program);
  }

  addTo(counters: DnsCounters, running: readonly DnsProgram[]): void {
    addCounters(counters, this.#past);
    for (const program of running) addProgram(counters, program);
  }

  outcomes(running: readonly DnsProgram[]): Record<string, number> {
    const sums = { ...this.#pastOutcomes };
    for (const program of running) addOutcomes(sums, program);
    return sums;
  }
}

function addOutcomes(sums: Record<string, number>, program: DnsProgram): void {
  for (const [outcome, name] of DNS_OUTCOME_NAMES.entries())
    sums[name] = (sums[name] ?? 0) + program.countOutcome(outcome);
}

/** Queries that were passed up the process counts. */
function addProgram(counters: DnsCounters, program: DnsProgram): void {
  const answered = program.countOutcome(DNS_OUTCOME.ANSWERED);
  const limited = program.countOutcome(DNS_OUTCOME.LIMITED);
  counters.queries.udp += answered + limited;
  counters.responses.noerror += answered;
  counters.dropped.limited += limited;
  counters.edns += program.sum(offsets.edns);
  counters.ecs += program.sum(offsets.ecs);
  counters.cookies.client += program.sum(offsets.cookieClient);
  counters.cookies.good += program.sum(offsets.cookieGood);
  counters.cookies.bad += program.sum(offsets.cookieBad);
  counters.limits.displaced += program.sum(offsets.displaced);
  const { meanings } = program.tables;
  for (const [row, meaning] of meanings.entries()) {
    if (meaning === undefined) continue;
    let hits = 0;
    for (let cpu = 0; cpu < program.cpus; cpu++) hits += readWide(program.hits, (cpu * meanings.length + row) * 2);
    if (hits === 0) continue;
    counters.types[meaning.type] += hits;
    if (!meaning.isPositive) continue;
    counters.choices[meaning.reason] += hits;
    counters.policies[meaning.policy] += hits;
    countSite(counters, meaning.service, meaning.site, hits);
  }
}
