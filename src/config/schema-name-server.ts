/** Keys of a name server. */
import type { SchemaBuilder } from './fields.ts';
import { readAddress, readBoolean, readEndpoint, readInterface } from './readers.ts';
import { readDuration, readInteger } from './units.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

export function nameServerSchema(build: SchemaBuilder) {
  const endpoint = {
    type: 'string',
    description: 'ADDRESS or ADDRESS:PORT; the port is 53 by default',
    examples: ['192.0.2.53'],
  };
  return build.object('a name server', {
    listen: build.list(
      'addresses to answer on',
      build.field(endpoint, (raw) => readEndpoint(raw, 53)),
      '[192.0.2.53]',
    ),
    interfaces: kernelInterfaces(build),
    anycast: anycastSchema(build),
  });
}

function kernelInterfaces(build: SchemaBuilder) {
  const read = (raw: unknown) => {
    const list = Array.isArray(raw) ? raw : [raw];
    const failed = list.map(readInterface).find((reading) => !reading.ok);
    if (failed !== undefined && !failed.ok) return failed;
    return { ok: true, value: list as readonly string[] } as const;
  };
  const description =
    'interfaces on which the kernel answers for steered names; an empty list: none; default: those that can do it in their driver';
  return build.field({ type: ['array', 'string'], description, examples: [['eth0']] }, read).optional();
}

function anycastSchema(build: SchemaBuilder) {
  const address = (description: string) =>
    build.field({ type: 'string', description, examples: ['192.0.2.53', '2001:db8::53'] }, readAddress);
  const asn = (description: string) =>
    build.field({ type: 'integer', description, examples: [65_001] }, (raw) => readInteger(raw, 1, 4_294_967_294));
  return build
    .object('addresses that several name servers have, announced while this one answers', {
      addresses: build.list(
        'the addresses: it answers on port 53 of each',
        address('an address that other name servers have too'),
        '[192.0.2.53]',
      ),
      asn: asn('the autonomous system of this machine'),
      routers: build.list(
        'the routers to announce to',
        build.object('a router', { address: address('address of the router'), asn: asn('its autonomous system') }),
        '[{ address: 10.0.0.254, asn: 65000 }]',
      ),
      bfd: build.optional(
        { type: 'boolean', description: 'routers find a dead machine by BFD', examples: [true] },
        readBoolean,
        true,
      ),
      staleAfter: build.optional(
        {
          type: 'string',
          description: 'the addresses are taken back when its process, or its probes of sites, are silent for longer',
          examples: ['5m'],
        },
        (raw) => readDuration(raw, 10 * SECOND, DAY),
        '5m',
      ),
    })
    .optional();
}
