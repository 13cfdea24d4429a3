/** What the API serves about DNS steering: orders of the operator, and what became of policies. */
import { readDuration } from '../config/units.ts';
import type { ResolverQuestion } from '../fleet/measured-resolvers.ts';
import type { MeasuredStatus } from '../fleet/measured-steering.ts';
import { hostPrefix, maskAddress, type Prefix, parseAddress, parseLoosePrefix, sameAddress } from '../net/address.ts';
import { type Fields, readFields, refuse, textOf } from './fields.ts';
import type { ApiResult } from './result.ts';

export interface SteeringApi {
  status(): SteeringStatus;
  /** Clients go to a site as long as it is up, before any policy. */
  pin(order: PinOrder): Promise<ApiResult<object>>;
  unpin(order: Pick<PinOrder, 'prefix' | 'service'>): Promise<ApiResult<object>>;
  /** As long as it is frozen, nothing is taken over that would send clients elsewhere. */
  freeze(isFrozen: boolean): Promise<ApiResult<object>>;
  /** What is known of who asks. */
  resolvers(question: ResolverQuestion): Promise<ApiResult<object>>;
  /** What the configuration file as it is now would move. */
  diff(): Promise<ApiResult<object>>;
}

export interface PinOrder {
  /** Of clients or of their resolver; null: all. */
  readonly prefix: Prefix | null;
  /** Null: every service with addresses at the site. */
  readonly service: string | null;
  readonly site: string;
  /** Null: until it is taken away. */
  readonly forMs: number | null;
}

export interface SteeringStatus {
  /** Null: measured steering is off, or another process does it. */
  readonly measured: MeasuredStatus | null;
  readonly frozenSinceMs: number | null;
  readonly pins: readonly {
    readonly prefix: string | null;
    readonly service: string | null;
    readonly site: string;
    readonly untilMs: number | null;
  }[];
  readonly services: readonly {
    readonly service: string;
    readonly policy: string;
    readonly sites: readonly string[];
    /** Different ones, over all clients. */
    readonly plans: number;
    /** How weighted policies came out. */
    readonly weighted: readonly {
      readonly place: string;
      /** Shares: what each should get, and what it is predicted to get. */
      readonly parts: readonly { readonly name: string; readonly share: number; readonly predicted: number }[];
      readonly demand: number;
      readonly units: number;
      readonly split: readonly string[];
    }[];
  }[];
}

const SECOND_MS = 1000;
const MAX_PIN_MS = 365 * 24 * 3600 * SECOND_MS;

/** `{site, prefix, service, for: "1h"}`; all but the site may be absent. A single address is a resolver's. */
export function readPinOrder(body: unknown): ApiResult<PinOrder> {
  const fields = readFields(body, ['site', 'prefix', 'service', 'for']);
  if (!fields.ok) return fields;
  const site = textOf(fields.value, 'site');
  if (site === null) return refuse('"site" is missing', 'name the site as the configuration does');
  const clients = readClients(fields.value);
  if (!clients.ok) return clients;
  const text = textOf(fields.value, 'for');
  if (text === null) return { ok: true, value: { ...clients.value, site, forMs: null } };
  const time = readDuration(text, SECOND_MS, MAX_PIN_MS);
  if (!time.ok) return refuse(`"for" ${time.message}: ${text}`, time.remedy);
  return { ok: true, value: { ...clients.value, site, forMs: time.value } };
}

/** `{prefix, service}`, both may be absent. */
export function readUnpinOrder(body: unknown): ApiResult<Pick<PinOrder, 'prefix' | 'service'>> {
  const fields = readFields(body, ['prefix', 'service']);
  return fields.ok ? readClients(fields.value) : fields;
}

function readClients(fields: Fields): ApiResult<Pick<PinOrder, 'prefix' | 'service'>> {
  const service = textOf(fields, 'service');
  const text = textOf(fields, 'prefix');
  if (text === null) return { ok: true, value: { prefix: null, service } };
  const address = parseAddress(text);
  if (address !== null) return { ok: true, value: { prefix: hostPrefix(address), service } };
  const prefix = parseLoosePrefix(text);
  if (prefix === null)
    return refuse(`"prefix" is no prefix: ${text}`, 'write 203.0.113.0/24, or a resolver: 203.0.113.5');
  const masked = maskAddress(prefix.address, prefix.length);
  if (sameAddress(masked, prefix.address)) return { ok: true, value: { prefix, service } };
  return refuse(`"prefix" has bits beyond its length: ${text}`, 'write the first address of the prefix');
}

/** `{anyway: "yes"}`. */
export function readReloadOrder(body: unknown): ApiResult<{ readonly anyway: boolean }> {
  const fields = readFields(body ?? {}, ['anyway']);
  if (!fields.ok) return fields;
  const anyway = textOf(fields.value, 'anyway');
  if (anyway === null || anyway === 'yes') return { ok: true, value: { anyway: anyway === 'yes' } };
  return refuse(`"anyway" is not "yes": ${anyway}`, 'leave it out, or send {"anyway": "yes"}');
}
