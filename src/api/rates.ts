/** Rates from counters: what grew, over the last few seconds. Pure: samples and their times come in. */
import type { Counters } from './source.ts';

export interface Traffic {
  readonly packetsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Of these packets, those that were not forwarded although they were for a VIP. */
  readonly droppedPerSecond: number;
}

/** Rates by name; what is not in a map does nothing. */
export interface Rates {
  readonly balancers: ReadonlyMap<string, Traffic>;
  /** By `SITE/SERVICE`, over all balancers of the site. */
  readonly services: ReadonlyMap<string, Traffic>;
  /** Packets that the agent of a backend handed up. */
  readonly backends: ReadonlyMap<string, number>;
  /** Queries by name server. */
  readonly nameServers: ReadonlyMap<string, number>;
  /** Steered answers by `SERVICE/SITE`, over all name servers. */
  readonly answers: ReadonlyMap<string, number>;
}

/** Between the samples that are compared: long enough to be steady, short enough to be live. */
const WINDOW_MS = 3_000;

const DROPPED = ['malformed', 'fragment', 'no_backend', 'failed'] as const;

/** What has been counted by name: packets, bytes and dropped packets, or a single count. */
type TotalsByName = Map<string, number[]>;
type Totals = Record<keyof Rates, TotalsByName>;

export class RateMeter {
  #samples: { readonly atMs: number; readonly totals: Totals }[] = [];

  /** `atMs` must not go back. Keeps the samples of the window only. */
  add(atMs: number, counters: Counters): void {
    const samples = this.#samples;
    samples.push({ atMs, totals: totalsOf(counters) });
    // One sample that is as old as the window stays, to compare with.
    while (samples.length > 2 && (samples[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) samples.shift();
  }

  /** Nothing before the second sample. */
  rates(): Rates {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    const seconds = first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1_000;
    const grown = (of: keyof Rates): Map<string, number[]> =>
      seconds > 0 ? growth(first!.totals[of], last!.totals[of], seconds) : new Map();
    return {
      balancers: mapValues(grown('balancers'), trafficOf),
      services: mapValues(grown('services'), trafficOf),
      backends: mapValues(grown('backends'), single),
      nameServers: mapValues(grown('nameServers'), single),
      answers: mapValues(grown('answers'), single),
    };
  }
}

/** A counter that fell was started anew: all that it shows is new. One that is seen for the first time has no past. */
function growth(before: TotalsByName, after: TotalsByName, seconds: number): Map<string, number[]> {
  return mapValues(after, (totals, name) => {
    const past = before.get(name) ?? totals;
    return totals.map((total, i) => (total >= past[i] ? total - past[i] : total) / seconds);
  });
}

function trafficOf([packetsPerSecond, bytesPerSecond, droppedPerSecond]: number[]): Traffic {
  return { packetsPerSecond, bytesPerSecond, droppedPerSecond };
}

function single([perSecond]: number[]): number {
  return perSecond;
}

function mapValues<V, W>(map: ReadonlyMap<string, V>, convert: (value: V, key: string) => W): Map<string, W> {
  return new Map([...map].map(([key, value]) => [key, convert(value, key)]));
}

function totalsOf(counters: Counters): Totals {
  const totals: Totals = {
    balancers: new Map(),
    services: new Map(),
    backends: new Map(),
    nameServers: new Map(),
    answers: new Map(),
  };
  for (const { site, balancer, subjects } of counters.balancers) {
    for (const { kind, name, outcomes, bytes } of subjects) {
      // What is for no VIP is the machine's own traffic.
      if (kind === 'none') continue;
      const dropped = DROPPED.reduce((total, outcome) => total + (outcomes[outcome] ?? 0), 0);
      const counts = [sum(outcomes), bytes, dropped];
      addTo(totals.balancers, balancer, counts);
      if (kind === 'service') addTo(totals.services, `${site}/${name}`, counts);
    }
  }
  for (const { backend, outcomes } of counters.agents) addTo(totals.backends, backend, [outcomes.delivered ?? 0]);
  for (const { server, queries, sites } of counters.nameServers) {
    addTo(totals.nameServers, server, [sum(queries)]);
    for (const [service, bySite] of Object.entries(sites)) {
      for (const [site, answers] of Object.entries(bySite)) addTo(totals.answers, `${service}/${site}`, [answers]);
    }
  }
  return totals;
}

function addTo(totals: TotalsByName, name: string, counts: readonly number[]): void {
  const before = totals.get(name);
  totals.set(name, before === undefined ? [...counts] : before.map((total, i) => total + counts[i]));
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
