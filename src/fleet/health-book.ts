/** What every observer has seen of every target, and what follows for backends and sites. */
import {
  afterProbe,
  type Diagnosis,
  diagnose,
  joinPaths,
  joinVerdicts,
  type PathHealth,
  type Thresholds,
  UNKNOWN_HEALTH,
  type Verdict,
} from '../decide/health.ts';
import type { ProbeResult } from '../observe/probe-target.ts';
import type { PlannedProbe } from './probe-plan.ts';

interface Watched {
  readonly probe: PlannedProbe;
  readonly thresholds: Thresholds;
  health: PathHealth;
}

/** Probes of one backend for one service, by path; null: it is not probed by that. */
interface Paths {
  vip: Watched | null;
  direct: Watched | null;
}

interface Observer {
  /** By target id. */
  readonly targets: ReadonlyMap<string, Watched>;
  /** service -> backend: the same, where a table of many backends is made. */
  readonly paths: ReadonlyMap<string, ReadonlyMap<string, Paths>>;
}

/** Another machine under the same name, or another port, is not known because this one was. */
function asksTheSame(a: PlannedProbe, b: PlannedProbe): boolean {
  const { target: x } = a;
  const { target: y } = b;
  // A probe through the VIP reaches its backend by the source.
  return x.address === y.address && x.port === y.port && x.type === y.type && x.sourceAddress === y.sourceAddress;
}

export interface HealthSummary {
  readonly verdict: Verdict;
  readonly diagnosis: Diagnosis;
  /** Why the last failed probe failed, if the verdict is unhealthy. */
  readonly reason: string | null;
}

function pathsOf(targets: Iterable<Watched>): Map<string, Map<string, Paths>> {
  const services = new Map<string, Map<string, Paths>>();
  for (const watched of targets) {
    const { service, backend, path } = watched.probe;
    if (backend === null) continue;
    const backends = services.get(service) ?? new Map<string, Paths>();
    const paths = backends.get(backend) ?? { vip: null, direct: null };
    paths[path] = watched;
    backends.set(backend, paths);
    services.set(service, backends);
  }
  return services;
}

export class HealthBook {
  readonly #observers = new Map<string, Observer>();
  readonly #nowMs: () => number;
  readonly #onVerdict: (probe: PlannedProbe, observer: string, before: Verdict, health: PathHealth) => void;

  constructor(
    nowMs: () => number,
    onVerdict: (probe: PlannedProbe, observer: string, before: Verdict, health: PathHealth) => void,
  ) {
    this.#nowMs = nowMs;
    this.#onVerdict = onVerdict;
  }

  /** What an observer watches from now on; what is known of targets that stay, and are asked the same there, is kept. */
  watch(observer: string, plan: readonly PlannedProbe[], thresholdsOf: (service: string) => Thresholds): void {
    const before = this.#observers.get(observer)?.targets;
    const after = new Map<string, Watched>();
    for (const probe of plan) {
      const { id } = probe.target;
      const known = before?.get(id);
      const health = known !== undefined && asksTheSame(known.probe, probe) ? known.health : UNKNOWN_HEALTH;
      after.set(id, { probe, thresholds: thresholdsOf(probe.service), health });
    }
    this.#observers.set(observer, { targets: after, paths: pathsOf(after.values()) });
  }

  /** An observer is gone: what it saw last says nothing any more. */
  forget(observer: string): void {
    this.#observers.delete(observer);
  }

  /** Another machine has taken the name: nothing is known of it. */
  forgetBackend(name: string): void {
    for (const { targets } of this.#observers.values())
      for (const watched of targets.values()) if (watched.probe.backend === name) watched.health = UNKNOWN_HEALTH;
  }

  take(observer: string, result: ProbeResult): void {
    const watched = this.#observers.get(observer)?.targets.get(result.id);
    if (watched === undefined) return;
    const before = watched.health.verdict;
    watched.health = afterProbe(watched.health, result.reason, watched.thresholds, this.#nowMs());
    if (watched.health.verdict !== before) this.#onVerdict(watched.probe, observer, before, watched.health);
  }

  /** A backend as a service sees it: healthy if one observer finds all its paths healthy. */
  backend(service: string, backend: string): HealthSummary {
    const seen: HealthSummary[] = [];
    for (const { paths } of this.#observers.values()) {
      const found = paths.get(service)?.get(backend);
      if (found === undefined) continue;
      const vip = found.vip?.health ?? null;
      const direct = found.direct?.health ?? null;
      seen.push({ ...diagnose(vip, direct), reason: vip?.reason ?? direct?.reason ?? null });
    }
    const verdict = joinVerdicts(seen.map((one) => one.verdict));
    const typical = seen.find((one) => one.verdict === verdict);
    return {
      verdict,
      diagnosis: typical?.diagnosis ?? 'not probed yet',
      reason: verdict === 'unhealthy' ? (typical?.reason ?? null) : null,
    };
  }

  /** The verdict of `backend` alone; allocates nothing. */
  verdict(service: string, backend: string): Verdict {
    let verdict: Verdict | null = null;
    for (const { paths } of this.#observers.values()) {
      const found = paths.get(service)?.get(backend);
      if (found === undefined) continue;
      const seen = joinPaths(found.vip?.health ?? null, found.direct?.health ?? null);
      if (seen === 'healthy') return seen;
      if (verdict !== 'unknown') verdict = seen;
    }
    return verdict ?? 'unknown';
  }

  /** A backend as one observer sees it. */
  seenBy(observer: string, service: string, backend: string): Verdict {
    const found = this.#observers.get(observer)?.paths.get(service)?.get(backend);
    return found === undefined ? 'unknown' : joinPaths(found.vip?.health ?? null, found.direct?.health ?? null);
  }

  /** Backends that one observer finds dead, with the time in which every other observer should have come to the same verdict, or this one to another. */
  *unhealthyFor(
    observer: string,
  ): Generator<{ readonly service: string; readonly backend: string; readonly agreedMs: number }> {
    for (const { probe, health, thresholds } of this.#observers.get(observer)?.targets.values() ?? []) {
      const { service, backend, target } = probe;
      if (backend === null || health.verdict !== 'unhealthy') continue;
      const agreedMs = 2 * target.intervalMs * (Math.max(thresholds.rise, thresholds.fall) + 1);
      if (this.seenBy(observer, service, backend) === 'unhealthy') yield { service, backend, agreedMs };
    }
  }

  /** A site as a service's users see it: up if one observer reaches its VIP. */
  site(service: string, site: string): Verdict {
    const seen: Verdict[] = [];
    for (const { targets } of this.#observers.values()) {
      const watched = targets.get(`${service}/${site}`);
      if (watched !== undefined) seen.push(watched.health.verdict);
    }
    return joinVerdicts(seen);
  }
}
