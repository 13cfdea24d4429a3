/**
 * The tour: real connections through the lab while backends, a balancer and a site come, go and die. Each step says
 * what may break before it acts, and holds only if nothing else did.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OpenConnection, RegionSnapshot, Traffic, TrafficSnapshot } from './traffic.ts';

export interface StepReport {
  readonly step: string;
  /** Kept connections open when the step began. */
  readonly openBefore: number;
  readonly broken: number;
  /** Broken ones that should not have been. */
  readonly brokenWrongly: number;
  readonly newOk: number;
  readonly newFailed: number;
  /** From the act until traffic was as it should be and stayed so; null: not within the limit. */
  readonly steadyAfterMs: number | null;
  /** New connections during the step: region -> backend -> count. */
  readonly went: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly expected: string;
  readonly ok: boolean;
  /** Why not ok; empty otherwise. */
  readonly why: readonly string[];
}

export interface TourReport {
  readonly scenario: 'tour';
  readonly ok: boolean;
  readonly connections: number;
  readonly steps: readonly StepReport[];
}

export interface TourStep {
  readonly step: string;
  readonly expected: string;
  readonly limitMs: number;
  act(): Promise<void>;
  /** Whether this kept connection may break in this step. */
  mayBreak(connection: OpenConnection): boolean;
  /** New connections that may fail: those begun at most so long after the act, to what it killed. */
  readonly newMayFailMs: number;
  /** Whether new connections of a while, by region, are as they should be after the act. */
  isSteady(regions: Readonly<Record<string, Readonly<Record<string, number>>>>): boolean;
  /** Further claims on the whole step; each that fails gives a sentence. */
  check?(before: readonly OpenConnection[], after: readonly OpenConnection[]): string[];
}

/** Traffic must be as it should be for so long to count as steady. */
const WINDOW_MS = 2_000;
const LOOK_MS = 100;
/** A new connection is known to have failed only so long after it was begun (the traffic's own limit, and a bit). */
const VERDICT_MS = 3_200;

function newBetween(before: RegionSnapshot | undefined, after: RegionSnapshot): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [backend, count] of Object.entries(after.newByBackend)) {
    const more = count - (before?.newByBackend[backend] ?? 0);
    if (more > 0) counts[backend] = more;
  }
  return counts;
}

function wentBetween(before: TrafficSnapshot, after: TrafficSnapshot): Record<string, Record<string, number>> {
  return Object.fromEntries(
    Object.entries(after.regions).map(([region, now]) => [region, newBetween(before.regions[region], now)]),
  );
}

/**
 * Waits for a window without a fault in which new connections went as the step wants; gives the time from the act to its start. The
 * window is looked at when every connection that was begun in it has succeeded or failed.
 */
async function untilSteady(traffic: Traffic, step: TourStep, began: TrafficSnapshot): Promise<number | null> {
  const looks: TrafficSnapshot[] = [began];
  for (;;) {
    await sleep(LOOK_MS);
    const now = traffic.snapshot();
    looks.push(now);
    const endMs = now.atMs - VERDICT_MS;
    if (endMs - WINDOW_MS < began.atMs) continue;
    while ((looks[1] as TrafficSnapshot).atMs <= endMs - WINDOW_MS) looks.shift();
    const start = looks[0] as TrafficSnapshot;
    if (isCalm(start, now, endMs) && isAsWanted(step, looks, endMs)) return start.atMs - began.atMs;
    if (start.atMs - began.atMs > step.limitMs) return null;
  }
}

/** No new connection begun between `start` and `endMs` has failed, and no kept one has broken since `start`. */
function isCalm(start: TrafficSnapshot, now: TrafficSnapshot, endMs: number): boolean {
  if (now.brokenCount !== start.brokenCount) return false;
  const since = now.failures.filter((failure) => failure.atMs >= start.atMs && failure.atMs <= endMs);
  return since.length === 0;
}

function isAsWanted(step: TourStep, looks: readonly TrafficSnapshot[], endMs: number): boolean {
  const end = looks.findLast((look) => look.atMs <= endMs) ?? (looks[0] as TrafficSnapshot);
  const went = wentBetween(looks[0] as TrafficSnapshot, end);
  return Object.values(went).every((backends) => Object.keys(backends).length > 0) && step.isSteady(went);
}

export async function runStep(traffic: Traffic, step: TourStep): Promise<StepReport> {
  const openBefore = traffic.openConnections();
  const before = traffic.snapshot();
  await step.act();
  const steadyAfterMs = await untilSteady(traffic, step, before);
  const after = traffic.snapshot();
  const broken = after.broken.slice(before.broken.length);
  const wrongly = broken.filter((connection) => !step.mayBreak(connection));
  const failures = after.failures.slice(before.failures.length);
  const unexcused = failures.filter((failure) => failure.atMs - before.atMs > step.newMayFailMs);
  const why: string[] = [];
  if (steadyAfterMs === null) why.push(`not steady within ${step.limitMs} ms`);
  if (wrongly.length > 0) {
    const first = wrongly[0]!;
    why.push(
      `${wrongly.length} connections broke that should not have; the first: ${first.localAddress}:${first.localPort} to ${first.backend}, ${first.why}`,
    );
  }
  if (unexcused.length > 0) {
    const first = unexcused[0]!;
    why.push(
      `${unexcused.length} new connections failed; the first: from ${first.region} to ${first.address}, ${first.why}`,
    );
  }
  why.push(...(step.check?.(openBefore, traffic.openConnections()) ?? []));
  return {
    step: step.step,
    openBefore: openBefore.length,
    broken: broken.length,
    brokenWrongly: wrongly.length,
    newOk: after.newOk - before.newOk,
    newFailed: failures.length,
    steadyAfterMs,
    went: wentBetween(before, after),
    expected: step.expected,
    ok: why.length === 0,
    why,
  };
}

function total(backends: Readonly<Record<string, number>>): number {
  return Object.values(backends).reduce((sum, count) => sum + count, 0);
}

/** The table for people. */
export function renderSteps(steps: readonly StepReport[]): string {
  const header = ['step', 'open before', 'broken', 'new ok', 'new failed', 'steady after', 'holds'];
  const rows = steps.map((step) => [
    step.step,
    String(step.openBefore),
    String(step.broken),
    String(step.newOk),
    String(step.newFailed),
    step.steadyAfterMs === null ? 'never' : `${step.steadyAfterMs} ms`,
    step.ok ? 'yes' : 'NO',
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] as string).length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd();
  const lines = [line(header), line(widths.map((width) => '-'.repeat(width)))];
  for (const [index, row] of rows.entries()) {
    const step = steps[index] as StepReport;
    lines.push(line(row), `    expected: ${step.expected}`);
    for (const [region, backends] of Object.entries(step.went)) {
      const shares = Object.entries(backends)
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([backend, count]) => `${backend} ${Math.round((100 * count) / total(backends))}%`);
      lines.push(`    ${region} went to: ${shares.join(', ') || 'nowhere'}`);
    }
    for (const reason of step.why) lines.push(`    NOT AS EXPECTED: ${reason}`);
  }
  return lines.join('\n');
}
