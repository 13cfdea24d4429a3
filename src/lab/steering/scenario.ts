/**
 * Steering by what is measured, with real packets: connections of several services from several regions, DNS through a real resolver, and
 * what agents and balancers saw. Each step says where the new connections of whom go, and holds when they do within its time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Traffic, TrafficSnapshot } from '../traffic.ts';

/** Service -> region -> site that new connections should come to. */
export type Expected = Readonly<Record<string, Readonly<Record<string, string>>>>;
export type Went = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;

export interface SteeringStep {
  readonly step: string;
  readonly expected: string;
  readonly goes: Expected;
  readonly limitMs: number;
  act(): Promise<void>;
  /** What `explain dns` says then, for the report. */
  explain?(): Promise<readonly string[]>;
  /** Claims on what it says; each that fails gives a sentence. */
  check?(explained: readonly string[]): string[];
}

export interface SteeringStepReport {
  readonly step: string;
  readonly openBefore: number;
  readonly broken: number;
  readonly newFailed: number;
  /** From the act until new connections went where they should; null: not within the limit. */
  readonly steadyAfterMs: number | null;
  /** New connections of the last seconds: service, region, site. */
  readonly went: Went;
  readonly explained: readonly string[];
  readonly expected: string;
  readonly ok: boolean;
  readonly why: readonly string[];
}

export interface SteeringReport {
  readonly scenario: string;
  readonly ok: boolean;
  readonly steps: readonly SteeringStepReport[];
}

/** New connections of so long have to go where they should. */
const WINDOW_MS = 4_000;
const LOOK_MS = 250;
/** The rest may be exploring. */
const MOST_SHARE = 0.9;

type Snapshots = ReadonlyMap<string, TrafficSnapshot>;

export async function runSteeringStep(
  traffic: ReadonlyMap<string, Traffic>,
  step: SteeringStep,
): Promise<SteeringStepReport> {
  const before = look(traffic);
  await step.act();
  const actedMs = performance.now();
  const looks: { readonly atMs: number; readonly seen: Snapshots }[] = [{ atMs: actedMs, seen: look(traffic) }];
  let steadyAfterMs: number | null = null;
  let went: Went = {};
  for (;;) {
    await sleep(LOOK_MS);
    const now = performance.now();
    looks.push({ atMs: now, seen: look(traffic) });
    while ((looks[1]?.atMs ?? now) <= now - WINDOW_MS) looks.shift();
    went = wentBetween(looks[0].seen, looks[looks.length - 1].seen);
    if (now - looks[0].atMs >= WINDOW_MS && isAsExpected(went, step.goes)) {
      steadyAfterMs = Math.round(looks[0].atMs - actedMs);
      break;
    }
    if (now - actedMs > step.limitMs) break;
  }
  const explained = (await step.explain?.()) ?? [];
  const after = look(traffic);
  const count = (key: 'newFailed' | 'brokenCount') =>
    [...after].reduce((sum, [name, its]) => sum + its[key] - (before.get(name)?.[key] ?? 0), 0);
  const [broken, newFailed] = [count('brokenCount'), count('newFailed')];
  const why = steadyAfterMs === null ? [`not so within ${step.limitMs} ms`] : [...(step.check?.(explained) ?? [])];
  if (broken > 0) why.push(`${broken} connections broke`);
  if (newFailed > 0) why.push(`${newFailed} new connections failed`);
  const openBefore = [...before.values()].reduce((sum, { open }) => sum + open, 0);
  const { step: name, expected } = step;
  return {
    step: name,
    openBefore,
    broken,
    newFailed,
    steadyAfterMs,
    went,
    explained,
    expected,
    ok: why.length === 0,
    why,
  };
}

function look(traffic: ReadonlyMap<string, Traffic>): Snapshots {
  return new Map([...traffic].map(([service, its]) => [service, its.snapshot()]));
}

function wentBetween(before: Snapshots, after: Snapshots): Went {
  const went: Record<string, Record<string, Record<string, number>>> = {};
  for (const [service, now] of after) {
    went[service] = {};
    for (const [region, { newBySite }] of Object.entries(now.regions)) {
      const earlier = before.get(service)?.regions[region]?.newBySite ?? {};
      const counts = Object.entries(newBySite).map(([site, count]) => [site, count - (earlier[site] ?? 0)] as const);
      went[service][region] = Object.fromEntries(counts.filter(([, count]) => count > 0));
    }
  }
  return went;
}

function isAsExpected(went: Went, goes: Expected): boolean {
  return Object.entries(goes).every(([service, regions]) =>
    Object.entries(regions).every(([region, site]) => {
      const sites = went[service]?.[region] ?? {};
      const sum = Object.values(sites).reduce((all, count) => all + count, 0);
      return sum > 0 && (sites[site] ?? 0) >= MOST_SHARE * sum;
    }),
  );
}

export function renderSteeringSteps(steps: readonly SteeringStepReport[]): string {
  return steps
    .map(({ step, expected, ok, steadyAfterMs, went, explained, why }) => {
      const lines = [
        `${ok ? 'held' : 'DID NOT HOLD'}: ${step}`,
        `  expected: ${expected}`,
        `  ${steadyAfterMs === null ? 'not reached' : `after ${(steadyAfterMs / 1000).toFixed(1)} s`}: ${wentText(went)}`,
        ...explained.map((line) => `  | ${line}`),
        ...why.map((reason) => `  ! ${reason}`),
      ];
      return lines.join('\n');
    })
    .join('\n');
}

function wentText(went: Went): string {
  return Object.entries(went)
    .map(([service, regions]) => {
      const texts = Object.entries(regions).map(([region, sites]) => {
        const counts = Object.entries(sites).map(([site, count]) => `${site} ${count}`);
        return `${region.replace('client-', '')} > ${counts.join(', ') || 'none'}`;
      });
      return `${service}: ${texts.join('; ')}`;
    })
    .join('. ');
}
