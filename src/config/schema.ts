/** The shape of the operator's file: every key, its unit, range and default. What depends on several keys is in the `check-*` files. */
import { z } from 'zod';
import { readDomainName } from './dns-names.ts';
import { createSchemaBuilder, DURATION_NOTE, type SchemaBuilder, type SchemaMode } from './fields.ts';
import { FORWARDING_MODES } from './model.ts';
import {
  readAddress,
  readBoolean,
  readChoice,
  readDrain,
  readEndpoint,
  readFilePath,
  readFolder,
  readHashKey,
  readInterface,
  readName,
  readPrefix,
  readRecordData,
  readServerId,
} from './readers.ts';
import { beaconSchema } from './schema-beacons.ts';
import { delegationSchema } from './schema-delegation.ts';
import { locationFilesShape } from './schema-locations.ts';
import { measuredShape, readLink } from './schema-measured.ts';
import { nameServerSchema } from './schema-name-server.ts';
import { isSigned, protocolShape } from './schema-protocol.ts';
import { queryLogSchema } from './schema-query-log.ts';
import { serviceSchema } from './schema-services.ts';
import { transferShape } from './schema-transfers.ts';
import { type Reading, readInteger, readNumber, readRate, readSeconds, readShare, wrong } from './units.ts';

/** RFC 2181 section 8. */
const MAX_TTL_SECONDS = 2 ** 31 - 1;

/** RFC 8200 section 5: every link carries this. The most that an IPv4 packet can be long. */
const MIN_MTU_BYTES = 1280;
const MAX_MTU_BYTES = 65_535;

function location(build: SchemaBuilder, description: string) {
  const degrees = (limit: number) => (raw: unknown) => readNumber(raw, -limit, limit);
  return {
    description,
    shape: {
      latitude: build.field(
        { type: 'number', description: 'degrees, north is positive', examples: [52.37] },
        degrees(90),
      ),
      longitude: build.field(
        { type: 'number', description: 'degrees, east is positive', examples: [4.9] },
        degrees(180),
      ),
    },
  };
}

/** Bytes of an IP packet, without the header of the link. */
function mtu(build: SchemaBuilder, description: string, example: number, fallback?: number) {
  return build.optional(
    { type: 'integer', description, examples: [example] },
    (raw) => readInteger(raw, MIN_MTU_BYTES, MAX_MTU_BYTES),
    fallback,
  );
}

function siteSchema(build: SchemaBuilder) {
  const where = location(build, 'where the site is');
  const link = {
    type: ['string', 'object'],
    description:
      'bandwidth of the link; or a map with clients (networks that come over it), shared (a link it is part of) and interface (MACHINE/NAME, or several: whose counters tell its load)',
    examples: ['10Gbit/s', { capacity: '10Gbit/s', clients: ['new-york'], shared: 'atlantic' }],
  };
  return build.object('a datacenter or point of presence', {
    location: build.object(where.description, where.shape, '{ latitude: 52.37, longitude: 4.90 }'),
    links: build.names('links to the Internet and their bandwidth', build.field(link, readLink), null),
    batchCost: build.optional(
      {
        type: 'number',
        description: 'what serving a connection of class batch costs here, in a unit that all sites share',
        examples: [1.5],
      },
      (raw) => readNumber(raw, 0, 1e6),
      1,
    ),
    capacity: build.optional(
      {
        type: 'string',
        description: 'new connections that the site can take, a second; default: no limit',
        examples: ['20000/s'],
      },
      readRate,
    ),
    clientMtu: mtu(build, 'longest packets that clients send to the site', 1500, 1500),
    mtu: mtu(
      build,
      'longest packets between balancers and backends; default: what routes and interfaces of each machine say',
      1700,
    ),
    hashKey: build.optional(
      {
        type: 'string',
        description:
          'key of the flow hash, 32 hexadecimal digits; default: made at the first start and kept in the state folder',
        examples: ['00112233445566778899aabbccddeeff'],
      },
      readHashKey,
    ),
  });
}

function interfaces(build: SchemaBuilder) {
  const read = (raw: unknown) => {
    const list = Array.isArray(raw) ? raw : [raw];
    const readings = list.map(readInterface);
    const failed = readings.find((reading) => !reading.ok);
    if (failed !== undefined && !failed.ok) return failed;
    if (list.length === 0)
      return { ok: false, message: 'the list is empty', remedy: 'name at least one interface' } as const;
    return { ok: true, value: list as readonly string[] } as const;
  };
  const description = 'interfaces that carry the kernel program';
  return build.optional({ type: ['array', 'string'], description, examples: [['eth0']] }, read, ['eth0']);
}

function siteName(build: SchemaBuilder) {
  return build.field(
    { type: 'string', description: 'name of the site that the machine is in', examples: ['eu'] },
    readName,
  );
}

function balancerSchema(build: SchemaBuilder) {
  const asn = (description: string) =>
    build.field({ type: 'integer', description, examples: [65_001] }, (raw) => readInteger(raw, 1, 4_294_967_294));
  const address = (description: string) =>
    build.field({ type: 'string', description, examples: ['10.0.0.1', '2001:db8::1'] }, readAddress);
  return build.object('a machine that forwards the packets of VIPs', {
    site: siteName(build),
    addresses: build.list(
      'sources of encapsulated packets: one IPv4 address, one IPv6 address or both',
      address('address of the machine'),
      '[10.0.0.1]',
    ),
    interfaces: interfaces(build),
    networks: build
      .list(
        'subnets of the interfaces, for the forwarding mode l2: backends have to be in one of them',
        build.field({ type: 'string', description: 'a subnet', examples: ['10.0.0.0/24'] }, readPrefix),
        '[10.0.0.0/24]',
      )
      .optional(),
    sourcePrefix: build.optional(
      {
        type: 'string',
        description:
          'sources of encapsulated packets vary in this prefix by flow, so that network cards spread them; default: the address alone',
        examples: ['10.0.192.0/24'],
      },
      readPrefix,
    ),
    mtu: mtu(build, "longest packets to backends; default: the site's", 1700),
    probes: build.optional(
      {
        type: 'string',
        description:
          'prefix that is routed to this machine: sources of health probes through the VIP, one address a backend',
        examples: ['10.0.201.0/26'],
      },
      readPrefix,
    ),
    bgp: build
      .object('how the machine announces VIPs; without it, routes lead to it by other means', {
        asn: asn('the autonomous system of this machine'),
        routers: build.list(
          'the routers to announce to',
          build.object('a router', { address: address('address of the router'), asn: asn('its autonomous system') }),
          '[{ address: 10.0.0.254, asn: 65000 }]',
        ),
      })
      .optional(),
    connections: build.optional(
      {
        type: 'integer',
        description: 'entries of the connection table, 8 bytes each: a power of two',
        examples: [4_194_304],
      },
      (raw) => readInteger(raw, 4096, 2 ** 30),
      4_194_304,
    ),
  });
}

function backendSchema(build: SchemaBuilder) {
  return build.object('a machine that serves behind VIPs', {
    site: siteName(build),
    address: build.field(
      { type: 'string', description: 'where encapsulated packets are sent', examples: ['10.0.2.1'] },
      readAddress,
    ),
    weight: build.optional(
      { type: 'number', description: 'share of new connections, relative to other backends', examples: [1] },
      (raw) => readNumber(raw, 0, 1000, true),
      1,
    ),
    agent: build.optional(
      {
        type: 'boolean',
        description: "runs Portico's backend role; false: a plain tunnel device of the kernel",
        examples: [true],
      },
      readBoolean,
      true,
    ),
    forwarding: build.optional(
      {
        enum: [...FORWARDING_MODES],
        description: 'how packets reach this backend; default: as each service says',
        examples: ['gue'],
      },
      (raw) => readChoice(raw, FORWARDING_MODES),
    ),
    interfaces: interfaces(build),
    drain: build.optional(
      {
        type: ['boolean', 'object'],
        description: 'gets no new connections; { deadline: 10m }: those that it has end after this time at the latest',
        examples: [false],
      },
      readDrain,
      false,
    ),
    serverId: build.optional(
      {
        type: 'string',
        description: 'how QUIC connection IDs name this backend: hexadecimal digits, in quotes',
        examples: ['0a0b'],
      },
      readServerId,
    ),
    mtu: mtu(build, "longest packets on the way to this backend; default: the site's", 1700),
  });
}

function domainName(build: SchemaBuilder, description: string, example: string) {
  return build.field({ type: 'string', description, examples: [example] }, readDomainName);
}

function ttl(build: SchemaBuilder, description: string, fallback: string, max = MAX_TTL_SECONDS) {
  return build.optional(
    { ...DURATION_NOTE, description, examples: [fallback] },
    (raw) => readSeconds(raw, 0, max),
    fallback,
  );
}

function readContact(raw: unknown): Reading<string> {
  const text = typeof raw === 'string' ? /^([^@\s]+)@([^@\s]+)$/.exec(raw) : null;
  // RFC 1035 8: the first label is the local part, its dots escaped.
  if (text !== null && readDomainName(text[2]).ok) return { ok: true, value: text[0] };
  return wrong('this is not a mail address', 'write one like hostmaster@example.net');
}

function soaSchema(build: SchemaBuilder) {
  return build
    .object('start of authority', {
      primary: domainName(build, 'primary name server, in full', 'ns1.example.net'),
      contact: build.field(
        { type: 'string', description: 'mail address', examples: ['hostmaster@example.net'] },
        readContact,
      ),
      serial: build
        .field(
          { type: 'integer', description: 'raise it with each change of records', examples: [2_026_010_101] },
          (raw) => readInteger(raw, 0, 4_294_967_295),
        )
        .optional(),
      refresh: ttl(build, 'for secondaries: how often they look', '1h'),
      retry: ttl(build, 'for secondaries: how soon they look again after a failure', '15m'),
      expire: ttl(build, 'for secondaries: how long they answer without the primary', '14d'),
      negativeTtl: ttl(build, 'how long "there is no such name" may be kept', '60s', 86_400),
    })
    .optional();
}

function zoneSchema(build: SchemaBuilder) {
  const data = build.field(
    { type: ['string', 'array', 'number'], description: 'data as in a zone file', examples: ['192.0.2.1'] },
    readRecordData,
  );
  return build.object('a zone that is served with authority', {
    ttl: ttl(build, 'of records that say nothing else', '1h'),
    file: build.optional(
      {
        type: 'string',
        description: 'zone file in master format (RFC 1035), from the folder of this file: has SOA and NS itself',
        examples: ['zones/example.net.zone'],
      },
      readFilePath,
    ),
    serial: build.optional(
      {
        enum: ['auto'],
        description: 'auto: Portico counts the serial itself, with each change of static data',
        examples: ['auto'],
      },
      (raw) => readChoice(raw, ['auto'] as const),
    ),
    dnssec: isSigned(build),
    nameServers: build
      .list(
        'names of the name servers, in full',
        domainName(build, 'name in full', 'ns1.example.net'),
        '[ns1.example.net, ns2.example.net]',
      )
      .optional(),
    soa: soaSchema(build),
    records: build.names(
      'static records: name, type, data. Names are relative to the zone, "@" is the zone',
      build.names(
        'by type: one text as in a zone file or several in a list; ttl for those of this name',
        data,
        '{ A: 192.0.2.1 }',
      ),
      null,
    ),
  });
}

function dnsSchema(build: SchemaBuilder) {
  const place = location(build, 'where clients of no network are taken to be; default: at the first site');
  const users = location(build, 'where the users are');
  const prefix = {
    type: 'string',
    description: 'addresses of users or of their resolvers',
    examples: ['203.0.113.0/24'],
  };
  return build.optionalObject('the authoritative DNS servers', {
    servers: build.names('machines that answer DNS', nameServerSchema(build), null),
    networks: build.names(
      'where users are, by prefix; the longest prefix counts',
      build.object('prefixes with either a location or a site', {
        prefixes: build.list('the prefixes', build.field(prefix, readPrefix), '[203.0.113.0/24]'),
        location: build.object(users.description, users.shape).optional(),
        site: build.optional(
          { type: 'string', description: 'the site that these users get', examples: ['eu'] },
          readName,
        ),
        demand: build.optional(
          {
            type: 'number',
            description: 'predicted demand of these users, in a unit that all networks share: weights are kept in it',
            examples: [1200],
          },
          (raw) => readNumber(raw, 0, 1e15, true),
        ),
      }),
      null,
    ),
    steering: build.optionalObject('bounds of how DNS moves demand', {
      splitAbove: build.optional(
        {
          type: 'string',
          description: 'a unit of a weighted policy with a larger share of the demand is split',
          examples: ['5%'],
        },
        (raw) => readShare(raw, true),
        '5%',
      ),
      maxMoved: build.optional(
        {
          type: 'string',
          description: 'largest share of the demand of a service that a reload may move; 100%: no limit',
          examples: ['20%'],
        },
        (raw) => readShare(raw, true),
        '100%',
      ),
      ...measuredShape(build),
    }),
    ...locationFilesShape(build),
    defaultLocation: build.object(place.description, place.shape).optional(),
    ...protocolShape(build),
    log: queryLogSchema(build),
    delegation: delegationSchema(build),
    beacons: beaconSchema(build),
    ...transferShape(build),
    zones: build.names('zones by name', zoneSchema(build), null),
  });
}

/** The schema of the whole file. Its output has undefined where `loose` met something wrong. */
export function createFileSchema(mode: SchemaMode) {
  const build = createSchemaBuilder(mode);
  const listen = {
    type: 'string',
    description: 'where API, metrics and dashboard are served',
    examples: ['127.0.0.1:7077'],
  };
  return build.object('a Portico configuration', {
    name: build.field(
      {
        type: 'string',
        description: 'name of the installation: kernel objects are pinned under it',
        examples: ['main'],
      },
      readName,
    ),
    sites: build.names('the sites by name', siteSchema(build), ''),
    balancers: build.names('the balancers by machine name', balancerSchema(build), null),
    backends: build.names('the backends by machine name', backendSchema(build), null),
    services: build.names('the services by name', serviceSchema(build), null),
    dns: dnsSchema(build),
    api: build.optionalObject('the HTTP interface', {
      listen: build.optional(listen, (raw) => readEndpoint(raw, 7077), '127.0.0.1:7077'),
    }),
    state: build.optional(
      { type: 'string', description: 'folder for what is kept over restarts', examples: ['/var/lib/portico'] },
      readFolder,
      '/var/lib/portico',
    ),
  });
}

export type FileValues = NonNullable<z.output<ReturnType<typeof createFileSchema>>>;
export type Entry<Section> = NonNullable<NonNullable<Section>[keyof NonNullable<Section>]>;
export type ServiceValues = Entry<FileValues['services']>;
export type BalancerValues = Entry<FileValues['balancers']>;
export type BackendValues = Entry<FileValues['backends']>;
export type ZoneValues = Entry<NonNullable<FileValues['dns']>['zones']>;

/** The JSON Schema for editors. */
export function createJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(createFileSchema('strict'), { io: 'input', target: 'draft-7' });
  return { ...schema, title: 'Portico configuration' } as Record<string, unknown>;
}
