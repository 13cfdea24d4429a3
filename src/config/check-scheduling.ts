/** Checks of how connections are spread and remembered: scheduler, tracking, load, slow start, limits. */
import { followsLoad, isHashScheduler } from './model.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf, type Roster, servedAt } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';

/** A /24 may hide thousands of users behind a carrier's NAT. */
const FEW_PER_SECOND = 10;
/** The kernel counts them in 32 bits. */
const MAX_PER_SECOND = 2 ** 32 - 1;

export function checkScheduling(values: FileValues, roster: Roster, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) {
    const path = ['services', name];
    checkTracking(path, service, report);
    checkPrefixLimit(path, service, report);
    checkLoad(path, service, report);
    checkWeights(path, service, roster, report);
  }
  for (const site of roster.keys()) checkTableShares(site, values, report);
}

function checkTracking(path: Path, { scheduler, tracking }: ServiceValues, report: Report): void {
  const mode = tracking?.mode;
  if (scheduler === undefined || mode === undefined) return;
  const modePath = [...path, 'tracking', 'mode'];
  if (!isHashScheduler(scheduler) && mode !== 'full') {
    const message = `${scheduler} sends the packets of a connection anywhere unless every flow is remembered, and ${mode} does not`;
    report.error(modePath, message, 'write full or leave the mode out, or write scheduler: maglev');
  } else if (mode === 'none') {
    const message = 'nothing is remembered: each change of backends breaks the connections of the changed slots';
    report.warn(modePath, message, 'write just-enough, unless the service has single packets only, as DNS has');
  }
}

function checkPrefixLimit(path: Path, { tracking }: ServiceValues, report: Report): void {
  const { perPrefix, newPerSecond } = tracking ?? {};
  if (perPrefix === undefined) return;
  const limitPath = [...path, 'tracking', 'perPrefix'];
  if (perPrefix < 1 || perPrefix > MAX_PER_SECOND) {
    report.error(limitPath, 'the limit is out of range', `write a rate from 1/s to ${MAX_PER_SECOND}/s`);
  } else if (perPrefix < FEW_PER_SECOND) {
    const message = `${perPrefix} new connections a second are few for the users behind one /24: many share an address with others`;
    report.warn(limitPath, message, `write at least ${FEW_PER_SECOND}/s`);
  } else if (newPerSecond !== undefined && perPrefix > newPerSecond) {
    const message = `one client prefix may open ${perPrefix} connections a second, and the whole service is under pressure from ${newPerSecond} on`;
    report.warn(limitPath, message, `write at most ${newPerSecond}/s, or leave it out`);
  }
}

function checkLoad(path: Path, { scheduler, load }: ServiceValues, report: Report): void {
  if (load === undefined || scheduler === undefined || followsLoad(scheduler)) return;
  const message = `nobody asks for the load of backends: ${scheduler} does not follow it`;
  report.warn([...path, 'load'], message, 'write scheduler: least-load or predictive, or take it away', 'key');
}

/** `round-robin` knows no weights. */
function checkWeights(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  if (service.scheduler !== 'round-robin') return;
  const remedy = 'write weighted-round-robin';
  for (const site of Object.keys(service.vips ?? {})) {
    const weights = new Set(servedAt(service, site, roster).map(([, { weight }]) => weight));
    if (weights.has(undefined) || weights.size < 2) continue;
    const message = `backends at ${site} have different weights, and round-robin gives all the same`;
    report.warn([...path, 'scheduler'], message, remedy);
  }
  if ((service.slowStart ?? 0) > 0)
    report.warn([...path, 'slowStart'], 'round-robin knows no weights, so no slow start either', remedy);
}

/** Shares that count: those that somebody wrote, and those of services that fill the table at all times. */
function checkTableShares(site: string, values: FileValues, report: Report): void {
  const sharing = entriesOf(values.services).filter(([name, service]) => {
    if (service.vips === undefined || !Object.hasOwn(service.vips, site)) return false;
    const isFull = service.scheduler !== undefined && !isHashScheduler(service.scheduler);
    const isWritten = report.isWritten(['services', name, 'tracking', 'tableShare']);
    return isFull || service.tracking?.mode === 'full' || isWritten;
  });
  const total = sharing.reduce((sum, [, { tracking }]) => sum + (tracking?.tableShare ?? 0), 0);
  const last = sharing.at(-1);
  if (last === undefined || total <= 1 + 1e-9) return;
  const names = sharing.map(([name]) => name);
  const message = `${listNames(names)} may use ${Math.round(total * 100)}% of a connection table at ${site} together: the last to come may find it full`;
  const remedy = `write shares that are 100% together, like ${Math.floor(100 / sharing.length)}% each`;
  const path = ['services', last[0]];
  if (report.isWritten([...path, 'tracking', 'tableShare'])) {
    report.warn([...path, 'tracking', 'tableShare'], message, remedy);
  } else report.warn(path, message, `${remedy}: tracking: { tableShare: ... }`, 'key');
}
