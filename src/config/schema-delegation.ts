/** Keys of `dns.delegation`: who is asked what the parents of the zones say. */
import type { SchemaBuilder } from './fields.ts';
import { readEndpoint } from './readers.ts';
import { readDuration } from './units.ts';

const MINUTE = 60_000;
const WEEK = 7 * 86_400_000;

export function delegationSchema(build: SchemaBuilder) {
  const endpoint = (description: string) => ({ type: 'string', description, examples: ['192.0.2.53'] });
  return build
    .object('what parents say of the zones is looked at and compared with what is served', {
      interval: build.optional(
        { type: 'string', description: 'time between two looks', examples: ['1h'] },
        (raw) => readDuration(raw, MINUTE, WEEK),
        '1h',
      ),
      resolver: build.optional(endpoint('resolver that finds the name servers of parents'), (raw) =>
        readEndpoint(raw, 53),
      ),
      parents: build.names(
        'name servers of parents, by zone; they are asked without a resolver',
        build.list(
          'addresses, the first four are asked',
          build.field(endpoint('ADDRESS or ADDRESS:PORT'), (raw) => readEndpoint(raw, 53)),
          '[192.0.2.53]',
        ),
        null,
      ),
    })
    .optional();
}
