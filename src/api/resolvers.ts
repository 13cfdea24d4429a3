/** What the API is asked of the resolver book. */
import type { ResolverQuestion } from '../fleet/measured-resolvers.ts';
import { parseAddress, parseLoosePrefix } from '../net/address.ts';
import { readFields, refuse, textOf } from './fields.ts';
import type { ApiResult } from './result.ts';

const MOST = 10_000;
const USUAL = 20;

/** `{of: "203.0.113.0/24", limit: "20"}`; both may be absent. */
export function readResolverQuestion(body: unknown): ApiResult<ResolverQuestion> {
  const fields = readFields(body ?? {}, ['of', 'limit']);
  if (!fields.ok) return fields;
  const [of, limit] = [textOf(fields.value, 'of'), textOf(fields.value, 'limit')];
  const address = of === null ? null : (parseAddress(of) ?? parseLoosePrefix(of)?.address ?? null);
  if (of !== null && address === null)
    return refuse(`"of" is no address or prefix: ${of}`, 'write one like 203.0.113.0/24');
  const count = limit === null ? USUAL : Number(limit);
  if (!Number.isInteger(count) || count < 1 || count > MOST)
    return refuse(`"limit" is no number from 1 to ${MOST}: ${limit}`, 'leave it out');
  return { ok: true, value: { of: address, limit: count } };
}
