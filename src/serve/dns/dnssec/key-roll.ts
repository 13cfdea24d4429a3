/**
 * The keys of a zone and the steps in which one takes the place of another. Both keys sign the DNSKEY set in every step, so the DS record at
 * the parent may change at any time after the first wait; what must be waited for is that caches forget. Pure: the clock is an argument.
 *
 *     steady -- start --> published -- switch --> switched -- ds --> retiring -- finish --> steady
 *               a new key in     the new key       the parent has     the old key
 *               the DNSKEY set   signs             the new DS only    is taken away
 */
import { createZoneKey, type ZoneKey } from './zone-key.ts';

export type RollStep = 'steady' | 'published' | 'switched' | 'retiring';

/** Plain data, kept in the zone's key file. */
export interface ZoneKeys {
  /** As in the configuration. */
  readonly zone: string;
  readonly step: RollStep;
  /** When the step began, Unix time. */
  readonly sinceMs: number;
  /** Signs the zone's data. */
  readonly active: ZoneKey;
  /** In the DNSKEY set besides: the successor in `published`, later the predecessor; null: steady. */
  readonly other: ZoneKey | null;
  /** The operator takes DNSSEC off: CDS asks the parent to remove all DS records (RFC 8078 section 4). */
  readonly isWithdrawn: boolean;
}

/** TTLs that bound how long caches keep what was. */
export interface RollTimes {
  readonly dnskeyTtlSeconds: number;
  /** Of all sets of the zone. */
  readonly largestTtlSeconds: number;
  /** Of the DS set at the parent. */
  readonly dsTtlSeconds: number;
}

/** Name servers see a changed key file within half of it, and sign anew in the rest. */
export const SPREAD_SECONDS = 300;

export type RollResult =
  | { readonly ok: true; readonly keys: ZoneKeys }
  | { readonly ok: false; readonly reason: string };

export const ROLL_ACTIONS = ['start', 'switch', 'ds', 'finish', 'cancel'] as const;
export type RollAction = (typeof ROLL_ACTIONS)[number];

export function firstKeys(zone: string, nowMs: number): ZoneKeys {
  const active = createZoneKey(nowMs);
  return { zone, step: 'steady', sinceMs: nowMs, active, other: null, isWithdrawn: false };
}

/** In the DNSKEY set. */
export function publishedKeys({ active, other }: ZoneKeys): ZoneKey[] {
  return other === null ? [active] : [active, other];
}

/** For which the parent shall have DS records, as CDS and CDNSKEY tell it (RFC 7344): that of the key that signs. */
export function delegatedKeys({ active, isWithdrawn }: ZoneKeys): ZoneKey[] {
  return isWithdrawn ? [] : [active];
}

/** Until when the operator has to wait before the next step; null: the next step waits for nothing but the operator. */
export function waitUntilMs({ step, sinceMs, active, other }: ZoneKeys, times: RollTimes): number | null {
  const { dnskeyTtlSeconds, largestTtlSeconds, dsTtlSeconds } = times;
  const after = (seconds: number, beginMs = sinceMs) => beginMs + (seconds + SPREAD_SECONDS) * 1000;
  if (step === 'published') return after(dnskeyTtlSeconds);
  // Caches forget the old DS, and what the old key signed.
  if (step === 'retiring') return after(Math.max(dsTtlSeconds, largestTtlSeconds));
  // A zone's first key: caches forget what was there without signatures.
  if (step === 'steady' && other === null && active.createdMs === sinceMs) return after(largestTtlSeconds);
  return null;
}

/** `force`: without waiting, at the price of answers that resolvers refuse until their caches forget. */
export function rollKeys(
  keys: ZoneKeys,
  action: RollAction,
  nowMs: number,
  times: RollTimes,
  force = false,
): RollResult {
  const { step, active, other } = keys;
  const needed = {
    start: 'steady',
    switch: 'published',
    ds: 'switched',
    finish: 'retiring',
    cancel: 'published',
  } as const;
  if (step !== needed[action]) return { ok: false, reason: wrongStep(keys, action) };
  const untilMs = action === 'switch' || action === 'finish' ? waitUntilMs(keys, times) : null;
  if (untilMs !== null && nowMs < untilMs && !force) {
    const remedy = `caches still have what was before: wait until ${new Date(untilMs).toISOString()}`;
    return { ok: false, reason: remedy };
  }
  const done = (next: Partial<ZoneKeys>): RollResult => ({ ok: true, keys: { ...keys, sinceMs: nowMs, ...next } });
  if (action === 'start') return done({ step: 'published', other: createZoneKey(nowMs, [active.tag]) });
  if (action === 'ds') return done({ step: 'retiring' });
  if (action !== 'switch') return done({ step: 'steady', other: null });
  if (other === null) throw new Error('a roll has no second key');
  return done({ step: 'switched', active: other, other: active });
}

function wrongStep({ step, zone }: ZoneKeys, action: RollAction): string {
  const next: Record<RollStep, string> = {
    steady: 'no roll is under way: "start" begins one',
    published: 'the new key is published: "switch" comes next, or "cancel"',
    switched: 'the new key signs: "ds" comes next, once the parent has the new DS record only',
    retiring: 'the parent has the new DS record: "finish" comes next',
  };
  return `"${action}" is not the next step for ${zone}: ${next[step]}`;
}
