/** What the API serves about plans: what a change would do, and how those came out that were carried out. */
import { type Reading, readRate, readSeconds, readShare } from '../config/units.ts';
import { type Forecast, MAX_FORECAST_MINUTES, type PlanChange } from '../decide/steer/forecast/forecast.ts';
import type { FollowedPlan } from '../fleet/forecast-watch.ts';
import { readFields, refuse, textOf } from './fields.ts';
import type { ApiResult } from './result.ts';

export interface PlansApi {
  /** Changes nothing. `minutes`: null: as long as it takes. */
  forecast(order: PlanOrder): Promise<ApiResult<Forecast>>;
  /** Plans that were carried out, the newest first. */
  followed(): readonly FollowedPlan[];
}

export interface PlanOrder {
  readonly change: PlanChange;
  readonly minutes: number | null;
}

export const PLAN_KINDS = ['drain', 'capacity', 'link', 'site', 'ttl'] as const;

const FIELDS = ['change', 'target', 'value', 'capacity', 'minutes'];
const MAX_TTL_SECONDS = 7 * 86_400;

/**
 * `{change, target, value, capacity, minutes}`: `drain` of a site; `capacity` of a site, `80%`; `link` `SITE/LINK`, `50%` or `down`; `site` at
 * `LATITUDE,LONGITUDE`, with a capacity; `ttl` of a service, `30s`.
 */
export function readPlanOrder(body: unknown): ApiResult<PlanOrder> {
  const fields = readFields(body, FIELDS);
  if (!fields.ok) return fields;
  const [kind, target, value, capacity, minutesText] = FIELDS.map((name) => textOf(fields.value, name));
  const reader = PLAN_KINDS.find((known) => known === kind);
  if (reader === undefined) return refuse(`"change" is none that can be planned: ${kind}`, PLAN_KINDS.join(', '));
  if (target === null) return refuse('"target" is missing', 'name a site, SITE/LINK or a service');
  const change = READERS[reader](target, value ?? '', capacity);
  if (!change.ok) return change;
  if (minutesText === null) return { ok: true, value: { change: change.value, minutes: null } };
  const minutes = Number(minutesText);
  if (/^\d+$/.test(minutesText) && minutes >= 1 && minutes <= MAX_FORECAST_MINUTES)
    return { ok: true, value: { change: change.value, minutes } };
  return refuse(`"minutes" is no number of minutes: ${minutesText}`, `write 1 to ${MAX_FORECAST_MINUTES}`);
}

type Reader = (target: string, value: string, capacity: string | null) => ApiResult<PlanChange>;

const READERS: Readonly<Record<(typeof PLAN_KINDS)[number], Reader>> = {
  drain: (site) => ({ ok: true, value: { kind: 'drain', site } }),
  capacity: (site, value) => taken(readShare(value, false), (share) => ({ kind: 'capacity', site, share })),
  link(target, value) {
    const [site, link, extra] = target.split('/');
    if (link === undefined || extra !== undefined) return refuse(`"${target}" is no link`, 'write SITE/LINK');
    if (value === 'down') return { ok: true, value: { kind: 'link', site, link, share: 0 } };
    return taken(readShare(value, false), (share) => ({ kind: 'link', site, link, share }));
  },
  site(site, value, capacity) {
    const place = /^(-?\d{1,2}(?:\.\d+)?),(-?\d{1,3}(?:\.\d+)?)$/.exec(value);
    const [latitudeDegrees, longitudeDegrees] = [Number(place?.[1] ?? 99), Number(place?.[2] ?? 999)];
    if (Math.abs(latitudeDegrees) > 90 || Math.abs(longitudeDegrees) > 180)
      return refuse(`"${value}" is no place`, 'write LATITUDE,LONGITUDE in degrees: 52.37,4.90');
    const change = { kind: 'site', site, latitudeDegrees, longitudeDegrees } as const;
    if (capacity === null) return { ok: true, value: { ...change, capacityPerSecond: null } };
    return taken(readRate(capacity), (capacityPerSecond) => ({ ...change, capacityPerSecond }));
  },
  ttl: (service, value) =>
    taken(readSeconds(value, 1, MAX_TTL_SECONDS), (ttlSeconds) => ({ kind: 'ttl', service, ttlSeconds })),
};

function taken(reading: Reading<number>, make: (value: number) => PlanChange): ApiResult<PlanChange> {
  return reading.ok ? { ok: true, value: make(reading.value) } : refuse(reading.message, reading.remedy);
}
