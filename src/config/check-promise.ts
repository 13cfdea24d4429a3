/** Warnings where connections may break that Portico could keep: what docs/vip.md promises depends on scheduler, mode and agent. */
import { isHashScheduler } from './model.ts';
import { hasKey } from './overhead.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf, type Roster, servedAt } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';

/** All of it concerns flows that move between balancers, so one balancer has nothing to warn of. */
export function checkPromise(values: FileValues, roster: Roster, report: Report): void {
  const plainBackends = new Set<string>();
  const ownModes = new Set<string>();
  for (const [name, service] of entriesOf(values.services)) {
    const path = ['services', name];
    const sites = Object.keys(service.vips ?? {}).filter((site) => (roster.get(site)?.balancers.size ?? 0) > 1);
    if (sites.length === 0) continue;
    warnOfTracking(path, service, report);
    // What follows loses less than what has been said of these.
    if (!isCoveredByHash(service)) continue;
    if (service.forwarding !== undefined && !hasKey(service.forwarding)) {
      warnOfMode([...path, 'forwarding'], service.forwarding, report);
      continue;
    }
    for (const site of sites) {
      for (const [backend, { forwarding, agent }] of servedAt(service, site, roster)) {
        if (agent === false) plainBackends.add(backend);
        else if (forwarding !== undefined && !hasKey(forwarding)) ownModes.add(backend);
      }
    }
  }
  for (const backend of ownModes)
    warnOfMode(['backends', backend, 'forwarding'], values.backends?.[backend]?.forwarding ?? '', report);
  warnOfPlain([...plainBackends], report);
}

/** Whether another balancer finds a flow's backend by hash, or in the key of a packet. */
function isCoveredByHash({ scheduler, tracking }: ServiceValues): boolean {
  if (scheduler === undefined) return false;
  if (scheduler === 'least-connections') return true;
  return isHashScheduler(scheduler) && tracking?.mode !== 'full' && tracking?.mode !== 'none';
}

function warnOfTracking(path: Path, { scheduler, tracking }: ServiceValues, report: Report): void {
  if (scheduler === undefined) return;
  if (!isHashScheduler(scheduler)) {
    if (scheduler === 'least-connections') return;
    const message = `with ${scheduler} only the balancer that took a connection knows its backend: when a balancer dies or routes move, its connections break`;
    const remedy = 'write maglev or least-connections, which keep them, unless that is no harm';
    report.warn([...path, 'scheduler'], message, remedy);
  } else if (tracking?.mode === 'full') {
    const message =
      'with full tracking only one balancer knows where connections from before a change are: when it dies or routes move after a change, they break';
    report.warn([...path, 'tracking', 'mode'], message, 'write just-enough, or leave the mode out');
  }
}

/** It has no place for the other candidates of a second chance. */
function warnOfMode(path: Path, mode: string, report: Report): void {
  const message = `${mode} carries no second chance: a balancer that dies while backends change breaks connections of the changed slots`;
  report.warn(path, message, 'write gre or gue, unless backends take nothing else');
}

function warnOfPlain(backends: readonly string[], report: Report): void {
  const [first] = backends;
  if (first === undefined) return;
  const message = `without the agent there is no second chance: a balancer that dies while backends change breaks connections of ${listNames(backends)} in the changed slots`;
  report.warn(['backends', first, 'agent'], message, "run Portico's backend role there and write true");
}
